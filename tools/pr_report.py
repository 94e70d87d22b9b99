"""`make pr-report BASE=origin/main`: report how a change affects params, metrics and answers, in Markdown."""

import argparse
import contextlib
import csv
import io
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from darkroom.core.errors import DarkroomError
from darkroom.core.git import git
from darkroom.core.progress import say
from darkroom.reporting.compare import FAILED, GATES, as_markdown
from darkroom.reporting.comparison import compare
from darkroom.reporting.runs import CompareError, Revision, Run, groups, load_run, locations
from darkroom.reproduction.rerun import remove, rerun

HISTORY = "plots/history.csv"
BARS = "▁▂▃▄▅▆▇█"
SHOWN = 20


def report(root: Path, base: str, run_base: bool, gate: str, margin: float) -> tuple[str, bool]:
    """Return the report, including the reason for what cannot be compared, and whether the change passes the gate."""
    start, notes = fork(root, base)
    try:
        new = load_run(None, root)
        with contextlib.ExitStack() as clones:
            old, note = _base(root, base, start, run_base, clones)
            found = compare(old, new, locations(root), margin, groups=groups(root))
        parts, passes = [as_markdown(found, SHOWN), notes, note], not GATES[gate](found)
    except DarkroomError as error:
        parts, passes = [f"### ⚪ Not compared\n\n{error}", notes], gate == "never"
    parts += [curves(root, base, start), metrics(root, start), _links()]
    return "\n\n".join(part for part in parts if part) + "\n", passes


def fork(root: Path, base: str) -> tuple[str, str]:
    """Return the commit at which the change left `base`, and a note where Git does not know it, and `base` is taken.

    Later commits of `base` are not part of the change.
    """
    tip = _commit(root, base)
    if not tip:
        return base, ""  # an experiment, or unknown
    if git(root, "for-each-ref", "--points-at", tip, "refs/exps"):
        return base, ""  # an experiment by its commit
    try:
        start = git(root, "merge-base", tip, "HEAD")
    except DarkroomError:
        why = "has no commit in common with this change"
        if git(root, "rev-parse", "--is-shallow-repository") == "true":
            why += " in this shallow clone (`git fetch --unshallow` gets them all)"
        return base, f"{base} {why}: this compares with its tip, and what it gained meanwhile counts as the change's."
    return (base if start == tip else start), ""


def _base(root: Path, base: str, start: str, run_base: bool, clones: contextlib.ExitStack) -> tuple[Run, str]:
    """Return the run at `start` and a note; where its predictions are missing, and `run_base`, run it again in a clone.

    `clones` removes that clone when it ends. Raises DarkroomError.
    """
    name = "" if start == base else f"{start[:7]}, where the change left {base[:12] if _is_sha(base) else base}"
    try:
        run = load_run(start, root)
        return replace(run, name=name or run.name), ""
    except CompareError:
        if not run_base:
            raise
        commit = _commit(root, start)
        if not commit:
            raise  # there is no such base, as this error reports
    say(f"pr-report: running {name or base} again, because its predictions cannot be had from a cache or remote")
    folder = Path(tempfile.mkdtemp(prefix="darkroom-base-"))
    clones.callback(remove, folder)
    run = load_run(None, rerun(root, commit, folder / "clone"))
    note = "The base was run again on this machine: its predictions cannot be had from a cache or remote."
    return replace(run, name=name or f"{base} ({commit[:7]})"), note


def _commit(root: Path, name: str) -> str:
    """Return the sha of the commit `name`, "" where Git does not know it."""
    try:
        return git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except DarkroomError:
        return ""


def _is_sha(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{40}", text) is not None


def curves(root: Path, base: str, start: str) -> str:
    """Return the validation losses of the runs at `start` and here, each as a line of bars, where they are known."""
    lines = []
    for name, rev in ((base[:12] if _is_sha(base) else base, start), ("this change", None)):
        try:
            rows = list(csv.DictReader(io.StringIO(Revision(rev, root).text(HISTORY))))
        except CompareError:
            continue
        losses = [float(row["val_loss"]) for row in rows if row.get("val_loss")]
        if losses:
            lines.append(f"{name:<14} {sparkline(losses)}  {losses[0]:.4g} → {min(losses):.4g} in {len(losses)} epochs")
    return "Validation loss:\n\n```text\n" + "\n".join(lines) + "\n```" if lines else ""


def sparkline(values: list[float]) -> str:
    """Return the values as bars of eight heights, at most 60 of them, evenly chosen."""
    step = -(-len(values) // 60)
    shown = values[::step]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1))] for value in shown)


def metrics(root: Path, start: str) -> str:
    """Return `dvc metrics diff` as a folded table, without the ends of intervals and the scores of single classes."""
    targets = [f"metrics/{name}.json" for name in ("data", "train", "test", "export")]
    targets = [target for target in targets if (root / target).exists()]
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "metrics", "diff", "--md", "--precision", "6", start, "--targets", *targets],
        cwd=root,
        capture_output=True,
        text=True,
    )
    if done.returncode or not done.stdout.strip():
        return ""
    lines = [line for line in done.stdout.strip().splitlines() if not _detail(line)]
    if len(lines) <= 2:
        return ""
    table = "\n".join(lines)
    return f"<details><summary>All metrics that changed (dvc metrics diff)</summary>\n\n{table}\n\n</details>"


def _detail(line: str) -> bool:
    cells = [cell.strip() for cell in line.split("|")]
    key = cells[2] if len(cells) > 2 else ""
    return "per_class" in key or key.endswith(("_low", "_high")) or "run.json" in line


def _links() -> str:
    """Return where the figures are: a link to the run of a GitHub workflow, otherwise a command."""
    known = [os.environ.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    if not all(known):
        return "All figures: `make report`."
    server, repository, run = known
    return f"All figures are in the [report of this run]({server}/{repository}/actions/runs/{run}#artifacts)."


def main() -> int:
    """Write pr-report.md, print it, and add it to the job's summary; return 0, or FAILED at the gate."""
    parser = argparse.ArgumentParser(prog="pr-report", description="Compare the workspace with a base, for a reviewer.")
    parser.add_argument("base", help="a branch, tag or commit; compared is where the change left it")
    parser.add_argument("--out", type=Path, default=Path("pr-report.md"), help="(default: %(default)s)")
    parser.add_argument("--run-base", action="store_true", help="run the base again where its predictions are missing")
    parser.add_argument("--fail-on", choices=sorted(GATES), default="never", help="as in darkroom compare")
    parser.add_argument("--margin", type=float, default=0.0, help="as in darkroom compare")
    asked = parser.parse_args()
    text, passes = report(Path.cwd(), asked.base, asked.run_base, asked.fail_on, asked.margin)
    asked.out.write_text(text, encoding="utf-8")
    with contextlib.suppress(BrokenPipeError):
        print(text)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(text)
    return 0 if passes else FAILED


if __name__ == "__main__":
    sys.exit(main())
