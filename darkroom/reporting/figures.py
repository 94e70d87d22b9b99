"""Figures by matplotlib, without pyplot: its start-up would be felt in every experiment. Each returns a Figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core import files

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 40  # classes up to which each is named on the axes of the confusion matrix
MOST_CONFUSED = 25  # classes that are named when there are more
DPI = 110
PALETTE = ("#2563eb", "#d97706", "#15803d", "#be123c", "#7c3aed", "#0e7490", "#a16207", "#db2777", "#4d7c0f", "#57534e")
MARKERS = "o^sDvP*Xh<"


def save(path: Path, figure: "Figure") -> None:
    """Write a PNG whose bytes depend on the figure alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with files.atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None}, dpi=DPI)


def confusion_figure(counts: np.ndarray, classes: Sequence[str]) -> "Figure":
    """Confusion counts (K, K), row truth, column answer, coloured by the share of the row.

    Up to 40 classes each cell holds its count. From 41 on names cannot be read: the whole matrix without them stands
    beside the classes that take part in most confusions, with them.
    """
    if len(classes) <= NAMED:
        side = float(np.clip(1.9 + 0.52 * len(classes), 4.6, 16))
        figure = _figure(side + 0.6, side)
        _matrix(figure.add_subplot(), counts, classes, "Share of each row (numbers: images)")
        return figure
    figure = _figure(19, 9.6)
    whole, part = figure.subplots(1, 2)
    _overview(whole, counts)
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    chosen = np.sort(np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:MOST_CONFUSED])
    title = f"The {MOST_CONFUSED} classes with most confusions (colour: share of the row)"
    _matrix(part, counts[np.ix_(chosen, chosen)], [classes[i] for i in chosen], title, counts.sum(axis=1)[chosen])
    return figure


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def _matrix(
    axes: "Axes", counts: np.ndarray, classes: Sequence[str], title: str, totals: np.ndarray | None = None
) -> None:
    totals = counts.sum(axis=1) if totals is None else totals
    share = counts / np.maximum(totals, 1)[:, None]
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = [shortened(name, 18) for name in classes]
    size = 10 if len(classes) <= 12 else 8
    upright = max(map(len, names), default=0) > 3
    axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set(xlabel="predicted", ylabel="actual")
    axes.set_title(title, fontsize=11)
    axes.tick_params(length=0)
    for row, column in zip(*np.nonzero(counts), strict=True):
        pale = share[row, column] > 0.55
        axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center",
                  color="white" if pale else "#1e293b", fontsize=size if counts.max() < 1000 else size - 2)  # fmt: skip
    axes.set_xticks(np.arange(-0.5, len(names)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(names)), minor=True)
    axes.grid(which="minor", color="#e5e7eb", linewidth=0.6)
    axes.tick_params(which="minor", length=0)


def _overview(axes: "Axes", counts: np.ndarray) -> None:
    share = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
    # Above a thousand classes a pixel holds several cells: keep the strongest, so that no confusion is lost.
    fold = -(-len(counts) // 1000)
    if fold > 1:
        side = -(-len(counts) // fold)
        padded = np.zeros((side * fold, side * fold))
        padded[: len(counts), : len(counts)] = share
        share = padded.reshape(side, fold, side, fold).max(axis=(1, 3))
    extent = (-0.5, len(counts) - 0.5, len(counts) - 0.5, -0.5)
    axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1, interpolation="nearest", extent=extent)
    axes.set(xlabel="predicted (number of the class)", ylabel="actual (number of the class)")
    axes.set_title(f"All {len(counts):,} classes (colour: square root of the share of the row)", fontsize=11)


def map_figure(places: np.ndarray, labels: np.ndarray, right: np.ndarray, classes: Sequence[str]) -> "Figure":
    """Points (n, 2) by class `labels` (n,); wrong answers are ringed. More classes than 20 are named at their
    centre."""
    figure = _figure(8.6, 6.4)
    axes = figure.add_subplot()
    present = np.unique(labels)
    few = len(present) <= 20
    # Handed over by themselves: matplotlib leaves a label that begins with "_" out of the legend that it collects.
    shown: list[Artist] = []
    names: list[str] = []
    for order, label in enumerate(present):
        mine = labels == label
        marker = MARKERS[(order // 10 + order) % 10 if few else 0]
        size, colour = 26 if few else 14, PALETTE[order % 10]
        x, y = places[mine].T
        shown.append(axes.scatter(x, y, s=size, alpha=0.75, linewidths=0, marker=marker, color=colour))
        names.append(shortened(classes[label], 22))
    if (~right).any():
        x, y = places[~right].T
        size = 90 if few else 46
        shown.append(axes.scatter(x, y, s=size, facecolors="none", edgecolors="#be123c", linewidths=1.4))
        names.append("wrong answer")
    if few:
        axes.legend(shown, names, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=9)
    else:
        _name_groups(axes, places, labels, classes)
        if (~right).any():
            axes.legend(shown[-1:], names[-1:], loc="upper right", fontsize=9)
    axes.set(xticks=[], yticks=[])
    axes.set_title("Alike to the model: t-SNE of the features of test images", fontsize=11)
    for spine in axes.spines.values():
        spine.set_color("#d4d4d8")
    return figure


def _name_groups(axes: "Axes", places: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Write a class's name at its median place, the largest classes first, where no other name stands yet."""
    span = np.ptp(places, axis=0).max() or 1.0
    taken: list[np.ndarray] = []
    names, counts = np.unique(labels, return_counts=True)
    for label in names[np.argsort(-counts, kind="stable")]:
        place = np.median(places[labels == label], axis=0)
        if all(abs(place[0] - x) > span * 0.13 or abs(place[1] - y) > span * 0.035 for x, y in taken):
            taken.append(place)
            axes.annotate(shortened(classes[label], 16), tuple(place), fontsize=7, ha="center", va="center",
                          bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75})  # fmt: skip


def shortened(text: str, most: int) -> str:
    """The text in one line, its middle replaced by an ellipsis when it is longer than `most` characters; `$` stays a
    dollar."""
    text = " ".join(text.split())
    short = text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"
    return short.replace("$", r"\$")
