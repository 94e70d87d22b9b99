"""Pictures of the data: a contact sheet of what the model will see, and the pairs that are copies of each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from darkroom.core import files
from darkroom.reporting.figures import drawn_names

SIDE, GAP, DPI = 96, 4, 100
PAIRS_A_ROW = 4
INK, QUIET, ALARM = "#222222", "#777777", "#b00020"


@dataclass(frozen=True)
class Pair:
    """Two pictures (SIDE, SIDE, 3) uint8 that are copies, what is known of each, and of both."""

    pictures: tuple[np.ndarray, np.ndarray]
    names: tuple[str, str]
    relation: str
    conflict: bool


def save_sheet(
    path: Path, title: str, headings: Sequence[str], rows: Sequence[tuple[str, Sequence[Sequence[np.ndarray]]]]
) -> None:
    """A grid: a row a class, with one group of pictures (S, S, 3) uint8 under each heading."""
    groups = [max((len(pictures[group]) for _, pictures in rows), default=1) for group in range(len(headings))]
    starts = np.cumsum([0, *(count * (SIDE + GAP) + 4 * GAP for count in groups)])
    sheet = np.full((len(rows) * (SIDE + GAP), int(starts[-1]), 3), 255, np.uint8)
    for at, (_, pictures) in enumerate(rows):
        for group, start in zip(pictures, starts, strict=False):
            for number, pixels in enumerate(group):
                left = int(start) + number * (SIDE + GAP)
                sheet[at * (SIDE + GAP) :, left:][:SIDE, :SIDE] = scaled(pixels)
    names = [name for name, _ in rows]
    figure, axes = _canvas(sheet, left=0.25 + 0.085 * max(map(len, names), default=0), top=0.75)
    for at, name in enumerate(names):
        axes.text(-8, at * (SIDE + GAP) + SIDE / 2, name, ha="right", va="center", fontsize=10, color=INK)
    for heading, start in zip(headings, starts, strict=False):
        axes.text(int(start), -8, heading, ha="left", va="bottom", fontsize=10, color=QUIET)
    axes.text(0, -32, title, ha="left", va="bottom", fontsize=12, color=INK)
    _save(figure, path)


def save_pairs(path: Path, title: str, pairs: Sequence[Pair]) -> None:
    """Pairs side by side, with their names below; in red where they have two labels."""
    wide, tall = 2 * SIDE + GAP + 40, SIDE + 54
    columns, rows = min(max(len(pairs), 1), PAIRS_A_ROW), -(-len(pairs) // PAIRS_A_ROW)
    sheet = np.full((max(rows * tall, 20), max(columns, 2) * wide, 3), 255, np.uint8)
    for at, pair in enumerate(pairs):
        top, left = at // PAIRS_A_ROW * tall, at % PAIRS_A_ROW * wide
        for side, pixels in enumerate(pair.pictures):
            sheet[top:, left + side * (SIDE + GAP) :][:SIDE, :SIDE] = pixels
    figure, axes = _canvas(sheet, left=0.25, top=0.55)
    for at, pair in enumerate(pairs):
        top, left = at // PAIRS_A_ROW * tall, at % PAIRS_A_ROW * wide
        colour = ALARM if pair.conflict else INK
        lines = [pair.relation.replace("$", r"\$"), *drawn_names(pair.names, 34)]
        for line, text in enumerate(lines):
            axes.text(left, top + SIDE + 5 + 14 * line, text, ha="left", va="top", fontsize=7,
                      color=colour if not line else QUIET)  # fmt: skip
    axes.text(0, -12, title, ha="left", va="bottom", fontsize=12, color=INK)
    _save(figure, path)


def scaled(pixels: np.ndarray) -> np.ndarray:
    """A picture (S, S, 3) at the sheet's size; small ones keep their pixels visible."""
    method = Image.Resampling.NEAREST if pixels.shape[0] * 2 <= SIDE else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), method))


def _canvas(sheet: np.ndarray, left: float, top: float) -> tuple[Any, Any]:
    """A figure that shows `sheet` pixel for pixel, with margins in inches."""
    from matplotlib.figure import Figure

    height, width = sheet.shape[0] / DPI, sheet.shape[1] / DPI
    figure = Figure(figsize=(width + left + 0.2, height + top + 0.15), dpi=DPI)
    size = figure.get_size_inches()
    axes = figure.add_axes((left / size[0], 0.15 / size[1], width / size[0], height / size[1]))
    axes.imshow(sheet, interpolation="none", aspect="equal")
    axes.set_axis_off()
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    with files.atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})  # its version would change the bytes
