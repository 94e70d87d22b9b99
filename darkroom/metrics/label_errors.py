"""Images whose label is likely wrong: confident learning, C. Northcutt et al., JAIR 70 (2021).

The same answer as cleanlab's `find_label_issues(filter_by="confident_learning")`, which the tests compare it with.
Written here because it is ten lines, because importing cleanlab takes longer than the rest of evaluate, and because
cleanlab's licence (AGPL-3.0) would bind whoever serves the project.
"""

import numpy as np

from darkroom.core import exactmath
from darkroom.core.spill import blocks

FALSE = 0.5  # share of the list that may be errors of the model: each entry is more likely the label's than not
GRAIN = 1e9  # probabilities are summed in such parts


def label_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The rows that are likely mislabelled, the likeliest first: int64.

    `labels` (n,), `probabilities` (n, K) from a model that has not seen these images. A row counts as class j when its
    p(j) reaches the mean p(j) of the images labelled j; a row that counts as another class than its label, and would be
    answered so, is suspect. They are ordered by p(label), the lowest first.
    """
    known = np.zeros(len(labels), bool)
    for part in blocks(probabilities.shape):
        known[part] = np.isfinite(probabilities[part]).all(axis=1)
    places = np.flatnonzero(known)
    thresholds = np.full(probabilities.shape[1], np.inf)
    ordered = places[np.argsort(labels[places], kind="stable")]
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

    A calibrated model tells how often it errs: with right labels, an image has class j with its p(j). So the number of
    images with p(label) <= t that are answered as another class is, with right labels, the sum of all p(j) <= t of
    classes that are not the answer. What is found beyond it is due to the labels. The list ends at the largest t where
    the expected number is at most FALSE of the number found, as Benjamini and Hochberg's (1995) does with p-values.
    """
    found = label_errors(labels, probabilities)
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
