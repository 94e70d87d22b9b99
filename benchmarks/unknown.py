"""Measure what a classifier's doubts are worth: sets of classes, pictures unlike the training images, unsure answers.

    python -m benchmarks.unknown ants-and-bees=RUN digits=. [--partitions 200] [--pictures 300] [--others NAME=FOLDER …]

RUN is a folder in which the pipeline has run to the end. Writes two tables into benchmarks/README.md.

The first: a run's samples are divided anew each time, 70 % train, 15 % val, 15 % test, each class alike; a head is
trained, the limits come from val, and test measures them. Means over the partitions: they must be at least the level of
a set, at least the share to answer and the accuracy asked for, and at most the share that may be called unknown.

The second: a run's exported model answers its own test images and pictures of other things: so many of each other run,
those below a folder, noise, and flat colours. How well the similarity tells them apart (AUROC), how many are called
unknown, and how many get an answer with more than 90 %.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.heads import README, SPLITS, divide
from darkroom.core import files
from darkroom.core.errors import BadImage
from darkroom.core.exactmath import softmax
from darkroom.core.params import load
from darkroom.images.shards import Shards, open_split
from darkroom.metrics.abstention import Answered, Wanted, calibrate, measure
from darkroom.model import classifier, novelty
from darkroom.serve.predictor import Predictor
from darkroom.training.calibrate import fit_temperature
from darkroom.training.linear import train_head
from darkroom.training.recipe import Recipe, enough_epochs, rate_factor

BEGINS, ENDS = "<!-- unknown, written by `python -m benchmarks.unknown` -->", "<!-- end of unknown -->"
MADE = ("noise", "flat")
WANTED, EXACTING = Wanted(None, 0.05, answer_share=0.9), Wanted(None, 0.05, answer_accuracy=0.99)
PARTITIONED = ["model of", "val, test images", "accuracy", "level: coverage, classes a set", "called unknown, of 5 %",
               "answered, of 90 %", "right", "answered where 99 % are to be right", "right"]  # fmt: skip
SHOWN = ["model of", "shown", "pictures", "AUROC", "called unknown", "answered with more than 90 %"]


def main() -> None:
    """Measure, print each row, and write both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", help="name=folder")
    parser.add_argument("--partitions", type=int, default=200)
    parser.add_argument("--pictures", type=int, default=300, help="of each other set, at most")
    parser.add_argument("--others", nargs="*", default=[], help="name=folder of pictures")
    asked = parser.parse_args()
    runs, others = ({name: Path(path) for name, _, path in (each.partition("=") for each in pairs)}
                    for pairs in (asked.runs, asked.others))  # fmt: skip
    lines = [*header(PARTITIONED), *shown(partitioned(name, run, asked.partitions) for name, run in runs.items()), ""]
    lines += header(SHOWN)
    for name, run in runs.items():
        pictures = {other: pictures_of(folder, asked.pictures) for other, folder in runs.items() if other != name}
        pictures |= {other: spread(sorted(filter(Path.is_file, folder.rglob("*"))), asked.pictures)
                     for other, folder in others.items()}  # fmt: skip
        lines += shown(strangers(name, run, pictures | {kind: made(kind, asked.pictures) for kind in MADE}))
    before, _, rest = README.read_text().partition(BEGINS)
    files.write_text(README, f"{before}{BEGINS}\n" + "\n".join(lines) + f"\n{ENDS}{rest.partition(ENDS)[2]}")


def header(names: list[str]) -> list[str]:
    """Return the first two lines of a table."""
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def shown(rows: Iterable[list[str]]) -> Iterator[str]:
    """Yield rows as lines of a table, printed as soon as they are there."""
    for row in rows:
        line = f"| {' | '.join(row)} |"
        print(line, flush=True)
        yield line


def partitioned(name: str, run: Path, count: int) -> list[str]:
    """Return the row of the means over `count` partitions of a run."""
    parts = [Shards(run / "data/features" / split) for split in SPLITS]
    tables = [partition(parts, number) for number in range(count)]
    levels = []
    for level in sorted({row["level"] for table in tables for row in table["sets"]["levels"]}):
        rows = [row for table in tables for row in table["sets"]["levels"] if row["level"] == level]
        coverage, size = (np.mean([row[key] for row in rows]) for key in ("coverage", "mean_size"))
        levels.append(f"{level:.0%}: {coverage:.1%}, {size:.2f}")
    means = [mean(tables, block, key) for block, key in (
        ("unknown", "flagged"), ("answering", "answered"), ("answering", "accuracy"),
        ("exacting", "answered"), ("exacting", "accuracy"))]  # fmt: skip
    accuracy = np.mean([table["accuracy"] for table in tables])
    sizes = f"{tables[0]['val']}, {tables[0]['unknown']['n']}"
    return [name, sizes, f"{accuracy:.1%}", "; ".join(levels), *means]


def mean(tables: list[dict[str, Any]], block: str, key: str) -> str:
    """Return the mean of a share over the tables that have it."""
    found = [table[block][key] for table in tables if table[block][key] is not None]
    return f"{np.mean(found):.1%}" if found else "none"


def partition(parts: list[Shards], number: int) -> dict[str, Any]:
    """Return what the limits of partition `number` do on its test images: abstention.measure, `accuracy`, and `val`."""
    train, val, test = divide(parts, number, 0)
    recipe = enough_epochs(load(Recipe), len(train))
    width, classes = train.row_shape[-1], len(train.classes)
    zeros = {
        key: np.zeros_like(value) for key, value in classifier.initial(recipe.head_facts, width, classes, 0).items()
    }
    trained = train_head(train, val, zeros, recipe, rate_factor(train, recipe.optimizer))
    temperature = fit_temperature(trained.logits, val.labels)
    chosen = np.random.default_rng(number).permutation(len(train))[: novelty.most(width, classes)]
    known = novelty.references(train.features(chosen, np.zeros(len(chosen), np.int64)), classes)
    assert known is not None
    answered = []
    for table in (val, test):
        features = table.features(np.arange(len(table)), np.zeros(len(table), np.int64))
        probabilities = softmax(classifier.logits(features, trained.head), temperature)
        answered.append(Answered(table.labels, probabilities, novelty.similarity(features, known)))
    found, exacting = (measure(answered[1], calibrate(answered[0], wanted), wanted) for wanted in (WANTED, EXACTING))
    return found | {
        "exacting": exacting["answering"], "accuracy": float(answered[1].right.mean()), "val": len(val)
    }  # fmt: skip


def strangers(name: str, run: Path, pictures: dict[str, list[Any]]) -> Iterator[list[str]]:
    """Yield the row of a run's own test images, and one for each kind of other `pictures`."""
    predictor = Predictor(run / "models/export", spin=False)
    own = answers(predictor, (rows for rows, _ in open_split(run / "data/shards", "test").batches(8)))
    yield [name, "its test images", *figures(predictor, own, None)]
    for other, every in pictures.items():
        found = answers(predictor, batches(each for picture in every for each in readable(predictor, picture)))
        yield ["", other, *figures(predictor, found, own[0])]


def figures(predictor: Predictor, found: tuple[np.ndarray, np.ndarray], own: np.ndarray | None) -> list[str]:
    """Return the cells of one row: their number, the AUROC against one's `own`, called unknown, answered surely."""
    assert predictor.limits.similarity is not None
    unknown = ~(found[0] >= predictor.limits.similarity)
    ranked = "" if own is None else f"{auroc(own, found[0]):.3f}"
    return [f"{len(unknown):,}", ranked, f"{unknown.mean():.1%}", f"{(found[1] > 0.9).mean():.1%}"]


def pictures_of(run: Path, most: int) -> list[np.ndarray]:
    """Return so many images of a run, of all splits, (S, S, 3) uint8 as they were preprocessed."""
    parts = [open_split(run / "data/shards", split) for split in SPLITS]
    every = [(part, row) for part in parts for row in range(len(part))]
    return [part.rows(np.array([row]))[0] for part, row in spread(every, most)]


def spread(every: list[Any], most: int) -> list[Any]:
    """Return `most` of a list, evenly spread over it, or all."""
    return [every[len(every) * number // most] for number in range(most)] if len(every) > most else every


def made(kind: str, count: int) -> list[np.ndarray]:
    """Return pictures that need no files: noise, or flat colours."""
    random = np.random.default_rng(0)
    return [np.broadcast_to(random.integers(0, 256, (64, 64, 3) if kind == "noise" else 3, np.uint8), (64, 64, 3))
            for _ in range(count)]  # fmt: skip


def readable(predictor: Predictor, picture: Any) -> list[np.ndarray]:
    """Return a picture as the model wants it; nothing where it cannot be read."""
    try:
        return [predictor.pixels(picture)]
    except BadImage:
        return []


def batches(images: Iterable[np.ndarray], size: int = 8) -> Iterator[np.ndarray]:
    """Yield images (S, S, 3) in batches."""
    waiting: list[np.ndarray] = []
    for image in images:
        waiting.append(image)
        if len(waiting) == size:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)


def answers(predictor: Predictor, images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return similarity (n,) and confidence (n,) of batches of images."""
    found = [(each.similarity, each.probability) for batch in images for each in predictor.answers(batch)]
    similarity, confidence = np.array(found, np.float64).T
    return similarity, confidence


def auroc(own: np.ndarray, others: np.ndarray) -> float:
    """Return the probability that one of `others` is less similar than one's own, ties half."""
    ranked = np.sort(own)
    below, upto = (np.searchsorted(ranked, others, side) for side in ("left", "right"))
    return float(1 - (below + upto).mean() / (2 * len(own)))


if __name__ == "__main__":
    main()
