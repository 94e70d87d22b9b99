"""Test whether incoming images differ from the validation images, with false alarms bounded over repeated tests.

Each test is about a share: of the pictures answered with a class, of those answered with it though they are unlike the
training images, or of those with a value below (above) a quantile of the validation images. The share in the stream is
tested by an e-value, a mixture over all shares (Jeffreys' prior; M. Lindon and A. Malek, NeurIPS 2022). By Ville's
inequality it exceeds 1/a with a probability of at most a, however long the stream and however often it is tested.

- A class: the mixtures of the validation images and of the stream, against the one share that explains both best. This
  is universal inference (L. Wasserman, A. Ramdas and S. Balakrishnan, PNAS 2020) with two samples.
- The others: the mixture of the stream, against the share that explains it best in an exact interval of the true share:
  Clopper and Pearson's bound, or that of the beta distribution of an order statistic for a quantile.

To find a change after a long quiet time too, tests start anew with every block, as in the e-detectors of J. Shin,
A. Ramdas and A. Rinaldo (2023); their weights 1/((j+1)(j+2)) sum to one, so the bound holds. ALARM is the bound for all
tests together: half of it for the classes, half for the values, each in equal parts. A test with an interval spends
half of its part on that. The shares of two classes are one number, so that each of the two tests has both parts.

It holds for independent pictures from the same source as the validation images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALARM = 0.05  # the probability of any alarm, ever, without a change
LEVELS = (0.05, 0.5, 0.95)  # quantiles of the validation images
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Test:
    """A share that is watched: its part of the validation images (`expected`), and `low` to `high` of the true share.

    `what`: a class or a value; `side`: "below" or "above" for a value; for a class "", or UNKNOWN where only its
    pictures unlike the training images count; `part`: its part of ALARM; `bin`: that of the quantile, for a value;
    `known`: the number of validation images of a class's test, which needs no interval; 0 for the others.
    """

    what: str
    side: str
    expected: float
    low: float
    high: float
    part: float
    bin: int = -1
    known: int = 0


@dataclass(frozen=True)
class Finding:
    """The result of a test: the share in the `images` since a change probably began.

    `excess`: the logarithm of the e-value over its threshold; from 0 on it is an alarm.
    """

    test: Test
    share: float
    images: int
    excess: float

    @property
    def alarm(self) -> bool:
        """Return whether there is a change."""
        return self.excess >= 0


def tests(classes: Sequence[str], labels: np.ndarray, unknown: np.ndarray, bins: dict[str, np.ndarray]) -> list[Test]:
    """Return the tests by validation images.

    `labels`: the model's answers to them, int64 (m,); `unknown`: which of them are unlike the training images, bool
    (m,), all False where the model does not measure it; `bins`: the bin of each value, int64 (m,).
    """
    from scipy.special import betaincinv

    values = {name: np.sort(found) for name, found in bins.items() if len(found) and found.min() >= 0}
    groups = 2 if unknown.any() else 1  # of each class
    of_value = ALARM / 2 / max(1, 2 * len(LEVELS) * len(values))
    of_class = ALARM / 2 / (groups * len(classes))
    m, made = len(labels), []
    for name, hits in zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True):
        made.append(Test(name, "", hits / m, 0.0, 1.0, of_class * (2 if len(classes) == 2 else 1), known=m))
    strange = np.bincount(labels[unknown], minlength=len(classes)).tolist() if unknown.any() else []
    for name, hits in zip(classes, strange, strict=False):
        high = float(betaincinv(hits + 1, m - hits, 1 - of_class / 2)) if hits < m else 1.0
        made.append(Test(name, UNKNOWN, hits / m, 0.0, high, of_class))
    miss = of_value / 2
    for name, found in values.items():
        for level in LEVELS:
            k = min(max(round(level * (m + 1)), 1), m)
            at = int(found[k - 1])  # the k-th smallest; ties make both tests less sensitive
            below, above = float((found < at).mean()), float((found > at).mean())
            made.append(Test(name, "below", below, 0.0, float(betaincinv(k, m + 1 - k, 1 - miss)), of_value, at))
            made.append(Test(name, "above", above, 0.0, float(1 - betaincinv(k, m + 1 - k, miss)), of_value, at))
    return made


def judge(test: Test, hits: Sequence[int], images: Sequence[int], starts: Sequence[int]) -> Finding:
    """Return the result of `test` on a stream.

    `hits` and `images` of each block, in order; `starts`: the number of blocks of the first size before it.
    """
    from_here = np.cumsum(np.array([hits, images])[:, ::-1], axis=1)[:, ::-1]
    logs = [
        _log_evidence(test, int(found), int(n)) - math.log((start + 1) * (start + 2))
        for found, n, start in zip(*from_here, starts, strict=True)
    ]
    best = int(np.argmax(logs))
    found, n = from_here[:, best].tolist()
    excess = float(np.logaddexp.reduce(logs)) + math.log(test.part / (1 if test.known else 2))
    return Finding(test, found / n if n else 0.0, n, excess)


def log_e_value(hits: int, n: int, low: float, high: float) -> float:
    """Return the logarithm of the e-value of `hits` in `n` against the likeliest share in low..high."""
    return _log_mixture(hits, n) - _log_likelihood(hits, n, min(max(hits / n if n else low, low), high))


def _log_evidence(test: Test, hits: int, n: int) -> float:
    """Return the logarithm of the e-value of `test` for `hits` in `n` images of the stream."""
    if not test.known:
        return log_e_value(hits, n, test.low, test.high)
    known = round(test.expected * test.known)
    both, images = known + hits, test.known + n
    return _log_mixture(known, test.known) + _log_mixture(hits, n) - _log_likelihood(both, images, both / images)


def _log_mixture(hits: int, n: int) -> float:
    """Return the log probability of a sequence with `hits` in `n`, of all shares by Jeffreys' prior, Beta(1/2, 1/2)."""
    return math.lgamma(hits + 0.5) + math.lgamma(n - hits + 0.5) - math.lgamma(n + 1) - math.log(math.pi)


def _log_likelihood(hits: int, n: int, share: float) -> float:
    """Return the log probability of a sequence with `hits` in `n`, each with the probability `share`."""
    return (hits * math.log(share) if hits else 0.0) + ((n - hits) * math.log1p(-share) if n > hits else 0.0)
