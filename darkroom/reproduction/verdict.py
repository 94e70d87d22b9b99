"""Judge whether two runs are the same: to the last bit, within a tolerance, or not, and where they part."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from darkroom.metrics.predictions import Predictions
from darkroom.reproduction.differences import Difference, first, outputs
from darkroom.reproduction.results import Results

IDENTICAL, SAME, DIFFERENT = "identical", "same within tolerance", "different"
TOLERANCE = 0.01  # of a probability: what other vector units and thread counts stay below with a frozen backbone


@dataclass(frozen=True)
class Answers:
    """Compare two runs' answers to the same images. `largest`: the largest difference of two probabilities; `flips`:
    how many of the `n` images have another prediction."""

    n: int
    largest: float
    flips: int


@dataclass(frozen=True)
class Verdict:
    """Hold the result of a comparison.

    `outside`: metrics of the other run that are not inside the reference's interval, as (value, low, high); `inside`:
    how many are; `causes`: what differs first; `changed`: outputs that differ.
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


def judge(reference: Results, other: Results, tolerance: float = TOLERANCE) -> Verdict:
    """Compare `other` with `reference`: identical when every output has the same hash; the same when no probability is
    further off than `tolerance` and every metric lies in the reference's interval; different otherwise."""
    changed = outputs(reference.stages, other.stages)
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
    return Verdict(word, answers, why_not, inside, outside, first(reference, other), changed, count)


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
    # An image that only one of the two could answer is as far off as can be.
    gaps = np.where(np.isnan(one.probabilities[order]) & np.isnan(two.probabilities[others]), 0.0, gaps)
    largest = float(np.nan_to_num(gaps, nan=1.0).max(initial=0.0))
    flips = int((one.predicted[order] != two.predicted[others]).sum())
    return Answers(len(one), largest, flips), ""


def metrics_inside(reference: dict[str, Any], other: dict[str, Any]) -> tuple[int, dict[str, tuple[Any, float, float]]]:
    """Return how many of `other`'s metrics lie in `reference`'s intervals, and those that do not, by name.

    An interval is taken to hold its own value: a bootstrap's need not, and a run is never outside of itself.
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
