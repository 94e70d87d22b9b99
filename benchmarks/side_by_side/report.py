"""What was measured, as tables between two markers of benchmarks/README.md, with a figure for each."""

from pathlib import Path
from typing import Any

from benchmarks.side_by_side.charts import draw
from benchmarks.side_by_side.parts import PARTS, Part, Row
from benchmarks.side_by_side.settings import Settings
from darkroom.core import files

BEGINS, ENDS = "<!-- side by side, written by `make bench` -->", "<!-- end of side by side -->"


def write(results: Path, readme: Path) -> None:
    """Make figures and tables of every JSON file in `results`, parts in their order."""
    sections = []
    for name, part in PARTS.items():
        for path in sorted(results.glob(f"{name}-*.json")):
            found = files.read_json(path)
            figure = path.with_suffix(".png")
            draw(part, found, figure)
            sections.append(section(part, found, figure.relative_to(readme.parent).as_posix()))
    text = readme.read_text()
    if BEGINS not in text:
        text = text.rstrip("\n") + f"\n\n## Side by side with other projects\n\n{BEGINS}\n{ENDS}\n"
    before, _, rest = text.partition(BEGINS)
    after = rest.partition(ENDS)[2]
    files.write_text(readme, f"{before}{BEGINS}\n" + "\n\n".join(sections) + f"\n{ENDS}{after}")


def section(part: Part, found: dict[str, Any], figure: str) -> str:
    """One part as Markdown: what was done, the table, how it compares with the aim, the figure, how to repeat it."""
    facts, rows = found["settings"], found["rows"]
    counted = f"{facts['photos']}: {facts['train']:,} photos to learn from, {facts['test']:,} to test."
    if facts.get("seeds", 1) > 1:
        counted += f" {facts['seeds']} runs of each, one a seed: medians of the time, means of the accuracy."
    if facts.get("size", Settings.size) < Settings.size:
        counted += f" All at {facts['size']} px, without mirror images; crops of peers are 60 % of the area at least."
    versions = ", ".join(f"{name} {version}" for name, version in sorted(found["versions"].items()))
    lines = [f"### {part.title}: {facts['photos']}", "", f"{part.says.format(**facts)} {counted}", ""]
    lines += table(part, rows)
    aim = part.aim(rows, facts["test"])
    lines += ["", aim] if aim else []
    lines += ["", f"![{part.title.lower()}, {part.unit}]({figure})", ""]
    return "\n".join([*lines, f"{found['machine']}; {versions}. `{found['command']}`, {found['date']}."])


def table(part: Part, rows: list[Row]) -> list[str]:
    """Return a Markdown table, the best first; who could not take part stands last, with the reason. No column is
    empty."""
    able = [row for row in rows if "failed" not in row]
    columns = {name: cell for name, cell in part.columns.items() if not able or any(cell(row, rows) for row in able)}
    header = ["", *columns]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for row in ordered(part, rows):
        name = f"**{row['name']}**" if row.get("ours") else row["name"]
        if "failed" in row:
            cells = [f"not measured: {row['failed']}", *[""] * (len(columns) - 1)]
        else:
            cells = [cell(row, rows) for cell in columns.values()]
        lines.append("| " + " | ".join([name, *(cell.replace("|", "\\|") for cell in cells)]) + " |")
    return lines


def ordered(part: Part, rows: list[Row]) -> list[Row]:
    """Rows by what they are compared by (within their kind, where they have one); failures at the end."""
    kinds = list(dict.fromkeys(row.get("kind") for row in rows))
    sign = 1 if part.less_is_better else -1
    return sorted(
        rows, key=lambda row: ("failed" in row, kinds.index(row.get("kind")), sign * row.get(part.value, 0.0))
    )  # fmt: skip
