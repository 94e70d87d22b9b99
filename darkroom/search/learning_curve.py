"""`darkroom learning-curve`: train heads on nested parts of the cached features, and forecast what more images bring.

Every image of train and val is answered by a head that has not seen its fold, for growing numbers of training images.
The test set is not used.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.progress import progress
from darkroom.images.shards import open_split
from darkroom.reporting.figures import plain_log_axis, save
from darkroom.search.forecast import Curve, Forecast, fit
from darkroom.search.pool import Pool
from darkroom.search.race import head_recipe
from darkroom.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(".darkroom")
SHARES = tuple(2.0 ** (-step / 2) for step in range(8, -1, -1))  # of the images, 1/16 to all, by the root of two
REPEATS = 3  # draws of a part of at most half of the images; larger parts overlap too much
FEWEST = 30  # training images of a point of the curve, at least
SHOWN = 12  # classes in the table


def open_pool(root: Path) -> Pool:
    """Return the samples of train and val with the features that `dvc repro` has made. Raises DarkroomError."""
    parts = [open_split(root / "data/features", split, root / "data/shards") for split in ("train", "val")]
    if not len(parts[0]):
        raise DarkroomError("data/features is empty: it holds features where freeze is backbone; "
                            "run `dvc exp run -S freeze=backbone embed` first")  # fmt: skip
    labels = {name: part.classes[label] for part in parts for name, label in zip(part.ids(), part.labels, strict=True)}
    divided = list(files.read_csv(root / "data/split.csv"))
    folds = {row["id"]: int(row["fold"]) for row in divided if row["fold"]}
    return Pool(parts, labels, folds, frozenset(row["id"] for row in divided if row["split"] == "val"))


def measure(pool: Pool, recipe: Recipe, rows: np.ndarray | None = None) -> Curve:
    """Return the learning curve of `pool`, or of its samples `rows`, bool (n,), by heads on nested parts of them.

    A size counts the images that the head of a fold was given, those that chose its epoch included.
    """
    rows = np.ones(len(pool), bool) if rows is None else rows
    learnt = rows.sum() * (1 - 1 / len(set(pool.fold.tolist()) - {-1}))
    shares = [share for share in SHARES if share * learnt >= FEWEST]
    if len(shares) < 4:
        raise DarkroomError(f"{rows.sum():,} images are too few for a learning curve; expected {FEWEST * 4:,} or more")
    plan = [(share, draw) for share in shares for draw in range(REPEATS if share <= 0.5 else 1)]
    right: dict[float, list[np.ndarray]] = {}
    for share, draw in progress(plan, "learning-curve", unit="head"):
        learn = pool.subset(share, recipe.seed + draw, rows)
        answers = pool.out_of_fold(recipe, learn, rows)[rows]
        right.setdefault(share, []).append(answers.argmax(axis=1) == pool.labels[rows])
    # The spread between draws of one size, as a multiple of the binomial error of m images learnt from.
    spread = [np.std([each.mean() for each in right[share]], ddof=1) if len(right[share]) > 1 else np.nan
              for share in shares]  # fmt: skip
    scaled = np.array(spread) * np.sqrt(np.array(shares))
    noise = float(np.sqrt(np.nanmean(scaled**2))) / np.sqrt(shares)
    noise /= np.sqrt([len(right[share]) for share in shares])
    means = np.array([np.mean(right[share], axis=0) for share in shares])
    return Curve(np.array(shares) * learnt, means, noise, pool.labels[rows])


def table(curve: Curve, seed: int) -> pd.DataFrame:
    """Return one row a size: images, accuracy and its 95 % interval."""
    low, high = np.quantile(1 - curve.draws(seed), [0.025, 0.975], axis=0)
    columns = {"images": curve.sizes.round().astype(int), "accuracy": curve.accuracy, "low": low, "high": high}
    return pd.DataFrame(columns)


def in_words(curve: Curve, forecast: Forecast, more: int, seed: int) -> str:
    """Return the curve's table, and what `more` images and twice as many would bring."""
    shown = table(curve, seed)
    lines = [shown.to_string(index=False, formatters=dict.fromkeys(("accuracy", "low", "high"), "{:.3f}".format)), ""]
    lines += [f"{count:,} more: {_points(forecast.gain(curve.sizes[-1], count))}"
              for count in dict.fromkeys((more, round(curve.sizes[-1])))]  # fmt: skip
    return "\n".join(lines)


def of_classes(curve: Curve, classes: list[str], more: int, seed: int) -> pd.DataFrame:
    """Return one row a class, the largest gain first: images, recall now, and the gain of `more` images in all."""
    rows = []
    for label, name in enumerate(classes):
        mine = curve.of_class(label)
        gain, low, high = fit(mine, seed).gain(curve.sizes[-1], more)
        rows.append((name, mine.right.shape[1], mine.accuracy[-1], 100 * gain, 100 * low, 100 * high))
    columns = ["class", "images", "recall", "points", "low", "high"]
    return pd.DataFrame(rows, columns=columns).sort_values("points", ascending=False, kind="stable")


def figure(curve: Curve, forecast: Forecast, seed: int) -> "Figure":
    """Draw accuracy against images, and the forecast up to four times as many, each with its 95 % interval."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    drawn = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = drawn.add_subplot()
    sizes = np.geomspace(curve.sizes[0], 4 * curve.sizes[-1], 80)
    middle, low, high = np.array([forecast.accuracy(size) for size in sizes]).T
    axes.fill_between(sizes, low, high, color="#dbeafe", label="95 % interval of the forecast")
    axes.plot(sizes, middle, color="#2563eb", label="power law")
    points = table(curve, seed)
    error = [points["accuracy"] - points["low"], points["high"] - points["accuracy"]]
    axes.errorbar(points["images"], points["accuracy"], yerr=np.maximum(error, 0), fmt="o", color="#d97706", capsize=2,
                  label="measured, 95 % interval")  # fmt: skip
    axes.axvline(curve.sizes[-1], color="#a1a1aa", linewidth=0.8, label=f"at hand: {curve.sizes[-1]:,.0f} images")
    plain_log_axis(axes)
    axes.set_ylim(max(0.0, points["low"].min() - 0.02), 1.005)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("images learnt from")
    axes.set_ylabel("cross-validated accuracy")
    axes.legend(loc="lower right", fontsize=8)
    return drawn


def hidden_half(pool: Pool, recipe: Recipe) -> str:
    """Compare a forecast from half of the images with the result on all of them, in words."""
    half = pool.subset(0.5, recipe.seed)
    curve = measure(pool, recipe, half)
    size = curve.sizes[-1]
    gain = fit(curve, recipe.seed).gain(size, size)
    answers = pool.out_of_fold(recipe, None, half)[half]  # the same images, by heads that learn from all
    truth = float((answers.argmax(axis=1) == pool.labels[half]).mean() - curve.accuracy[-1])
    held = "inside" if gain[1] <= truth <= gain[2] else "outside"
    return f"half of the images hidden: forecast {_points(gain)} for the other half; it is {100 * truth:+.1f}, {held}"


def _points(gain: tuple[float, float, float]) -> str:
    return "{:+.1f} points ({:+.1f} to {:+.1f})".format(*(100 * value for value in gain))


def main(arguments: list[str]) -> int:
    """Return 0: done."""
    parser = argparse.ArgumentParser(
        prog="darkroom learning-curve",
        description="Say what more images would bring: heads on nested parts of the cached features, and a forecast.",
    )
    parser.add_argument("--more", type=int, default=200, help="images that could be added (default: %(default)s)")
    parser.add_argument("--hide-half", action="store_true", help="also forecast from half of the images, and compare")
    asked = parser.parse_args(arguments)
    if asked.more < 1:
        raise DarkroomError(f"--more {asked.more}: expected at least one image")
    root = Path.cwd()
    pool, recipe = open_pool(root), head_recipe(root)
    curve = measure(pool, recipe)
    forecast = fit(curve, recipe.seed)
    print(in_words(curve, forecast, asked.more, recipe.seed))
    classes = of_classes(curve, pool.classes, asked.more, recipe.seed)
    formats = {"recall": "{:.3f}".format} | dict.fromkeys(("points", "low", "high"), "{:+.1f}".format)
    print(f"\nof each class, {asked.more:,} more images in all:")
    print(classes.head(SHOWN).to_string(index=False, formatters=formats))
    (root / FOLDER).mkdir(exist_ok=True)
    table(curve, recipe.seed).to_csv(root / FOLDER / "learning-curve.csv", index=False)
    classes.to_csv(root / FOLDER / "learning-curve-classes.csv", index=False)
    save(root / FOLDER / "learning-curve.png", figure(curve, forecast, recipe.seed))
    print(f"\nfigure: {FOLDER / 'learning-curve.png'}")
    if asked.hide_half:
        print(hidden_half(pool, recipe))
    return 0
