"""Compare recipes of the linear head on cached features, over splits, training seeds and numbers of images.

    python -m benchmarks.heads hymenoptera=RUN digits=. mnist=RUN [--images 40,150,1000,0] [--splits 5]

RUN is a folder in which the pipeline has run as far as embed. All its samples are divided anew for each split: 70 %
train, 15 % val, 15 % test, each class alike; `--images` limits those of train (0: all) and keeps a fifth as many for
val, at least 10. Prints a Markdown table: accuracy and log loss on test with the standard deviation over splits, the
share of answers that another training seed changes, and seconds of processor time for one training.
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.exactmath import log_softmax
from darkroom.core.params import load
from darkroom.images.batches import Table
from darkroom.images.shards import Shards
from darkroom.model import classifier
from darkroom.training.calibrate import fit_temperature
from darkroom.training.linear import train_head
from darkroom.training.recipe import Recipe, enough_epochs, rate_factor

SPLITS = ("train", "val", "test")
# Whether the rate is fitted to the features and the weights start from zero; changes of params.yaml.
RECIPES: dict[str, tuple[bool, dict[str, Any]]] = {
    "rate as it is, epochs alone": (False, {"min_steps": 0}),
    "rate fitted": (True, {"min_steps": 0}),
    "rate fitted, 500 steps (default)": (True, {}),
    "rate fitted, 1,500 steps": (True, {"min_steps": 1500}),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", help="name=folder")
    parser.add_argument("--images", default="0", help="numbers of training images, by commas; 0: all")
    parser.add_argument("--splits", type=int, default=5)
    asked = parser.parse_args()
    print(
        "| set | images | recipe | accuracy | log loss | changed by the seed | seconds |\n|---|---|---|---|---|---|---|"
    )
    for name, _, folder in (run.partition("=") for run in asked.runs):
        parts = [Shards(Path(folder) / "data/features" / split) for split in SPLITS]
        for images in map(int, asked.images.split(",")):
            for recipe, (fitted, changes) in RECIPES.items():
                found = [measure(parts, split, images, fitted, changes) for split in range(asked.splits)]
                accuracy, loss, changed, seconds, count = np.array(found).T
                print(
                    f"| {name} | {int(count[0]):,} | {recipe} | {accuracy.mean():.4f} ± {accuracy.std():.4f} | "
                    f"{loss.mean():.4f} ± {loss.std():.4f} | {changed.mean():.2%} | {seconds.mean():.2f} |",
                    flush=True,
                )


def measure(
    parts: list[Shards], split: int, images: int, fitted: bool, changes: dict[str, Any]
) -> tuple[float, float, float, float, int]:
    """Return accuracy, log loss, share of changed answers, seconds and training images of one division."""
    train, val, test = divide(parts, split, images)
    answers, losses = [], []
    started = time.process_time()
    for seed in (0, 1):
        recipe = dataclasses.replace(load(Recipe), **changes, train_seed=seed)
        recipe = enough_epochs(recipe, len(train))
        head = classifier.initial(recipe.head_facts, train.row_shape[-1], len(train.classes), seed)
        if fitted:
            head = {name: np.zeros_like(value) for name, value in head.items()}
        rate = rate_factor(train, recipe.optimizer) if fitted else 1.0
        trained = train_head(train, val, head, recipe, lambda _rows: None, (), rate)
        temperature = fit_temperature(trained.logits, val.labels)
        everything = np.arange(len(test))
        logits = classifier.logits(test.features(everything, np.zeros(len(test), np.int64)), trained.head)
        losses.append(-log_softmax(logits, temperature)[everything, test.labels].mean())
        answers.append(logits.argmax(axis=1))
    seconds = (time.process_time() - started) / 2
    accuracy = np.mean([(answer == test.labels).mean() for answer in answers])
    return float(accuracy), float(np.mean(losses)), float((answers[0] != answers[1]).mean()), seconds, len(train)


def divide(parts: list[Shards], split: int, images: int) -> list[Table]:
    """Return the tables of train, val and test of division number `split`."""
    random = np.random.default_rng(split)
    labels = np.concatenate([part.labels for part in parts])
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = random.permutation(len(members)) / len(members)
    chosen = [random.permutation(np.flatnonzero(mask)) for mask in (rank < 0.7, (rank >= 0.7) & (rank < 0.85))]
    if images:
        chosen = [chosen[0][:images], chosen[1][: max(10, images // 5)]]
    ends = np.cumsum([len(part) for part in parts])
    starts = ends - [len(part) for part in parts]
    tables = []
    for rows in (*chosen, np.flatnonzero(rank >= 0.85)):
        rows = np.sort(rows)
        places = [rows[(rows >= start) & (rows < end)] - start for start, end in zip(starts, ends, strict=True)]
        tables.append(Table(parts, places))
    return tables


if __name__ == "__main__":
    main()
