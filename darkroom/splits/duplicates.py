"""Find copies of one picture: exact ones by the digest of their bytes, near ones by the distance of their hashes.

Pictures whose hashes are near are laid over each other (darkroom/splits/alike.py) where the index holds them small.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from darkroom.core.progress import say
from darkroom.images.hashes import MAX_DISTANCE, WINDOW_BITS, crop_pairs, turned
from darkroom.splits.alike import Doubt, confirmed

BITS = 256  # of a perceptual hash, low frequencies first
MOST, LEAST = 64, 8  # bits: the threshold for photos, and for data sets whose pictures are all alike
SIGMAS = 7.0
SAMPLED_PAIRS = 1 << 20
# A picture that others resemble, such as a product on a plain ground, has a lower threshold of its own: a copy is
# NEARER bits nearer than the third nearest of SAMPLED others. But it is never below ALIKE_LEAST bits: re-encoded and
# resized copies are nearer, and so are the frames of one video.
ALIKE_LEAST, NEARER, THIRD, SAMPLED = 40, 28, 2, 2000
SURE = 24  # bits within which a picture that no others resemble is a copy without a look at it
ORDERS, NEIGHBOURS, KEY_BITS, ROBUST_BITS = 64, 8, 64, 128
TURNED_ORDERS = 16  # turning a copy hardly adds to its distance, so fewer orders find it
BLOCK = 1 << 14
MOST_CHECKED = 20_000  # pictures that are kept small, and pairs that are laid over each other: about two minutes


def near_threshold(hashes: np.ndarray) -> int:
    """Return the largest distance in bits of copies among `hashes` (n, BITS / 8) uint8, LEAST to MOST.

    Unrelated photos differ in 128 ± 8 bits, and none of a million pairs in fewer than 80. Where all pictures are alike
    (digits, X-rays, scanned forms), unrelated ones come closer, and a fixed threshold would join thousands. So the
    threshold is SIGMAS standard deviations below the median distance of random pairs. The deviation is estimated from
    the first percentile of the pairs beyond MOST, which holds no copies.
    """
    count = len(hashes)
    if count * (count - 1) // 2 <= SAMPLED_PAIRS:
        one, other = np.triu_indices(count, 1)
    else:
        one, other = np.random.default_rng(0).integers(count, size=(2, SAMPLED_PAIRS))
        one, other = one[one != other], other[one != other]
    words, parts = hashes.view(np.uint64), range(0, len(one), BLOCK)
    distances = np.concatenate(
        [_distances(words[one[at : at + BLOCK]].T, words[other[at : at + BLOCK]].T) for at in parts] or [one]
    ).astype(np.uint64)
    far = distances[distances > MOST]
    if len(distances) < 100:
        return MOST
    if len(far) < len(distances) / 2:
        return LEAST
    low, median = np.quantile(far, (0.01, 0.5))
    return int(np.clip(median - SIGMAS * (median - low) / 2.326, LEAST, MOST))  # 2.326: the normal's first percentile


def own_thresholds(hashes: np.ndarray, rows: np.ndarray, threshold: int) -> np.ndarray:
    """Return the largest distance in bits of copies of each picture of `rows` int64 (m,), at most `threshold`: (m,).

    It is NEARER bits below the third smallest of the distances of this picture to SAMPLED others that are no copies.
    """
    limits = np.full(len(rows), float(threshold))
    if threshold <= ALIKE_LEAST or len(hashes) < 100:
        return limits
    words = hashes.view(np.uint64)
    others = np.ascontiguousarray(words[np.random.default_rng(0).permutation(len(hashes))[:SAMPLED]].T)
    for index, row in enumerate(rows.tolist()):
        apart = _distances(words[row][:, None], others)
        apart = apart[apart > MOST]  # no copies
        if len(apart) > THIRD:
            limits[index] = np.clip(int(np.partition(apart, THIRD)[THIRD]) - NEARER, ALIKE_LEAST, threshold)
    return limits


def whole_pairs(hashes: np.ndarray, threshold: int) -> np.ndarray:
    """Return the `near_pairs` that are within the `own_thresholds` of both pictures as well."""
    pairs = near_pairs(hashes, threshold)
    words = hashes.view(np.uint64).T
    apart = _distances(words[:, pairs[:, 0]], words[:, pairs[:, 1]])
    return _within_own(hashes, pairs, apart, threshold)


def window_pairs(hashes: np.ndarray, windows: np.ndarray, threshold: int) -> np.ndarray:
    """Return the `crop_pairs` of `threshold` bits of whole pictures, and of the `own_thresholds` of both, likewise."""
    pairs = crop_pairs(hashes, windows, MAX_DISTANCE * threshold // MOST)
    wholes = hashes[pairs[:, 1], None, : WINDOW_BITS // 8]
    apart = np.bitwise_count(windows[pairs[:, 0]] ^ wholes).sum(axis=2, dtype=np.int64).min(axis=1, initial=WINDOW_BITS)
    return _within_own(hashes, pairs, apart * MOST / MAX_DISTANCE, threshold)


def _within_own(hashes: np.ndarray, pairs: np.ndarray, apart: np.ndarray, threshold: int) -> np.ndarray:
    """Return the `pairs` (m, 2) that are `apart` (m,) bits at most the own thresholds of both pictures."""
    rows, index = np.unique(pairs, return_inverse=True)
    limits = own_thresholds(hashes, rows, threshold)[index.reshape(pairs.shape)]
    return pairs[apart <= limits.min(axis=1)]


def turned_pairs(hashes: np.ndarray, threshold: int) -> np.ndarray:
    """Return pairs i < j, (m, 2) int64, of rows of `hashes` that are near once one is turned, mirrored or inverted.

    They are within the `own_thresholds` of both as well.
    """
    count, found = len(hashes), [np.empty((0, 2), np.int64)]
    for others in turned(hashes):
        both = np.concatenate([hashes, others])
        pairs = near_pairs(both, threshold, TURNED_ORDERS)
        across = pairs[(pairs[:, 0] < count) & (pairs[:, 1] >= count)]
        words = both.view(np.uint64).T
        apart = _distances(words[:, across[:, 0]], words[:, across[:, 1]])
        found.append(np.sort(_within_own(hashes, across - [0, count], apart, threshold), axis=1))
    every = np.unique(np.concatenate(found), axis=0)
    return every[every[:, 0] != every[:, 1]]  # a symmetric picture is its own mirror image


def near_pairs(hashes: np.ndarray, threshold: int, orders: int = ORDERS) -> np.ndarray:
    """Return pairs i < j, (m, 2) int64, of rows of `hashes` (n, BITS / 8) uint8 within `threshold` bits.

    M. Charikar (2002), Similarity estimation techniques from rounding algorithms: the hashes are sorted in `orders`
    random orders of their bits, and each is compared with its next NEIGHBOURS. Copies share long beginnings in some
    order. The work grows as n log n; benchmarks/README.md has the share of pairs that is found. The orders begin with
    the low frequencies, the first bits of a hash, which change least.
    """
    count, words = len(hashes), hashes.view(np.uint64)
    random = np.random.default_rng(0)
    found = np.empty(0, np.int64)  # pair (i, j) as i * n + j
    for _ in range(orders):
        order = order_by(_keys(hashes, random.permutation(ROBUST_BITS)[:KEY_BITS]))
        near = [found]
        for first in range(0, count, BLOCK):  # in blocks that stay in the processor's cache
            block = order[first : first + BLOCK + NEIGHBOURS]
            # (4, b): sums over words run along all rows; `take` copies whole rows, indexing would copy single numbers
            ordered = np.ascontiguousarray(words.take(block, axis=0).T)
            for step in range(1, min(NEIGHBOURS, len(block) - 1) + 1):
                indices = np.flatnonzero(_distances(ordered[:, :-step], ordered[:, step:]) <= threshold)
                if len(indices):
                    one, other = block[indices], block[indices + step]
                    near.append(np.minimum(one, other) * count + np.maximum(one, other))
        found = np.unique(np.concatenate(near)) if len(near) > 1 else found
    return np.stack(np.divmod(found, max(1, count)), axis=1)


def _keys(hashes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the bits of `hashes` (n, BITS / 8) uint8 at the indices `chosen` (KEY_BITS,) as numbers, uint64 (n,).

    The first bit is the highest. A table holds what each value of each byte adds to the number.
    """
    keys = np.empty(len(hashes), np.uint64)
    values = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.uint64)
    tables = np.zeros((ROBUST_BITS // 8, 256), np.uint64)
    for index, bit in enumerate(chosen.tolist()):
        tables[bit // 8] |= values[:, bit % 8] << np.uint64(KEY_BITS - 1 - index)
    for first in range(0, len(hashes), BLOCK):
        block = np.ascontiguousarray(hashes[first : first + BLOCK, : ROBUST_BITS // 8].T)
        key = np.zeros(block.shape[1], np.uint64)
        for byte in np.unique(chosen // 8).tolist():
            key |= tables[byte].take(block[byte])
        keys[first : first + BLOCK] = key
    return keys


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return in how many bits two arrays of words (BITS / 64, n) uint64 differ: uint16 (n,)."""
    bits = np.bitwise_count(one ^ other)
    return bits.sum(axis=0, dtype=np.uint16)


def clusters(
    digests: np.ndarray, hashes: np.ndarray, hashed: np.ndarray, windows: np.ndarray,
    pictures: Mapping[bytes, bytes] | None = None,
) -> np.ndarray:  # fmt: skip
    """Return the cluster of each sample, int64 (n,): the index of its first member, its own without copies.

    `digests` S (n,) of the bytes, empty where there is none; `hashes` (n, BITS / 8) uint8, of samples that are
    `hashed`; `windows` from `hashes.from_text`, by which crops are found, or empty. `pictures`: the small picture
    of a hash, by which doubtful pairs are checked; without one a pair counts by its hashes alone.
    """
    read = np.flatnonzero(digests != b"")
    order = read[order_of_texts(digests[read])]
    pairs = [_pairs_of_neighbours(order, equal_neighbours(digests[order]))]
    seen = np.flatnonzero(hashed)
    words = hashes[seen].view(">u8").astype(np.uint64)
    order = order_by(*words.T)
    again = equal_neighbours(words[order])
    order = seen[order]
    pairs.append(_pairs_of_neighbours(order, again))
    distinct = order[~again]  # in ascending order
    if len(distinct) < 2:
        return joined(len(digests), np.concatenate(pairs))
    bits = np.ascontiguousarray(hashes[distinct])
    known = np.array([pictures is not None and each.tobytes() in pictures for each in bits], bool)
    doubts: list[Doubt] = []
    for near in near_copies(bits, windows[distinct] if len(windows) else windows):
        checked = near.doubtful & known[near.pairs].all(axis=1)
        pairs.append(distinct[near.pairs[~checked]])
        doubts += [
            Doubt((int(one), int(other)), near.turned, bool(many))
            for (one, other), many in zip(distinct[near.pairs[checked]], near.many[checked], strict=True)
        ]
    if len(doubts) > MOST_CHECKED:
        say(f"note: of {len(doubts):,} pairs that may be copies {MOST_CHECKED:,} are laid over each other to see; the "
            "others count as copies by their perceptual hashes alone")  # fmt: skip
    pairs.append(np.array([doubt.pair for doubt in doubts[MOST_CHECKED:]], np.int64).reshape(-1, 2))
    root = joined(len(digests), np.concatenate(pairs))
    pairs.append(confirmed(doubts[:MOST_CHECKED], root, hashes, pictures or {}))
    return joined(len(digests), np.concatenate(pairs))


@dataclass(frozen=True)
class Near:
    """Pairs i < j of hashes (m, 2) int64 that are near, once one is `turned` or as they are; the nearest first.

    `many` bool (m,): others resemble one of the two. `doubtful` bool (m,): hashes alone do not show that it is a copy.
    """

    pairs: np.ndarray
    turned: bool
    many: np.ndarray
    doubtful: np.ndarray


def near_copies(hashes: np.ndarray, windows: np.ndarray) -> Iterator[Near]:
    """Yield the pairs of different `hashes` that may be copies; `windows` of the same rows, or empty."""
    threshold = near_threshold(hashes)
    words = hashes.view(np.uint64).T
    found = [(whole_pairs(hashes, threshold), False), (turned_pairs(hashes, threshold), True)]
    if len(windows):
        found.append((window_pairs(hashes, windows, threshold), False))
    for number, (pairs, is_turned) in enumerate(found):
        apart = _distances(words[:, pairs[:, 0]], words[:, pairs[:, 1]])
        pairs = pairs[np.argsort(apart, kind="stable")]
        rows, index = np.unique(pairs, return_inverse=True)
        limits = own_thresholds(hashes, rows, threshold)[index.reshape(pairs.shape)]
        many = limits.min(axis=1, initial=MOST) < MOST
        yield Near(pairs, is_turned, many, many | (number > 0) | (np.sort(apart) > SURE))


def doubtful(hashes: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return the rows int64 (m,) of the different `hashes` that belong to doubtful pairs."""
    pairs = [near.pairs[near.doubtful].ravel() for near in near_copies(hashes, windows)] if len(hashes) > 1 else []
    return np.unique(np.concatenate(pairs)) if pairs else np.empty(0, np.int64)


def as_bits(hashes: Sequence[str]) -> np.ndarray:
    """Return hex hashes as (n, BITS / 8) uint8."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), BITS // 8)


def _pairs_of_neighbours(order: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Return pairs (m, 2) of neighbours in `order` (n,) of which the second is the `same` bool (n,) as the first."""
    later = np.flatnonzero(same)
    return np.stack([order[later - 1], order[later]], axis=1)


def order_by(key: np.ndarray, *ties: np.ndarray) -> np.ndarray:
    """Return the indices int64 (n,) sorted by `key` uint64 (n,), then by each of `ties` (n,), then by index.

    numpy's unstable sort uses vector instructions and is several times as fast as the stable one. It leaves the order
    of equal keys undefined; they are sorted here, so that the result is the same on every processor.
    """
    order = np.argsort(key)
    ordered = key.take(order)
    same = ordered[1:] == ordered[:-1]
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        indices = order[tied]
        order[tied] = indices[np.lexsort((indices, *(tie[indices] for tie in reversed(ties)), ordered[tied]))]
    return order


def prefixes(texts: np.ndarray) -> np.ndarray:
    """Return the first eight bytes of each of `texts` S (n,), as numbers that sort like them: uint64 (n,)."""
    return texts.astype("S8").view(">u8").astype(np.uint64)


def order_of_texts(texts: np.ndarray) -> np.ndarray:
    """Return the indices int64 (n,) that sort `texts` S (n,), equal ones in order of index."""
    return order_by(prefixes(texts), texts)


def equal_neighbours(ordered: np.ndarray) -> np.ndarray:
    """Return whether each of `ordered` (n, …) equals the one before: bool (n,), False for the first."""
    same = ordered[1:] == ordered[:-1]
    return np.append(np.zeros(min(1, len(ordered)), bool), same if same.ndim == 1 else same.all(axis=1))


def joined(count: int, pairs: np.ndarray) -> np.ndarray:
    """Return the lowest index that a chain of `pairs` int64 (m, 2) joins each of `count` indices to: int64 (count,)."""
    root = np.arange(count)
    one, other = pairs.reshape(-1, 2).T
    while True:
        one, other = root[one], root[other]
        apart = one != other
        if not apart.any():
            return root
        one, other = one[apart], other[apart]
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while (root != (further := root[root])).any():
            root = further
