"""Figures by matplotlib, without pyplot, whose start-up would be felt in every experiment."""

from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.core import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
INK, PALE, GRID, FAINT, WRONG = "#1e293b", "#64748b", "#e5e7eb", "#a1a1aa", "#be123c"
# Okabe and Ito's colours, which differ for every kind of colour vision; their yellow is too pale for a line.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7c3aed", "#8c564b", "#1e2a8a", "#8f8f00")


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of so many inches whose parts never overlap."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def save(path: Path, figure: "Figure") -> None:
    """Write a PNG whose bytes depend on the figure alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with files.atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None}, dpi=DPI)


def shortened(text: str, most: int) -> str:
    """Return the text in one line, its middle replaced by an ellipsis beyond `most` characters; `$` stays a dollar."""
    text = " ".join(text.split())
    short = text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"
    return short.replace("$", r"\$")
