"""Measure how often each printed 95 % interval holds the truth, by simulation of classifiers whose truth is known.

    python -m benchmarks.coverage [--classes 2,10,100] [--images 30,150,1000] [--accuracy 0.68,0.9,0.98] [--folds 5]
                                  [--sharpness 1,1.5] [--rarest 1] [--group 1] [--rho 0.5] [--trials 200]

A classifier draws normal logits with a lead for one class, and the label follows their softmax: the probabilities are
calibrated at a sharpness of 1 and too sure above. The truth is the score of 200,000 images (fewer for many classes),
and 0 for the ECE of a calibrated one. `--rarest`: how many times rarer the rarest class leads than the commonest.
`--group`: images of a group, of which two have the same answer and label with a probability of `--rho`; or groups of
mixed sizes, repeated until there are so many images: 180x1+20x30. Class F1 is counted over all classes. Prints a
Markdown table of percentages; "few": where most test sets got no interval.

`--folds`: instead, a cross-validation of classifiers that learn, and how often the pooled intervals of
metrics/crossval.json hold the mean score of its models: normal `--features`, by a regularised linear discriminant. They
are those of a test set, `--widened` by a factor; the pipeline's own is the last one.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np

from darkroom.metrics import registry
from darkroom.metrics.intervals import OUT_OF_FOLD, RESAMPLES
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.scores import Scorer
from darkroom.metrics.summary import summarise
from darkroom.training.folds import pooled

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
    parser.add_argument("--group", default="1", help="images of a group, or groups such as 180x1+20x30, by commas")
    parser.add_argument("--rho", default="0.5", help="correlation within a group, by commas")
    parser.add_argument("--folds", type=int, default=0, help="of a cross-validation, whose pooled intervals are tried")
    parser.add_argument("--features", type=int, default=64, help="of an image, with --folds")
    parser.add_argument("--widened", default=f"1,1.2,{OUT_OF_FOLD:g}", help="factors, with --folds, by commas")
    parser.add_argument("--trials", type=int, default=200)
    asked = parser.parse_args()
    names = [metric.key for metric in registry.METRICS] + [CLASS_F1]
    measure = partial(coverage, count=RESAMPLES)
    if asked.folds:
        widened = numbers(asked.widened)
        names = [f"{metric.key} × {factor:g}" for factor in widened for metric in registry.headline()]
        measure = partial(pooled_coverage, folds=asked.folds, features=asked.features, widened=widened)
    columns = ("classes", "images", "accuracy", "sharpness", "rarest", "group", "rho", *names)
    print("|", " | ".join(columns), "|")
    print("|---" * len(columns) + "|")
    texts = (asked.classes, asked.images, asked.accuracy, asked.sharpness, asked.rarest)
    for shape, group, rho in product(product(*map(numbers, texts)), asked.group.split(","), numbers(asked.rho)):
        classes, images, accuracy, sharpness, rarest = shape
        found = measure(
            int(classes), int(images), accuracy, sharpness, asked.trials, rarest=rarest, group=sizes_of(group), rho=rho
        )
        cells = [f"{100 * found[name]:.0f}" if name in found else "few" for name in names]
        design = [*(f"{value:g}" for value in shape), group, f"{rho:g}"]
        print("|", " | ".join([*design, *cells]), "|", flush=True)


def numbers(text: str) -> list[float]:
    """Return the numbers of a list by commas."""
    return [float(part) for part in text.split(",")]


def sizes_of(text: str) -> list[int]:
    """Return the sizes of groups: [10] of "10", and 180 times 1 and 20 times 30 of "180x1+20x30"."""
    parts = [part.rpartition("x") for part in text.split("+")]
    return [int(size) for times, _, size in parts for _ in range(int(times or 1))]


def coverage(
    classes: int, images: int, accuracy: float, sharpness: float, trials: int, count: int = RESAMPLES,
    rarest: float = 1.0, group: Sequence[int] = (1,), rho: float = 0.0,
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
    rarest: float = 1.0, group: Sequence[int] = (1,), rho: float = 0.0,
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
    if max(group) > 1:
        index = group_of(images, group)
        copied = copies_in_groups(rng, index, rho)
        logits, labels, groups = logits[copied], labels[copied], [f"group {number}" for number in index]
    ids = [str(number) for number in range(images)]
    return Predictions.of(ids, names, labels, softmax(sharpness * logits), groups)


def group_of(images: int, sizes: Sequence[int]) -> np.ndarray:
    """Return the group of each image, int64 (images,): groups of such sizes, again and again."""
    return np.repeat(np.arange(images), np.resize(sizes, images))[:images]


def copies_in_groups(rng: np.random.Generator, index: np.ndarray, rho: float) -> np.ndarray:
    """Return for each image itself, or the first of its group `index` (n,), of which two agree with probability rho."""
    own = np.arange(len(index))
    return np.where(rng.random(len(index)) < rho**0.5, np.searchsorted(index, index), own)


def pooled_coverage(
    classes: int, images: int, accuracy: float, sharpness: float, trials: int, folds: int = 5, features: int = 64,
    rarest: float = 1.0, group: Sequence[int] = (1,), rho: float = 0.0, truth: int = 20_000,
    widened: Sequence[float] = (OUT_OF_FOLD,),
) -> dict[str, float]:  # fmt: skip
    """Return for each headline score and factor of `widened` how often the pooled interval holds its models' mean.

    `accuracy` is about that of these models; `rarest` is not used. So many images tell the `truth`.
    """
    del rarest
    centres = np.random.default_rng(5).normal(size=(classes, features))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    names = [str(number) for number in range(classes)]

    def trial(apart: float, seed: int) -> tuple[list[Predictions], list[dict[str, np.ndarray]]]:
        """Return the out-of-fold answers, and the true scores of each fold's model."""
        rng = np.random.default_rng(seed)
        labels, index = rng.integers(0, classes, images + truth), group_of(images, group)
        values = apart * centres[labels] + rng.normal(size=(images + truth, features))
        copied = copies_in_groups(rng, index, rho)
        values[:images], labels[:images] = values[copied], labels[copied]
        fold = rng.permutation(index[-1] + 1)[index] % folds
        answers, true = [], []
        for number in range(folds):
            held = np.flatnonzero(fold == number)
            learnt = np.flatnonzero(fold != number)
            weights, offset = discriminant(values[learnt], labels[learnt], classes)
            shares = softmax(sharpness * (values @ weights + offset))
            ids, groups = [str(row) for row in held], [f"group {index[row]}" for row in held]
            answers.append(Predictions.of(ids, names, labels[held], shares[held], groups if max(group) > 1 else []))
            true.append(Scorer.of(labels[images:], shares[images:]).unweighted)
        return answers, true

    low, high = 0.0, 20.0
    for _ in range(8):
        apart = (low + high) / 2
        seen = np.mean([each["accuracy"] for seed in range(3) for each in trial(apart, seed)[1]])
        low, high = (apart, high) if seen < accuracy else (low, apart)
    held: dict[str, list[bool]] = {}
    for seed in range(trials):
        answers, true = trial(apart, 1000 + seed)
        for factor in widened:
            table = pooled(answers, factor)
            for name in (metric.key for metric in registry.headline()):
                mean, low, high = (float(np.mean([each[name] for each in true])), table[f"{name}_low"],
                                   table[f"{name}_high"])  # fmt: skip
                if low is not None:
                    held.setdefault(f"{name} × {factor:g}", []).append(low - 1e-6 <= mean <= high + 1e-6)
    return {name: float(np.mean(values)) for name, values in held.items() if len(values) > trials / 2}


def discriminant(values: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (D, K) and offsets (K,) of a linear discriminant, regularised as by 20 further images."""
    sums, counts = np.zeros((classes, values.shape[1])), np.bincount(labels, minlength=classes)
    np.add.at(sums, labels, values)
    means = (sums + values.mean(axis=0)) / (counts + 1)[:, None]
    rest = values - means[labels]
    spread = (rest.T @ rest + 20 * np.eye(values.shape[1])) / (len(values) + 20)
    weights = np.linalg.solve(spread, means.T)
    return weights, -0.5 * (means.T * weights).sum(axis=0)


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
