"""Crops: hashes of a picture's windows, which the hash of a picture that was cut out of it will resemble.

A crop shifts every frequency, so that the hash of a picture cut to 90 % is hardly nearer than a stranger's. But it
resembles the hash of the same part of the original. WINDOWS stand for the usual cuts: 90 % of both sides in nine
places, 10 % off one edge, and the middle 80 %. What they find is measured in benchmarks/README.md.
"""

import base64
from collections.abc import Sequence
from itertools import product

import numpy as np

from darkroom.images.phash import FLAT, FREQUENCIES, ONE, ORDER

GRID = 40  # cells of a side: a window of 90 % has 36, of 80 % has 32
WHOLE, FIRST, MIDDLE, LAST, CORE = (0, 40), (0, 36), (2, 38), (4, 40), (4, 36)
SPANS = (WHOLE, FIRST, MIDDLE, LAST, CORE)
WINDOWS = (
    *product((FIRST, MIDDLE, LAST), repeat=2), *product((FIRST, LAST), (WHOLE,)), *product((WHOLE,), (FIRST, LAST)),
    (CORE, CORE),
)  # fmt: skip
BITS = 128  # of a window's hash: the same, lower half of frequencies as a whole picture's hash begins with
MOST = 22  # bits: the nearest of 14 million pairs of a photo's window and another photo are 31 apart
MIN_SIDE = 64  # pixels: nobody cuts smaller pictures
ORDERS, NEIGHBOURS, KEY_BITS = 32, 2, 64
BLOCK = 1 << 14


def _cosines(first: int, last: int) -> np.ndarray:
    """The cosines of a window of cells `first` to `last`, zero elsewhere: (FREQUENCIES, GRID), whole numbers."""
    frequency, place = np.arange(FREQUENCIES)[:, None], np.arange(last - first)[None, :]
    cosines = np.zeros((FREQUENCIES, GRID))
    cosines[:, first:last] = np.rint(np.cos(np.pi * frequency * (2 * place + 1) / (2 * (last - first))) * ONE)
    return cosines


COSINES = np.stack([_cosines(*span) for span in SPANS])
DOWN, ACROSS = np.array([[SPANS.index(span) for span in window] for window in WINDOWS]).T
WEAK = FLAT * ONE * ONE * (GRID // 2) ** 2


def window_hashes(grey: np.ndarray) -> np.ndarray:
    """The hash of each window of a picture (GRID, GRID) uint8: (len(WINDOWS), BITS / 8) uint8; zeros for a flat one."""
    rows = (COSINES.reshape(-1, GRID) @ grey.astype(np.float64)).reshape(len(SPANS), FREQUENCIES, GRID)
    spectra = (rows[DOWN] @ COSINES[ACROSS].transpose(0, 2, 1)).reshape(len(WINDOWS), -1)[:, ORDER[:BITS]]
    flat = np.abs(spectra).max(axis=1) < WEAK
    return np.packbits((spectra > 0) & ~flat[:, None], axis=1)


def as_text(hashes: np.ndarray) -> str:
    """Window hashes as a column of a table: half as long as in hex."""
    return base64.b64encode(hashes.tobytes()).decode()


def from_text(texts: Sequence[str]) -> np.ndarray:
    """The window hashes of texts: (n, len(WINDOWS), BITS / 8) uint8; zeros where a text is empty."""
    size = len(WINDOWS) * BITS // 8
    blank = bytes(size)
    data = b"".join(base64.b64decode(text) or blank for text in texts)
    return np.frombuffer(data, np.uint8).reshape(len(texts), len(WINDOWS), BITS // 8)


def crop_pairs(hashes: np.ndarray, windows: np.ndarray, threshold: int) -> np.ndarray:
    """Pairs (m, 2) int64 of rows: a picture, and one that differs from a window of it in at most `threshold` bits.

    `hashes` (n, 32) uint8 of whole pictures, `windows` (n, len(WINDOWS), BITS / 8) uint8. As `near_pairs` searches: in
    ORDERS random orders of the bits, each window is compared with the NEIGHBOURS before and after its place among the
    sorted hashes.
    """
    wholes, random = np.ascontiguousarray(hashes[:, : BITS // 8]), np.random.default_rng(0)
    found = [np.empty((0, 2), np.int64)]
    for _ in range(ORDERS):
        table = _key_table(random.permutation(BITS)[:KEY_BITS])
        keys = _keys(wholes, table)
        order = np.argsort(keys, kind="stable")
        sorted_keys, sorted_words = keys[order], wholes.view(np.uint64)[order]
        for number in range(len(WINDOWS)):
            own = np.flatnonzero(windows[:, number].any(axis=1))  # zeros: flat, or too small a picture
            mine = windows[own, number]
            wanted, words = _keys(mine, table), mine.view(np.uint64)
            by_key = np.argsort(wanted)  # only so that the search below goes through memory in order
            for first in range(0, len(by_key), BLOCK):  # in blocks that stay in the processor's cache
                block = by_key[first : first + BLOCK]
                place = np.searchsorted(sorted_keys, wanted[block])
                for step in range(-NEIGHBOURS, NEIGHBOURS):
                    beside = np.clip(place + step, 0, len(order) - 1)
                    near = _near(words[block], sorted_words, beside, threshold)
                    found.append(np.stack([own[block[near]], order[beside[near]]], axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[pairs[:, 0] != pairs[:, 1]]  # a picture may resemble its own windows


def _near(words: np.ndarray, others: np.ndarray, places: np.ndarray, threshold: int) -> np.ndarray:
    """Where words (n, 2) differ from others[places] in few bits. Half of the words rules nearly all out."""
    half = np.flatnonzero(np.bitwise_count(words[:, 0] ^ others[places, 0]) <= threshold)
    return half[np.bitwise_count(words[half] ^ others[places[half]]).sum(axis=1) <= threshold]


def _key_table(chosen: np.ndarray) -> np.ndarray:
    """What each value of each byte of a hash adds to its key of `chosen` bits: (BITS / 8, 256) uint64."""
    weights = np.zeros(BITS, np.uint64)
    weights[chosen] = np.uint64(1) << np.arange(len(chosen), dtype=np.uint64)
    values = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.uint64)
    return np.ascontiguousarray((values @ weights.reshape(-1, 8).T).T)


def _keys(hashes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The chosen bits of hashes (n, BITS / 8) as numbers: uint64 (n,)."""
    keys = table[0][hashes[:, 0]]
    for place in range(1, len(table)):
        keys |= table[place][hashes[:, place]]
    return keys
