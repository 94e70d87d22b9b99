"""Assign samples to train, val and test: seeded, stratified, group-aware, by the content of images, not their names.

Samples form groups that must not be separated: copies of one picture, and images of one `group_by` value. Each group
has a hash of its content and the seed, between 0 and 1. Within a class, the groups with the lowest hashes are the test
set, the next are val, the rest is train. The sizes follow Sainte-Laguë's method, so that a new image moves a boundary
by one at most, and ten new images hardly ever move more than ten others.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from darkroom.core.errors import SourceError
from darkroom.core.text import quoted

SPLITS = ("train", "val", "test", "dropped", "excluded")
TRAIN, VAL, TEST, DROPPED, EXCLUDED = range(len(SPLITS))
SHOWN = 40  # classes in a message
ANY = -1  # no official split
OFFICIALS = (ANY, TEST, TRAIN, VAL)  # in the order of their names


@dataclass(frozen=True)
class Samples:
    """The columns of samples that splitting depends on, in order of id.

    `ids` S (n,); `label` int32 (n,), indices into `labels`, which are in ascending order; `official` int8 (n,), indices
    into SPLITS, or ANY; `bound` int64 (n,), the first sample of the group of each, which stays together.
    """

    ids: np.ndarray
    label: np.ndarray
    labels: list[str]
    official: np.ndarray
    bound: np.ndarray


@dataclass(frozen=True)
class Groups:
    """The g groups of m samples.

    `names` int64 (g,), the first sample of each group; `of` int64 (m,), the group of each sample; `sizes` int64 (g,);
    `label` int32 (g,), the most frequent label of each group, the first of equals.
    """

    names: np.ndarray
    of: np.ndarray
    sizes: np.ndarray
    label: np.ndarray


def grouped(samples: Samples, rows: np.ndarray) -> Groups:
    """Return the groups of the samples at `rows` int64 (m,)."""
    names, of, sizes = np.unique(samples.bound[rows], return_inverse=True, return_counts=True)
    pairs, counts = np.unique(of * len(samples.labels) + samples.label[rows], return_counts=True)
    group, label = np.divmod(pairs, max(1, len(samples.labels)))
    best = np.lexsort((label, -counts, group))
    first = np.append(True, group[best][1:] != group[best][:-1]) if len(best) else best
    return Groups(names, of, sizes, label[best][first])


def seeded_hashes(seed: int, names: np.ndarray, purpose: str) -> np.ndarray:
    """Return a number in [0, 1) for each of `names` S (n,) that depends only on the arguments: float64 (n,)."""
    start = hashlib.sha256(f"{purpose}:{seed}:".encode())

    def digest(name: bytes) -> bytes:
        whole = start.copy()
        whole.update(name)
        return whole.digest()[:7]

    digests = np.frombuffer(b"".join(map(digest, names.tolist())), np.uint8).reshape(len(names), 7)
    padded = np.concatenate([np.zeros((len(names), 1), np.uint8), digests], axis=1)
    return np.ascontiguousarray(padded).view(">u8").ravel().astype(np.float64) / (1 << 56)


def seats(count: int, shares: Sequence[float]) -> list[int]:
    """Divide `count` seats by Sainte-Laguë's method: one seat more changes a single share."""
    total = sum(shares)
    given = [max(int(np.floor(count * share / total)) - 1, 0) for share in shares]  # never one too many
    while sum(given) < count:
        winner = max(range(len(shares)), key=lambda i: (shares[i] / (2 * given[i] + 1), -i))
        given[winner] += 1
    return given


def assign(samples: Samples, rows: np.ndarray, seed: int, val_fraction: float, test_fraction: float) -> np.ndarray:
    """Return the split of each sample at `rows` int64 (m,), train to dropped: its index in SPLITS, int8 (m,).

    An official split is kept. Where it contains test (val), no other test (val) is drawn. A group in several official
    splits stays in the strictest (test, then val), and its other members are dropped, so that a benchmark's test set is
    unchanged and none of it is trained on. Raises SourceError for classes too small to be divided.
    """
    official, groups = samples.official[rows], grouped(samples, rows)
    test_share = 0.0 if (official == TEST).any() else test_fraction
    val_share = 0.0 if (official == VAL).any() else val_fraction
    part = np.full(len(groups.names), ANY, np.int8)
    for strict in (VAL, TEST):  # the strictest last
        part[groups.of[official == strict]] = strict
    fixed = part[groups.of] != ANY
    free = np.flatnonzero(part == ANY)
    too_small = {}
    for label, ordered in by_label(samples, groups, free, seed, "split"):
        part[ordered] = _cut(groups.sizes[ordered], val_share, test_share)
        if len(ordered) < 1 + (test_share > 0):
            too_small[samples.labels[label]] = int(groups.sizes[ordered].sum())
    if too_small:
        raise SourceError(_too_small(too_small))
    split = part[groups.of]
    split[fixed & (official != ANY) & (official != split)] = DROPPED
    return split


def by_label(
    samples: Samples, groups: Groups, chosen: np.ndarray, seed: int, purpose: str
) -> list[tuple[int, np.ndarray]]:
    """Return (label, groups) for each label in ascending order: its groups among `chosen` int64, in order of hash."""
    order = np.lexsort((seeded_hashes(seed, samples.ids[groups.names[chosen]], purpose), groups.label[chosen]))
    ordered = chosen[order]
    labels, starts = np.unique(groups.label[ordered], return_index=True)
    return list(zip(labels.tolist(), np.split(ordered, starts[1:]), strict=True)) if len(labels) else []


def _cut(sizes: np.ndarray, val_share: float, test_share: float) -> np.ndarray:
    """Return the split of each group of a class, int8 (g,), by their `sizes` in order of hash: test, val, train."""
    shares, total = (1 - val_share - test_share, val_share, test_share), int(sizes.sum())
    _, val, test = seats(total, shares)
    middles = np.cumsum(sizes) - sizes / 2
    parts = np.where(middles < test, TEST, np.where(middles < test + val, VAL, TRAIN)).astype(np.int8)
    wanted = [part for part, share in ((TRAIN, 1.0), (TEST, test_share), (VAL, val_share)) if share > 0]
    for number, part in enumerate(wanted):  # where there are few groups: one for each split, train first
        if part not in parts and len(parts) > number:
            parts[_spare(parts, wanted)] = part
    return parts


def _too_small(totals: Mapping[str, int]) -> str:
    """Return the message about the classes that cannot be divided, with their number of images."""
    shown = ", ".join(f"{quoted(label)} has {total} image(s)" for label, total in list(totals.items())[:SHOWN])
    more = f", and {len(totals) - SHOWN} classes more" if len(totals) > SHOWN else ""
    held = " in one group, which `group_by` or copies hold together" if max(totals.values()) > 1 else ""
    apart = ", take pictures that are no copies apart with `duplicates: ignore`" if held else ""
    needs = "the class needs" if len(totals) == 1 else f"each of these {len(totals)} classes needs"
    return (f"the class {shown}{more}{held}; {needs} one image to learn from and another to be judged by, that can be "
            f"divided: add images{apart}, or leave it out with `exclude`")  # fmt: skip


def _spare(parts: np.ndarray, wanted: Sequence[int]) -> int:
    """Return the index of the group to move to another split: the last one of the split with the most groups."""
    largest = max(wanted, key=lambda part: (np.count_nonzero(parts == part), SPLITS[part]))
    return int(np.flatnonzero(parts == largest)[-1])


def folds(samples: Samples, rows: np.ndarray, split: np.ndarray, seed: int, count: int) -> np.ndarray:
    """Return the fold, 0..count-1, of each of `rows` int64 (m,) in train or val by `split` (m,), else -1: int32 (m,).

    Folds are stratified, and groups kept whole.
    """
    fold = np.full(len(rows), -1, np.int32)
    learnt = np.flatnonzero((split == TRAIN) | (split == VAL))
    groups = grouped(samples, rows[learnt])
    numbers = np.empty(len(groups.names), np.int32)
    everything = np.arange(len(groups.names))
    for shift, (_, ordered) in enumerate(by_label(samples, groups, everything, seed, "fold")):
        sizes = groups.sizes[ordered]
        middles = np.cumsum(sizes) - sizes + sizes / 2
        numbers[ordered] = ((middles * count / sizes.sum()).astype(np.int32) + shift) % count
    fold[learnt] = numbers[groups.of]
    return fold


def limited(samples: Samples, rows: np.ndarray, seed: int, limit: int) -> np.ndarray:
    """Return `rows` int64 (m,) limited to about `limit` images of each class, int64, ascending.

    Groups are kept whole, and each official split keeps its share.
    """
    kept = [np.empty(0, np.int64)]
    ordered_rows = rows[np.argsort(samples.label[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(samples.label[ordered_rows])) + 1
    for mine in np.split(ordered_rows, starts):
        pools = [mine[samples.official[mine] == official] for official in OFFICIALS]
        pools = [pool for pool in pools if len(pool)]
        sizes = [len(pool) for pool in pools]
        for pool, seat in zip(pools, seats(min(limit, sum(sizes)), sizes), strict=True):
            groups = grouped(samples, pool)
            ((_, ordered),) = by_label(samples, groups, np.arange(len(groups.names)), seed, "limit")
            before = np.cumsum(groups.sizes[ordered]) - groups.sizes[ordered]
            kept.append(pool[np.isin(groups.of, ordered[before < max(seat, 1)])])
    return np.sort(np.concatenate(kept))
