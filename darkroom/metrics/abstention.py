"""Mark answers as doubtful: uncertain where confidence is low, unknown where no training image is similar.

Both limits come from validation images; their effect is measured on test images.

The curve of accuracy over the share answered: R. El-Yaniv and Y. Wiener, JMLR 11 (2010). Everything is sorting and
counting: the same bits on every processor.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from darkroom.metrics import conformal

POINTS = 200  # of the curve
NEVER = 2.0  # a confidence that no answer reaches


@dataclass(frozen=True)
class Wanted:
    """The requirements on answers, shares in 0..1; None: no requirement.

    `set_level`: share of sets of classes that hold the right one; `unknown_share`: share of pictures like the training
    images that may be called unknown; `answer_share`: share of pictures to answer; `answer_accuracy`: share of answers
    that are right.
    """

    set_level: float | None
    unknown_share: float
    answer_share: float | None = None
    answer_accuracy: float | None = None


@dataclass(frozen=True)
class Answered:
    """The answers to a split: labels (n,), probabilities (n, K), similarity (n,) to the training images or None.

    `group` int64 (n,): of images that may err together; None where all are independent.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    similarity: np.ndarray | None
    group: np.ndarray | None = None

    @property
    def confidence(self) -> np.ndarray:
        """Return the probability of each answer (n,); 0 where there is none."""
        return np.nan_to_num(self.probabilities.max(axis=1, initial=0.0), nan=0.0)

    @property
    def right(self) -> np.ndarray:
        """Return which answers are right (n,)."""
        return (self.confidence > 0) & (self.probabilities.argmax(axis=1) == self.labels)


@dataclass(frozen=True)
class Limits:
    """The limits found on validation images; None or {} where these were too few or nothing was required.

    `sets`: thresholds by level, of which `level` is shown first; an answer below `confidence` is uncertain; a picture
    below `similarity` is unknown.
    """

    level: float | None = None
    sets: Mapping[float, conformal.Thresholds] = field(default_factory=dict)
    confidence: float | None = None
    similarity: float | None = None

    def facts(self) -> dict[str, Any]:
        """Return the limits as JSON, for config.json; `Limits.of(facts)` makes them again."""
        rows = [{"level": level, "thresholds": thresholds} for level, thresholds in self.sets.items()]
        return {"level": self.level, "sets": rows, "confidence": self.confidence, "similarity": self.similarity}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Limits":
        """Return the limits in config.json. Raises KeyError, TypeError or ValueError where they are none."""
        sets = {float(row["level"]): row["thresholds"] for row in facts["sets"]}
        return cls(facts["level"], sets, facts["confidence"], facts["similarity"])


def calibrate(val: Answered, wanted: Wanted) -> Limits:
    """Return the limits that meet the requirements on images like those of `val`."""
    level, sets = conformal.calibrate(val.labels, val.probabilities, wanted.set_level)
    similarity = None
    if val.similarity is not None:
        similarity = conformal.quantile(val.similarity[np.isfinite(val.similarity)], wanted.unknown_share)
    return Limits(level, sets, confidence(val, wanted), similarity)


def confidence(val: Answered, wanted: Wanted) -> float | None:
    """Return the confidence from which an answer is given, the higher one of a share's and an accuracy's.

    NEVER where no confidence reaches the accuracy; None where neither is required.
    """
    found = []
    if wanted.answer_share is not None:
        found.append(conformal.quantile(val.confidence, 1 - wanted.answer_share) or 0.0)
    if wanted.answer_accuracy is not None:
        found.append(_for_accuracy(val.confidence, val.right, wanted.answer_accuracy))
    return max(found) if found else None


def _for_accuracy(sure: np.ndarray, right: np.ndarray, accuracy: float) -> float:
    """Return the lowest confidence from which on (errors + 1) / (answers + 1) is at most 1 - accuracy.

    A. Angelopoulos et al. (Conformal Risk Control, ICLR 2024) count the next image as an error in this way. Images that
    share a confidence are answered together.
    """
    order = np.argsort(-sure, kind="stable")
    answers = np.arange(1, len(order) + 1)
    errors = np.cumsum(~right[order])
    last = np.append(np.diff(sure[order]) != 0, True) if len(order) else np.empty(0, bool)
    kept = last & (errors + 1 <= (1 - accuracy) * (answers + 1) + 1e-9)
    return conformal.rounded_down(float(sure[order][np.flatnonzero(kept)[-1]])) if kept.any() else NEVER


def measure(test: Answered, limits: Limits, wanted: Wanted) -> dict[str, Any]:
    """Return the limits' effect on test images: the blocks `sets`, `unknown`, `answering` of metrics/test.json."""
    rows = [
        {
            "level": level,
            **conformal.measure(test.labels, test.probabilities, thresholds, test.group),
            "thresholds": thresholds,
        }
        for level, thresholds in limits.sets.items()
    ]
    table: dict[str, Any] = {"sets": {"level": limits.level, "asked": wanted.set_level, "levels": rows}}
    if test.similarity is not None:
        flagged = np.zeros(len(test.similarity), bool)
        if limits.similarity is not None:
            flagged = ~(test.similarity.astype(np.float64) >= limits.similarity)  # as Python compares when it serves
        known = {"share": wanted.unknown_share, "threshold": limits.similarity, "n": len(flagged)}
        table["unknown"] = known | conformal.share("flagged", flagged, test.group)
    asked = {"share": wanted.answer_share, "accuracy": wanted.answer_accuracy}
    given = test.confidence >= (limits.confidence or 0.0)
    table["answering"] = {
        "asked": asked,
        "threshold": limits.confidence,
        "aurc": area(test),
        **conformal.share("answered", given, test.group),
        **conformal.share("accuracy", test.right[given], None if test.group is None else test.group[given]),
    }
    return table


def read(table: dict[str, Any]) -> tuple[Wanted, Limits]:
    """Return the requirements and limits in the blocks that `measure` made."""
    sets, unknown, answering = table["sets"], table.get("unknown", {}), table["answering"]
    asked = answering["asked"]
    wanted = Wanted(sets["asked"], unknown.get("share", 0.0), asked["share"], asked["accuracy"])
    by_level = {row["level"]: row["thresholds"] for row in sets["levels"]}
    return wanted, Limits(sets["level"], by_level, answering["threshold"], unknown.get("threshold"))


def curve(test: Answered) -> Iterator[tuple[float, float, float]]:
    """Yield (share answered, accuracy of the answers, lowest confidence), the surest answers first, POINTS at most."""
    order = np.argsort(-test.confidence, kind="stable")
    right = np.cumsum(test.right[order])
    n = len(order)
    for index in np.unique(np.linspace(0, n - 1, min(POINTS, n)).round().astype(int)) if n else ():
        yield (index + 1) / n, float(right[index]) / (index + 1), float(test.confidence[order[index]])


def area(test: Answered) -> float | None:
    """Return the mean share of errors over all shares answered, the area under the risk-coverage curve; 0 is best."""
    n = len(test.labels)
    if not n:
        return None
    errors = np.cumsum(~test.right[np.argsort(-test.confidence, kind="stable")])
    # Rounded before the sum, to a grid on which no partial sum rounds.
    risks = np.rint(errors / np.arange(1, n + 1) * 2.0**30)
    return round(float(risks.sum() / 2.0**30 / n), conformal.DIGITS)
