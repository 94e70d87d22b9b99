"""Does the exported model say what the trained one says? Answers compared row by row, and how far apart they may be."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darkroom.core.errors import DarkroomError

TOLERANCE = 1e-3  # the largest difference of a probability, in float32
TIE = 1e-5  # two classes whose probabilities are nearer than this may change places


@dataclass(frozen=True)
class Agreement:
    """`n` pictures; the largest difference of any probability; how many got another class, ties among them."""

    n: int
    max_difference: float
    other_class: int
    ties: int

    def worse(self, again: "Agreement") -> "Agreement":
        """The worse of the two in each respect, where `again` compares some of the same pictures once more."""
        return Agreement(
            self.n,
            max(self.max_difference, again.max_difference),
            max(self.other_class, again.other_class),
            max(self.ties, again.ties),
        )


def compare(trained: np.ndarray, exported: np.ndarray) -> Agreement:
    """Compare probabilities (n, K) of the trained and the exported model by rows. NaN is a difference of 1."""
    if trained.shape != exported.shape:
        raise DarkroomError(f"the exported model answers {exported.shape}, the trained one {trained.shape}")
    n = len(trained)
    if not n:
        return Agreement(0, 0.0, 0, 0)
    difference = np.nan_to_num(np.abs(trained.astype(np.float64) - exported), nan=1.0)
    rows, before, after = np.arange(n), trained.argmax(1), exported.argmax(1)
    moved = before != after
    ties = moved & (np.abs(trained[rows, before] - trained[rows, after]) <= TIE)
    return Agreement(n, float(difference.max()), int(moved.sum()), int(ties.sum()))


def require(trained: np.ndarray, exported: np.ndarray, ids: Sequence[str]) -> Agreement:
    """Compare them, and raise DarkroomError, naming the worst picture, unless the two models agree."""
    found = compare(trained, exported)
    if found.max_difference <= TOLERANCE and found.other_class == found.ties:
        return found
    difference = np.nan_to_num(np.abs(trained.astype(np.float64) - exported), nan=1.0).max(1)
    worst = int(difference.argmax())
    raise DarkroomError(
        f"the exported model disagrees with the trained one on the test set: {found.other_class - found.ties} of "
        f"{found.n} pictures get another class, and probabilities differ by up to {found.max_difference:.2g} "
        f"(allowed: {TOLERANCE:g}), most for {ids[worst]}; nothing was written. Run `dvc repro -f` from embed on; if "
        "it stays, the backbone's graph is exported wrongly: report it with params.yaml"
    )
