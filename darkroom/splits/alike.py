"""Check that two pictures which hashes take for copies show the same, by laying one small grey picture over the other.

A hash of 256 signs cannot tell two motorcycles on a plain ground apart, nor two bottles; their details can. The
picture, or the part of it that fits best, must have the details of the other one, everywhere. Every sum is of whole
numbers below 2 ** 53, which floating point holds exactly: the answer is the same on every processor and BLAS.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from darkroom.images.hashes import GRID, WINDOWS, between_bars

STORED, SIDE = 64, 32  # pixels of a side: of the stored picture, and of what is compared
BLUR = 7  # pixels of the blur that is subtracted: bright above dark fits many pictures, details do not
PARTS = 4  # parts of a side whose details are compared on their own
LOW_SHARE, FAINT = 0.1, 0.1  # of the parts, the one that is compared; of the mean energy, that of a part that counts
FITS, FITS_IN_PARTS = 0.93, 0.6  # correlations from which it is a copy; benchmarks/README.md has what that finds
ALIKE_FITS, ALIKE_FITS_IN_PARTS = 0.96, 0.85  # of pictures that many others resemble
WHITE = 250  # grey level from which a brightened picture has lost its details
SURE = 0.99  # correlation that no other part can improve on
HOPELESS = 0.3  # correlation of the best start from which no copy comes
SMALLEST = 0.7  # of a side of the other picture that a part may have
STEPS, MOST_MOVES = (0.04, 0.02, 0.01), 6  # by which the edges of a part are moved
UNIT, KEPT = 1 << 12, 1 << 4  # the sum of a row of weights; parts of a grey level that are kept

Box = tuple[float, float, float, float]  # top, bottom, left, right, in 0 to 1
WHOLE: Box = (0.0, 1.0, 0.0, 1.0)
STARTS: list[Box] = [WHOLE, *((t / GRID, b / GRID, x / GRID, y / GRID) for (t, b), (x, y) in WINDOWS)]


@dataclass(frozen=True)
class Doubt:
    """Two samples whose hashes are near, once one is `turned` or as they are; `many`: others resemble them as well."""

    pair: tuple[int, int]
    turned: bool
    many: bool


def confirmed(
    doubts: Sequence[Doubt], root: np.ndarray, hashes: np.ndarray, pictures: Mapping[bytes, bytes]
) -> np.ndarray:
    """Return the pairs of `doubts` that are copies, (m, 2) int64; those whose samples are joined already are left out.

    `root` int64 (n,): the cluster of each sample; `hashes` (n, bytes) uint8; `pictures`: the small picture of a hash.
    """
    above = {index: int(root[index]) for doubt in doubts for index in doubt.pair}

    def cluster(index: int) -> int:
        while (up := above.setdefault(index, int(root[index]))) != index:
            index = up
        return index

    found = []
    for doubt in doubts:
        clusters = [cluster(index) for index in doubt.pair]
        if clusters[0] == clusters[1]:
            continue
        one, other = (
            np.frombuffer(pictures[hashes[index].tobytes()], np.uint8).reshape(STORED, STORED) for index in doubt.pair
        )
        if alike(one, other, doubt.turned, doubt.many):
            found.append(doubt.pair)
            above[max(clusters)] = min(clusters)
    return np.array(found, np.int64).reshape(-1, 2)


def alike(one: np.ndarray, other: np.ndarray, turned: bool, many: bool) -> bool:
    """Return whether two pictures (STORED, STORED) uint8 are copies: one shows the other, or most of it.

    `turned`: one may be turned, mirrored or inverted. `many`: other pictures resemble them, so that more is asked.
    """
    whole, low = fit(one, _turned_to(one, other) if turned else other)
    return whole >= (ALIKE_FITS if many else FITS) and low >= (ALIKE_FITS_IN_PARTS if many else FITS_IN_PARTS)


def fit(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return how well the details of two pictures agree, on the whole and in the worst parts: at most 1 each."""
    first = _details(_as_bright(one, other), [WHOLE])[0]
    second = _details(_as_bright(other, one), [WHOLE])[0]
    found = (float(_agreement(first[None], second)[0]), first, second)
    if found[0] < SURE:
        parts = _best_part(one, _details(other, [WHOLE])[0]), _best_part(other, _details(one, [WHOLE])[0])
        found = max(found, *parts, key=lambda each: each[0])
    return found[0], _in_parts(*found[1:])


def _as_bright(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return a picture, made as bright as a brighter `other`, so that the same parts of both are white."""
    ordered, brighter = np.sort(picture, axis=None).astype(np.int64), np.sort(other, axis=None).astype(np.int64)
    seen = (ordered < WHITE) & (brighter < WHITE)
    factor = float((ordered * brighter)[seen].sum()) / max(1.0, float((ordered * ordered)[seen].sum()))
    return np.minimum(np.floor(picture * max(1.0, factor)), 255)


def _best_part(picture: np.ndarray, wanted: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Return how well the best part of a picture agrees with the details `wanted` (SIDE, SIDE), its details, and these.

    It climbs from the best of STARTS, or from what lies between bars, by moving edges.
    """
    top, bottom, left, right = (edge / STORED for edge in between_bars(picture))
    boxes, box, best, details = [*STARTS, (top, bottom, left, right)], WHOLE, -2.0, wanted
    for step in STEPS:
        for _ in range(MOST_MOVES):
            candidates = _details(picture, boxes)
            values = _agreement(candidates, wanted)
            index = int(values.argmax())
            if values[index] <= best or values[index] < HOPELESS:
                break
            best, details, box = float(values[index]), candidates[index], boxes[index]
            boxes = _moved(box, step)
        boxes = _moved(box, step / 2)
    return best, details, wanted


def _moved(box: Box, step: float) -> list[Box]:
    """Return the parts with one edge, or two opposite ones, moved by `step`, that lie within the picture."""
    moves = [np.eye(4)[edge] for edge in range(4)] + [np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])]
    smallest = min(SMALLEST, box[1] - box[0], box[3] - box[2])
    found: list[Box] = []
    for move in moves:
        for sign in (-step, step):
            top, bottom, left, right = (round(float(edge), 4) for edge in np.array(box) + sign * move)
            if min(top, left) >= 0 and max(bottom, right) <= 1 and min(bottom - top, right - left) >= smallest:
                found.append((top, bottom, left, right))
    return found or [box]


def _turned_to(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the picture `other`, turned, mirrored or inverted as it agrees most with `one`."""
    turns = [
        turn for picture in (other, other.T) for turn in (picture, picture[::-1], picture[:, ::-1], picture[::-1, ::-1])
    ]
    turns.append(255 - other)
    values = [float(_agreement(_details(turn, [WHOLE]), _details(one, [WHOLE])[0])[0]) for turn in turns]
    return turns[int(np.argmax(values))]


def _details(picture: np.ndarray, boxes: list[Box]) -> np.ndarray:
    """Return parts of a picture at a size of (SIDE, SIDE), less their blur, as whole numbers: (n, SIDE, SIDE)."""
    down = np.stack([_weights(top, bottom) for top, bottom, _, _ in boxes])
    across = np.stack([_weights(left, right) for _, _, left, right in boxes])
    levels = np.floor(down @ picture.astype(np.float64) @ across.transpose(0, 2, 1) * (KEPT / UNIT**2))
    return levels * BLUR**2 - BLURRED @ levels @ BLURRED.T


def _agreement(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the correlations of details (n, SIDE, SIDE) with others (SIDE, SIDE): (n,); 0 where there are none."""
    lengths = np.sqrt((one * one).sum(axis=(1, 2))) * np.sqrt((other * other).sum())
    return np.divide((one * other).sum(axis=(1, 2)), lengths, out=np.zeros(len(one)), where=lengths > 0)


def _in_parts(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of details (SIDE, SIDE) in the worst parts but for LOW_SHARE of them: at most 1."""

    def sums(values: np.ndarray) -> np.ndarray:
        return values.reshape(PARTS, SIDE // PARTS, PARTS, SIDE // PARTS).sum(axis=(1, 3)).ravel()

    products, ones, others = sums(one * other), sums(one * one), sums(other * other)
    energy = np.maximum(ones, others)
    seen = energy > FAINT * energy.mean()
    lengths = np.sqrt(ones[seen]) * np.sqrt(others[seen])
    values = np.divide(products[seen], lengths, out=np.zeros(len(lengths)), where=lengths > 0)
    return float(np.sort(values)[int(LOW_SHARE * len(values))]) if len(values) else 0.0


@lru_cache(maxsize=1 << 12)
def _weights(first: float, last: float) -> np.ndarray:
    """Return the weights by which a row of STORED pixels, from `first` to `last`, becomes SIDE: whole (SIDE, STORED).

    Triangles twice as wide as a pixel of the result, as Pillow's BILINEAR has; each row sums up to UNIT.
    """
    width = (last - first) * STORED / SIDE
    centres = first * STORED + (np.arange(SIDE) + 0.5) * width
    away = np.abs(np.arange(STORED)[None, :] + 0.5 - centres[:, None]) / max(width, 1.0)
    weights = np.maximum(1 - away, 0)
    whole = np.rint(weights / weights.sum(axis=1, keepdims=True) * UNIT)
    whole[np.arange(SIDE), whole.argmax(axis=1)] += UNIT - whole.sum(axis=1)
    return whole


def _blurred() -> np.ndarray:
    """Return the sums of BLUR neighbours, of edges repeated, as whole weights (SIDE, SIDE)."""
    weights = np.zeros((SIDE, SIDE))
    for row in range(SIDE):
        for neighbour in range(row - BLUR // 2, row + BLUR // 2 + 1):
            weights[row, min(max(neighbour, 0), SIDE - 1)] += 1
    return weights


BLURRED = _blurred()
