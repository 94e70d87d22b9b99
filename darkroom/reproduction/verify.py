"""`darkroom verify`: run a commit again, or take the results of another run, and report whether they are the same."""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.errors import DarkroomError
from darkroom.core.git import git
from darkroom.metrics.predictions import Predictions
from darkroom.reproduction.differences import Difference, Results, changed_outputs, first_causes, of_folder, of_revision
from darkroom.reproduction.rerun import remove, rerun

CANNOT = 2
SHOWN = 8
DESCRIPTION = """\
Run this commit again, from nothing, in a temporary clone with a DVC cache of its own, and compare with what was
committed. Or compare with the results of another project folder or revision, without running anything."""
EPILOG = """\
exit status: 0 identical, or the same within the tolerance; 1 different; 2 not decidable.

With DARKROOM_THREADS, DARKROOM_DEVICE and the like it runs in another way than the commit was run."""
IDENTICAL, SAME, DIFFERENT = "identical", "same within tolerance", "different"
TOLERANCE = 0.01  # of a probability: other vector units and thread counts stay below it with a frozen backbone


@dataclass(frozen=True)
class Answers:
    """The difference of two runs' answers to the same `n` images.

    `largest`: the largest difference of two probabilities; `flips`: how many images have another prediction.
    """

    n: int
    largest: float
    flips: int


@dataclass(frozen=True)
class Verdict:
    """The result of a comparison.

    `inside`: how many metrics of the other run are inside the reference's interval; `outside`: those that are not, as
    (value, low, high); `causes`: what differs first; `changed`: outputs that differ, of `outputs` in all.
    """

    word: str
    answers: Answers | None
    why_not_compared: str
    inside: int
    outside: dict[str, tuple[Any, float, float]]
    causes: list[Difference]
    changed: list[Difference] = field(default_factory=list)
    outputs: int = 0

    def facts(self) -> dict[str, Any]:
        """Return the verdict as plain values, for JSON."""
        return {
            "verdict": self.word,
            "outputs": self.outputs,
            "changed": [difference.facts() for difference in self.changed],
            "first_difference": [difference.facts() for difference in self.causes],
            "probabilities": None if self.answers is None else vars(self.answers),
            "not_compared": self.why_not_compared or None,
            "metrics_inside": self.inside,
            "metrics_outside": {name: list(values) for name, values in self.outside.items()},
        }


def main(arguments: list[str]) -> int:
    """Compare and print the verdict; return the exit status: 0 same, 1 different, 2 not decidable."""
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
    """Return the verdict on commit `revision` of `root` against `other`, or against a new run, and both names."""
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
    """Return the verdict as lines, one per finding."""
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


def judge(reference: Results, other: Results, tolerance: float = TOLERANCE) -> Verdict:
    """Return the verdict on `other` against `reference`.

    Identical: every output has the same hash. Same: no probability differs by more than `tolerance`, and every metric
    lies in the reference's interval. Different: otherwise.
    """
    changed = changed_outputs(reference.stages, other.stages)
    count = sum(len(stage.get("outs", [])) for stage in reference.stages.values())
    answers, why_not = compare(reference.predictions, other.predictions, reference.name, other.name)
    absent = reference.absent or other.absent
    if absent:
        why_not = f"{why_not}: {absent}. Without them only equal hashes count as the same"
    inside, outside = metrics_inside(reference.metrics, other.metrics)
    if not changed:
        word = IDENTICAL
    elif answers is not None and answers.largest <= tolerance and inside and not outside:
        word = SAME
    else:
        word = DIFFERENT
    return Verdict(word, answers, why_not, inside, outside, first_causes(reference, other), changed, count)


def compare(one: Predictions | None, two: Predictions | None, *names: str) -> tuple[Answers | None, str]:
    """Return the difference of two runs' answers, or None and the reason why they cannot be compared."""
    for predictions, name in zip((one, two), names, strict=True):
        if predictions is None:
            return None, f"the predictions of {name} are not at hand"
    assert one is not None
    assert two is not None
    if one.classes != two.classes:
        return None, "the classes are not the same"
    if sorted(one.ids) != sorted(two.ids):
        return None, f"the test images are not the same: {len({*one.ids} & {*two.ids}):,} are in both"
    order, others = np.argsort(np.array(one.ids)), np.argsort(np.array(two.ids))
    gaps = np.abs(one.probabilities[order] - two.probabilities[others])
    # An image that only one of the two runs answered counts as the largest difference.
    gaps = np.where(np.isnan(one.probabilities[order]) & np.isnan(two.probabilities[others]), 0.0, gaps)
    largest = float(np.nan_to_num(gaps, nan=1.0).max(initial=0.0))
    flips = int((one.predicted[order] != two.predicted[others]).sum())
    return Answers(len(one), largest, flips), ""


def metrics_inside(reference: dict[str, Any], other: dict[str, Any]) -> tuple[int, dict[str, tuple[Any, float, float]]]:
    """Return how many of `other`'s metrics lie in `reference`'s intervals, and those that do not, by name.

    An interval is widened to hold its own value, which a bootstrap interval need not: a run is never outside itself.
    """
    inside, outside = 0, {}
    for name, value in reference.items():
        low, high = reference.get(f"{name}_low"), reference.get(f"{name}_high")
        if value is None or low is None or high is None:
            continue
        low, high, got = min(low, value), max(high, value), other.get(name)
        if got is not None and low <= got <= high:
            inside += 1
        else:
            outside[name] = (got, low, high)
    return inside, outside
