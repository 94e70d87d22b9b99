"""Hash what a picture shows, to find its copies: resized, re-encoded, brightened, or cropped.

*Perceptual hash*: the signs of the 256 lowest frequencies of a small grey picture (its discrete cosine transform), low
ones first. After the "pHash" of E. Klinger and D. Starkweather (2010), with 256 bits for its 64. Copies differ in few
bits, other photos in half of them.

*Window hashes*: a crop shifts every frequency, so the hash of a picture cropped to 90 % is hardly nearer to that of the
original than to any other. But it resembles the hash of the same part of the original. WINDOWS are the usual crops: 90
% of both sides in nine positions, 10 % off one edge, and the middle 80 %. A last one is what lies between bars, as in a
screenshot, for a picture that has any. benchmarks/README.md has what both find.
"""

import base64
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

SIDE, FREQUENCIES, BITS = 32, 24, 256
FLAT = 1  # standard deviation in grey levels: below it a picture shows nothing but rounding
# The cosine 1 as a whole number. Sums of whole cosines times grey levels stay below 2 ** 53 and so are exact in
# floating point: signs are the same on every processor and BLAS.
ONE = 1 << 17

GRID = 40  # cells of a side: a window of 90 % has 36, of 80 % has 32
WHOLE, FIRST, MIDDLE, LAST, CORE = (0, 40), (0, 36), (2, 38), (4, 40), (4, 36)
SPANS = (WHOLE, FIRST, MIDDLE, LAST, CORE)
WINDOWS = (
    *product((FIRST, MIDDLE, LAST), repeat=2), *product((FIRST, LAST), (WHOLE,)), *product((WHOLE,), (FIRST, LAST)),
    (CORE, CORE),
)  # fmt: skip
COUNT = len(WINDOWS) + 1  # of the hashes of a picture: the windows, and what lies between bars
ONE_LEVEL, OF_A_ROW = 8, 0.75  # grey levels within which so large a share of a bar's row of cells is
OF_ROWS = 0.6  # share of a bar's rows that are plain, between signs such as a clock
BARS, BETWEEN = 2, 12  # cells of a side: of all bars at least, and of what lies between them
WINDOW_BITS = 128  # the lower half of the frequencies, with which a whole picture's hash begins
PICTURE = "."  # before the small picture that the text of window hashes may end with
MIN_SIDE = 64  # pixels: smaller pictures are hardly ever cropped
MAX_DISTANCE = 22  # bits: the nearest of 14 million pairs of a photo's window and another photo are 31 apart
ORDERS, NEIGHBOURS, KEY_BITS = 32, 2, 64
BLOCK = 1 << 14
DOWN, ACROSS = np.array([[SPANS.index(span) for span in window] for window in WINDOWS]).T
WEAK = FLAT * ONE * ONE * (GRID // 2) ** 2


def _cosines(cells: int) -> np.ndarray:
    """Return the cosines of the lowest frequencies over `cells` samples: (FREQUENCIES, cells), whole numbers."""
    frequency, position = np.arange(FREQUENCIES)[:, None], np.arange(cells)[None, :]
    return np.rint(np.cos(np.pi * frequency * (2 * position + 1) / (2 * cells)) * ONE)


def _window_cosines(first: int, last: int) -> np.ndarray:
    """Return the cosines over the cells `first` to `last` of a row, zero elsewhere: (FREQUENCIES, GRID)."""
    cosines = np.zeros((FREQUENCIES, GRID))
    cosines[:, first:last] = _cosines(last - first)
    return cosines


def _part_cosines(first: float, last: float) -> np.ndarray:
    """Return the cosines from `first` to `last` in a row of cells, parts of cells in part: (FREQUENCIES, GRID)."""
    cells = np.arange(GRID)
    inside = np.clip(np.minimum(cells + 1, last) - np.maximum(cells, first), 0, 1)
    position = (np.clip(cells + 0.5, first, last) - first) / (last - first)
    return np.rint(np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * position) * inside * ONE)


def _low_first() -> np.ndarray:
    rows, columns = np.indices((FREQUENCIES, FREQUENCIES)).reshape(2, -1)
    order = np.lexsort([rows, rows + columns])
    return order[1 : BITS + 1]  # the first is the mean brightness


COSINES, ORDER = _cosines(SIDE), _low_first()
WINDOW_COSINES = np.stack([_window_cosines(*span) for span in SPANS])


def hash_of(grey: np.ndarray) -> str:
    """Return the hash of a picture (SIDE, SIDE) uint8; "" when it is flat."""
    levels = grey.astype(np.int64)
    if levels.size * (levels**2).sum() - levels.sum() ** 2 < (FLAT * levels.size) ** 2:
        return ""
    spectrum = (COSINES @ levels.astype(np.float64) @ COSINES.T).ravel()
    return np.packbits(spectrum[ORDER] > 0).tobytes().hex()


def turned(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the hashes (n, BITS / 8) of the mirrored, rotated and transposed pictures of `hashes`, and their negatives.

    No picture is decoded again: mirroring changes the signs of the odd frequencies of one direction, transposing
    transposes the spectrum, and a negative has all signs opposite. Four of the 256 frequencies have no transposed one
    in the hash; their bits are 0.
    """
    down, across = ORDER // FREQUENCIES, ORDER % FREQUENCIES
    bit_of = {frequency: bit for bit, frequency in enumerate(ORDER.tolist())}
    other = np.array([bit_of.get(frequency, -1) for frequency in (across * FREQUENCIES + down).tolist()])
    bits = np.unpackbits(hashes, axis=1).astype(bool)
    transposed = np.where(other >= 0, bits[:, other], False)
    for spectrum in (bits, transposed):
        for upside_down, mirrored in product((0, 1), repeat=2):
            if spectrum is transposed or upside_down or mirrored:
                changed = (upside_down * down + mirrored * across) % 2 == 1
                yield np.packbits(spectrum ^ changed, axis=1)
    yield ~hashes


def window_hashes(grey: np.ndarray) -> np.ndarray:
    """Hash each window of a picture (GRID, GRID) uint8, and what lies between bars: (COUNT, WINDOW_BITS / 8) uint8.

    Zeros for a flat window, and where there are no bars.
    """
    rows = (WINDOW_COSINES.reshape(-1, GRID) @ grey.astype(np.float64)).reshape(len(SPANS), FREQUENCIES, GRID)
    spectra = rows[DOWN] @ WINDOW_COSINES[ACROSS].transpose(0, 2, 1)
    top, bottom, left, right = between_bars(grey)
    between = _part_cosines(top, bottom) @ grey.astype(np.float64) @ _part_cosines(left, right).T
    between *= (top, bottom, left, right) != (0, len(grey), 0, len(grey))
    spectra = np.concatenate([spectra.reshape(len(WINDOWS), -1), between.reshape(1, -1)])[:, ORDER[:WINDOW_BITS]]
    flat = np.abs(spectra).max(axis=1) < WEAK
    return np.packbits((spectra > 0) & ~flat[:, None], axis=1)


def between_bars(grey: np.ndarray) -> tuple[float, float, float, float]:
    """Return what lies between bars of one grey level: top, bottom, left and right, in cells and parts of them.

    `grey` (n, n) uint8; everything where there are no bars. Bars beside it have the level of one above or below it, so
    that a picture on a white ground between black bars keeps its ground.
    """
    size = len(grey)
    top, above = _bar(grey)
    bottom, below = _bar(grey[::-1])
    if top + bottom >= size:
        return 0, size, 0, size
    inside = grey[int(top) : size - int(bottom)].T
    (left, before), (right, behind) = _bar(inside), _bar(inside[::-1])
    levels = ([above] if top else []) + ([below] if bottom else [])

    def is_bar(level: int) -> bool:
        return not levels or min(abs(level - known) for known in levels) <= ONE_LEVEL

    left, right = left * is_bar(before), right * is_bar(behind)
    enough = max(top + bottom, left + right) * GRID >= BARS * size
    if not enough or (size - max(top + bottom, left + right)) * GRID < BETWEEN * size:
        return 0, size, 0, size
    return top, size - bottom, left, size - right


def _bar(rows: np.ndarray) -> tuple[float, int]:
    """Return how many of the first `rows` (n, m) uint8 are a bar, signs on it included, and its level.

    The row behind it may be a mixture of bar and picture, of which the next row shows what its share is.
    """
    level = int(np.sort(rows[0])[rows.shape[1] // 2])
    away = rows.astype(np.int64) - level
    plain = (np.abs(away) <= ONE_LEVEL).mean(axis=1) >= OF_A_ROW
    most = plain & (plain.cumsum() >= OF_ROWS * np.arange(1, len(rows) + 1))
    if not plain[0] or most.all():
        return (len(rows) if most.all() else 0), level
    last = int(np.flatnonzero(most)[-1]) + 1
    if last + 1 >= len(rows):
        return last, level
    mixed, behind = away[last], away[last + 1]
    share = 1 - float((mixed * behind).sum()) / max(1.0, float((behind * behind).sum()))
    return last + min(max(round(share, 2), 0.0), 1.0), level


def as_text(hashes: np.ndarray) -> str:
    """Return window hashes as text for a column of a table."""
    return base64.b64encode(hashes.tobytes()).decode()


def from_text(texts: Sequence[str]) -> np.ndarray:
    """Return the window hashes in texts: (n, COUNT, WINDOW_BITS / 8) uint8; zeros where a text is empty or shorter."""
    size = COUNT * WINDOW_BITS // 8
    data = b"".join(base64.b64decode(text.partition(PICTURE)[0]).ljust(size, b"\0") for text in texts)
    return np.frombuffer(data, np.uint8).reshape(len(texts), COUNT, WINDOW_BITS // 8)


def with_picture(windows: str, picture: bytes) -> str:
    """Return the text of window hashes with a small picture added, by which doubtful copies are checked."""
    return windows + PICTURE + base64.b64encode(picture).decode()


def pictures(texts: Sequence[str], hexes: Sequence[str]) -> dict[bytes, bytes]:
    """Return the small pictures that `texts` of window hashes hold, by the hash in `hexes` of the same row."""
    both = zip(texts, hexes, strict=True)
    return {bytes.fromhex(own): base64.b64decode(text.partition(PICTURE)[2]) for text, own in both if PICTURE in text}


def crop_pairs(hashes: np.ndarray, windows: np.ndarray, threshold: int) -> np.ndarray:
    """Return pairs (m, 2) int64 of rows: a picture, and one within `threshold` bits of a window of it.

    `hashes` (n, 32) uint8 of whole pictures, `windows` (n, COUNT, WINDOW_BITS / 8) uint8. As in `near_pairs`,
    the hashes are sorted in ORDERS random orders of their bits, and each window is compared with the NEIGHBOURS before
    and after its position in each.
    """
    wholes, random = np.ascontiguousarray(hashes[:, : WINDOW_BITS // 8]), np.random.default_rng(0)
    found = [np.empty((0, 2), np.int64)]
    for _ in range(ORDERS):
        table = _key_table(random.permutation(WINDOW_BITS)[:KEY_BITS])
        keys = _keys(wholes, table)
        order = np.argsort(keys, kind="stable")
        sorted_keys, sorted_words = keys[order], wholes.view(np.uint64)[order]
        for number in range(windows.shape[1]):
            hashed = np.flatnonzero(windows[:, number].any(axis=1))  # zeros: flat, or too small a picture
            mine = windows[hashed, number]
            wanted, words = _keys(mine, table), mine.view(np.uint64)
            by_key = np.argsort(wanted)  # the search below then goes through memory in order
            for first in range(0, len(by_key), BLOCK):  # in blocks that stay in the processor's cache
                block = by_key[first : first + BLOCK]
                position = np.searchsorted(sorted_keys, wanted[block])
                for step in range(-NEIGHBOURS, NEIGHBOURS):
                    beside = np.clip(position + step, 0, len(order) - 1)
                    near = _near(words[block], sorted_words, beside, threshold)
                    found.append(np.stack([hashed[block[near]], order[beside[near]]], axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[pairs[:, 0] != pairs[:, 1]]  # a picture may resemble its own windows


def _near(words: np.ndarray, others: np.ndarray, rows: np.ndarray, threshold: int) -> np.ndarray:
    """Return where words (n, 2) differ from others[rows] in few bits. The first words rule out nearly all."""
    half = np.flatnonzero(np.bitwise_count(words[:, 0] ^ others[rows, 0]) <= threshold)
    return half[np.bitwise_count(words[half] ^ others[rows[half]]).sum(axis=1) <= threshold]


def _key_table(chosen: np.ndarray) -> np.ndarray:
    """Return what each value of each byte of a hash adds to its key of `chosen` bits: (WINDOW_BITS / 8, 256) uint64."""
    weights = np.zeros(WINDOW_BITS, np.uint64)
    weights[chosen] = np.uint64(1) << np.arange(len(chosen), dtype=np.uint64)
    values = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.uint64)
    return np.ascontiguousarray((values @ weights.reshape(-1, 8).T).T)


def _keys(hashes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the chosen bits of hashes (n, WINDOW_BITS / 8) as numbers: uint64 (n,)."""
    keys = table[0][hashes[:, 0]]
    for byte in range(1, len(table)):
        keys |= table[byte][hashes[:, byte]]
    return keys
