"""`darkroom compare REV [REV]`: test whether a change is real; text, Markdown or JSON, and an exit status for CI."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from darkroom.core.errors import DarkroomError
from darkroom.core.text import decimal, escape, one_line
from darkroom.metrics import registry
from darkroom.reporting.comparison import BETTER, UNCLEAR, WORSE, Comparison, Row, compare
from darkroom.reporting.runs import groups, load_run, locations, models_that_answered, params_not_run

FAILED, IMPOSSIBLE = 1, 2
SIGNS = {BETTER: "🟢", WORSE: "🔴", UNCLEAR: "⚪"}
PLOT = 33  # characters of an interval's drawing
METRIC_HEAD = ("metric", "old", "new", "difference", "95 % interval", "")
CLASS_HEAD = ("class", "images", "right before", "right now", "fixed", "broken", "p", "p (Holm)")
FLIP_HEAD = ("", "truth", "old answer", "new answer", "image")
# name: whether a comparison fails the gate
GATES = {
    "never": lambda found: False,  # noqa: ARG005
    "worse": lambda found: found.verdict == WORSE,
    "regression": lambda found: found.verdict == WORSE,
    "not-better": lambda found: found.verdict != BETTER,
    "maybe-worse": lambda found: found.accuracy.low is None or found.accuracy.low < -found.margin,
}


def main(arguments: list[str]) -> int:
    """Return the exit status: 0 compared, 1 `--fail-on` applies, 2 not comparable (the reason is on standard error)."""
    asked = _parser().parse_args(arguments)
    root = Path.cwd()
    try:
        old = load_run(asked.rev, root)
        new = load_run(asked.other, root)
        found = compare(old, new, locations(root), asked.margin, asked.seed, groups(root))
        found = replace(found, looks=models_that_answered(root))
    except DarkroomError as error:
        print(f"darkroom compare: {error}", file=sys.stderr)
        return IMPOSSIBLE
    if asked.other is None and new.reader and (late := params_not_run(new.reader)):
        shown = ", ".join(f"{key}: {before} to {after}"[:100] for key, (before, after) in late.items())
        print(f"darkroom compare: note: params.yaml was changed after this run ({shown}); `dvc repro` runs it",
              file=sys.stderr)  # fmt: skip
    print(render(found, asked.format, asked.show))
    return FAILED if GATES[asked.fail_on](found) else 0


def render(found: Comparison, kind: str, show: int) -> str:
    """Return the comparison as "text", "md" or "json"; at most `show` classes and images, JSON has all."""
    if kind == "json":
        return json.dumps(found.as_json(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return as_markdown(found, show) if kind == "md" else as_text(found, show)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="darkroom compare",
        description="Compare two runs on the same test images: what differs, by how much, and whether it is real.",
        epilog="Exit status: 0, also when worse unless --fail-on asks; 1 when --fail-on says so;"
        " 2 when the runs cannot be compared.",
    )
    parser.add_argument("rev", metavar="REV", help="the old run: a branch, tag, commit or DVC experiment")
    parser.add_argument("other", metavar="REV2", nargs="?", help="the new run (default: the workspace)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--md", dest="format", action="store_const", const="md", help="print Markdown")
    kinds.add_argument("--json", dest="format", action="store_const", const="json", help="print JSON")
    parser.set_defaults(format="text")
    parser.add_argument(
        "--fail-on",
        choices=sorted(GATES),
        default="never",
        help="exit with 1 when the new run is worse (regression is the same), is not-better, or is maybe-worse: "
        "the interval does not rule out a loss of more than the margin",
    )
    parser.add_argument(
        "--margin",
        type=_share,
        default=0.0,
        help="a difference in accuracy that does not matter, 0..1 (default: %(default)s)",
    )
    parser.add_argument("--show", type=_count, default=20, help="classes and images to list (default: %(default)s)")
    parser.add_argument("--seed", type=_count, default=0, help="of the bootstrap (default: %(default)s)")
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share; 0.01 is one point of accuracy")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def as_text(found: Comparison, show: int) -> str:
    """Return the comparison for a terminal."""
    parts = [
        f"{found.old} → {found.new}, on the same {found.n:,} test images",
        f"{SIGNS[found.verdict]} {found.sentence}",
        found.question,
        *_about_data(found, one_line),
    ]
    if found.params:
        parts.append(_table(("param", "old", "new"), [(k, _value(a), _value(b)) for k, a, b in found.params]))
    else:
        parts.append("No param differs.")
    parts.append(_table(METRIC_HEAD, [_metric(row) for row in found.rows]))
    parts.append(_flipped(found))
    if found.classes:
        parts.append(_table(CLASS_HEAD, [_class(row) for row in found.classes[:show]]) + _more(found.classes, show))
    if found.flips:
        parts.append(_table(FLIP_HEAD, [_flip(flip) for flip in found.flips[:show]]) + _more(found.flips, show))
    return "\n\n".join(parts)


def as_markdown(found: Comparison, show: int) -> str:
    """Return the comparison for a pull request: the verdict first, long tables folded away."""
    parts = [
        f"### {SIGNS[found.verdict]} {_escape(found.sentence.partition(':')[0].capitalize())}",
        f"{_escape(found.old)} → {_escape(found.new)}, on the same {found.n:,} test images: {_escape(found.sentence)}.",
        found.question,
        *_about_data(found, _escape),
    ]
    if found.params:
        rows = [(_code(k), _code(_value(a)), _code(_value(b))) for k, a, b in found.params]
        parts.append(_markdown(("param", "old", "new"), rows))
    else:
        parts.append("No param differs.")
    parts.append(_markdown(METRIC_HEAD, [_metric(row) for row in found.rows]))
    drawn = interval_plot(found.rows)
    if drawn:
        parts.append(f"```text\n{drawn}\n```")
    parts.append(_flipped(found))
    if found.classes:
        table = _markdown(CLASS_HEAD, _escaped(map(_class, found.classes[:show]))) + _more(found.classes, show)
        parts.append(_folded(f"Classes that changed ({len(found.classes)})", table))
    if found.flips:
        table = _markdown(FLIP_HEAD, _escaped(map(_flip, found.flips[:show]))) + _more(found.flips, show)
        parts.append(_folded(f"Images that flipped ({len(found.flips)})", table))
    return "\n\n".join(parts)


def _about_data(found: Comparison, escaped: Callable[[str], str]) -> list[str]:
    """Return the changes of the data and of the test set, a sentence each."""
    parts = (("Data: ", found.data), ("Test set: ", found.tested))
    return [f"{what}{escaped(text)}." for what, text in parts if text]


def interval_plot(rows: Sequence[Row]) -> str:
    """Draw the intervals of all differences on one axis, better to the right, as plain text."""
    shown = [row for row in rows if row.low is not None and row.high is not None and row.difference is not None]
    widest = max((max(abs(row.low or 0), abs(row.high or 0)) for row in shown), default=0)
    if not widest:
        return ""
    width = max(len(label(row.name)) for row in shown)
    half = PLOT // 2

    def column(value: float) -> int:
        return half + round(value / widest * half)

    lines = [f"{'':{width}}  {'worse ◂':>{half}}│{'▸ better':<{half}}"]
    for row in shown:
        ends = sorted(column(row.direction * (value or 0)) for value in (row.low, row.high))
        cells = [" "] * PLOT
        cells[half] = "│"
        cells[ends[0] : ends[1] + 1] = "─" * (ends[1] - ends[0] + 1)
        cells[column(row.direction * (row.difference or 0))] = "●"
        lines.append(f"{label(row.name):{width}}  {''.join(cells)}".rstrip())
    lines.append(f"{'':{width}}  {f'{-widest:.3f}':<{half}}0{f'+{widest:.3f}':>{half}}")
    return "\n".join(lines)


def label(name: str) -> str:
    """Return a metric's name as people write it."""
    metric = registry.metric(name)
    return metric.short_label or metric.label


def _metric(row: Row) -> tuple[str, ...]:
    span = "–" if row.low is None or row.high is None else f"{_signed(row.low)} to {_signed(row.high)}"
    return label(row.name), decimal(row.old), decimal(row.new), _signed(row.difference), span, row.verdict


def _class(row: Any) -> tuple[str, ...]:
    counts = (row.images, row.old, row.new, row.fixed, row.broken)
    return (row.name, *(f"{count:,}" for count in counts), f"{row.p:.3g}", f"{row.p_adjusted:.3g}")


def _flip(flip: Any) -> tuple[str, ...]:
    return "fixed" if flip.fixed else "broken", flip.label, flip.old, flip.new, flip.location or flip.id[:12]


def _flipped(found: Comparison) -> str:
    groups = f"{found.groups:,} {'group' if found.groups == 1 else 'groups'}"
    test = "exact McNemar" if found.groups == found.n else f"exact sign flips of {groups},"
    answers = "1 answer" if found.changed == 1 else f"{found.changed:,} answers"
    return f"{found.fixed:,} fixed, {found.broken:,} broken, {answers} changed; {test} p = {found.p:.3g}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 4) + 0.0:+.4f}".replace("-", "−")


def _value(value: Any) -> str:
    return "–" if value is None else str(value) or "(empty)"


def _more(rows: Sequence[Any], show: int) -> str:
    return f"\n\n… and {len(rows) - show:,} more (--show {len(rows)})" if len(rows) > show else ""


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    numeric = [i > 0 and all(_is_number(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, numeric, strict=True)
        )
        for row in (head, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    numeric = [i > 0 and all(_is_number(row[i]) for row in rows) for i in range(len(head))]
    lines = ["|".join(["", *row, ""]) for row in (head, *rows)]
    lines.insert(1, "|".join(["", *("--:" if right else ":--" for right in numeric), ""]))
    return "\n".join(lines)


def _is_number(text: str) -> bool:
    return not text.strip("+−-–.,0123456789e")


def _escaped(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    return [[_escape(cell) for cell in row] for row in rows]


def _escape(text: str) -> str:
    return escape(text, "markdown")


def _code(text: str) -> str:
    """Return text as a code span of Markdown, with a fence that it does not hold, and | escaped for tables."""
    text = one_line(text).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    # A backtick at an end needs a blank beside it, which Markdown strips.
    edge = " " if text.strip(" ") and (text[0] in " `" or text[-1] in " `") else ""
    return f"{fence}{edge}{text}{edge}{fence}"
