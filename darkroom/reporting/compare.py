"""`darkroom compare REV [REV]`: test whether a change is real; text, Markdown or JSON, and an exit status for CI."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from darkroom.core.errors import DarkroomError
from darkroom.reporting.comparison import BETTER, WORSE, Comparison, compare
from darkroom.reporting.comparison_text import as_markdown, as_text
from darkroom.reporting.runs import groups, load_run, locations, models_that_answered, params_not_run

FAILED, IMPOSSIBLE = 1, 2
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
