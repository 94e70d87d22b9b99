"""`darkroom learning-curve`: train heads on nested parts of the cached features, and forecast what more images bring.

Every image of train and val is answered by a head that has not seen its fold, for growing numbers of training images.
The test set is not used.

The error of a classifier trained on m images is modelled as c + a·m^(-b), b in 0.05..2, a and c not negative (C.
Cortes et al., NIPS 6, 1993; J. Hestness et al., arXiv 1712.00409, 2017). Many curves are drawn: images are resampled,
each size gets the noise that other images of that size would bring, and half of the curves have no floor (c = 0), since
few sizes cannot show whether there is one.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.progress import progress
from darkroom.images.shards import open_split
from darkroom.metrics.intervals import resamples
from darkroom.reporting.figures import plain_log_axis, save
from darkroom.search.pool import Pool
from darkroom.search.race import head_recipe
from darkroom.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPONENTS = np.linspace(0.05, 2.0, 40)
DRAWS = 600
LEAST = 1e-4  # variance of an error, at least: a size without an error must not fix the curve alone
FOLDER = Path(".darkroom")
SHARES = tuple(2.0 ** (-step / 2) for step in range(8, -1, -1))  # of the images, 1/16 to all, by the root of two
REPEATS = 3  # draws of a part of at most half of the images; larger parts overlap too much
FEWEST = 30  # training images of a point of the curve, at least
SHOWN = 12  # classes in the table


@dataclass(frozen=True)
class Curve:
    """A learning curve: accuracy by the number of training images, `sizes` (S,).

    `right` (S, n): how often each of n images is answered rightly, 0..1; `noise` (S,): the standard deviation of the
    accuracy over training sets of that size; `labels` int64 (n,).
    """

    sizes: np.ndarray
    right: np.ndarray
    noise: np.ndarray
    labels: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """The accuracy at each size: (S,)."""
        return self.right.mean(axis=1)

    def of_class(self, label: int) -> "Curve":
        """Return the curve of one class's images: its recall. Fewer images make its noise larger."""
        mine = self.labels == label
        return Curve(self.sizes, self.right[:, mine], self.noise * (len(mine) / mine.sum()) ** 0.5, self.labels[mine])

    def draws(self, seed: int, count: int = DRAWS) -> np.ndarray:
        """Return drawn curves of the error: (count, S), 0..1."""
        weights = np.concatenate(list(resamples(self.labels, count, seed)))
        errors = 1 - weights @ self.right.T / len(self.labels)
        noise = np.random.default_rng([seed, 0xC0]).normal(0, 1, errors.shape) * self.noise
        return np.clip(errors + noise, 0.0, 1.0)

    @property
    def doubling_noise(self) -> float:
        """The standard deviation of the measured gain from half of the images to all of them.

        It has the noise of both training sets, and that of the images whose answers change, each a coin.
        """
        half = int(np.argmin(np.abs(self.sizes - self.sizes[-1] / 2)))
        changed = np.abs(self.right[-1] - self.right[half]).mean() / self.right.shape[1]
        return float(np.sqrt(changed + self.noise[-1] ** 2 + self.noise[half] ** 2))


@dataclass(frozen=True)
class Forecast:
    """Fitted curves, (count,) each: error(m) = floor + scale·m^(-exponent).

    `noise`: the standard deviation of a measured gain around them where the images are doubled.
    """

    floor: np.ndarray
    scale: np.ndarray
    exponent: np.ndarray
    noise: float

    def error(self, size: float) -> np.ndarray:
        """Return the error of each curve at `size` images: (count,), 0..1."""
        return np.clip(self.floor + self.scale * size**-self.exponent, 0.0, 1.0)

    def gain(self, size: float, more: float) -> tuple[float, float, float]:
        """Return the gain in accuracy of `more` images beside `size` as it would be measured: (median, low, high).

        The 95 % interval holds the noise of measuring it, which is less for few images: most answers stay the same.
        """
        gains = self.error(size) - self.error(size + more)
        noise = np.random.default_rng(0xA1).normal(0, self.noise * min(1.0, more / size) ** 0.5, len(gains))
        low, high = np.quantile(gains + noise, [0.025, 0.975])
        return float(np.median(gains)), float(low), float(high)

    def accuracy(self, size: float) -> tuple[float, float, float]:
        """Return the accuracy at `size` images and its 95 % interval: (median, low, high)."""
        middle, low, high = np.quantile(1 - self.error(size), [0.5, 0.025, 0.975])
        return float(middle), float(low), float(high)


def fit(curve: Curve, seed: int) -> Forecast:
    """Return the power laws through drawn curves of `curve`; every other one has no floor."""
    drawn = curve.draws(seed)
    floored, plain = fit_errors(curve.sizes, drawn[::2], floor=True), fit_errors(curve.sizes, drawn[1::2], floor=False)
    floors, scales, exponents = (np.concatenate(pair) for pair in zip(floored, plain, strict=True))
    return Forecast(floors, scales, exponents, curve.doubling_noise)


def fit_errors(sizes: np.ndarray, errors: np.ndarray, floor: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return floor, scale and exponent, (B,) each, of the power laws nearest to `errors` (B, S) at `sizes` (S,).

    Weighted least squares in c and a for each exponent of a grid; weights are those of a binomial error.
    """
    weights = 1 / np.maximum(errors * (1 - errors), LEAST)  # (B, S)
    best = np.full(len(errors), np.inf)
    found = np.zeros((3, len(errors)))
    for exponent in EXPONENTS:
        x = (sizes / sizes[-1]) ** -exponent
        sw, sx, sy = weights.sum(1), weights @ x, (weights * errors).sum(1)
        sxx, sxy = weights @ (x * x), (weights * errors) @ x
        scale = np.maximum((sw * sxy - sx * sy) / np.maximum(sw * sxx - sx * sx, 1e-12), 0.0) if floor else sxy / sxx
        base = (sy - scale * sx) / sw if floor else np.zeros(len(errors))
        scale, base = np.where(base < 0, sxy / sxx, scale), np.maximum(base, 0.0)
        loss = (weights * (errors - base[:, None] - scale[:, None] * x) ** 2).sum(1)
        better = loss < best
        best = np.where(better, loss, best)
        found[:, better] = np.array([base, scale * sizes[-1] ** exponent, np.full(len(base), exponent)])[:, better]
    return found[0], found[1], found[2]


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
