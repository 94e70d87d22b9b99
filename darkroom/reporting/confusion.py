"""The confusion matrix: which classes are taken for each other, in an order that puts similar classes side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core import files
from darkroom.metrics.predictions import Predictions
from darkroom.reporting.figures import GRID, INK, drawn_names, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NATURAL = 12  # classes up to which the order of the names is kept: it often means something, as of digits
LONGEST = 18  # characters of a name
NAMED = 40  # classes up to which each is named on the axes of the figure
SHOWN_ROWS, SHOWN_COLUMNS = 25, 24  # of the part with names when there are more
GRAIN = 1_000_000  # probabilities are counted in such parts, in integers: the same order on every processor
NEIGHBOURS = 10  # similar classes that are looked at for each class


@dataclass(frozen=True)
class Pair:
    """How many images of class `actual` were answered with class `answer`, of how many images of `actual`."""

    actual: int
    answer: int
    count: int
    images: int


def pairs(counts: np.ndarray) -> list[Pair]:
    """Return the off-diagonal cells of the counts (K, K) that are not zero, the largest first."""
    wrong = counts - np.diag(np.diag(counts))
    rows, columns = np.nonzero(wrong)
    order = np.argsort(-wrong[rows, columns], kind="stable")
    totals = counts.sum(axis=1)
    return [
        Pair(int(row), int(column), int(counts[row, column]), int(totals[row]))
        for row, column in zip(rows[order], columns[order], strict=True)
    ]


def similarity(predictions: Predictions) -> np.ndarray:
    """Return how much of its probability each class gives to each other, both ways: int64 (K, K), symmetric."""
    size = len(predictions.classes)
    found = np.zeros((size, size), np.int64)
    for part in files.blocks(predictions.probabilities.shape):
        shares = np.nan_to_num(predictions.probabilities[part])
        np.add.at(found, predictions.labels[part], np.rint(shares * GRAIN).astype(np.int64))
    np.fill_diagonal(found, 0)
    return found + found.T


def similar_order(alike: np.ndarray) -> np.ndarray:
    """Return an order of K classes, int64, in which similar ones are neighbours, given their similarity (K, K).

    Chains are joined at their ends by the most similar pair that is left, as in the greedy algorithm for a longest
    path; up to NATURAL classes keep their order.
    """
    size = len(alike)
    if size <= NATURAL:
        return np.arange(size)
    nearest = np.argsort(-alike, axis=1, kind="stable")[:, :NEIGHBOURS]
    edges = sorted({(int(min(a, b)), int(max(a, b))) for a in range(size) for b in nearest[a] if alike[a, b] > 0})
    edges.sort(key=lambda edge: -alike[edge])
    chain = {number: [number] for number in range(size)}  # by each class: the chain that it is in
    for a, b in edges:
        one, two = chain[a], chain[b]
        if one is two or a not in (one[0], one[-1]) or b not in (two[0], two[-1]):
            continue
        one = one if one[-1] == a else one[::-1]
        two = two if two[0] == b else two[::-1]
        joined = one + two
        for member in joined:
            chain[member] = joined
    chains = {id(members): members for members in chain.values()}.values()
    return np.array(
        [member for members in sorted(chains, key=lambda each: (-len(each), min(each))) for member in members]
    )


def confusion_figure(counts: np.ndarray, classes: Sequence[str], order: np.ndarray | None = None) -> "Figure":
    """Draw the counts (K, K), row truth, column answer, coloured by the share of the row, in the `order` of classes.

    Up to NAMED classes each cell holds its count. Beyond that names cannot be read: the whole matrix without them
    stands beside the rows with most wrong answers, with names, and the answers that these rows got.
    """
    order = np.arange(len(classes)) if order is None else order
    drawn = drawn_names(classes, LONGEST)
    counts, names = counts[np.ix_(order, order)], [drawn[number] for number in order.tolist()]
    if len(names) <= NAMED:
        side = float(np.clip(1.9 + 0.52 * len(names), 4.6, 16))
        figure = new_figure(side + 0.6, side)
        _matrix(figure.add_subplot(), counts, names, names, "Share of each row (numbers: images)")
        return figure
    figure = new_figure(19, 9.6)
    whole, part = figure.subplots(1, 2)
    _overview(whole, counts)
    rows, columns = worst_part(counts)
    shown = np.column_stack(
        [counts[np.ix_(rows, columns)], counts[rows].sum(axis=1) - counts[np.ix_(rows, columns)].sum(axis=1)]
    )
    title = f"The {len(rows)} classes with most wrong answers (colour: share of the row)"
    _matrix(part, shown, [names[i] for i in rows], [*(names[i] for i in columns), "(others)"], title)
    return figure


def worst_part(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the part of the counts (K, K) that is worth reading: two int64, ascending.

    The rows hold the most wrong answers; a class without a test image has none. The columns hold most of those rows.
    """
    wrong = counts.sum(axis=1) - np.diag(counts)
    rows = np.argsort(-wrong, kind="stable")[:SHOWN_ROWS]
    rows = np.sort(rows[wrong[rows] > 0]) if wrong.any() else np.flatnonzero(counts.sum(axis=1))[:SHOWN_ROWS]
    answers = counts[rows].sum(axis=0)
    columns = np.argsort(-answers, kind="stable")[:SHOWN_COLUMNS]
    return rows, np.sort(columns[answers[columns] > 0])


def _matrix(axes: "Axes", counts: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str) -> None:
    share = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto" if len(rows) != len(columns) else "equal")
    across, down = columns, rows
    size = 10 if len(rows) <= 12 else 8
    upright = max(map(len, across), default=0) > 3
    axes.set_xticks(range(len(across)), across, rotation=90 if upright else 0, fontsize=size)
    axes.set_yticks(range(len(down)), down, fontsize=size)
    axes.set(xlabel="predicted", ylabel="actual")
    axes.set_title(title, fontsize=11)
    axes.tick_params(length=0)
    for row, column in zip(*np.nonzero(counts), strict=True):
        pale = share[row, column] > 0.55
        axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center",
                  color="white" if pale else INK, fontsize=size if counts.max() < 1000 else size - 2)  # fmt: skip
    axes.set_xticks(np.arange(-0.5, len(across)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(down)), minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.6)
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
    axes.set(xlabel="predicted (similar classes side by side)", ylabel="actual")
    axes.set_title(f"All {len(counts):,} classes (colour: square root of the share of the row)", fontsize=11)
