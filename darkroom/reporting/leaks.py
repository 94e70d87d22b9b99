"""Find test and validation images that show a part of a training image, or the other way round.

Hashes find copies of nearly the whole picture (darkroom/splits/duplicates.py). A smaller crop, or a picture within the
bars of a screenshot, still has similar features, so each image of val and test is compared with the training images
nearest to it. Nearness proves nothing (two dogs are near as well): the middle of one picture is laid over the other at
every position and at many scales, and only a pair whose details match is a leak.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from darkroom.images.batches import balanced_rows
from darkroom.images.hashes import MIN_SIDE
from darkroom.images.shards import Shards

NEAREST = 3  # training images that an image is compared with
LOWEST = 0.4  # cosine of centred features from which pictures are compared; 9 of 10 crops of half the area reach it
MOST_PAIRS, MOST_LEARNT = 400, 20_000  # bounds of the time, about 20 s at most
PATCH = 32  # side in pixels to which the middle of a picture is resized
BLUR = 9  # pixels of the blur that is subtracted: bright above dark fits many pictures, details do not
SCALES = np.geomspace(0.55, 2.0, 14)  # of the other picture
FITS = 0.78  # correlation from which a pair fits; benchmarks/README.md has what it finds
RANDOM_PAIRS = 50  # whose correlations show how alike unrelated pictures of this collection are
CLOSER = 2.0  # times nearer to 1 a pair must be than these: X-rays and scans are all alike
PLAIN = 6.0  # standard deviation in grey levels below which a picture has too few details: 2 of 100 photos


@dataclass(frozen=True)
class Leak:
    """A training image and one of another split, as rows of their shards, and how well one fits into the other."""

    train: int
    split: str
    row: int
    fit: float


@dataclass(frozen=True)
class Part:
    """A split's images with the features (n, D) of each."""

    images: Shards
    features: np.ndarray


def leaks(train: Part, others: dict[str, Part]) -> list[Leak]:
    """Return the images of `others`, by split, that fit into a training image or the other way round, the best first.

    [] for pictures smaller than MIN_SIDE, which are hardly cropped, and where features and images differ in number.
    """
    side = train.images.row_shape[0] if len(train.images) else 0
    if side < MIN_SIDE or len(train.features) != len(train.images):
        return []
    learnt = balanced_rows(train.images.labels, len(train.images.classes), MOST_LEARNT)
    centre = train.features[learnt].mean(axis=0)
    known = unit(train.features[learnt] - centre)
    near = [
        (cosine, split, row, int(learnt[column]))
        for split, part in others.items()
        for row, column, cosine in _nearest(unit(part.features - centre), known)
    ]
    near = sorted(near, reverse=True)[:MOST_PAIRS]
    if not near or len(learnt) < 2:
        return []

    def fit(split: str, row: int, learnt_row: int) -> float:
        return fits(_grey(others[split].images, row), _grey(train.images, learnt_row))

    random = np.random.default_rng(0)
    strangers = [
        fit(split, row, int(random.choice(learnt[learnt != learnt_row])))
        for _, split, row, learnt_row in (near[at] for at in random.permutation(len(near))[:RANDOM_PAIRS])
    ]
    alike = sorted(strangers)[-2:][0]  # the most alike one may be a leak itself
    enough = max(FITS, 1 - (1 - alike) / CLOSER)
    best: dict[tuple[str, int], Leak] = {}
    for _, split, row, learnt_row in near:
        value = fit(split, row, learnt_row)
        if value >= enough and value > (best[split, row].fit if (split, row) in best else 0.0):
            best[split, row] = Leak(learnt_row, split, row, value)
    return sorted(best.values(), key=lambda leak: -leak.fit)


def fits(one: np.ndarray, other: np.ndarray) -> float:
    """Return how well the middle of one grey picture (S, S) fits into the other, the better way round: at most 1."""
    return max(_found(one, other), _found(other, one))


def _found(one: np.ndarray, other: np.ndarray) -> float:
    """Return the highest correlation of the middle half of `one` with any position in `other`, at any of SCALES."""
    half = PATCH // 2
    patch = _details(one, 2 * PATCH)[half:-half, half:-half]
    patch = patch - patch.mean()
    length = np.sqrt((patch * patch).sum())
    if length < PATCH * PLAIN:
        return 0.0
    sides = {round(2 * PATCH * scale) for scale in SCALES}
    return max(float(_correlations(patch / length, _details(other, side)).max()) for side in sides if side > PATCH)


def _correlations(patch: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Return the correlation of a patch of mean 0 and length 1 with each position in a picture; 0 where it is plain."""
    size = patch.shape[0]
    shape = [picture.shape[0] + size - 1] * 2
    spectrum = np.fft.rfft2(picture, shape) * np.fft.rfft2(patch[::-1, ::-1], shape)
    products = np.fft.irfft2(spectrum, shape)[size - 1 : picture.shape[0], size - 1 : picture.shape[0]]
    sums, squares = (_windows(values, size) for values in (picture, picture * picture))
    lengths = np.sqrt(np.maximum(squares - sums * sums / (size * size), 0))
    return np.where(lengths > size * PLAIN, products / np.maximum(lengths, 1e-9), 0)


def _windows(values: np.ndarray, size: int) -> np.ndarray:
    """Return the sum of `values` over each window of `size` by `size`."""
    sums = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]


def _details(grey: np.ndarray, side: int) -> np.ndarray:
    """Return a grey picture at a size of (side, side), less its blur: float64."""
    from scipy.ndimage import uniform_filter

    picture = Image.fromarray(grey.astype(np.float32)).resize((side, side), Image.Resampling.BOX)
    levels = np.asarray(picture, np.float64)
    return levels - uniform_filter(levels, BLUR, mode="nearest")


def _grey(images: Shards, row: int) -> np.ndarray:
    return images.rows(np.array([row]))[0].mean(axis=-1)


def _nearest(features: np.ndarray, known: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Yield (row of `features`, row of `known`, cosine) of the NEAREST ones that are near at all."""
    for row, unit in enumerate(features):
        cosines = known @ unit
        for column in np.argsort(-cosines, kind="stable")[:NEAREST]:
            if cosines[column] >= LOWEST:
                yield row, int(column), float(cosines[column])


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows (n, D) at length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
