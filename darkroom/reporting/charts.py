"""Draw the report's charts as SVG by matplotlib: text can be selected, and colours follow a dark page."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core import files
from darkroom.metrics.curves import class_curves
from darkroom.metrics.predictions import Predictions
from darkroom.reporting.figures import FAINT, GRID, INK, PALE, PALETTE, WRONG, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from darkroom.reporting.robustness import Row

# Colours that the page's style sheet sets, for light and for dark; --c0 and so on are those of PALETTE.
VARIABLES = {INK: "var(--ink)", PALE: "var(--pale)", GRID: "var(--line)", FAINT: "var(--faint)", WRONG: "var(--wrong)"}
VARIABLES |= {colour: f"var(--c{number})" for number, colour in enumerate(PALETTE)}
CLASS_CURVES = 30  # thin curves in a chart
GRAIN = 200  # points of a curve that are closer than 1 / GRAIN are drawn as one


@dataclass(frozen=True)
class Line:
    """One line of a chart: points (x, y) in order. `dots`: mark each point; `faint`: thin, grey, not in the legend.

    `low` and `high` (n,) are the ends of each point's interval; such points are not joined.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    faint: bool = False
    dots: bool = False
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def of_run(root: Path, predictions: Predictions | None) -> dict[str, str]:
    """Return the SVG of every chart by name, "" for an empty one."""
    history, bins, answered = (
        _rows(root / "plots" / name) for name in ("history.csv", "test/reliability.csv", "test/risk_coverage.csv")
    )
    ranked = {
        kind: ranking(predictions, root / f"plots/test/{kind}.csv", kind) if predictions else ""
        for kind in ("roc", "precision_recall")
    }
    return {
        "loss": learning_curves(history, "loss"),
        "accuracy": learning_curves(history, "accuracy"),
        "reliability": reliability(bins),
        "risk_coverage": risk_coverage(answered),
    } | ranked


def _rows(path: Path) -> list[dict[str, str]]:
    return list(files.read_csv(path)) if path.exists() else []


def learning_curves(history: Sequence[Mapping[str, str]], kind: str) -> str:
    """Return the chart of plots/history.csv; `kind` is "loss" or "accuracy"."""
    lines = []
    for part, name in (("train", "training"), ("val", "validation")):
        rows = [row for row in history if row.get(f"{part}_{kind}")]
        x, y = [float(row["epoch"]) for row in rows], [float(row[f"{part}_{kind}"]) for row in rows]
        lines.append(Line(f"{name} {kind}", x, y, dots=len(history) < 3))
    return line_chart(lines, "epoch", kind)


def ranking(predictions: Predictions, averaged: Path, kind: str) -> str:
    """Return the chart of "roc" or "precision_recall": a thin line a class, and their mean, the CSV file `averaged`."""
    lines = [
        Line(name, *_thinned(x, y), faint=True) for name, (x, y) in _some(class_curves(predictions, kind), CLASS_CURVES)
    ]
    if lines and averaged.exists():
        points = np.array([[float(cell) for cell in row.values()] for row in files.read_csv(averaged)])
        lines.append(Line("mean of the classes", *points.T.tolist()))
    labels = ("false positive rate", "true positive rate") if kind == "roc" else ("recall", "precision")
    return line_chart(lines, *labels, unit_square=True, diagonal=kind == "roc")


def reliability(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the chart of plots/test/reliability.csv."""
    x, y, low, high = (
        [float(row[name]) for row in rows] for name in ("confidence", "accuracy", "accuracy_low", "accuracy_high")
    )
    line = Line("accuracy", x, y, low=low, high=high)
    return line_chart([line], "confidence", "accuracy", unit_square=True, diagonal=True)


def risk_coverage(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the chart of plots/test/risk_coverage.csv."""
    x, y = ([float(row[name]) for row in rows] for name in ("answered", "accuracy"))
    return line_chart([Line("accuracy", x, y, dots=len(x) < 3)], "share answered, the surest first", "accuracy")


def robustness(rows: "Sequence[Row]") -> str:
    """Return the chart of accuracy against severity, a line for each corruption; "" without rows."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    lines = []
    for kind in kinds:
        own = [row for row in rows if row.kind == kind]
        lines.append(Line(kind, [row.severity for row in own], [row.accuracy for row in own], dots=True))
    return line_chart(lines, "severity", "accuracy") if lines else ""


def svg(figure: "Figure", label: str) -> str:
    """Return the figure as an <svg> element with the text `label` for screen readers."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    used = set(re.findall(r"#([A-Za-z_]\w*)", text))
    text = re.sub(
        r' id="([^"]*)"', lambda match: match[0] if match[1] in used or match[1].endswith("points") else "", text
    )
    text = re.sub(
        r"<svg[^>]*viewBox=(\"[^\"]*\")[^>]*>",
        rf'<svg viewBox=\1 role="img" aria-label="{escape(label)}">',
        text,
        count=1,
    )
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    # A tenth of a point is less than a screen shows; text between tags, the numbers of the axes, stays.
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d)\d+", r"\1", tag[0]), text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    return re.sub(r">\s+<", "><", text).strip()


def line_chart(
    lines: Sequence[Line], x_label: str, y_label: str, unit_square: bool = False, diagonal: bool = False
) -> str:
    """Return an SVG of the lines with a legend; "" without a point. `unit_square`: both axes run from 0 to 1."""
    lines = [line for line in lines if len(line.x)]
    if not lines:
        return ""
    figure = new_figure(4.4, 3.1)  # about the width of a phone, where its text is as large as drawn
    axes = figure.add_subplot()
    _style(axes, x_label, y_label)
    if diagonal:
        axes.plot([0, 1], [0, 1], color=PALE, linestyle=(0, (4, 4)), linewidth=1)
    if unit_square:
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03))
    colours = iter(PALETTE * (1 + len(lines) // len(PALETTE)))
    for line in lines:
        _line(axes, line, FAINT if line.faint else next(colours))
    if not unit_square and all(float(value).is_integer() for line in lines for value in line.x):
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # epochs and severities are whole numbers
    if y_label == "accuracy" and not unit_square:
        axes.set_ylim(top=min(axes.get_ylim()[1], 1.005))  # nothing is right more often than always
    if sum(not line.faint for line in lines) > 1:
        axes.legend(frameon=False, fontsize=10, labelcolor=INK)
    return svg(figure, f"{y_label} by {x_label}")


def _line(axes: "Axes", line: Line, colour: str) -> None:
    if line.faint:
        axes.plot(line.x, line.y, color=colour, linewidth=0.8, alpha=0.5)
    elif len(line.low):
        axes.vlines(line.x, line.low, line.high, color=colour, linewidth=1.6, alpha=0.6)
        axes.plot(line.x, line.y, "o", color=colour, markersize=5)
    else:
        axes.plot(line.x, line.y, "o-" if line.dots else "-", color=colour, linewidth=2, markersize=5, label=line.name)


def _style(axes: "Axes", x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.tick_params(colors=PALE, length=0)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def map_chart(points: np.ndarray, labels: np.ndarray, right: np.ndarray) -> str:
    """Return the map of points (n, 2) as an SVG, whose group `map-points` holds one <use> a point, in their order.

    Each class has a colour, unless there are more classes than colours: then all points are grey, and the page
    highlights the class under the pointer. Wrong answers are ringed.
    """
    figure = new_figure(7.6, 5.2)
    axes = figure.add_subplot()
    number = map_colours(labels)
    colours = [PALETTE[number[label]] if number else FAINT for label in labels.tolist()]
    axes.scatter(points[:, 0], points[:, 1], s=34, c=colours, linewidths=0, gid="map-points")
    if (~right).any():
        x, y = points[~right].T
        axes.scatter(x, y, s=70, facecolors="none", edgecolors=WRONG, linewidths=1.6)
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_color(GRID)
    return svg(figure, "Map of the test images: those that the model finds alike lie together")


def map_colours(labels: np.ndarray) -> dict[int, int]:
    """Return the number of each class's colour on the map; {} where there are more classes than colours."""
    present = np.unique(labels).tolist()
    return {label: number for number, label in enumerate(present)} if len(present) <= len(PALETTE) else {}


def _some(
    found: Iterator[tuple[str, np.ndarray, np.ndarray]], most: int
) -> list[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Return at most so many curves, evenly spread."""
    curves = [(name, (x, y)) for name, x, y in found]
    return curves[:: max(1, -(-len(curves) // most))]


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """Return a curve without points within 1 / GRAIN of the one before; its last point is kept."""
    cells = np.rint(np.column_stack([x, y]) * GRAIN)
    keep = np.append((np.diff(cells, axis=0) != 0).any(axis=1), True)
    return x[keep].round(4).tolist(), y[keep].round(4).tolist()
