"""Does the exported model say what the trained one says? Answers compared row by row, and how far apart they may be."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darkroom.core.errors import DarkroomError
from darkroom.metrics.scores import most_probable

TOLERANCE = 1e-3  # the largest difference of a probability where bodies compute in float32
SAME_FEATURES = 1e-6  # where the features have the same bits: the heads compute in float64
TIE = 1e-5  # two classes whose probabilities are nearer than this may change places


@dataclass(frozen=True)
class Agreement:
    """`n` pictures; the largest difference of any probability; how many got another class, ties among them."""

    n: int
    max_difference: float
    other_class: int
    ties: int
    tolerance: float = TOLERANCE

    def worse(self, again: "Agreement") -> "Agreement":
        """Return the worse of the two in each respect, where `again` compares some of the same pictures once more."""
        return Agreement(
            self.n,
            max(self.max_difference, again.max_difference),
            max(self.other_class, again.other_class),
            max(self.ties, again.ties),
            max(self.tolerance, again.tolerance),
        )


def compare(trained: np.ndarray, exported: np.ndarray, tolerance: float = TOLERANCE) -> Agreement:
    """Compare probabilities (n, K) of the trained and the exported model by rows. NaN is a difference of 1.

    A picture's class is that of the highest probability in float32, in which the exported model answers.
    """
    if trained.shape != exported.shape:
        raise DarkroomError(f"the exported model answers {exported.shape}, the trained one {trained.shape}")
    n = len(trained)
    if not n:
        return Agreement(0, 0.0, 0, 0, tolerance)
    difference = np.nan_to_num(np.abs(trained.astype(np.float64) - exported), nan=1.0)
    rows, before, after = np.arange(n), most_probable(trained), most_probable(exported)
    moved = before != after
    ties = moved & (np.abs(trained[rows, before] - trained[rows, after]) <= min(TIE, tolerance))
    return Agreement(n, float(difference.max()), int(moved.sum()), int(ties.sum()), tolerance)


def require(trained: np.ndarray, exported: np.ndarray, ids: Sequence[str], tolerance: float = TOLERANCE) -> Agreement:
    """Compare them, and raise DarkroomError, naming the worst picture, unless the two models agree."""
    found = compare(trained, exported, tolerance)
    if found.max_difference <= tolerance and found.other_class == found.ties:
        return found
    difference = np.nan_to_num(np.abs(trained.astype(np.float64) - exported), nan=1.0).max(1)
    worst = int(difference.argmax())
    raise DarkroomError(
        f"the exported model disagrees with the trained one on the test set: {found.other_class - found.ties} of "
        f"{found.n} pictures get another class, and probabilities differ by up to {found.max_difference:.2g} "
        f"(allowed: {tolerance:g}), most for {ids[worst]}; nothing was written. Run `dvc repro -f` from embed on; if "
        "it stays, the backbone's graph is exported wrongly: report it with params.yaml"
    )
