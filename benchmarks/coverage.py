"""Measure how often each printed 95 % interval holds the truth, by simulation of classifiers whose truth is known.

    python -m benchmarks.coverage [--classes 2,10,100] [--images 30,150,1000] [--accuracy 0.68,0.9,0.98]
                                  [--sharpness 1,1.5] [--rarest 1] [--group 1] [--rho 0.5] [--trials 200]

A classifier draws normal logits with a lead for one class, and the label follows their softmax: the probabilities are
calibrated at a sharpness of 1 and too sure above. The truth is the score of 200,000 images (fewer for many classes),
and 0 for the ECE of a calibrated one. `--rarest`: how many times rarer the rarest class leads than the commonest.
`--group`: images of a group, of which two have the same answer and label with a probability of `--rho`. Class F1 is
counted over all classes. Prints a Markdown table of percentages; "few": where most test sets got no interval.
"""

import argparse
from itertools import product

import numpy as np

from darkroom.metrics import registry
from darkroom.metrics.intervals import RESAMPLES
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.summary import summarise

TRUTH_IMAGES = 200_000
CELLS = 4_000_000  # of the sample that tells the truth
CLASS_F1 = "class f1"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", default="2,10,100", help="numbers of classes, by commas")
    parser.add_argument("--images", default="30,150,1000", help="numbers of test images, by commas")
    parser.add_argument("--accuracy", default="0.68,0.9,0.98", help="accuracies of the classifier, by commas")
    parser.add_argument("--sharpness", default="1,1.5", help="factors of the logits, 1: calibrated, by commas")
    parser.add_argument("--rarest", default="1", help="how much rarer the rarest class is, by commas")
    parser.add_argument("--group", default="1", help="images of a group, by commas")
    parser.add_argument("--rho", default="0.5", help="correlation within a group, by commas")
    parser.add_argument("--trials", type=int, default=200)
    asked = parser.parse_args()
    names = [metric.key for metric in registry.METRICS] + [CLASS_F1]
    columns = ("classes", "images", "accuracy", "sharpness", "rarest", "group", "rho", *names)
    print("|", " | ".join(columns), "|")
    print("|---" * len(columns) + "|")
    texts = (asked.classes, asked.images, asked.accuracy, asked.sharpness, asked.rarest, asked.group, asked.rho)
    for design in product(*map(numbers, texts)):
        classes, images, accuracy, sharpness, rarest, group, rho = design
        found = coverage(
            int(classes), int(images), accuracy, sharpness, asked.trials, RESAMPLES, rarest, int(group), rho
        )
        cells = [f"{100 * found[name]:.0f}" if name in found else "few" for name in names]
        print("|", " | ".join([*(f"{value:g}" for value in design), *cells]), "|", flush=True)


def numbers(text: str) -> list[float]:
    """Return the numbers of a list by commas."""
    return [float(part) for part in text.split(",")]


def coverage(
    classes: int, images: int, accuracy: float, sharpness: float, trials: int, count: int = RESAMPLES,
    rarest: float = 1.0, group: int = 1, rho: float = 0.0,
) -> dict[str, float]:  # fmt: skip
    """Return, for each score and CLASS_F1, the share of printed intervals that hold the truth; scores that are printed
    for most test sets alone."""
    lead = lead_for(classes, accuracy)
    many = min(TRUTH_IMAGES, CELLS // classes)
    scorer, once = draw(many, classes, lead, sharpness, 999_999, rarest).scorer, np.ones((1, many))
    plain = scorer.plain(once)
    truth = {name: float(values[0]) for name, values in (plain | scorer.ranked(once)).items() if values.ndim == 1}
    if sharpness == 1:
        truth["ece"] = 0.0
    held: dict[str, list[bool]] = {name: [] for name in (*truth, CLASS_F1)}
    for seed in range(trials):
        table = summarise(draw(images, classes, lead, sharpness, seed, rarest, group, rho), seed, count)
        for name, value in truth.items():
            if table[f"{name}_low"] is not None:
                held[name].append(table[f"{name}_low"] - 1e-6 <= value <= table[f"{name}_high"] + 1e-6)
        for row, value in zip(table["per_class"].values(), plain["f1_by_class"][0], strict=True):
            if row["f1_low"] is not None:
                held[CLASS_F1].append(row["f1_low"] <= value <= row["f1_high"])
    return {name: float(np.mean(values)) for name, values in held.items() if len(values) > trials / 2}


def draw(
    images: int, classes: int, lead: float, sharpness: float, seed: int,
    rarest: float = 1.0, group: int = 1, rho: float = 0.0,
) -> Predictions:  # fmt: skip
    """Return the answers of a classifier whose logits lead for one class by `lead`, on so many images."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(images, classes))
    shares = np.geomspace(1, 1 / rarest, classes)
    leads = rng.choice(classes, images, p=shares / shares.sum()) if rarest != 1 else rng.integers(0, classes, images)
    logits[np.arange(images), leads] += lead
    shares = softmax(logits)
    labels = np.minimum((shares.cumsum(axis=1) < rng.random((images, 1))).sum(axis=1), classes - 1)
    names = [str(number) for number in range(classes)]
    groups: list[str] = []
    if group > 1:
        index = np.arange(images) // group
        copied = np.where(rng.random(images) < rho**0.5, index * group, np.arange(images))
        logits, labels, groups = logits[copied], labels[copied], [f"group {number}" for number in index]
    ids = [str(number) for number in range(images)]
    return Predictions.of(ids, names, labels, softmax(sharpness * logits), groups)


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
