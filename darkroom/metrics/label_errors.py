"""Images whose label is likely wrong: confident learning, C. Northcutt et al., JAIR 70 (2021).

The same answer as cleanlab's `find_label_issues(filter_by="confident_learning")`, which the tests compare it with.
Written here because it is ten lines, because importing cleanlab takes longer than the rest of evaluate, and because
cleanlab's licence (AGPL-3.0) would bind whoever serves the project.
"""

import numpy as np

from darkroom.core.spill import blocks


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
            thresholds[labels[members[0]]] = probabilities[members, labels[members[0]]].mean()
    suspect = np.zeros(len(labels), bool)
    for part in blocks(probabilities.shape):
        rows, own = probabilities[part], labels[part]
        reaches = rows >= thresholds - 1e-6
        counted = np.where(reaches, rows, -1).argmax(axis=1)
        suspect[part] = reaches.any(axis=1) & (counted != own) & (rows.argmax(axis=1) != own)
    found = np.flatnonzero(suspect & known)
    return found[np.argsort(probabilities[found, labels[found]], kind="stable")]
