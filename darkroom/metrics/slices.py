"""Find the parts of a test set on which a classifier is worse than on the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from darkroom.metrics.intervals import Z, share_interval
from darkroom.metrics.significance import holm
from darkroom.sources.columns import ABSENT

FEWEST = 10  # images of a slice, at least
PARTS = 4  # that numbers are divided into
MOST = 100  # values of a column that become slices, the most frequent ones


@dataclass(frozen=True)
class Slice:
    """A part of the test set: the `value` of its `column`, its images, accuracy and 95 % interval.

    `p`: how likely so low an accuracy, against that of the others, is by chance; `p_adjusted`: among all slices looked
    at, by Holm's method.
    """

    column: str
    value: str
    images: int
    accuracy: float
    low: float
    high: float
    p: float
    p_adjusted: float


def slices(
    correct: np.ndarray,
    texts: Mapping[str, Sequence[str]],
    numbers: Mapping[str, np.ndarray],
    effect: float = 1.0,
    z: float = Z,
) -> list[Slice]:
    """Return the slices of a test set by each column, the surest to be worse first.

    `correct` bool (n,). `texts`: a value an image, "" for none; `numbers`: float (n,), NaN for none, which are divided
    into PARTS of equal size. `effect` and `z`: the design effect and quantile of a test set whose images belong
    together, as metrics.summary.Spread has them. The test is Fisher's, of as many images as would be draws alone.
    """
    parts = [(column, value, rows) for column, values in texts.items() for value, rows in _by_text(values)]
    parts += [(column, value, rows) for column, values in numbers.items() for value, rows in _by_number(values)]
    parts = [part for part in parts if FEWEST <= part[2].sum() < len(correct)]
    p_values = [_worse(correct, rows, effect) for _, _, rows in parts]
    found = []
    for (column, value, rows), p, adjusted in zip(parts, p_values, holm(p_values), strict=True):
        images, right = int(rows.sum()), int(correct[rows].sum())
        low, high = share_interval(right / effect, images / effect, z)
        found.append(
            Slice(column, value, images, right / images, low or 0.0, 1.0 if high is None else high, p, adjusted)
        )
    return sorted(found, key=lambda part: (part.p, part.accuracy, part.column, part.value))


def divisible(
    columns: Mapping[str, Sequence[str]],
) -> tuple[dict[str, np.ndarray], dict[str, Sequence[str]], dict[str, str]]:
    """Return the columns of numbers, float64 (n,) with NaN for none, those of texts, and why the others are left out.

    Numbers of few different values, or of which half are one value, are texts.
    """
    numbers: dict[str, np.ndarray] = {}
    texts: dict[str, Sequence[str]] = {}
    left_out: dict[str, str] = {}
    for name, cells in columns.items():
        known = ["" if cell.lower() in ABSENT else cell for cell in cells]
        different = len(set(known) - {""})
        if different > FEWEST and (values := _numbers(known)) is not None:
            numbers[name] = values
        elif different > MOST:
            left_out[name] = f"{different:,} different values"
        else:
            texts[name] = known
    return numbers, texts, left_out


def _numbers(cells: Sequence[str]) -> np.ndarray | None:
    """Return cells as float64 (n,), NaN for ""; None where a cell is not a number, or quartiles do not divide them."""
    try:
        values = np.array([float(cell or "nan") for cell in cells])
    except ValueError:
        return None
    known = values[np.isfinite(values)]
    return values if len(known) and len(np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))) > 2 else None


def _by_text(values: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    names, codes, counts = np.unique(np.array(values, object).astype(str), return_inverse=True, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:MOST]
    return [(str(names[code]), codes == code) for code in frequent if names[code]]


def _by_number(values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    known = np.isfinite(values)
    if not known.any():
        return []
    bounds = np.unique(np.quantile(values[known], np.linspace(0, 1, PARTS + 1)))
    if len(bounds) < 3:
        return []
    index = np.clip(np.searchsorted(bounds, values, side="right") - 1, 0, len(bounds) - 2)
    # Four digits, or as many as tell the bounds apart: dates in seconds, and what lies close to 1.
    tried = ([_text(bound, digits) for bound in bounds] for digits in range(4, 18))
    texts = next(found for found in tried if len(set(found)) == len(bounds))
    return [(f"{texts[at]} to {texts[at + 1]}", known & (index == at)) for at in range(len(bounds) - 1)]


def _text(value: float, digits: int) -> str:
    """Return a number of so many digits, without an exponent up to 15 of them."""
    return f"{float(f'{value:.{digits}g}'):,.{max(digits, 15)}g}"


def _worse(correct: np.ndarray, rows: np.ndarray, effect: float) -> float:
    """Return Fisher's one-sided p-value that the images of `rows` are right less often than the others."""
    from scipy.stats import fisher_exact

    table = [[int((correct[mask] == right).sum() / effect) for right in (True, False)] for mask in (rows, ~rows)]
    return float(fisher_exact(table, alternative="less").pvalue)
