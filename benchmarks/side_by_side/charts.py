"""A figure a table: horizontal bars, Darkroom's in another colour, each with its number."""

from pathlib import Path
from typing import Any

from benchmarks.side_by_side.parts import Part

OURS, OTHERS = "#c0392b", "#9aa5b1"


def draw(part: Part, found: dict[str, Any], path: Path) -> None:
    """Write the figure of one part's rows; who could not take part has no bar."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in found["rows"] if part.value in row]
    rows.sort(key=lambda row: row[part.value], reverse=part.less_is_better)  # the last one is drawn at the top
    if not rows:
        return
    values = [row[part.value] for row in rows]
    names = [_named(row) for row in rows]
    figure = Figure(figsize=(9, 1.3 + 0.36 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    bars = axis.barh(names, values, color=[OURS if row.get("ours") else OTHERS for row in rows], height=0.7)
    axis.bar_label(bars, labels=[_number(value) for value in values], padding=4, fontsize=9)
    for label, row in zip(axis.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row.get("ours") else "normal")
    better = "less" if part.less_is_better else "more"
    axis.set_title(f"{part.title}: {found['settings']['photos']}", loc="left", fontsize=12)
    axis.set_xlabel(f"{part.unit} ({better} is better)")
    axis.set_xlim(0, 1.12 * max(values))
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _named(row: dict[str, Any]) -> str:
    name = row["name"].replace("`", "")
    return f"{row['kind']}: {name}" if row.get("kind") else name


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
