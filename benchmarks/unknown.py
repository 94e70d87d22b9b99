"""Measure what a classifier's doubts are worth: sets of classes, pictures unlike the training images, unsure answers.

    python -m benchmarks.unknown partitions hymenoptera=RUN digits=. [--partitions 200]
    python -m benchmarks.unknown strangers RUN dogs=FOLDER digits mnist=FOLDER noise flat

`partitions`: RUN is a folder in which the pipeline has run as far as embed. Its samples are divided anew each time,
70 % train, 15 % val, 15 % test, each class alike; a head is trained, the limits come from val, and test measures them.
Prints the means: they must be at least the level of a set, and at most the share that may be called unknown.

`strangers`: RUN is a folder in which the pipeline has run to the end. Its exported model answers its own test images
and pictures of other things: those below a folder, scikit-learn's `digits`, `noise`, and `flat` colours. Prints how
well the similarity tells them apart (AUROC), how many are called unknown, and how many get an answer with more than
90 %.
"""

import argparse
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.heads import SPLITS, divide
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

MADE = 200  # pictures of noise, and of flat colours
WANTED = Wanted(None, 0.05, answer_share=0.9)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    kinds = parser.add_subparsers(required=True, dest="kind")
    partitions = kinds.add_parser("partitions")
    partitions.add_argument("runs", nargs="+", help="name=folder")
    partitions.add_argument("--partitions", type=int, default=200)
    strangers = kinds.add_parser("strangers")
    strangers.add_argument("run", type=Path)
    strangers.add_argument("others", nargs="+", help="name=folder of pictures, or digits, noise, flat")
    asked = parser.parse_args()
    if asked.kind == "partitions":
        print_partitions(asked.runs, asked.partitions)
    else:
        print_strangers(asked.run, asked.others)


def print_partitions(runs: list[str], count: int) -> None:
    """Print the means over `count` partitions of each run."""
    print(
        "| set | val, test | accuracy | level: coverage, mean size | called unknown at 5 % | answered at 90 %, right |"
    )
    print("|---|---|---|---|---|---|")
    for name, _, folder in (run.partition("=") for run in runs):
        parts = [Shards(Path(folder) / "data/features" / split) for split in SPLITS]
        tables = [partition(parts, number) for number in range(count)]
        levels = {row["level"] for table in tables for row in table["sets"]["levels"]}
        shown = []
        for level in sorted(levels):
            rows = [row for table in tables for row in table["sets"]["levels"] if row["level"] == level]
            coverage, size = (np.mean([row[key] for row in rows]) for key in ("coverage", "mean_size"))
            shown.append(f"{level:.0%}: {coverage:.1%}, {size:.2f}")
        means = {
            key: mean(tables, *key.split()) for key in ("unknown flagged", "answering answered", "answering accuracy")
        }
        accuracy = np.mean([table["accuracy"] for table in tables])
        sizes = f"{tables[0]['val']}, {tables[0]['unknown']['n']}"
        print(
            f"| {name} | {sizes} | {accuracy:.1%} | {'; '.join(shown)} | {means['unknown flagged']:.1%} | "
            f"{means['answering answered']:.1%}, {means['answering accuracy']:.1%} |",
            flush=True,
        )


def mean(tables: list[dict[str, Any]], block: str, key: str) -> float:
    """Return the mean of a figure over the tables that have it."""
    return float(np.mean([table[block][key] for table in tables if table[block][key] is not None]))


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
    found = measure(answered[1], calibrate(answered[0], WANTED), WANTED)
    return found | {"accuracy": float(answered[1].right.mean()), "val": len(val)}


def print_strangers(run: Path, others: list[str]) -> None:
    """Print how the exported model of `run` tells pictures of other things from its own test images."""
    predictor = Predictor(run / "models/export", spin=False)
    test = open_split(run / "data/shards", "test")
    own = answers(predictor, (rows for rows, _ in test.batches(8)))
    print("| pictures | number | AUROC | called unknown | answered with more than 90 % |\n|---|---|---|---|---|")
    for name, found in {"its own test images": own, **{other: strangers(predictor, other) for other in others}}.items():
        ranked = "" if found is own else f"{auroc(own[0], found[0]):.3f}"
        unknown = ~(found[0] >= predictor.limits.similarity)
        sure = (found[1] > 0.9).mean()
        print(
            f"| {name.partition('=')[0]} | {len(unknown)} | {ranked} | {unknown.mean():.1%} | {sure:.1%} |", flush=True
        )


def strangers(predictor: Predictor, other: str) -> tuple[np.ndarray, np.ndarray]:
    """Return similarity and confidence of the pictures that NAME=FOLDER, digits, noise or flat stands for."""
    pictures: list[Any] = list(made(other))
    if "=" in other:
        pictures = sorted(path for path in Path(other.partition("=")[2]).rglob("*") if path.is_file())
    decoded = (pixels for picture in pictures if (pixels := readable(predictor, picture)) is not None)
    return answers(predictor, batches(decoded))


def made(name: str) -> Iterator[bytes]:
    """Yield pictures that need no files."""
    random = np.random.default_rng(0)
    if name == "digits":
        from sklearn.datasets import load_digits

        for image in load_digits().images[:: 1797 // MADE]:
            yield png((image * 15.9375).astype(np.uint8))
    for _ in range(MADE if name in ("noise", "flat") else 0):
        colour = random.integers(0, 256, (64, 64, 3) if name == "noise" else 3, np.uint8)
        yield png(np.broadcast_to(colour, (64, 64, 3)))


def png(pixels: np.ndarray) -> bytes:
    """Return the bytes of a picture."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()


def readable(predictor: Predictor, picture: Any) -> np.ndarray | None:
    """Return a picture as the model wants it; None where it cannot be read."""
    try:
        return predictor.pixels(picture)
    except BadImage:
        return None


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
