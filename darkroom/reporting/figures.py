"""Figures by matplotlib, without pyplot, whose import would slow down every experiment."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import bidirectional

from darkroom.core import files
from darkroom.core.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
MARK = "\u200e"  # left-to-right; it is not visible
INK, PALE, GRID, FAINT, WRONG = "#1e293b", "#64748b", "#e5e7eb", "#a1a1aa", "#be123c"
# Okabe and Ito's colours, which differ for every kind of colour vision; their yellow is too pale for a line.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7c3aed", "#8c564b", "#1e2a8a", "#8f8f00")


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of so many inches whose parts never overlap."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def plain_log_axis(axes: "Axes") -> None:
    """Make the x axis of what is drawn logarithmic, with ticks such as 50, 200 and 1,000 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.dataLim.intervalx
    subs = (1,) if high > 500 * low else (1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def save(path: Path, figure: "Figure") -> None:
    """Write a PNG whose bytes depend on the figure alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with files.atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None}, dpi=DPI)


def caption_names(names: Sequence[str]) -> list[str]:
    """Return each name as a figure can write it.

    A name with a character that the figure's font lacks (Chinese, emoji) becomes its number among `names`, from 1 on as
    the lines of labels.txt, and its drawable characters. No other font is used: the bytes of a figure must not depend
    on the machine's fonts.
    """
    return [caption(name, number) for number, name in enumerate(names, 1)]


def caption(name: str, number: int) -> str:
    """Return a name as a figure can write it, on one line: with its number where the font lacks a character."""
    line = one_line(name)
    if drawable(line):
        return line
    rest = " ".join("".join(char if drawable(char) else " " for char in line).split())
    return f"#{number} {rest}".rstrip()


def names_in_lines(names: Sequence[str]) -> list[str]:
    """Return `caption_names` to be put beside other words.

    Those in Hebrew or Arabic stand between marks of direction, without which the figures behind them change places.
    """
    return [f"{MARK}{name}{MARK}" if any(bidirectional(char) in ("R", "AL") for char in name) else name
            for name in caption_names(names)]  # fmt: skip


def drawable(name: str) -> bool:
    """Return whether matplotlib's own font, DejaVu Sans, has every character of `name`."""
    return name.isascii() or all(ord(char) in _characters() for char in name if not char.isspace())


@cache
def _characters() -> frozenset[int]:
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf")).get_charmap())
