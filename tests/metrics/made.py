"""Answers to made-up test sets."""

import numpy as np

from darkroom.metrics.predictions import Predictions


def draw(n: int, classes: int, seed: int = 0, present: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels among the first `present` classes, and probabilities that lean to the truth, with ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, present or classes, n)
    scores = rng.dirichlet(np.ones(classes), n) + 0.7 * np.eye(classes)[labels] * rng.random((n, 1))
    scores = np.round(scores, 2) + 1e-3
    return labels, scores / scores.sum(axis=1, keepdims=True)


def predictions(labels: np.ndarray, probabilities: np.ndarray) -> Predictions:
    """Them as a run's answers to a test set."""
    classes = [f"class {place}" for place in range(probabilities.shape[1])]
    return Predictions.of([f"{n:064x}" for n in range(len(labels))], classes, labels, probabilities)
