"""Draw contact sheets: rows of captioned images as one PNG, by Pillow, which is much faster than a plot."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core import files

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

SIDE, SMALL_SIDE = 176, 96  # of an image on a sheet of few pictures, and of many, in pixels
GAP = 16
LINE = 21
ENLARGED = 64  # smaller images are enlarged in blocks, which show the pixels that the model saw
INK, PALE, RIGHT, WRONG, PAPER = (24, 24, 27), (113, 113, 122), (21, 128, 61), (190, 18, 60), (255, 255, 255)


@dataclass(frozen=True)
class Tile:
    """One image (S, S, 3) uint8 with lines of text under it, each (text, colour); several images stand side by side."""

    images: Sequence[np.ndarray]
    lines: Sequence[tuple[str, tuple[int, int, int]]] = field(default_factory=tuple)


@dataclass(frozen=True)
class Group:
    """Tiles under one heading."""

    tiles: Sequence[Tile]
    heading: str = ""


def draw_sheet(
    title: str, groups: Sequence[Group], columns: int = 6, nothing: str = "Nothing to show.", side: int = SIDE
) -> "Image":
    """Draw all groups, `columns` images of `side` pixels wide; the words `nothing` where there is no tile."""
    from PIL import Image, ImageDraw

    groups = [group for group in groups if group.tiles]
    width = GAP + columns * (side + GAP)
    heads = _wrapped(title, font(20, bold=True), width - 2 * GAP)
    top = GAP + len(heads) * 26 + 8
    height = top + sum(_height(group, columns, side) for group in groups) + (0 if groups else LINE + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(heads):
        pen.text((GAP, GAP + number * 26), line, INK, font(20, bold=True))
    if not groups:
        pen.text((GAP, top), nothing, PALE, font(16))
    for group in groups:
        if group.heading:
            pen.text((GAP, top), _fitted(group.heading, font(16, bold=True), width - 2 * GAP), INK, font(16, bold=True))
            top += 28
        for row in _rows(group.tiles, columns):
            left = GAP
            for tile in row:
                _draw_tile(sheet, tile, left, top, side)
                left += len(tile.images) * (side + GAP)
            top += _row_height(row, side)
        top += GAP
    return sheet


def save_png(path: Path, image: "Image") -> None:
    """Write a PNG whose bytes depend on the pixels alone."""
    with files.atomic(path) as temporary:
        image.save(temporary, "PNG", compress_level=4)


def _draw_tile(sheet: "Image", tile: Tile, left: int, top: int, side: int) -> None:
    from PIL import Image, ImageDraw

    pen = ImageDraw.Draw(sheet)
    for number, pixels in enumerate(tile.images):
        how = Image.Resampling.NEAREST if len(pixels) <= ENLARGED else Image.Resampling.LANCZOS
        sheet.paste(Image.fromarray(pixels).resize((side, side), how), (left + number * (side + GAP), top))
    room = len(tile.images) * (side + GAP) - GAP
    for number, (text, colour) in enumerate(tile.lines):
        small = font(15 if side == SIDE else 12)
        pen.text((left, top + side + 6 + number * LINE), _fitted(text, small, room), colour, small)


def _rows(tiles: Sequence[Tile], columns: int) -> list[list[Tile]]:
    rows: list[list[Tile]] = [[]]
    used = 0
    for tile in tiles:
        if used + len(tile.images) > columns and rows[-1]:
            rows.append([])
            used = 0
        rows[-1].append(tile)
        used += len(tile.images)
    return rows


def _row_height(row: Sequence[Tile], side: int) -> int:
    return side + 6 + max(len(tile.lines) for tile in row) * LINE + GAP


def _height(group: Group, columns: int, side: int) -> int:
    rows = _rows(group.tiles, columns)
    return sum(_row_height(row, side) for row in rows) + GAP + (28 if group.heading else 0)


@cache
def font(size: int, bold: bool = False) -> "FreeTypeFont":
    """Return DejaVu Sans in a size in pixels."""
    from PIL import ImageFont

    # matplotlib brings DejaVu Sans, which knows more scripts than Pillow's own; finding it does not import matplotlib.
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "mpl-data/fonts/ttf"
    return ImageFont.truetype(str(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size)


def _fitted(text: str, font: "FreeTypeFont", room: int) -> str:
    """Return the text in one line, cut in its middle until it fits: names and paths differ at their ends."""
    text = " ".join(text.split())  # a name may hold line ends, some of which Pillow rejects
    if font.getlength(text) <= room:
        return text
    kept = len(text)
    while kept > 2:
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(short) <= room:
            return short
    return "…"


def _wrapped(text: str, font: "FreeTypeFont", room: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
