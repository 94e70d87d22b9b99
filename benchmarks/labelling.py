"""Which images to label next? Strategies beside random choice, with the labels of real data sets hidden.

    python -m benchmarks.labelling RUN…

A RUN is the folder of a finished run with a frozen backbone, whose labels are taken for the truth. A third of its
images judge. Of the others 30 are labelled at first, and 30 more in each round, as the strategy says; a logistic
regression on the cached features learns from them. Printed is the mean accuracy over the rounds, of ten seeds, and its
difference from random choice with a standard error.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from darkroom.images.batches import Table
from darkroom.images.shards import open_split
from darkroom.review.evidence import Components
from darkroom.review.next_photos import margins, most_useful

FIRST, MORE, ROUNDS, SEEDS = 30, 30, 6, 10
JUDGES = 1 / 3
# features, probabilities of the unlabelled; features of the labelled; how many; random
Strategy = Callable[[np.ndarray, np.ndarray, np.ndarray, int, np.random.Generator], np.ndarray]


def by_chance(features, _probabilities, _known, count, random):
    """Any image is as good as another."""
    return random.permutation(len(features))[:count]


def by_margin(_features, probabilities, _known, count, _random):
    """T. Scheffer, C. Decomain and S. Wrobel, IDA 2001: the smallest lead of the first class over the second."""
    return np.argsort(margins(probabilities), kind="stable")[:count]


def by_core_set(features, _probabilities, known, count, _random):
    """O. Sener and S. Savarese, ICLR 2018: the furthest from all that is labelled, one after the other."""
    nearest = (features @ known.T).max(axis=1)
    chosen: list[int] = []
    for _ in range(count):
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, features @ features[chosen[-1]])
        nearest[chosen] = np.inf
    return np.array(chosen)


def by_margin_and_core_set(features, probabilities, known, count, random):
    """Core-set among the images of the smallest margins, twice as many as are asked for."""
    candidates = np.argsort(margins(probabilities), kind="stable")[: 2 * count]
    return candidates[by_core_set(features[candidates], probabilities, known, count, random)]


def by_badge(features, probabilities, _known, count, random):
    """J. Ash et al., ICLR 2020, as `darkroom next` does."""
    return most_useful(features, probabilities, count, int(random.integers(1 << 30)))


STRATEGIES: dict[str, Strategy] = {
    "random": by_chance,
    "margin": by_margin,
    "core-set": by_core_set,
    "margin, core-set": by_margin_and_core_set,
    "BADGE (next)": by_badge,
}


def simulate(values: np.ndarray, near: np.ndarray, labels: np.ndarray, strategy: Strategy, seed: int) -> np.ndarray:
    """Return the accuracy on the judges after each round: (ROUNDS,)."""
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    judges, pool = np.split(order, [round(len(order) * JUDGES)])
    known, found = pool[:FIRST], []
    while len(np.unique(labels[known])) < 2:
        random.shuffle(pool)
        known = pool[:FIRST]
    for number in range(ROUNDS):
        model = LogisticRegression(C=0.1, max_iter=200).fit(values[known], labels[known])
        found.append(float((model.predict(values[judges]) == labels[judges]).mean()))
        if number + 1 < ROUNDS:
            rest = np.setdiff1d(pool, known)
            answers = model.predict_proba(values[rest])
            chosen = strategy(near[rest], answers, near[known], MORE, np.random.default_rng([seed, number]))
            known = np.concatenate([known, rest[chosen]])
    return np.array(found)


def main(arguments: list[str]) -> None:
    """Print a table for each run."""
    for folder in arguments:
        parts = [
            open_split(Path(folder) / "data/features", split, Path(folder) / "data/shards")
            for split in ("train", "val", "test")
        ]
        values = np.concatenate([part.rows(np.arange(len(part)))[:, 0] for part in parts if len(part)])
        values = values / np.sqrt(np.mean(values.astype(np.float64) ** 2))
        labels, near = np.concatenate([part.labels for part in parts]), Components.of(Table(parts)).all(Table(parts))
        print(
            f"\n{folder}: {len(labels):,} images, {labels.max() + 1} classes, {FIRST} to {FIRST + MORE * (ROUNDS - 1)}"
        )
        print(f"{'':16} {'mean':>7} {'last':>7}   beside random")
        chance: np.ndarray | None = None
        for name, strategy in STRATEGIES.items():
            curves = np.array([simulate(values, near, labels, strategy, seed) for seed in range(SEEDS)])
            chance = curves if chance is None else chance
            gain = 100 * (curves - chance)[:, 1:].mean(axis=1)
            error = gain.std(ddof=1) / SEEDS**0.5
            print(f"{name:16} {100 * curves[:, 1:].mean():6.2f}% {100 * curves[:, -1].mean():6.2f}%   "
                  f"{gain.mean():+.2f} ± {error:.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
