"""Copies of one picture: exact ones by the digest of their bytes, near ones by the distance of perceptual hashes."""

from collections.abc import Sequence

import numpy as np

BITS = 256  # of a perceptual hash, low frequencies first
MOST, LEAST = 64, 8  # bits: the threshold for photos, and for collections whose pictures are all alike
SIGMAS = 7.0
SAMPLED_PAIRS = 1 << 20
ORDERS, NEIGHBOURS, KEY_BITS, ROBUST_BITS = 64, 8, 64, 128
BLOCK = 1 << 14


def near_threshold(hashes: np.ndarray) -> int:
    """How many bits two hashes of `hashes` (n, BITS / 8) uint8 may differ in for the pictures to be copies.

    Unrelated photos differ in 128 bits, give or take 8, and none of a million pairs in fewer than 80. Where all
    pictures are alike (digits, X-rays, scanned forms) unrelated ones come closer, and a fixed threshold would join
    thousands. So it stays SIGMAS standard deviations below the median distance of random pairs. The deviation is
    estimated from the first percentile of the pairs beyond MOST, where no copies are.
    """
    count = len(hashes)
    if count * (count - 1) // 2 <= SAMPLED_PAIRS:
        one, other = np.triu_indices(count, 1)
    else:
        one, other = np.random.default_rng(0).integers(count, size=(2, SAMPLED_PAIRS))
        one, other = one[one != other], other[one != other]
    words = hashes.view(np.uint64)
    distances = np.bitwise_count(words[one] ^ words[other]).sum(axis=1)
    far = distances[distances > MOST]
    if len(distances) < 100:
        return MOST
    if len(far) < len(distances) / 2:
        return LEAST
    low, median = np.quantile(far, (0.01, 0.5))
    return int(np.clip(median - SIGMAS * (median - low) / 2.326, LEAST, MOST))  # 2.326: the normal's first percentile


def near_pairs(hashes: np.ndarray, threshold: int) -> np.ndarray:
    """Pairs (m, 2) int64 of rows of `hashes` (n, BITS / 8) uint8 that differ in at most `threshold` bits, i < j.

    M. Charikar (2002), Similarity estimation techniques from rounding algorithms: the hashes are sorted in ORDERS
    random orders of their bits, and each is compared with its next NEIGHBOURS in each. Copies share long beginnings
    in some order. The work grows as n log n; what is found of all pairs is measured in benchmarks/README.md. Low
    frequencies come first in a hash and change least, so the orders begin with those.
    """
    bits, words = np.unpackbits(hashes, axis=1), hashes.view(np.uint64)
    random = np.random.default_rng(0)
    found = [np.empty((0, 2), np.int64)]
    for _ in range(ORDERS):
        chosen = random.permutation(ROBUST_BITS)[:KEY_BITS]
        key = np.ascontiguousarray(np.packbits(bits[:, chosen], axis=1)).view(">u8").ravel()
        order = np.argsort(key, kind="stable")
        for first in range(0, len(order), BLOCK):  # in blocks that stay in the processor's cache
            block = order[first : first + BLOCK + NEIGHBOURS]
            sorted_words = words[block]
            for step in range(1, min(NEIGHBOURS, len(block) - 1) + 1):
                differ = sorted_words[:-step] ^ sorted_words[step:]
                near = np.flatnonzero(np.bitwise_count(differ).sum(axis=1, dtype=np.uint16) <= threshold)
                found.append(np.sort(np.stack([block[near], block[near + step]], axis=1), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def clusters(digests: Sequence[str], hashes: Sequence[str]) -> np.ndarray:
    """The cluster of each sample: int64 (n,), the place of its first member; a sample without copies is its own.

    `digests` are sha256 of the bytes, `hashes` hex perceptual hashes, "" where there is none.
    """
    parent = np.arange(len(digests))
    for names in (digests, hashes):
        first: dict[str, int] = {}
        for place, name in enumerate(names):
            if name:
                _join(parent, first.setdefault(name, place), place)
    distinct = {name: place for place, name in enumerate(hashes) if name}
    names, places = sorted(distinct), [distinct[name] for name in sorted(distinct)]
    if len(names) > 1:
        bits = as_bits(names)
        for one, other in near_pairs(bits, near_threshold(bits)).tolist():
            _join(parent, places[one], places[other])
    return np.array([_root(parent, place) for place in range(len(parent))], np.int64)


def as_bits(hashes: Sequence[str]) -> np.ndarray:
    """Hex hashes as (n, BITS / 8) uint8."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), BITS // 8)


def _join(parent: np.ndarray, one: int, other: int) -> None:
    one, other = _root(parent, one), _root(parent, other)
    parent[max(one, other)] = min(one, other)


def _root(parent: np.ndarray, place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = int(parent[place])
    return place
