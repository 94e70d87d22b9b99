"""Line charts and interval charts as SVG text: sharp on any screen, small, and without a plotting library."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

INK, PALE, GRID, ACCENT = "#18181b", "#71717a", "#e4e4e7", "#2563eb"
COLOURS = ("#2563eb", "#d97706", "#15803d", "#be123c", "#7c3aed", "#0e7490")
LEFT, RIGHT, TOP, BOTTOM = 72, 14, 14, 44


@dataclass(frozen=True)
class Line:
    """Points (x, y) in order. `faint` ones are background: thin, grey, not in the legend. `dots` marks each point.

    `whiskers` are the ends (low, high) of each point's interval; such points are not joined.
    """

    name: str
    points: Sequence[tuple[float, float]]
    faint: bool = False
    dots: bool = False
    whiskers: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Interval:
    """A value with its ends, in a row of its own."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    note: str = ""


@dataclass(frozen=True)
class Axes:
    """Where values lie on a picture of `size`."""

    x: tuple[float, float]
    y: tuple[float, float]
    size: tuple[int, int]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of (x, y) in the picture."""
        (x0, x1), (y0, y1), (width, height) = self.x, self.y, self.size
        across = LEFT + (x - x0) / (x1 - x0) * (width - LEFT - RIGHT)
        return round(across, 1), round(height - BOTTOM - (y - y0) / (y1 - y0) * (height - TOP - BOTTOM), 1)


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    diagonal: bool = False,
) -> str:
    """An SVG with axes, grid, lines and a legend below; "" without a point."""
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    x_range, y_range = x_range or _span([x for x, _ in points]), y_range or _span([y for _, y in points])
    axes = Axes(x_range, y_range, (520, 340))
    parts = [_frame(axes, x_label, y_label)]
    if diagonal:
        (a, b), (c, d) = axes.at(0, 0), axes.at(1, 1)
        parts.append(f'<path d="M{a} {b}L{c} {d}" stroke="{PALE}" stroke-dasharray="4 4" fill="none"/>')
    parts += [_line(line, "#a1a1aa", axes) for line in lines if line.faint]
    named = [line for line in lines if not line.faint]
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(named))]
    parts += [_line(line, colour, axes) for line, colour in zip(named, colours, strict=True)]
    legend = _legend([line.name for line in named], colours)
    return _svg(axes.size, "".join(parts), f"{y_label} by {x_label}") + legend


def interval_chart(rows: Sequence[Interval], label: str) -> str:
    """An SVG with one row a value in 0..1: a dot on the line from low to high."""
    rows = [row for row in rows if row.value is not None]
    if not rows:
        return ""
    name_width = min(170, 14 + 7.8 * max(columns(row.name) for row in rows))
    width, height = 460, 26 * len(rows) + 34
    room = width - name_width - 14 - 7.6 * max(len(row.note) for row in rows)

    def at(value: float) -> float:
        return round(name_width + value * room, 1)

    parts = []
    for tick in _ticks(0, 1):
        parts.append(f'<path d="M{at(tick)} 4V{height - 26}" stroke="{GRID}"/>')
        parts.append(_text(at(tick), height - 8, f"{tick:g}", "middle", PALE))
    for number, row in enumerate(rows):
        y = 18 + 26 * number
        most = int((name_width - 10) / 7.6)
        parts.append(_text(name_width - 10, y + 4, _cut(row.name, most), "end", INK))
        if row.low is not None and row.high is not None:
            ends = f"M{at(row.low)} {y}H{at(row.high)}"
            parts.append(f'<path d="{ends}" stroke="{ACCENT}" stroke-width="3" opacity=".4"/>')
        parts.append(f'<circle cx="{at(row.value or 0.0)}" cy="{y}" r="4.5" fill="{ACCENT}"/>')
        parts.append(_text(width, y + 4, row.note, "end", PALE))
    return _svg((width, height), "".join(parts), label)


def columns(text: str) -> int:
    """How many columns a text takes: a wide character (Chinese, Japanese, Korean, an emoji) takes two."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _cut(text: str, most: int) -> str:
    """The text, its end replaced by an ellipsis when it takes more than `most` columns."""
    if columns(text) <= most:
        return text
    while text and columns(text) > most - 1:
        text = text[:-1]
    return text + "…"


def _line(line: Line, colour: str, axes: Axes) -> str:
    places = [axes.at(*point) for point in line.points]
    parts = []
    if not line.whiskers:
        path = "L".join(f"{x} {y}" for x, y in places)
        style = 'stroke-width="1" opacity=".45"' if line.faint else 'stroke-width="2.2"'
        parts.append(f'<path d="M{path}" stroke="{colour}" {style} fill="none" stroke-linejoin="round"/>')
    for (x, _), (low, high) in zip(line.points, line.whiskers, strict=False):
        (a, b), (_, d) = axes.at(x, low), axes.at(x, high)
        parts.append(f'<path d="M{a} {b}V{d}" stroke="{colour}" stroke-width="1.4" opacity=".6"/>')
    if line.dots:
        parts += [f'<circle cx="{x}" cy="{y}" r="3.6" fill="{colour}"/>' for x, y in places]
    return "".join(parts)


def _frame(axes: Axes, x_label: str, y_label: str) -> str:
    width, height = axes.size
    parts = []
    for tick in _ticks(*axes.y):
        _, y = axes.at(axes.x[0], tick)
        parts.append(f'<path d="M{LEFT} {y}H{width - RIGHT}" stroke="{GRID}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{tick:g}", "end", PALE))
    for tick in _ticks(*axes.x):
        x, _ = axes.at(tick, axes.y[0])
        parts.append(f'<path d="M{x} {TOP}V{height - BOTTOM}" stroke="{GRID}"/>')
        parts.append(_text(x, height - BOTTOM + 18, f"{tick:g}", "middle", PALE))
    parts.append(_text((LEFT + width - RIGHT) / 2, height - 6, x_label, "middle", INK))
    middle = (TOP + height - BOTTOM) / 2
    parts.append(f'<g transform="translate(14 {middle}) rotate(-90)">{_text(0, 0, y_label, "middle", INK)}</g>')
    return "".join(parts)


def _legend(names: Sequence[str], colours: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    keys = "".join(
        f'<span><i style="background:{colour}"></i>{escape(name)}</span>'
        for name, colour in zip(names, colours, strict=True)
    )
    return f'<p class="legend">{keys}</p>'


def _svg(size: tuple[int, int], body: str, label: str) -> str:
    return f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(label)}">{body}</svg>'


def _text(x: float, y: float, text: str, anchor: str, colour: str) -> str:
    return f'<text x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    edge = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return low - edge, high + edge


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from low to high, at most `most`: multiples of 1, 2 or 5 times a power of ten."""
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(times for times in (1, 2, 5, 10) if (high - low) / (step * times) < most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 10) for place in range(first, last + 1)]
