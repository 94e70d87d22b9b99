"""Pictures of the data: a contact sheet of what the model will see, and the pairs that are copies of each other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from darkroom import files

GAP = 4  # pixels between two pictures


def save_sheet(path: Path, title: str, rows: Sequence[tuple[str, Sequence[np.ndarray]]], side: int = 96) -> None:
    """A grid: a name and pictures (S, S, 3) uint8 a row, written as PNG without a date."""
    from matplotlib.figure import Figure

    columns = max((len(pictures) for _, pictures in rows), default=1)
    cell = side + GAP
    sheet = np.full((max(len(rows), 1) * cell - GAP, columns * cell - GAP, 3), 255, np.uint8)
    for at, (_, pictures) in enumerate(rows):
        for number, pixels in enumerate(pictures):
            sheet[at * cell : at * cell + side, number * cell : number * cell + side] = _scaled(pixels, side)
    figure = Figure(figsize=(sheet.shape[1] / 100 + 2.2, sheet.shape[0] / 100 + 0.8), dpi=100)
    height = figure.get_figheight()
    axes = figure.add_axes((1.9 / figure.get_figwidth(), 0.2 / height, sheet.shape[1] / 100 / figure.get_figwidth(),
                            sheet.shape[0] / 100 / height))  # fmt: skip
    axes.imshow(sheet, interpolation="none", aspect="equal")
    axes.set_axis_off()
    for at, (name, _) in enumerate(rows):
        axes.text(-12, at * cell + side / 2, name, ha="right", va="center", fontsize=10)
    axes.set_title(title, fontsize=11, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _scaled(pixels: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    method = Image.Resampling.NEAREST if pixels.shape[0] * 2 <= side else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize((side, side), method))
