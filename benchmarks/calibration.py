"""Compare ways to choose the temperature of a head, by log loss on test images, over divisions of cached features.

    python -m benchmarks.calibration dogs-vs-cats=RUN digits=. [--images 200,0] [--splits 10]

RUN is a folder in which the pipeline has run as far as embed; see benchmarks/heads.py for the divisions. Prints a
Markdown table: the mean log loss without a temperature, with the one of the least loss on validation images, with
Platt's smoothing of it, and with darkroom.training.calibrate's.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.heads import SPLITS, divide
from darkroom.core.params import load
from darkroom.images.shards import Shards
from darkroom.model import classifier
from darkroom.training import calibrate
from darkroom.training.linear import train_head
from darkroom.training.recipe import Recipe, enough_epochs, rate_factor


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", help="name=folder")
    parser.add_argument("--images", default="0", help="numbers of training images, by commas; 0: all")
    parser.add_argument("--splits", type=int, default=10)
    asked = parser.parse_args()
    print("| set | validation images | no temperature | least loss | Platt's smoothing | cross-fitted |")
    print("|---|---|---|---|---|---|")
    for name, _, folder in (run.partition("=") for run in asked.runs):
        parts = [Shards(Path(folder) / "data/features" / split) for split in SPLITS]
        for images in map(int, asked.images.split(",")):
            measured = [measure(parts, split, images) for split in range(asked.splits)]
            losses = " | ".join(f"{loss:.4f}" for loss in np.mean([each[1:] for each in measured], axis=0))
            print(f"| {name} | {measured[0][0]} | {losses} |", flush=True)


def measure(parts: list[Shards], split: int, images: int) -> tuple[float, ...]:
    """Return the number of validation images, and the log loss on test by each way, of one division."""
    train, val, test = divide(parts, split, images)
    recipe = enough_epochs(load(Recipe), len(train))
    head = classifier.initial(recipe.head_facts, train.row_shape[-1], len(train.classes), recipe.seed)
    zeros = {name: np.zeros_like(value) for name, value in head.items()}
    trained = train_head(train, val, zeros, recipe, rate_factor(train, recipe.optimizer))
    samples = np.arange(len(test))
    logits = classifier.logits(test.features(samples, np.zeros(len(test), np.int64)), trained.head).astype(np.float64)
    known = trained.logits.astype(np.float64)
    temperatures = (
        1.0,
        1 / calibrate.inverse_temperature(known, val.labels, 0.0),
        1 / calibrate.inverse_temperature(known, val.labels, 1 / (len(known) + 2)),
        calibrate.fit_temperature(known, val.labels),
    )
    return (len(val), *(calibrate.log_loss(logits, test.labels, each) / len(test) for each in temperatures))


if __name__ == "__main__":
    main()
