"""Measure how often each printed 95 % interval holds the truth, by simulation of classifiers whose truth is known.

    python -m benchmarks.coverage [--classes 2,10,100] [--images 30,150,1000] [--accuracy 0.7,0.9,0.98]
                                  [--sharpness 1,1.5] [--trials 200]

A classifier draws normal logits with a lead for one class, and the label follows their softmax: the probabilities are
calibrated at a sharpness of 1 and too sure above. The truth is the score of 200,000 images (fewer for many classes),
and 0 for the ECE of a calibrated one. Class F1 is counted over all classes. Prints a Markdown table of percentages.
"""

import argparse
from itertools import product

import numpy as np

from darkroom.metrics.intervals import RESAMPLES
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.summary import summarise

TRUTH_IMAGES = 200_000
CELLS = 4_000_000  # of the sample that tells the truth
NAMES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier", "ece", "class f1")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", default="2,10,100", help="numbers of classes, by commas")
    parser.add_argument("--images", default="30,150,1000", help="numbers of test images, by commas")
    parser.add_argument("--accuracy", default="0.7,0.9,0.98", help="accuracies of the classifier, by commas")
    parser.add_argument("--sharpness", default="1,1.5", help="factors of the logits, 1: calibrated, by commas")
    parser.add_argument("--trials", type=int, default=200)
    asked = parser.parse_args()
    columns = ("classes", "images", "accuracy", "sharpness", *NAMES)
    print("|", " | ".join(columns), "|")
    print("|---" * len(columns) + "|")
    designs = product(*(numbers(text) for text in (asked.classes, asked.images, asked.accuracy, asked.sharpness)))
    for classes, images, accuracy, sharpness in designs:
        found = coverage(int(classes), int(images), accuracy, sharpness, asked.trials)
        cells = ("–" if share is None else f"{100 * share:.0f}" for share in found.values())
        print(f"| {classes:g} | {images:g} | {accuracy:g} | {sharpness:g} |", " | ".join(cells), "|", flush=True)


def numbers(text: str) -> list[float]:
    """Return the numbers of a list by commas."""
    return [float(part) for part in text.split(",")]


def coverage(
    classes: int, images: int, accuracy: float, sharpness: float, trials: int, count: int = RESAMPLES
) -> dict[str, float | None]:
    """Return, for each of NAMES, the share of printed intervals that hold the truth; None where none was printed."""
    lead = lead_for(classes, accuracy)
    many = min(TRUTH_IMAGES, CELLS // classes)
    scorer = draw(many, classes, lead, sharpness, 999_999).scorer
    truth = {name: float(values[0]) for name, values in scorer.plain(np.ones((1, many))).items() if values.ndim == 1}
    f1 = scorer.plain(np.ones((1, many)))["f1_by_class"][0]
    if sharpness == 1:
        truth["ece"] = 0.0
    held: dict[str, list[bool]] = {name: [] for name in NAMES}
    for seed in range(trials):
        table = summarise(draw(images, classes, lead, sharpness, seed), seed, count)
        for name in NAMES[:-1]:
            if table[f"{name}_low"] is not None:
                held[name].append(table[f"{name}_low"] - 1e-6 <= truth[name] <= table[f"{name}_high"] + 1e-6)
        for row, value in zip(table["per_class"].values(), f1, strict=True):
            if row["f1_low"] is not None:
                held["class f1"].append(row["f1_low"] <= value <= row["f1_high"])
    return {name: float(np.mean(values)) if values else None for name, values in held.items()}


def draw(images: int, classes: int, lead: float, sharpness: float, seed: int) -> Predictions:
    """Return the answers of a classifier whose logits lead for one class by `lead`, on so many images."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(images, classes))
    logits[np.arange(images), rng.integers(0, classes, images)] += lead
    shares = softmax(logits)
    labels = np.minimum((shares.cumsum(axis=1) < rng.random((images, 1))).sum(axis=1), classes - 1)
    names = [str(number) for number in range(classes)]
    return Predictions.of([str(number) for number in range(images)], names, labels, softmax(sharpness * logits))


def lead_for(classes: int, accuracy: float) -> float:
    """Return the lead by which the answers have such an accuracy, by bisection on 5,000 images."""
    low, high = 0.0, 30.0
    for _ in range(12):
        middle = (low + high) / 2
        right = float(np.mean(draw(5_000, classes, middle, 1.0, 0).scorer.correct))
        low, high = (middle, high) if right < accuracy else (low, middle)
    return (low + high) / 2


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return shares (n, K) of logits (n, K)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    main()
