"""Images whose label is likely wrong: confident learning, C. Northcutt et al., JAIR 70 (2021).

The same answer as cleanlab's `find_label_issues(filter_by="confident_learning")`, which the tests compare it with.
Written here because it is ten lines, because importing cleanlab takes longer than the rest of evaluate, and because
cleanlab's licence (AGPL-3.0) would bind whoever serves the project.
"""

import numpy as np


def label_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The rows that are likely mislabelled, the likeliest first: int64.

    `labels` (n,), `probabilities` (n, K) from a model that has not seen these images. A row counts as class j when its
    p(j) reaches the mean p(j) of the images labelled j; a row that counts as another class than its label, and would be
    answered so, is suspect. They are ordered by p(label), the lowest first.
    """
    known = np.isfinite(probabilities).all(axis=1)
    places, labels, probabilities = np.flatnonzero(known), labels[known], probabilities[known]
    if not len(labels):
        return places
    thresholds = np.full(probabilities.shape[1], np.inf)
    for label in np.unique(labels):
        thresholds[label] = probabilities[labels == label, label].mean()
    reaches = probabilities >= thresholds - 1e-6
    counted = np.where(reaches, probabilities, -1).argmax(axis=1)
    suspect = reaches.any(axis=1) & (counted != labels) & (probabilities.argmax(axis=1) != labels)
    own = probabilities[np.arange(len(labels)), labels]
    found = np.flatnonzero(suspect)
    return places[found[np.argsort(own[found], kind="stable")]]
