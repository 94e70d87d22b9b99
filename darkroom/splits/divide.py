"""Divide an index into splits: exclude, find duplicates, join groups, limit, then assign train, val and test."""

import difflib
import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from darkroom.core.errors import ParamsError, SourceError
from darkroom.core.text import quoted
from darkroom.splits.assign import (
    ANY,
    DROPPED,
    EXCLUDED,
    SPLITS,
    TEST,
    TRAIN,
    VAL,
    Samples,
    assign,
    folds,
    limited,
    seeded_hashes,
)
from darkroom.splits.columns import Columns
from darkroom.splits.corrections import ONLY_TRAINS
from darkroom.splits.duplicates import clusters, joined

SPLIT_COLUMNS = ("id", "split", "fold", "duplicate_of")
SHOWN = 5  # classes in a message
AT_ONCE = 1 << 14  # rows that are held as text at a time


@dataclass(frozen=True)
class SplitOptions:
    """How to divide; the fields are params of split."""

    seed: int
    val_fraction: float
    test_fraction: float
    folds: int
    limit: int | None
    exclude: list[str]
    duplicates: str


@dataclass(frozen=True)
class Division:
    """The split of each sample of an index, in order of id.

    `ids` S (n,); `split` int8 (n,), indices into SPLITS; `fold` int32 (n,), -1 for none; `copy_of` int64 (n,), the
    index of its original, or its own where a sample is not a copy.
    """

    ids: np.ndarray
    split: np.ndarray
    fold: np.ndarray
    copy_of: np.ndarray

    def rows(self) -> Iterator[tuple[str, str, int | str, str]]:
        """Yield the rows of data/split.csv: id, split, fold or "", id of the original or ""."""
        for first in range(0, len(self.ids), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            copies = self.copy_of[part] != np.arange(len(self.ids))[part]
            originals = np.where(copies, self.ids[self.copy_of[part]], b"")
            cells = (self.ids[part].tolist(), self.split[part].tolist(), self.fold[part].tolist(), originals.tolist())
            for name, split, fold, original in zip(*cells, strict=True):
                yield name.decode(), SPLITS[split], fold if fold >= 0 else "", original.decode()

    def counts(self) -> dict[str, int]:
        """Return how many samples each split has."""
        return dict(zip(SPLITS, np.bincount(self.split, minlength=len(SPLITS)).tolist(), strict=True))


def divide(index: Columns, options: SplitOptions) -> Division:
    """Return the division of an index's rows. Raises ParamsError and SourceError."""
    if options.val_fraction + options.test_fraction >= 1:
        raise ParamsError(f"params.yaml: val_fraction {options.val_fraction} and test_fraction {options.test_fraction} "
                          "leave nothing to learn from; their sum must be below 1")  # fmt: skip
    split = np.full(len(index), EXCLUDED, np.int8)
    fold = np.full(len(index), -1, np.int32)
    rows = np.flatnonzero(~_excluded(index, options.exclude))
    _check_classes(index, rows, options.exclude)
    officials = np.array([SPLITS.index(name) if name in SPLITS else ANY for name in index.officials.names], np.int8)
    only_trains = index.officials.codes[rows] == index.officials.code(ONLY_TRAINS)
    added, rows = rows[only_trains], rows[~only_trains]  # the others are divided as without these
    copy_of = np.arange(len(index))
    copy_of[rows] = _copies(index, rows, options.duplicates, officials)
    if options.duplicates == "drop":
        split[copy_of != np.arange(len(index))] = DROPPED
        kept = rows[copy_of[rows] == rows]
        _check_kept(index, rows, kept)
        rows = kept
    bound = _bound(index, rows, copy_of)
    samples = Samples(index.ids, index.labels.codes, index.labels.names, officials[index.officials.codes], bound)
    if options.limit:
        rows = limited(samples, rows, options.seed, options.limit)
    split[rows] = assign(samples, rows, options.seed, options.val_fraction, options.test_fraction)
    fold[rows] = folds(samples, rows, split[rows], options.seed, options.folds)
    if len(added):
        _add(index, added, Division(index.ids, split, fold, copy_of), options)
    return Division(index.ids, split, fold, copy_of)


def _check_kept(index: Columns, rows: np.ndarray, kept: np.ndarray) -> None:
    """Raise SourceError where no sample of a class among `rows` int64 (m,) is among the `kept` int64 (k,)."""
    lost = np.setdiff1d(index.labels.codes[rows], index.labels.codes[kept])
    if len(lost):
        names = ", ".join(repr(index.labels.names[code]) for code in lost[:SHOWN].tolist())
        more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
        raise SourceError(
            f"every image of class {names}{more} is a copy of an image of another class, which `duplicates: drop` "
            "leaves out; correct the labels, `exclude` the class, or set `duplicates: group`"
        )


def _add(index: Columns, added: np.ndarray, division: Division, options: SplitOptions) -> None:
    """Put the samples `added` int64 (m,) into train, except copies of images of val or test, which are dropped.

    A copy of a training image gets the fold of its original, any other sample one that depends on its id and the seed.
    """
    split, fold, copy_of = division.split, division.fold, division.copy_of
    split[added] = TRAIN
    fold[added] = (seeded_hashes(options.seed, index.ids[added], "fold") * options.folds).astype(np.int32)
    if options.duplicates == "ignore":
        return
    rows = np.flatnonzero((split < DROPPED) | np.isin(np.arange(len(index)), added))
    windows = index.windows[rows] if len(index.windows) else index.windows
    cluster = clusters(index.digests[rows], index.hashes[rows], index.hashed[rows], windows, index.pictures)
    is_added = np.isin(rows, added)
    for member in np.flatnonzero(is_added):
        others = rows[(cluster == cluster[member]) & (~is_added | (rows < rows[member]))]
        if not len(others):
            continue
        strictest = others[int(np.lexsort((others, -split[others]))[0])]  # test, then val, then train
        copy_of[rows[member]] = copy_of[strictest]
        fold[rows[member]] = fold[strictest]
        if split[strictest] != TRAIN or options.duplicates == "drop":
            split[rows[member]], fold[rows[member]] = DROPPED, -1


def _excluded(index: Columns, patterns: Sequence[str]) -> np.ndarray:
    excluded = np.zeros(len(index), bool)
    for pattern in patterns:
        match = re.compile(fnmatch.translate(pattern)).match
        found = np.array([location == pattern or match(location) is not None for location in index.locations], bool)
        found |= index.ids == pattern.encode()
        if not found.any():
            near = difflib.get_close_matches(pattern, index.locations[:10000], n=1, cutoff=0)
            raise ParamsError(f"params.yaml: exclude: {quoted(pattern)} is neither an id nor matches a path"
                              + (f", such as {near[0]}" if near else ""))  # fmt: skip
        excluded |= found
    return excluded


def _check_classes(index: Columns, rows: np.ndarray, patterns: Sequence[str]) -> None:
    left = np.unique(index.labels.codes[rows])
    if len(index) and len(left) < 2:
        what = f"only the class {quoted(index.labels.names[left[0]])}" if len(left) else "no image"
        raise SourceError(f"of {len(index.labels.names)} classes {what} is left, and a classifier needs two"
                          + (f"; exclude is {quoted(list(patterns))} in params.yaml" if patterns else ""))  # fmt: skip


def _copies(index: Columns, rows: np.ndarray, duplicates: str, officials: np.ndarray) -> np.ndarray:
    """Return the original of each of `rows`, int64 (m,): the largest of its cluster, of equals the one of lowest id.

    Where copies are dropped, an image of an official test set comes first, then one of a val set, and no image of the
    test set is a copy: a benchmark's test set is not changed.
    """
    if duplicates == "ignore":
        return rows
    windows = index.windows[rows] if len(index.windows) else index.windows
    found = clusters(index.digests[rows], index.hashes[rows], index.hashed[rows], windows, index.pictures)
    official = officials[index.officials.codes[rows]]
    order = np.where(official == TEST, 0, np.where(official == VAL, 1, 2)) if duplicates == "drop" else 0 * official
    best = np.lexsort((-index.pixels[rows], order, found))  # stable: equals stay in order of id
    first = best[np.append(True, found[best][1:] != found[best][:-1])] if len(best) else best
    original = np.empty(len(rows), np.int64)
    original[found[first]] = rows[first]
    return np.where(official == TEST, rows, original[found]) if duplicates == "drop" else original[found]


def _bound(index: Columns, rows: np.ndarray, copy_of: np.ndarray) -> np.ndarray:
    """Return the first sample of the group of each sample, int64 (n,).

    A group holds copies and the same `group_by` value among `rows`; two groups that share a picture become one.
    """
    group = index.groups.codes[rows]
    named = rows[group != index.groups.code("")]
    first = np.zeros(len(index.groups.names), np.int64)
    first[index.groups.codes[named][::-1]] = named[::-1]
    pairs = [(rows, copy_of[rows]), (named, first[index.groups.codes[named]])]
    return joined(len(index), np.concatenate([np.stack(pair, axis=1) for pair in pairs]))
