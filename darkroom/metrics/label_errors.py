"""Find images whose label is likely wrong: confident learning, C. Northcutt et al., JAIR 70 (2021).

Tests compare the answer with that of cleanlab's `find_label_issues(filter_by="confident_learning")`, which is the same.
The method is written here because it is ten lines, because importing cleanlab takes longer than the rest of evaluate,
and because cleanlab's licence (AGPL-3.0) would bind whoever serves the project.
"""

import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from darkroom.core import exactmath
from darkroom.core.errors import DarkroomError
from darkroom.core.files import blocks
from darkroom.images.batches import Table
from darkroom.images.shards import SPLITS, open_split
from darkroom.metrics.intervals import share_interval
from darkroom.metrics.scores import most_probable

FALSE = 0.5  # share of the list that may be errors of the model, at most
GRAIN = 1e9  # probabilities are summed in whole multiples of 1 / GRAIN
AGREEING = 0.5  # share of the images: a model that errs on most of them does not know better than their labels
FOLDS = 5
MOST_LEARNT = 20_000  # training images of a fold's classifier, which bounds its time
STRENGTH = 0.1  # scikit-learn's C, for features whose mean square is 1; a factor of 3 either way changes little
MOST_ITERATIONS = 100
AT_ONCE = 2  # folds
MAPPED_BYTES = 64_000_000  # of the features of a split: more of them are read from the files, and take no memory
NOISE = (0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.25)  # shares of wrong labels that are tried
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are tried
GAIN = 2.0  # of the log-likelihood: chance alone reaches it in 2 of 100 data sets without wrong labels


def label_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the rows that are likely mislabelled, the likeliest first: int64.

    `labels` (n,), `probabilities` (n, K) from a model that has not seen these images. A row counts as class j where its
    p(j) reaches the mean p(j) of the images labelled j. A row that counts as another class than its label, and has
    another answer, is suspect. Suspects are ordered by p(label), the lowest first.
    """
    known = np.zeros(len(labels), bool)
    for part in blocks(probabilities.shape):
        known[part] = np.isfinite(probabilities[part]).all(axis=1)
    indices = np.flatnonzero(known)
    thresholds = np.full(probabilities.shape[1], np.inf)
    ordered = indices[np.argsort(labels[indices], kind="stable")]
    for members in np.split(ordered, np.flatnonzero(np.diff(labels[ordered])) + 1):
        if len(members):
            thresholds[labels[members[0]]] = exactmath.total(probabilities[members, labels[members[0]]]) / len(members)
    suspect = np.zeros(len(labels), bool)
    for part in blocks(probabilities.shape):
        rows, own = probabilities[part], labels[part]
        reaches = rows >= thresholds - 1e-6
        counted = np.where(reaches, rows, -1).argmax(axis=1)
        suspect[part] = reaches.any(axis=1) & (counted != own) & (rows.argmax(axis=1) != own)
    found = np.flatnonzero(suspect & known)
    return found[np.argsort(probabilities[found, labels[found]], kind="stable")]


def likely_label_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return those of `label_errors` of which at most a share of FALSE is expected to be the model's own errors: int64.

    A calibrated model states how often it errs: with right labels, an image has class j with its p(j). So the number of
    images with p(label) <= t that are answered as another class is, with right labels, the sum of all p(j) <= t of
    classes that are not the answer. What is found beyond it is due to the labels. The list ends at the largest t where
    the expected number is at most FALSE of the number found, as Benjamini and Hochberg's (1995) does with p-values.
    None where labels and answers do not `agree_enough`.
    """
    found = label_errors(labels, probabilities)
    if not agree_enough(labels, probabilities):
        return found[:0]
    levels = np.unique(probabilities[found, labels[found]])
    if not len(levels):
        return found
    expected, observed = np.zeros(len(levels), np.int64), np.zeros(len(levels), np.int64)
    for part in blocks(probabilities.shape):
        rows = probabilities[part].copy()
        answers = np.where(np.isfinite(rows).all(axis=1), rows.argmax(axis=1), labels[part])
        own = rows[np.arange(len(rows)), labels[part]]
        rows[np.arange(len(rows)), answers] = np.inf
        small = rows[rows <= levels[-1]]
        # Integers below 2^53, so that the sums are exact in any order and on any processor.
        counted = np.bincount(np.searchsorted(levels, small), np.rint(small * GRAIN), len(levels))
        expected += counted.astype(np.int64)
        surprising = own[(answers != labels[part]) & (own <= levels[-1])]
        observed += np.bincount(np.searchsorted(levels, surprising), minlength=len(levels))
    enough = np.flatnonzero(np.cumsum(expected) <= FALSE * GRAIN * np.cumsum(observed))
    most = levels[enough[-1]] if len(enough) else -1.0
    return found[probabilities[found, labels[found]] <= most]


def agree_enough(labels: np.ndarray, probabilities: np.ndarray) -> bool:
    """Return whether the answers surely agree with most labels, and more often than the shares of both make them.

    `labels` int64 (n,), `probabilities` (n, K), rows of NaN for images without an answer. Of few images, or of features
    that say little, the disagreements are the model's and not the labels' errors. Chance is that of Cohen's kappa;
    surely is by the 95 % interval of a share.
    """
    answers = most_probable(probabilities)
    labels, answers = labels[answers >= 0], answers[answers >= 0]
    count, classes = len(labels), probabilities.shape[1]
    if not count:
        return False
    shares = np.bincount(labels, minlength=classes) @ np.bincount(answers, minlength=classes)
    low, _ = share_interval(int((labels == answers).sum()), count)
    return low is not None and low > max(AGREEING, float(shares) / count**2)


@dataclass(frozen=True)
class OutOfFold:
    """Answers to every image of a data set by classifiers trained without it and its group.

    `ids`, and `split` of each; `classes` K names; `labels` int64 (n,), with people's corrections; `probabilities`
    float64 (n, K), calibrated, NaN where the image's class was not learnt.
    """

    ids: list[str]
    split: list[str]
    classes: list[str]
    labels: np.ndarray
    probabilities: np.ndarray

    @cached_property
    def suspects(self) -> np.ndarray:
        """Rows whose label is likely wrong, the likeliest first: int64."""
        return likely_label_errors(self.labels, self.probabilities)

    @cached_property
    def proposed(self) -> np.ndarray:
        """The most probable class of each row: int64 (n,), the given label where there is no answer."""
        known = np.isfinite(self.probabilities).all(axis=1)
        return np.where(known, np.where(known[:, None], self.probabilities, 0.0).argmax(axis=1), self.labels)


def out_of_fold(
    shards: Path,
    features: Path,
    groups: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> OutOfFold:
    """Answer the images of all splits by cross-validation of logistic regression on the cached features.

    `shards`: data/shards; `features`: data/features, of a frozen backbone. `groups`: the group of each image by id
    (splits.groups.groups_of); one without any stands alone. A group is in one fold, or a copy under the same wrong
    label would confirm it. Folds keep the shares of the classes. `progress` is called with what is done next, in words.
    Raises DarkroomError where there are no features.
    """
    parts = [open_split(features, split, shards, MAPPED_BYTES) for split in SPLITS]
    ids = [name for part in parts for name in part.ids()]
    if not ids or any(len(open_split(shards, split)) != len(part) for split, part in zip(SPLITS, parts, strict=True)):
        raise DarkroomError(
            f"{features} does not hold a feature for each image, so that labels cannot be checked by cross-validation; "
            "that takes a frozen backbone: `dvc exp run -S freeze=backbone`"
        )
    labels = np.concatenate([part.labels for part in parts])
    group = np.unique([(groups or {}).get(name) or name for name in ids], return_inverse=True)[1]
    logits = _held_out_logits(Table(parts), labels, group, len(parts[0].classes), progress)
    known = np.isfinite(logits).all(axis=1)
    probabilities = np.full(logits.shape, np.nan)
    probabilities[known] = _calibrated(logits[known], labels[known])
    split = [name for name, part in zip(SPLITS, parts, strict=True) for _ in range(len(part))]
    return OutOfFold(ids, split, parts[0].classes, labels, probabilities)


def _calibrated(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return probabilities (n, K) of the true classes, from logits and labels of which a share is wrong.

    A label is modelled as drawn from softmax(logits / T) and then replaced by another class with probability E. T and E
    maximise the likelihood on a grid; E is 0 unless another gains GAIN nats. A temperature fitted as if all labels were
    right would be too high: of 4 % wrong labels in digits it finds 69 %, this one 97 %.
    """
    chosen = _thinned(np.arange(len(labels)), labels)
    z, y = logits[chosen], labels[chosen]
    temperatures = np.geomspace(COLDEST, HOTTEST, 49)
    found = np.empty((len(NOISE), len(temperatures)))
    for column, temperature in enumerate(temperatures):
        right = exactmath.softmax(z, temperature)[np.arange(len(y)), y]
        for row, share in enumerate(NOISE):
            mixed = (1 - share) * right + share * (1 - right) / max(1, z.shape[1] - 1)
            found[row, column] = np.log(np.maximum(mixed, 1e-300)).sum()
    best = found.argmax(axis=1)
    row = int(found.max(axis=1).argmax())
    row = row if found[row].max() - found[0].max() >= GAIN else 0
    return exactmath.softmax(logits, float(temperatures[best[row]]))


def _held_out_logits(
    features: Table, labels: np.ndarray, group: np.ndarray, classes: int, progress: Callable[[str], None] | None
) -> np.ndarray:
    """Return logits (n, K) of features (n, views, D), each by a classifier trained without its group (n,).

    NaN where the features are not finite or the classifier was not trained on the image's class; -30, a probability of
    nearly 0, for other classes that it was not trained on.
    """
    import warnings

    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
    from threadpoolctl import threadpool_limits

    logits = np.full((len(labels), classes), np.nan)
    usable, size = _usable(features)
    groups = len(np.unique(group[usable]))
    folds = min(FOLDS, groups, int(np.bincount(labels[usable], minlength=1).max()))
    if folds < 2 or len(np.unique(labels[usable])) < 2:
        return logits
    divide = StratifiedKFold if groups == len(usable) else StratifiedGroupKFold  # the latter takes long for many
    # Threads of BLAS wait for each other at such small products: 26 s instead of 6 on two busy cores.
    with warnings.catch_warnings(), threadpool_limits(1, "blas"):
        # A class of fewer images than folds, and a minimum that is not reached to the last digit, do no harm here.
        warnings.simplefilter("ignore")
        parts = divide(folds, shuffle=True, random_state=0).split(usable, labels[usable], group[usable])
        done = itertools.count(1)

        def ask(rows: tuple[np.ndarray, np.ndarray]) -> None:
            learnt, held = usable[_thinned(rows[0], labels[usable[rows[0]]])], usable[rows[1]]
            if len(np.unique(labels[learnt])) > 1:
                known, end = np.empty((len(learnt), features.row_shape[-1]), np.float32), 0
                for part, values in features.plain(learnt):
                    known[end : end + len(part)] = values / size
                    end += len(part)
                model = LogisticRegression(C=STRENGTH, max_iter=MOST_ITERATIONS).fit(known, labels[learnt])
                for asked, values in features.plain(held):
                    found = np.full((len(asked), classes), -30.0)
                    scores = model.decision_function(values / size)
                    found[:, model.classes_] = np.stack([-scores / 2, scores / 2], 1) if scores.ndim == 1 else scores
                    logits[asked] = np.where(np.isin(labels[asked], model.classes_)[:, None], found, np.nan)
            if progress:
                progress(f"asking the model: {next(done)} of {folds} parts are done")

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(ask, parts))
    return logits


def _usable(features: Table) -> tuple[np.ndarray, float]:
    """Return the rows whose features are finite, int64, and the root of these features' mean square; 1 for 0."""
    usable, total, count = [], 0.0, 0
    for rows, values in features.plain(np.arange(len(features))):
        finite = np.isfinite(values).all(axis=1)
        usable.append(rows[finite])
        total += float(np.square(values[finite], dtype=np.float64).sum())
        count += int(finite.sum()) * values.shape[1]
    return np.concatenate(usable), (total / max(1, count)) ** 0.5 or 1.0


def _thinned(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return at most MOST_LEARNT of `rows` (m,), evenly from each class of `labels` (m,)."""
    ordered = rows[np.argsort(labels, kind="stable")]
    return ordered[np.unique(np.linspace(0, len(ordered) - 1, min(MOST_LEARNT, len(ordered))).astype(np.int64))]
