"""Compare heads on cached features, over backbones, divisions, training seeds and numbers of images: one table.

    python -m benchmarks.heads hymenoptera/mobilenet_v2=RUN hymenoptera/both=RUN+RUN digits/small_cnn=. \
        [--images 0,1000] [--each 1,2,4,8,16] [--splits 5] [--heads NAME,NAME]

RUN is a folder in which the pipeline has run as far as embed; several with + have their features put side by side. All
samples are divided anew for each split: 70 % train, 15 % val, 15 % test, each class alike. `--images` limits those of
train (0: all) and keeps a fifth as many for val, at least 10; `--each` takes so many of each class, and a fifth as many
for val. What is measured is kept in benchmarks/heads.json; all of that is the table in benchmarks/README.md.
"""

import argparse
import dataclasses
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from darkroom.core import files
from darkroom.core.exactmath import log_softmax
from darkroom.core.params import load
from darkroom.images.batches import Table
from darkroom.images.shards import Shards
from darkroom.model import classifier
from darkroom.training.calibrate import fit_temperature
from darkroom.training.linear import train_head
from darkroom.training.recipe import Recipe, enough_epochs, rate_factor

HERE = Path(__file__).parent
KEPT, README = HERE / "heads.json", HERE / "README.md"
BEGINS, ENDS = "<!-- heads, written by `python -m benchmarks.heads` -->", "<!-- end of heads -->"
SPLITS = ("train", "val", "test")
SHARES = (0.7, 0.15, 0.15)
DEFAULT = "linear (default)"
SEEDS = (0, 1)
AS_IT_IS = "linear (rate as it is)"  # not fitted to the features; random weights to start from, and epochs alone
PEER = "logistic regression (scikit-learn)"
# Changes of params.yaml.
HEADS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    AS_IT_IS: {"min_steps": 0},
    "linear at lr 0.001": {"lr": 0.001},
    "linear at lr 0.03": {"lr": 0.03},
    "linear with 1500 steps": {"min_steps": 1500},
    "linear with ema 0.99": {"ema": 0.99},
    "linear in one batch": {"batch_size": 1_000_000},
}
STRENGTHS = [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]  # C of scikit-learn
Features = Callable[[np.ndarray], np.ndarray]  # samples (b,) -> (b, D), as they are, not augmented


class SideBySide(Table):
    """The features of several backbones of the same samples, one after the other in a row."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self.tables, first = tables, tables[0]
        self.labels, self.classes, self.parts = first.labels, first.classes, first.parts

    @property
    def row_shape(self) -> tuple[int, ...]:
        """(views, D)."""
        shapes = [table.row_shape for table in self.tables]
        return shapes[0][0], sum(width for _, width in shapes)

    def features(self, samples: np.ndarray, view: np.ndarray) -> np.ndarray:
        """Return (b, D) float32."""
        return np.concatenate([table.features(samples, view) for table in self.tables], axis=1)


def main() -> None:
    """Measure what is asked for, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", help="set/backbone=folder, or folder+folder; none: only write the table")
    parser.add_argument("--images", default="0", help="numbers of training images, by commas; 0: all")
    parser.add_argument("--each", default="", help="numbers of training images of each class, by commas")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--heads", default=",".join([*HEADS, PEER]))
    asked = parser.parse_args()
    heads = asked.heads.split(",")
    if unknown := set(heads) - {*HEADS, PEER}:
        parser.error(f"{', '.join(unknown)}: the heads are {', '.join([*HEADS, PEER])}")
    for run in asked.runs:
        name, _, folders = run.partition("=")
        bodies = [[Shards(Path(folder) / "data/features" / split) for split in SPLITS] for folder in folders.split("+")]
        ids = [[part.ids() for part in parts] for parts in bodies]
        if any(other != ids[0] for other in ids):
            raise SystemExit(f"{name}: the runs hold other images, or in another order; give them the same source")
        sizes = [("", int(count)) for count in asked.images.split(",")] if not asked.each else []
        sizes += [("each", int(count)) for count in asked.each.split(",") if count]
        for kind, size in sizes:
            for head in heads:
                found = []
                for split in range(asked.splits):
                    of_bodies = [divide(parts, split, size, kind == "each") for parts in bodies]
                    found.append(measure([SideBySide(tables) for tables in zip(*of_bodies, strict=True)], head))
                key = f"{name}|{kind}{size}|{head}"
                kept = files.read_json(KEPT) if KEPT.exists() else {}
                files.write_json(KEPT, kept | {key: found})
                print(key, {value: round(float(np.mean([each[value] for each in found])), 4) for value in found[0]},
                      flush=True)  # fmt: skip
    write(files.read_json(KEPT))


def measure(tables: Sequence[Table], head: str) -> dict[str, Any]:
    """Return the mean over training seeds of what a head reaches on test, and what its training was like."""
    train, val, test = tables
    samples = np.arange(len(test))
    answers, losses, temperatures, stops = [], [], [], []
    started = time.process_time()
    for seed in SEEDS if head in HEADS else (0,):
        logits_of, stop = by_gradient(train, val, head, seed) if head in HEADS else by_scikit_learn(train)
        temperature = fit_temperature(logits_of(plain(val)), val.labels)
        logits = logits_of(plain(test))
        losses.append(-log_softmax(logits, temperature)[samples, test.labels].mean())
        answers.append(logits.argmax(axis=1))
        temperatures.append(temperature)
        stops.append(stop)
    return {
        "images": len(train),
        "accuracy": float(np.mean([(answer == test.labels).mean() for answer in answers])),
        "log_loss": float(np.mean(losses)),
        "changed": float((answers[0] != answers[-1]).mean()),
        "stop": float(np.mean(stops)),
        "temperature": float(np.mean(temperatures)),
        "seconds": (time.process_time() - started) / len(answers),
    }


def by_gradient(train: Table, val: Table, head: str, seed: int) -> tuple[Features, float]:
    """Train a head as the pipeline does. Return its logits, and the epoch that is kept as a share of all epochs."""
    recipe = dataclasses.replace(load(Recipe), **HEADS[head], train_seed=seed)
    recipe = enough_epochs(recipe, len(train))
    start = classifier.initial(recipe.head_facts, train.row_shape[-1], len(train.classes), seed)
    rate = 1.0
    if head != AS_IT_IS:
        start = {name: np.zeros_like(value) for name, value in start.items()}
        rate = rate_factor(train, recipe.optimizer)
    trained = train_head(train, val, start, recipe, rate)
    return lambda rows: classifier.logits(rows, trained.head).astype(np.float64), (
        trained.best_epoch + 1
    ) / recipe.epochs


def by_scikit_learn(train: Table) -> tuple[Features, float]:
    """Fit scikit-learn's logistic regression, C by cross-validation of as many folds as there are images, at most 5."""
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

    warnings.simplefilter("ignore")
    folds = min(5, int(np.bincount(train.labels)[np.unique(train.labels)].min()))
    chosen = LogisticRegression(max_iter=500)
    if folds > 1:
        chosen = LogisticRegressionCV(Cs=STRENGTHS, cv=folds, scoring="neg_log_loss", max_iter=500)
    chosen.fit(plain(train), train.labels)

    def logits(rows: np.ndarray) -> np.ndarray:
        scores = chosen.decision_function(rows)
        scores = np.stack([-scores / 2, scores / 2], axis=1) if scores.ndim == 1 else scores
        found = np.full((len(rows), len(train.classes)), -100.0)  # a class that it has not seen
        found[:, chosen.classes_] = scores
        return found

    return logits, 0.0


def plain(table: Table) -> np.ndarray:
    """Return the features (n, D) of all samples as they are."""
    return table.features(np.arange(len(table)), np.zeros(len(table), np.int64))


def divide(parts: list[Shards], split: int, images: int, each: bool = False) -> list[Table]:
    """Return the tables of train, val and test of division number `split`, of `images`, or so many of `each` class."""
    random = np.random.default_rng(split)
    labels = np.concatenate([part.labels for part in parts])
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = random.permutation(len(members)) / len(members)
    first, second = SHARES[0], SHARES[0] + SHARES[1]
    chosen = [random.permutation(np.flatnonzero(mask)) for mask in (rank < first, (rank >= first) & (rank < second))]
    if each:
        chosen = [some(labels, rows, count) for rows, count in zip(chosen, (images, -(-images // 5)), strict=True)]
    elif images:
        chosen = [chosen[0][:images], chosen[1][: max(10, images // 5)]]
    return [table(parts, rows) for rows in (*chosen, np.flatnonzero(rank >= second))]


def some(labels: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` of `rows` of each class."""
    return np.concatenate([rows[labels[rows] == label][:count] for label in np.unique(labels)])


def table(parts: list[Shards], rows: np.ndarray) -> Table:
    """Return `rows`, numbers over all parts, as a table."""
    ends = np.cumsum([len(part) for part in parts])
    starts = ends - [len(part) for part in parts]
    rows = np.sort(rows)
    return Table(parts, [rows[(rows >= start) & (rows < end)] - start for start, end in zip(starts, ends, strict=True)])


def write(kept: dict[str, list[dict[str, Any]]]) -> None:
    """Write all that was measured into the README, between two markers."""
    header = ["set", "backbone", "images", "head", "accuracy", "log loss", "against the default", "changed by the seed"]
    header += ["kept epoch", "temperature", "seconds"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    lines += [line(key, kept[key], kept) for key in sorted(kept, key=position)]
    before, _, rest = README.read_text().partition(BEGINS)
    files.write_text(README, f"{before}{BEGINS}\n" + "\n".join(lines) + f"\n{ENDS}{rest.partition(ENDS)[2]}")


def position(key: str) -> tuple[Any, ...]:
    """Return by what a row is placed: its set and backbone, its size, its head."""
    name, size, head = key.split("|")
    return name, size.startswith("each"), int(size.removeprefix("each")), [*HEADS, PEER].index(head)


def line(key: str, found: list[dict[str, Any]], kept: dict[str, list[dict[str, Any]]]) -> str:
    """Return a row of the table: means, 95 % intervals, and what differs from the default's with its p."""
    name, size, head = key.split("|")
    values = {value: np.array([each[value] for each in found]) for value in found[0]}
    images = f"{int(size.removeprefix('each'))} a class" if size.startswith("each") else f"{int(values['images'][0]):,}"
    default = kept.get(f"{name}|{size}|{DEFAULT}", [])
    against = ""
    if head != DEFAULT and len(default) == len(found) > 1:
        gains = {value: values[value] - [each[value] for each in default] for value in ("accuracy", "log_loss")}
        against = ", ".join(f"{gain.mean():+.4f} (p {uncertainty(gain)[1]:.2f})" for gain in gains.values())
    cells = [*name.split("/", 1), images, head]
    for value in ("accuracy", "log_loss"):
        half = f" ± {uncertainty(values[value])[0]:.4f}" if len(found) > 1 else ""
        cells.append(f"{values[value].mean():.4f}{half}")
    cells += [against, f"{values['changed'].mean():.2%}" if head in HEADS else "",
              f"{values['stop'].mean():.2f} of all" if head in HEADS else "",
              f"{values['temperature'].mean():.2f}", f"{values['seconds'].mean():.2f}"]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def uncertainty(values: np.ndarray, held: float = SHARES[2] / SHARES[0]) -> tuple[float, float]:
    """Return half the 95 % interval of the mean over divisions, and the p of its being zero.

    `held`: images that judge for each that is learnt from. Divisions share most of their images: the variance is Nadeau
    and Bengio's (Machine Learning 52, 2003).
    """
    error = values.std(ddof=1) * (1 / len(values) + held) ** 0.5
    freedom = len(values) - 1
    p = 2 * student.sf(abs(values.mean()) / error, freedom) if error else float(not values.mean())
    return float(student.ppf(0.975, freedom) * error), float(p)


if __name__ == "__main__":
    main()
