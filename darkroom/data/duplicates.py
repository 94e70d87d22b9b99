"""Copies of one picture: exact ones by the digest of their bytes, near ones by the distance of perceptual hashes."""

from collections.abc import Sequence

import numpy as np

BITS = 256  # of a perceptual hash
THRESHOLD = 16  # bits of BITS; chosen in benchmarks/README.md
WINDOW = 64  # neighbours compared within a band's bucket


def near_pairs(hashes: np.ndarray, threshold: int = THRESHOLD) -> np.ndarray:
    """Pairs (m, 2) int64 of rows of `hashes` (n, bytes) uint8 that differ in at most `threshold` bits, i < j."""
    count, width = hashes.shape
    words = np.ascontiguousarray(hashes).view(np.uint64)
    found = []
    for band in range(0, width, 2):
        rotated = np.roll(hashes, -band, axis=1)
        order = np.lexsort(rotated[:, 3::-1].T)
        key = rotated[order, 0].astype(np.uint16) << 8 | rotated[order, 1]
        for step in range(1, min(WINDOW, count - 1) + 1):
            same = np.flatnonzero(key[step:] == key[:-step])
            if not len(same):
                break
            one, other = order[same], order[same + step]
            near = np.bitwise_count(words[one] ^ words[other]).sum(axis=1) <= threshold
            found.append(np.sort(np.stack([one[near], other[near]], axis=1), axis=1))
    return np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), np.int64)


def clusters(digests: Sequence[str], hashes: Sequence[str]) -> np.ndarray:
    """The cluster of each sample: int64 (n,), the place of its first member; a sample without copies is its own.

    `digests` are sha256 of the bytes, `hashes` hex perceptual hashes, "" where there is none.
    """
    parent = np.arange(len(digests))
    first: dict[str, int] = {}
    pairs = [(first.setdefault(digest, place), place) for place, digest in enumerate(digests) if digest]
    known = np.array([place for place, text in enumerate(hashes) if text], np.int64)
    if len(known) > 1:
        near = near_pairs(as_bits([hashes[place] for place in known]))
        pairs.extend(map(tuple, known[near].tolist()))
    for one, other in pairs:
        one, other = _root(parent, one), _root(parent, other)
        parent[max(one, other)] = min(one, other)
    return np.array([_root(parent, place) for place in range(len(parent))], np.int64)


def _root(parent: np.ndarray, place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = int(parent[place])
    return place


def as_bits(hashes: Sequence[str]) -> np.ndarray:
    """Hex hashes as (n, BITS / 8) uint8."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), BITS // 8)
