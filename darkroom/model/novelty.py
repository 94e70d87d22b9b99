"""Measure how familiar a picture is: the cosine of the angle between its features and the nearest training features.

The method is deep nearest neighbours (Y. Sun, Y. Ming, X. Zhu and Y. Li, ICML 2022). The neighbours are a bounded set
of training images, the references, which the exported model contains. `similarity` and the nodes of
darkroom/export/graph.py compute the same bits: features become whole numbers whose squares sum to about SQUARES, so
that, by the inequality of Cauchy and Schwarz, no partial sum of a product of two of them rounds in float32, in any
order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darkroom.model import tensors

NEIGHBOURS = 5  # references whose mean cosine is the similarity
SQUARES = 2.0**21  # NEIGHBOURS times it is below 2**24, up to which float32 holds every whole number
SMALLEST = 1e-30  # length of features below which they count as this long
FEWEST, A_CLASS = 500, 5  # references: the larger of 500 and 5 a class
CELLS = 1_250_000  # of all references: 2.5 MB in the model, and 5 MB while it runs
BLOCK = 4096  # rows of features that are compared together
FILE = "references.safetensors"


@dataclass(frozen=True)
class References:
    """The references as whole numbers, int16 (m, D), and the number of nearest ones that count."""

    whole: np.ndarray
    neighbours: int


def most(features: int, classes: int) -> int:
    """Return the largest number of references of a model with so many features and classes."""
    return max(1, min(max(FEWEST, A_CLASS * classes), CELLS // features))


def references(features: np.ndarray, classes: int) -> References | None:
    """Return the features (m, D) of training images as references; None where no row is finite.

    With fewer than NEIGHBOURS references a class, fewer neighbours count.
    """
    finite = features[np.isfinite(features).all(axis=1)]
    if not finite.size:
        return None
    neighbours = max(1, min(NEIGHBOURS, len(finite) // max(1, classes)))
    return References(whole(finite).astype(np.int16), neighbours)


def whole(features: np.ndarray) -> np.ndarray:
    """Return features (n, D) at a length of sqrt(SQUARES), rounded to whole numbers: float32."""
    squares = np.square(features.astype(np.float64)).sum(axis=1, keepdims=True)  # exact for features on a grid
    lengths = np.maximum(np.sqrt(squares).astype(np.float32), np.float32(SMALLEST))
    return np.rint(features * (np.float32(math.sqrt(SQUARES)) / lengths))


def similarity(features: np.ndarray, known: References) -> np.ndarray:
    """Return the mean cosine of features (n, D) to their nearest references: float32 (n,), NaN where not finite."""
    found = np.full(len(features), np.nan, np.float32)
    others = known.whole.T.astype(np.float32)
    for rows in _blocks(np.flatnonzero(np.isfinite(features).all(axis=1))):
        products = whole(features[rows]) @ others
        nearest = np.partition(products, -known.neighbours, axis=1)[:, -known.neighbours :]
        found[rows] = nearest.sum(axis=1) * factor(known.neighbours)
    return found


def factor(neighbours: int) -> np.float32:
    """Return the factor from the sum of the products with so many references to their mean cosine."""
    return np.float32(1 / (neighbours * SQUARES))


def save(folder: Path, known: References) -> None:
    """Write the references into models/classifier."""
    tensors.save(folder / FILE, {"references": known.whole}, {"neighbours": known.neighbours})


def load(folder: Path) -> References | None:
    """Read the references in models/classifier; None where it has none. Raises WeightsError for a damaged file."""
    path = folder / FILE
    if not path.exists():
        return None
    facts = tensors.facts(path) or {}
    return References(tensors.load(path)["references"], facts["neighbours"])


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]
