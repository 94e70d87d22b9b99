"""`darkroom verify`: does this commit give the same again, here, or did it elsewhere?"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from darkroom.core.errors import DarkroomError
from darkroom.reproduction.rerun import remove, rerun
from darkroom.reproduction.results import Results, git, of_folder, of_revision
from darkroom.reproduction.verdict import DIFFERENT, IDENTICAL, TOLERANCE, Verdict, judge

CANNOT = 2
SHOWN = 8
DESCRIPTION = """\
Run this commit again, from nothing, in a temporary clone with a DVC cache of its own, and compare with what was
committed. Or compare with the results of another project folder or revision, without running anything."""
EPILOG = """\
exit status: 0 identical, or the same within the tolerance; 1 different; 2 it could not be found out.

Set DARKROOM_THREADS, DARKROOM_DEVICE and their like to run it another way than the commit was run."""


def main(arguments: list[str]) -> int:
    """Return the exit status: 0 identical or within the tolerance, 1 different, 2 not decidable."""
    parser = argparse.ArgumentParser(
        prog="darkroom verify", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("other", nargs="?", help="a project folder or revision whose results to take; none: run again")
    parser.add_argument("--rev", default="HEAD", help="the commit that is verified (default: HEAD)")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="largest difference of a probability that "
                        "is still the same (default: %(default)s)")  # fmt: skip
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="run in this new folder, and leave it there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    try:
        verdict, names = verify(Path.cwd(), chosen.rev, chosen.other, chosen.tolerance, chosen.keep)
    except DarkroomError as error:
        print(f"darkroom verify: {error}", file=sys.stderr)
        return CANNOT
    if chosen.json:
        print(json.dumps(verdict.facts() | names | {"tolerance": chosen.tolerance}, indent=2, sort_keys=True))
    else:
        print("\n".join(in_words(verdict, names["other"], chosen.tolerance)))
    return int(verdict.word == DIFFERENT)


def verify(
    root: Path, revision: str, other: str | None, tolerance: float, keep: Path | None
) -> tuple[Verdict, dict[str, str]]:
    """Compare commit `revision` of the project at `root` with `other`, or with itself run again."""
    reference = of_revision(revision, root)
    if other is not None:
        results = of_folder(Path(other), other) if Path(other).is_dir() else of_revision(other, root)
    else:
        if git(root, "status", "--porcelain", "--untracked-files=no"):
            print("note: what is not committed is not verified", file=sys.stderr)
        results = _again(root, reference.name, keep)
    return judge(reference, results, tolerance), {"reference": reference.name, "other": results.name}


def _again(root: Path, sha: str, keep: Path | None) -> Results:
    if keep is not None:
        if keep.exists():
            raise DarkroomError(f"--keep {keep}: exists already; name a folder that does not")
        return of_folder(rerun(root, sha, keep.resolve()), "the run here")
    folder = Path(tempfile.mkdtemp(prefix="darkroom-verify-"))
    try:
        return of_folder(rerun(root, sha, folder / "clone"), "the run here")
    finally:
        remove(folder)


def in_words(verdict: Verdict, other: str, tolerance: float) -> list[str]:
    """Return the verdict, a line a finding."""
    same = verdict.outputs - len(verdict.changed)
    lines = [f"{verdict.word}: {same} of {verdict.outputs} outputs have the same hash"]
    if verdict.word != IDENTICAL:
        if verdict.answers is None:
            lines.append(f"probabilities: not compared: {verdict.why_not_compared}")
        else:
            answers = verdict.answers
            lines.append(f"probabilities: differ by at most {answers.largest:.3g} (tolerance {tolerance:g}), "
                         f"{answers.flips:,} of {answers.n:,} answers flip")  # fmt: skip
        total = verdict.inside + len(verdict.outside)
        lines.append(f"metrics: {verdict.inside} of {total} inside the reference's 95 % interval")
        lines += [
            f"  {name} is {'absent' if value is None else value}, the interval is {low} to {high}"
            for name, (value, low, high) in list(verdict.outside.items())[:SHOWN]
        ]
    if verdict.causes:
        head = "differs first" if verdict.changed else "differs without effect"
        lines += [f"{head}: {verdict.causes[0]}"]
        lines += [f"  also: {cause}" for cause in verdict.causes[1:SHOWN]]
        if verdict.causes[0].kind == "output":
            lines.append(f"  with the same inputs; no version or setting of {other} is known to differ")
    return lines
