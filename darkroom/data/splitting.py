"""Who learns, who tunes, who judges: splits that depend on what the images are and the seed, not on names.

Samples are bound into groups that must not be separated: copies of one picture, and what `group_by` says. Each group
has a place between 0 and 1 that is a hash of its content and the seed. Within a class, the groups with the lowest
places are the test set, the next are val, the rest is train. The sizes grow by one seat at a time (Sainte-Laguë), so
that a new image moves a boundary by one at most, and ten new images hardly ever more than ten others.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from darkroom.errors import SourceError

TRAIN, VAL, TEST, DROPPED, EXCLUDED = "train", "val", "test", "dropped", "excluded"
STRICTEST = (TEST, VAL, TRAIN)


@dataclass(frozen=True)
class Candidate:
    """What splitting needs to know of a sample. `bound` is its group: samples of one group stay together."""

    id: str
    label: str
    official: str
    bound: str


def place(seed: int, name: str, purpose: str) -> float:
    """A number in [0, 1) that depends on nothing but the arguments."""
    digest = hashlib.sha256(f"{purpose}:{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)


def seats(count: int, shares: Sequence[float]) -> list[int]:
    """`count` seats shared out by Sainte-Laguë's method: one more seat goes to exactly one share.

    A closed form finds all but the last few seats: share i has about count * share seats, and never more than one off.
    """
    total = sum(shares)
    given = [max(int(np.floor(count * share / total)) - 1, 0) for share in shares]
    while sum(given) < count:
        winner = max(range(len(shares)), key=lambda i: (shares[i] / (2 * given[i] + 1), -i))
        given[winner] += 1
    return given


def assign(candidates: Sequence[Candidate], seed: int, val_fraction: float, test_fraction: float) -> dict[str, str]:
    """The split of each candidate by id: train, val, test, or dropped.

    An official split is kept. Where it contains test (val), no other test (val) is drawn. A group that straddles
    official splits stays in the strictest (test, then val), and its other members are dropped: a benchmark's test set
    stays what it is, and nothing that it contains is learnt.
    """
    official = {candidate.official for candidate in candidates}
    test_share = 0.0 if TEST in official else test_fraction
    val_share = 0.0 if VAL in official else val_fraction
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.bound, []).append(candidate)
    split: dict[str, str] = {}
    free: dict[str, list[tuple[float, str]]] = {}
    for name, members in groups.items():
        fixed = [s for s in STRICTEST[:2] if any(member.official == s for member in members)]
        if fixed:
            split |= {member.id: fixed[0] if member.official in (fixed[0], "") else DROPPED for member in members}
        else:
            free.setdefault(_majority(members), []).append((place(seed, name, "split"), name))
    for label, ordered in sorted(free.items()):
        ordered.sort()
        sizes = [len(groups[name]) for _, name in ordered]
        for (_, name), part in zip(ordered, _cut(sizes, val_share, test_share, label), strict=True):
            split |= {member.id: part for member in groups[name]}
    return split


def _majority(members: Sequence[Candidate]) -> str:
    counts: dict[str, int] = {}
    for member in members:
        counts[member.label] = counts.get(member.label, 0) + 1
    return min(counts, key=lambda label: (-counts[label], label))


def _cut(sizes: Sequence[int], val_share: float, test_share: float, label: str) -> list[str]:
    """The split of each group of a class, in order of place: test, then val, then train."""
    shares = (1 - val_share - test_share, val_share, test_share)
    _, val, test = seats(sum(sizes), shares)
    ends = np.cumsum(sizes)
    middles = ends - np.asarray(sizes) / 2
    parts = [TEST if middle < test else VAL if middle < test + val else TRAIN for middle in middles]
    wanted = [part for part, share in ((TRAIN, 1.0), (TEST, test_share), (VAL, val_share)) if share > 0]
    for number, part in enumerate(wanted):  # a class of few images: one for each split, train first
        if part not in parts and len(parts) > number:
            parts[_spare(parts, wanted)] = part
    if len(parts) < len([part for part in (TRAIN, TEST) if part in wanted]):
        raise SourceError(
            f"the class {label!r} has {sum(sizes)} image(s) that could be divided, and needs one to learn from and "
            "another to be judged by; add images of it, or leave the class out with `exclude`"
        )
    return parts


def _spare(parts: Sequence[str], wanted: Sequence[str]) -> int:
    """The place of a group that its split can do without: in the split with the most groups."""
    largest = max(wanted, key=lambda part: (parts.count(part), part))
    return max(i for i, part in enumerate(parts) if part == largest)


def folds(candidates: Sequence[Candidate], split: Mapping[str, str], seed: int, count: int) -> dict[str, int]:
    """A fold number 0..count-1 for each sample in train or val: stratified, groups kept whole."""
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        if split[candidate.id] in (TRAIN, VAL):
            groups.setdefault(candidate.bound, []).append(candidate)
    by_label: dict[str, list[tuple[float, str]]] = {}
    for name, members in groups.items():
        by_label.setdefault(_majority(members), []).append((place(seed, name, "fold"), name))
    fold: dict[str, int] = {}
    for shift, (_, ordered) in enumerate(sorted(by_label.items())):
        ordered.sort()
        total = sum(len(groups[name]) for _, name in ordered)
        done = 0
        for _, name in ordered:
            number = int((done + len(groups[name]) / 2) * count / total)
            fold |= {member.id: (number + shift) % count for member in groups[name]}
            done += len(groups[name])
    return fold


def limited(candidates: Sequence[Candidate], seed: int, limit: int) -> list[Candidate]:
    """About `limit` images of each class, whole groups, shared out among the official splits as they are."""
    pools: dict[tuple[str, str], dict[str, list[Candidate]]] = {}
    for candidate in candidates:
        pools.setdefault((candidate.label, candidate.official), {}).setdefault(candidate.bound, []).append(candidate)
    kept = []
    for label in sorted({label for label, _ in pools}):
        mine = sorted(pool for pool in pools if pool[0] == label)
        sizes = [sum(map(len, pools[pool].values())) for pool in mine]
        for pool, seat in zip(mine, seats(min(limit, sum(sizes)), sizes), strict=True):
            left = max(seat, 1)
            for _, name in sorted((place(seed, name, "limit"), name) for name in pools[pool]):
                if left <= 0:
                    break
                kept += pools[pool][name]
                left -= len(pools[pool][name])
    return kept
