"""Measure data sets x backbones x heads and recipes in one table, beside other projects on the same photos.

    python -m benchmarks.recipes [--shared ../shared] [--flowers FOLDER] [--splits 3] [--only SET,SET]
                                 [--row NAME …] [--fresh]

Makes a project for each set and backbone in .bench/recipes and runs the pipeline there as far as embed. Then one fold
of data/split.csv after the other is held out: images of train are learnt from, those of val choose the epoch and the
temperature, the test set stays unseen. Fold number k has the training seed k; heads are trained with the seed k + 100,
too, to count the answers that the seed changes. Finished measurements are kept in .bench/recipes: a run that was broken
off goes on. `--row` measures this head or recipe alone; other rows stay. Writes benchmarks/recipes.json and the
table in benchmarks/README.md.
"""

import argparse
import dataclasses
import itertools
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import fisher_exact

from benchmarks.heads import by_scikit_learn, plain, some, uncertainty
from benchmarks.side_by_side.darkroom import Project
from benchmarks.side_by_side.photos import DRAWN
from benchmarks.side_by_side.photos import mnist as mnist_images
from benchmarks.side_by_side.settings import ROOT
from benchmarks.side_by_side.store import Store
from darkroom.core import files
from darkroom.core.exactmath import log_softmax
from darkroom.core.params import load
from darkroom.core.runtime import from_environment
from darkroom.images.batches import Table
from darkroom.training.calibrate import fit_temperature
from darkroom.training.data import Data
from darkroom.training.folds import Held, open_fold
from darkroom.training.recipe import FINETUNE, Recipe
from darkroom.training.train import train
from stages.fold import logits

RESULTS, README, WORK = ROOT / "benchmarks/results", ROOT / "benchmarks/README.md", ROOT / ".bench/recipes"
KEPT = ROOT / "benchmarks/recipes.json"
BEGINS, ENDS = "<!-- recipes, written by `python -m benchmarks.recipes` -->", "<!-- end of recipes -->"
DEFAULT = "linear (default)"
LOGISTIC = "logistic regression (scikit-learn)"
HEADS: dict[str, dict[str, Any]] = {DEFAULT: {}, "mlp": {"head": "mlp"}}
TUNED: dict[str, dict[str, Any]] = {
    "finetune": {"recipe": FINETUNE},
    "finetune, augment: trivial": {"recipe": FINETUNE, "augment": "trivial"},
}
RECIPES = HEADS | TUNED
ROWS = (*HEADS, LOGISTIC, *TUNED)
FEW_SHOT = (1, 2, 4, 8, 16)  # images of a class
FOLDS = 5
HELD = 1 / (FOLDS - 1)  # images that judge for each that is learnt from
OTHER_SEED = 100


@dataclass(frozen=True)
class Setup:
    """A data set with a backbone. `params`: other changes of params.yaml; the flags say which rows it has."""

    name: str
    backbone: str
    source: str
    weights: str
    params: dict[str, Any]
    few_shot: bool = False
    tuned: bool = False
    logistic: bool = True

    @property
    def folder(self) -> Path:
        """The folder of its project."""
        words = (self.name, self.backbone, *self.params.values())
        return WORK / "-".join(str(word).replace(" ", "-").replace("/", "-") for word in words)

    def recipes(self) -> Iterator[tuple[int, str]]:
        """Yield images of a class (0: all) and the head or recipe of each row."""
        for name in (*HEADS, *([LOGISTIC] if self.logistic else ()), *(TUNED if self.tuned else ())):
            yield 0, name
        for count in FEW_SHOT if self.few_shot else ():
            yield count, DEFAULT


def setups(shared: Path, flowers: Path | None) -> list[Setup]:
    """Return the sets at hand with their backbones; photos are fine-tuned at 128 px, for the time it takes.

    `flowers`: 4,317 photos of 128 px in five class folders, as Kaggle's flowers-recognition has them.
    """
    mobilenet = ("mobilenet_v2", str(shared / "weights/mobilenet_v2.pth"))
    lite = ("timm/tf_efficientnet_lite0", str(shared / "weights/tf_efficientnet_lite0.safetensors"))
    photos = {name: str(shared / "data" / name) for name in ("hymenoptera", "dogs-vs-cats")}
    small, half = {"image_size": 128}, {"limit": 250}  # images a class
    few = small | {"limit": 200}
    more = [(*mobilenet, few), (*mobilenet, small), (*lite, {})] if flowers else []
    return [
        Setup("digits", "small_cnn", "sources/digits.yaml", "weights/small_cnn-mnist.safetensors", {},
             few_shot=True, tuned=True),
        Setup("hymenoptera", mobilenet[0], photos["hymenoptera"], mobilenet[1], small, tuned=True),
        *(Setup("hymenoptera", body, photos["hymenoptera"], weights, {}, few_shot=body == mobilenet[0])
          for body, weights in (mobilenet, lite)),
        Setup("MNIST subset", mobilenet[0], str(mnist(shared, 1, 100)), mobilenet[1], {"image_size": 32}, tuned=True),
        Setup("100 classes of 10", mobilenet[0], str(mnist(shared, 10, 10)), mobilenet[1], {"image_size": 64},
             logistic=False),  # which takes a minute a fold
        Setup("dogs-vs-cats", mobilenet[0], photos["dogs-vs-cats"], mobilenet[1], small | half, tuned=True),
        *(Setup("dogs-vs-cats", body, photos["dogs-vs-cats"], weights, half, few_shot=body == mobilenet[0])
          for body, weights in (mobilenet, lite)),
        *(Setup("flowers", body, str(flowers), weights, params, tuned=params == few, logistic=params == few)
          for body, weights, params in more),  # of all 4,317 it takes ten minutes a fold
    ]  # fmt: skip


def mnist(shared: Path, colours: int, each: int) -> Path:
    """Return the card of a folder of MNIST's first training images, `each` of a digit in one of `colours` colours."""
    folder = WORK / f"mnist-{colours}-{each}"
    card = folder.with_suffix(".yaml")
    if card.exists():
        return card
    pixels, labels = mnist_images(shared)
    shades = np.random.default_rng(0).uniform(0.25, 1, (colours, 3)) if colours > 1 else np.ones((1, 3))
    for digit in range(10):
        rows = np.flatnonzero(labels == digit)[: colours * each]
        for colour, part in enumerate(np.split(rows, colours)):
            (folder / f"{digit}-{colour}").mkdir(parents=True, exist_ok=True)
            for row in part:
                painted = (pixels[row][..., None] * shades[colour]).astype(np.uint8)
                Image.fromarray(painted).save(folder / f"{digit}-{colour}" / f"image{row}.png")
    files.write_json(card, DRAWN["mnist"] | {"name": folder.name, "folder": folder.name})  # JSON is YAML
    return card


def main() -> None:
    """Measure what is not measured yet, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder with data/ and weights/")
    parser.add_argument("--flowers", type=Path, help="folder of photos of flowers, in class folders")
    parser.add_argument("--splits", type=int, choices=range(2, FOLDS + 1), default=3,
                        help="folds that are held out")  # fmt: skip
    parser.add_argument("--only", help="sets, by commas")
    parser.add_argument("--row", action="append", choices=ROWS, help="a head or recipe (default: all)")
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured before")
    parser.add_argument("--report", action="store_true", help="only write the table of what was measured")
    asked = parser.parse_args()
    if asked.report:
        write(files.read_json(KEPT))
        return
    if asked.fresh:
        shutil.rmtree(WORK, ignore_errors=True)
    os.environ["DARKROOM_DOWNLOADS"] = str(WORK)  # below which the cards of MNIST's folders lie
    store = Store(WORK / "kept", {"splits": asked.splits})
    for setup in setups(asked.shared.resolve(), asked.flowers and asked.flowers.resolve()):
        if not asked.only or setup.name in asked.only.split(","):
            rows = rows_of(setup, store, asked.splits, asked.row or ROWS)
            measured_now = {_key(row) for row in rows}
            others = [row for row in (files.read_json(KEPT) if KEPT.exists() else []) if _key(row) not in measured_now]
            files.write_json(KEPT, [*others, *rows])
            write([*others, *rows])


def rows_of(setup: Setup, store: Store, splits: int, only: Sequence[str] = ROWS) -> list[dict[str, Any]]:
    """Run the pipeline as far as embed in a project of its own, and return the rows that are measured there."""
    params = {"source": setup.source, "backbone": setup.backbone, "weights": setup.weights, "folds": FOLDS}
    Project(setup.folder, params | setup.params).dvc(WORK / f"{setup.folder.name}.log", "repro", "embed", "labels")
    os.chdir(setup.folder)  # paths in params.yaml start there
    facts, rows = {"set": setup.name, "backbone": setup.backbone, "params": setup.params}, []
    for count, name in setup.recipes():
        if name not in only:
            continue
        found = store.measured("rows", f"{setup.folder.name} {count} {name}", partial(measured, count, name, splits))
        rows.append(facts | {"each": count, "recipe": name, "folds": found["folds"]})
    os.chdir(ROOT)
    return rows


def measured(count: int, name: str, splits: int) -> dict[str, Any]:
    """Return what a head or recipe reaches on each of the first `splits` folds; `count`: images of a class, 0: all."""
    return {"folds": [fold(number, count, name) for number in range(splits)]}


def fold(number: int, count: int, name: str) -> dict[str, float]:
    """Hold out a fold and train without it. Return its accuracy and log loss, and what the training was like."""
    data, held = open_fold(Path("data/split.csv"), Path("data/shards"), Path("data/features"), number)
    data = fewer(data, count) if count else data
    started = time.monotonic()
    answers, temperature, share = answered(data, held, name, number)
    seconds = time.monotonic() - started
    losses = -log_softmax(answers, temperature)[np.arange(len(answers)), held.labels]
    found = {
        "images": len(data.train_images), "held": len(held.labels), "log_loss": float(losses.mean()),
        "accuracy": float((answers.argmax(axis=1) == held.labels).mean()), "seconds": seconds, "share": share,
    }  # fmt: skip
    if name in HEADS:
        others = answered(data, held, name, number + OTHER_SEED)[0]
        found["changed"] = float((others.argmax(axis=1) != answers.argmax(axis=1)).mean())
    return found


def answered(data: Data, held: Held, name: str, seed: int) -> tuple[np.ndarray, float, float]:
    """Return logits float64 (n, K) of the held-out fold, the temperature, and how far on the way to a tuned network."""
    if name == LOGISTIC:
        assert held.features is not None
        logits_of, _ = by_scikit_learn(data.train_features)
        temperature = fit_temperature(logits_of(plain(data.val_features)), data.val_features.labels)
        return logits_of(plain(held.features)), temperature, 0.0
    recipe, runtime = dataclasses.replace(load(Recipe), **RECIPES[name], train_seed=seed), from_environment()
    trained = train(data, Path("models/body"), recipe, runtime, lambda _rows: None)
    return logits(trained, held, runtime).astype(np.float64), trained.temperature, trained.ran.get("tuned_share", 0.0)


def fewer(data: Data, count: int) -> Data:
    """Return the data with `count` images of each class to learn from, and a fifth as many to choose by."""

    def cut(table: Table, count: int) -> Table:
        rows = some(table.labels, np.random.default_rng(0).permutation(len(table)), count)
        starts = np.cumsum([0, *(len(part) for part in table.parts)])
        at = np.sort(starts[table._part[rows]] + table._index[rows])
        chosen = [at[(at >= low) & (at < high)] - low for low, high in itertools.pairwise(starts)]
        return Table(table.parts, chosen)

    few = -(-count // 5)
    return dataclasses.replace(
        data, train_images=cut(data.train_images, count), val_images=cut(data.val_images, few),
        train_features=cut(data.train_features, count), val_features=cut(data.val_features, few),
    )  # fmt: skip


def write(rows: list[dict[str, Any]]) -> None:
    """Write the table into the README, between two markers."""
    header = ("set", "backbone", "images", "head or recipe", "accuracy", "log loss", "against the default",
              "changed by the seed", "share tuned", "seconds")  # fmt: skip
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    rows = sorted(rows, key=lambda row: (*_group(row), row["each"], ROWS.index(row["recipe"])))
    defaults = {(*_group(row), row["each"]): row["folds"] for row in rows if row["recipe"] == DEFAULT}
    lines += [line(row, defaults[*_group(row), row["each"]]) for row in rows]
    lines += [
        "",
        "| set | project | right | p beside Darkroom | seconds | of processors |",
        "|---|---|---|---|---|---|",
        *peers(),
    ]
    before, _, rest = README.read_text().partition(BEGINS)
    files.write_text(README, f"{before}{BEGINS}\n" + "\n".join(lines) + f"\n{ENDS}{rest.partition(ENDS)[2]}")


def _group(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["set"], row["backbone"], str(row["params"])


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return *_group(row), row["each"], row["recipe"]


def line(row: dict[str, Any], default: list[dict[str, float]]) -> str:
    """Return a row of the table: means, 95 % intervals over folds, and what differs from the default with its p."""
    found = row["folds"]
    values = {key: np.array([each[key] for each in found]) for key in found[0]}
    size = f" at {row['params']['image_size']} px" if "image_size" in row["params"] else ""
    images = f"{row['each']} a class" if row["each"] else f"{values['images'].mean():,.0f}"
    cells = [row["set"], row["backbone"].removeprefix("timm/") + size, images, row["recipe"]]
    for key in ("accuracy", "log_loss"):
        cells.append(f"{values[key].mean():.4f} ± {uncertainty(values[key], HELD)[0]:.4f}")
    gains = [values[key] - [each[key] for each in default] for key in ("accuracy", "log_loss")]
    against = ", ".join(f"{gain.mean():+.4f} (p {uncertainty(gain, HELD)[1]:.2f})" for gain in gains)
    cells.append("" if row["recipe"] == DEFAULT else against)
    cells.append(f"{values['changed'].mean():.1%}" if "changed" in values else "")
    cells.append(" ".join(f"{share:g}" for share in values["share"]) if row["recipe"] in TUNED else "")
    cells.append(f"{values['seconds'].mean():.1f}")
    return f"| {' | '.join(cells)} |"


def peers() -> list[str]:
    """Return what `make bench` has measured of heads on one split: right answers, Fisher's p, seconds of the whole."""
    lines = []
    for path in sorted(RESULTS.glob("second-*.json")):
        found = files.read_json(path)
        photos, test = found["settings"]["photos"], found["settings"]["test"]
        rows = [row for row in found["rows"] if "accuracy" in row]
        ours = round(test * next(row["accuracy"] for row in rows if row.get("ours")))
        for row in rows:
            right = round(test * row["accuracy"])
            chance = fisher_exact([[right, test - right], [ours, test - ours]]).pvalue
            p = "" if row.get("ours") else "< 0.01" if chance < 0.01 else f"{chance:.2f}"
            processors = f"{row['processor']:.1f}" if "processor" in row else ""
            cells = (photos, row["name"], f"{row['accuracy']:.3f} of {test}", p, f"{row['wall']:.1f}", processors)
            lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
