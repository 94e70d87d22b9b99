"""Draw the confusion matrix, in an order that puts classes side by side that are taken for each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core import files
from darkroom.core.text import shortened
from darkroom.metrics.predictions import Predictions
from darkroom.reporting import sheets
from darkroom.reporting.figures import caption_names

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

NATURAL = 12  # classes up to which the order of the names is kept, which often has a meaning (digits)
LONGEST = 18  # characters of a name
NAMED = 40  # classes up to which each is named on the axes of the figure
SHOWN_ROWS, SHOWN_COLUMNS = 25, 24  # of the part with names when there are more
GRAIN = 1_000_000  # probabilities are summed in whole multiples of 1 / GRAIN: the same order on every processor
MARGIN, LABEL = 16, 24  # pixels around a matrix, and for the name of an axis
FEW = 4  # classes whose cells are drawn larger
OVERVIEW = 1000  # pixels of a side
LINES = (229, 231, 235)
DARK = 0.55  # the share above which white text is easier to read than black
# From white to dark blue, evenly spaced in perceived lightness.
BLUES = np.array([(247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107)])
NEIGHBOURS = 10  # similar classes considered for each class


@dataclass(frozen=True)
class Pair:
    """The `count` of images of class `actual` that were answered `answer`; `images`: all of class `actual`."""

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
    """Return how much probability each pair of classes gives to each other: int64 (K, K), symmetric, in 1 / GRAIN."""
    size = len(predictions.classes)
    found = np.zeros((size, size), np.int64)
    for part in files.blocks(predictions.probabilities.shape):
        shares = np.nan_to_num(predictions.probabilities[part])
        np.add.at(found, predictions.labels[part], np.rint(shares * GRAIN).astype(np.int64))
    np.fill_diagonal(found, 0)
    return found + found.T


def similar_order(alike: np.ndarray) -> np.ndarray:
    """Return an order of K classes, int64, in which similar ones are neighbours, given their similarity (K, K).

    Chains of classes are joined at their ends by the most similar pair, as in the greedy algorithm for a longest path.
    Up to NATURAL classes keep their order.
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


def confusion_sheet(counts: np.ndarray, classes: Sequence[str], order: np.ndarray | None = None) -> "Image":
    """Draw the counts (K, K), row truth, column answer, coloured by the share of the row, in the `order` of classes.

    Up to NAMED classes each cell holds its count. With more, the whole matrix without names stands beside its rows with
    most wrong answers, with names. By Pillow: it is drawn in every experiment, and importing matplotlib alone takes
    longer than the rest of evaluate.
    """
    order = np.arange(len(classes)) if order is None else order
    drawn = shortened(caption_names(classes), LONGEST)
    counts, names = counts[np.ix_(order, order)], [drawn[number] for number in order.tolist()]
    if len(names) <= NAMED:
        return _matrix(counts, names, names, "Share of each row (numbers: images)")
    rows, columns = worst_part(counts)
    shown = np.column_stack(
        [counts[np.ix_(rows, columns)], counts[rows].sum(axis=1) - counts[np.ix_(rows, columns)].sum(axis=1)]
    )
    title = f"The {len(rows)} classes with most wrong answers (colour: share of the row)"
    part = _matrix(shown, [names[i] for i in rows], [*(names[i] for i in columns), "(others)"], title)
    return _side_by_side(_overview(counts), part)


def worst_part(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the counts (K, K) with most wrong answers, and the columns that hold most of these rows.

    Both int64, ascending.
    """
    wrong = counts.sum(axis=1) - np.diag(counts)
    rows = np.argsort(-wrong, kind="stable")[:SHOWN_ROWS]
    rows = np.sort(rows[wrong[rows] > 0]) if wrong.any() else np.flatnonzero(counts.sum(axis=1))[:SHOWN_ROWS]
    answers = counts[rows].sum(axis=0)
    columns = np.argsort(-answers, kind="stable")[:SHOWN_COLUMNS]
    return rows, np.sort(columns[answers[columns] > 0])


def _matrix(counts: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str) -> "Image":
    """Draw one matrix with its names, and its counts where they are not zero."""
    from PIL import Image, ImageDraw

    cell, size = (120, 16) if len(rows) <= FEW else (58, 15) if len(rows) <= NATURAL else (42, 13)
    font, heading = sheets.font(size), sheets.font(16, bold=True)
    upright = max((font.getlength(name) for name in columns), default=0) > cell - 8
    longest = [max((int(font.getlength(name)) for name in names), default=0) for names in (rows, columns)]
    left, top, below = MARGIN + LABEL + longest[0] + 14, MARGIN + 30, (longest[1] if upright else size + 4) + 8
    wide, tall = cell * len(columns), cell * len(rows)
    width = left + max(wide, int(heading.getlength(title))) + MARGIN
    panel = Image.new("RGB", (width, top + tall + below + LABEL + MARGIN), sheets.PAPER)
    share = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
    panel.paste(Image.fromarray(_coloured(share)).resize((wide, tall), Image.Resampling.NEAREST), (left, top))
    pen = ImageDraw.Draw(panel)
    for number in range(len(columns) + 1):
        pen.line([(left + number * cell, top), (left + number * cell, top + tall)], LINES)
    for number in range(len(rows) + 1):
        pen.line([(left, top + number * cell), (left + wide, top + number * cell)], LINES)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = sheets.PAPER if share[row, column] > DARK else sheets.INK
        centre = (left + (column + 0.5) * cell, top + (row + 0.5) * cell)
        pen.text(centre, f"{counts[row, column]:,}", colour, font, "mm")
    for number, name in enumerate(rows):
        pen.text((left - 8, top + (number + 0.5) * cell), name, sheets.INK, font, "rm")
    for number, name in enumerate(columns):
        across = left + (number + 0.5) * cell
        if upright:
            _upright(panel, name, font, round(across), top + tall + 8)
        else:
            pen.text((across, top + tall + 6), name, sheets.INK, font, "mt")
    pen.text((left, MARGIN), title, sheets.INK, heading)
    pen.text((left + wide / 2, panel.height - MARGIN), "predicted", sheets.PALE, sheets.font(15), "mb")
    _upright(panel, "actual", sheets.font(15), MARGIN + LABEL // 2, top + tall // 2, sheets.PALE, middle=True)
    return panel


def _overview(counts: np.ndarray) -> "Image":
    """Draw a matrix of many classes without names, a few pixels a cell."""
    from PIL import Image, ImageDraw

    share = np.sqrt(counts / np.maximum(counts.sum(axis=1), 1)[:, None])
    # Above a thousand classes a pixel holds several cells: it shows the strongest.
    fold = -(-len(counts) // OVERVIEW)
    if fold > 1:
        side = -(-len(counts) // fold)
        padded = np.zeros((side * fold, side * fold))
        padded[: len(counts), : len(counts)] = share
        share = padded.reshape(side, fold, side, fold).max(axis=(1, 3))
    side = len(share) * max(1, OVERVIEW // len(share))
    left, top = MARGIN + LABEL, MARGIN + 30
    panel = Image.new("RGB", (left + side + MARGIN, top + side + LABEL + MARGIN), sheets.PAPER)
    panel.paste(Image.fromarray(_coloured(share)).resize((side, side), Image.Resampling.NEAREST), (left, top))
    pen = ImageDraw.Draw(panel)
    pen.rectangle((left, top, left + side, top + side), outline=LINES)
    title = f"All {len(counts):,} classes (colour: square root of the share of the row)"
    pen.text((left, MARGIN), title, sheets.INK, sheets.font(16, bold=True))
    under = "predicted (similar classes side by side)"
    pen.text((left + side / 2, panel.height - MARGIN), under, sheets.PALE, sheets.font(15), "mb")
    _upright(panel, "actual", sheets.font(15), MARGIN + LABEL // 2, top + side // 2, sheets.PALE, middle=True)
    return panel


def _side_by_side(one: "Image", two: "Image") -> "Image":
    from PIL import Image

    both = Image.new("RGB", (one.width + MARGIN + two.width, max(one.height, two.height)), sheets.PAPER)
    both.paste(one, (0, 0))
    both.paste(two, (one.width + MARGIN, 0))
    return both


def _upright(
    panel: "Image", text: str, font: "FreeTypeFont", centre: int, top: int,
    colour: tuple[int, int, int] = sheets.INK, middle: bool = False,
) -> None:  # fmt: skip
    """Write text upwards, centred on the column `centre`; its end, or its `middle`, is at the row `top`."""
    from PIL import Image, ImageDraw

    left, above, right, under = font.getbbox(text)
    line = Image.new("RGB", (max(int(right - left), 1), max(int(under - above), 1)), sheets.PAPER)
    ImageDraw.Draw(line).text((-left, -above), text, colour, font)
    turned = line.transpose(Image.Transpose.ROTATE_90)
    panel.paste(turned, (centre - turned.width // 2, top - turned.height // 2 if middle else top))


def _coloured(share: np.ndarray) -> np.ndarray:
    """Return the colours of shares 0..1 (R, C): uint8 (R, C, 3)."""
    steps = np.linspace(0, 1, len(BLUES))
    return np.stack([np.interp(share, steps, channel).round() for channel in BLUES.T], axis=-1).astype(np.uint8)
