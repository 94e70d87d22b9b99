"""Rank the bodies of a race by cross-validated accuracy, compare each with the best, and advise one."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from darkroom.metrics.intervals import share_interval
from darkroom.metrics.significance import ALPHA, accuracy_interval, exact_test, holm
from darkroom.reporting.figures import plain_log_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARGIN = 0.005  # of the accuracy: what speed may cost
COLUMNS = ("backbone", "images", "accuracy", "low", "high", "vs best", "vs low", "vs high", "p", "verdict", "log loss",
           "embed/s", "export/s", "MB", "Mparams", "licence")  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """One body's cross-validated answers to images by id. `right` bool (n,), `losses` float64 (n,) in nats."""

    name: str
    ids: list[str]
    right: np.ndarray
    losses: np.ndarray
    embed_rate: float
    export_rate: float
    megabytes: float
    parameters: int
    licence: str

    @classmethod
    def of(
        cls, name: str, ids: list[str], labels: np.ndarray, probabilities: np.ndarray, **facts: float | str
    ) -> "Standing":
        """Return the standing of `probabilities` (n, K); rows of NaN, which no fold answers, are left out."""
        answered = ~np.isnan(probabilities).any(axis=1)
        probabilities, labels = probabilities[answered], labels[answered]
        of_label = probabilities[np.arange(len(labels)), labels]
        losses = -np.log(np.clip(of_label, np.finfo(np.float64).eps, 1.0))
        kept = [ids[at] for at in np.flatnonzero(answered)]
        return cls(name, kept, probabilities.argmax(axis=1) == labels, losses, **facts)  # type: ignore[arg-type]

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return float(self.right.mean())

    @property
    def log_loss(self) -> float:
        """The mean of -log p(true class), in nats."""
        return float(self.losses.mean())

    @property
    def rank(self) -> tuple[float, float]:
        """The key that orders bodies, the best first: accuracy, and the log loss between equals."""
        return -self.accuracy, self.log_loss


@dataclass(frozen=True)
class Pair:
    """A body against the best one, on the images that both answered. `p` is adjusted for the number of bodies."""

    difference: float
    low: float
    high: float
    p: float

    @property
    def worse(self) -> bool:
        """Whether the body is worse than the best beyond noise."""
        return self.p < ALPHA and self.difference < 0


def against(best: Standing, others: list[Standing]) -> list[Pair]:
    """Return each of `others` against `best`: McNemar's exact test, with Holm's adjustment for their number."""
    found = []
    for other in others:
        at = {name: index for index, name in enumerate(other.ids)}
        both = [index for index, name in enumerate(best.ids) if name in at]
        change = other.right[[at[best.ids[index]] for index in both]].astype(np.int64) - best.right[both]
        low, high = accuracy_interval(change, None)
        found.append((int(change.sum()) / max(1, len(both)), low or 0.0, high or 0.0, exact_test(change, None)))
    return [
        Pair(difference, low, high, p)
        for (difference, low, high, _), p in zip(found, holm([each[3] for each in found]), strict=True)
    ]


def lost(standings: list[Standing]) -> list[Standing]:
    """Return the bodies that are out after a round: in the lower half, and worse than the best beyond noise."""
    order = sorted(standings, key=lambda standing: standing.rank)
    pairs = against(order[0], order[1:])
    half = -(-len(order) // 2)
    return [other for position, (other, pair) in enumerate(zip(order[1:], pairs, strict=True), 1)
            if position >= half and pair.worse]  # fmt: skip


def advised(finalists: list[Standing]) -> tuple[Standing, Standing]:
    """Return the best body, and of those that are hardly behind it the fastest for one image.

    Hardly behind: by half a point at most, and not beyond noise. Noise alone would not do: on few images, bodies three
    points apart are level (benchmarks/README.md).
    """
    order = sorted(finalists, key=lambda standing: standing.rank)
    level = [other for other, pair in zip(order[1:], against(order[0], order[1:]), strict=True)
             if not pair.worse and pair.difference >= -MARGIN]  # fmt: skip
    return order[0], max([order[0], *level], key=lambda standing: standing.export_rate)


def largest_class(best: Standing, labels: Mapping[str, str]) -> tuple[str, float] | None:
    """Return the largest class and its share of the images where always answering it is as good as `best`, by McNemar.

    Bodies cannot be told apart by their accuracy there: one that knows nothing is level. None elsewhere.
    """
    known = [labels[name] for name in best.ids]
    name, count = Counter(known).most_common(1)[0]
    change = best.right.astype(np.int64) - np.array([label == name for label in known])
    beaten = change.sum() > 0 and exact_test(change, None) < ALPHA
    return None if beaten else (name, count / len(known))


def table(finalists: list[Standing], earlier: list[list[Standing]]) -> pd.DataFrame:
    """Return one row a body, the best first; those that were out after a round come last, on fewer images.

    `earlier`: all standings of each round before the last, by which some were out.
    """
    order = sorted(finalists, key=lambda standing: standing.rank)
    out = [(loser, rivals) for rivals in earlier for loser in lost(rivals)]
    out.sort(key=lambda each: (-len(each[0].ids), each[0].rank))
    losers = [loser for loser, _ in out]
    pairs = [None, *against(order[0], order[1:]), *(_when_out(order[0].name, *each) for each in out)]
    rows = []
    for standing, pair in zip([*order, *losers], pairs, strict=True):
        low, high = share_interval(float(standing.right.sum()), len(standing.ids))
        verdict = "best" if pair is None else "worse" if pair.worse else "level"
        compared = [None] * 4 if pair is None else [pair.difference, pair.low, pair.high, pair.p]
        rows.append([
            standing.name, len(standing.ids), standing.accuracy, low, high, *compared,
            f"{verdict}, out" if any(standing is loser for loser in losers) else verdict, standing.log_loss,
            standing.embed_rate, standing.export_rate, standing.megabytes, standing.parameters / 1e6, standing.licence,
        ])  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _when_out(name: str, loser: Standing, rivals: list[Standing]) -> Pair:
    """Return `loser` against the body of that name, as both stood then: later heads learn from more images."""
    best = next(each for each in rivals if each.name == name)
    others = [each for each in rivals if each is not best]
    return next(pair for each, pair in zip(others, against(best, others), strict=True) if each is loser)


def in_words(frame: pd.DataFrame) -> str:
    """Return `table` for a terminal: percentages with their intervals, differences in points."""

    form = "  {:>6}  {:<21}  {:<22}  {:<10}  {:>8}".format  # within 80 columns, below a name of any length
    lines = [form("images", "accuracy %", "points to the best", "verdict", "log loss").rstrip()]
    for _, each in frame.iterrows():
        paired = "" if pd.isna(each["vs best"]) else "{:+.1f} ({:+.1f} to {:+.1f})".format(
            *(100 * each[key] for key in ("vs best", "vs low", "vs high")))  # fmt: skip
        accuracy = "{:.1f} ({:.1f} to {:.1f})".format(*(100 * each[key] for key in ("accuracy", "low", "high")))
        lines += [
            f"{each['backbone']}, licence: {each['licence']}",
            form(f"{each['images']:,}", accuracy, paired, each["verdict"], f"{each['log loss']:.3f}"),
            f"          {each['MB']:.1f} MB, {each['Mparams']:.1f} M parameters; images a second:"
            f" {each['embed/s']:,.0f} in batches, {each['export/s']:,.0f} singly",
        ]
    level = frame[frame["verdict"] == "level"]
    if ((level["vs low"] > 0) | (level["vs high"] < 0)).any():
        lines.append("  a verdict allows for all comparisons of the table (Holm), an interval for its own alone")
    return "\n".join(lines)


def figure(frame: pd.DataFrame, chosen: str) -> "Figure":
    """Draw accuracy with its interval against images a second of the export; a body that is out is hollow.

    `chosen`: the name of the body that is advised. Points hold numbers, named below: names beside them would overlap.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    drawn = Figure(figsize=(7.4, 4.2 + 0.2 * len(frame)), layout="constrained")
    axes = drawn.add_subplot()
    for number, (_, each) in enumerate(frame.iterrows(), 1):
        out = each["verdict"].endswith("out")
        colour = "#2563eb" if each["verdict"] == "best" else "#71717a" if "worse" in each["verdict"] else "#059669"
        edge = "black" if each["backbone"] == chosen else colour if out else "white"  # white parts points that touch
        error = [[each["accuracy"] - each["low"]], [each["high"] - each["accuracy"]]]
        axes.errorbar(each["export/s"], each["accuracy"], yerr=error, fmt="o", color=colour, capsize=3, markersize=13,
                      markerfacecolor="white" if out else colour, markeredgecolor=edge, markeredgewidth=1.5,
                      label=f"{number}  {each['backbone']}")  # fmt: skip
        axes.annotate(str(number), (each["export/s"], each["accuracy"]), ha="center", va="center_baseline",
                      fontsize=8, fontweight="bold", color=colour if out else "white")  # fmt: skip
    drawn.legend(loc="outside lower center", ncols=1, fontsize=8, frameon=False, markerscale=0.6)
    plain_log_axis(axes)
    axes.margins(x=0.25)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("images a second, one at a time, on this machine")
    axes.set_ylabel("cross-validated accuracy, 95 % interval")
    axes.set_title("Blue: best; green: level with it; grey: worse; hollow: out after a part of the images; "
                   "black ring: advised", fontsize=8)  # fmt: skip
    axes.grid(alpha=0.3)
    return drawn
