"""Measure the accuracy of a classifier on corrupted test images: blurred, noisy, compressed, dark, turned and small.

After D. Hendrycks and T. Dietterich (Benchmarking Neural Network Robustness, ICLR 2019), with corruptions and
severities of our own, on the pixels that the model sees. Images go through the backbone again, so it is optional.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from darkroom.core.progress import progress
from darkroom.images.batches import balanced_rows
from darkroom.metrics.conformal import share
from darkroom.metrics.scores import most_probable
from darkroom.model import classifier
from darkroom.reporting.evaluation import Material

MOST = 200  # test images, evenly of each class: 18 times as many go through the backbone
AT_ONCE = 32

Corrupt = Callable[[Image.Image, float, np.random.Generator], Image.Image]


@dataclass(frozen=True)
class Row:
    """The accuracy under one corruption at one severity (0: none), with its 95 % interval or None."""

    kind: str
    severity: int
    accuracy: float
    low: float | None
    high: float | None


def blurred(image: Image.Image, radius: float, _random: np.random.Generator) -> Image.Image:
    """Return the image under a Gaussian blur; `radius` is a share of its side."""
    return image.filter(ImageFilter.GaussianBlur(radius * image.width))


def noisy(image: Image.Image, deviation: float, random: np.random.Generator) -> Image.Image:
    """Return the image with normal noise of this standard deviation, in grey levels, on each channel."""
    pixels = np.asarray(image) + random.normal(0, deviation, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def compressed(image: Image.Image, quality: float, _random: np.random.Generator) -> Image.Image:
    """Return the image after compression as a JPEG of this quality."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(quality))
    return Image.open(file).convert("RGB")


def darkened(image: Image.Image, light: float, _random: np.random.Generator) -> Image.Image:
    """Return the image with this share of its light."""
    return ImageEnhance.Brightness(image).enhance(light)


def turned(image: Image.Image, degrees: float, _random: np.random.Generator) -> Image.Image:
    """Return the image turned by so many degrees; its corners become black."""
    return image.rotate(degrees, Image.Resampling.BILINEAR)


def shrunk(image: Image.Image, factor: float, _random: np.random.Generator) -> Image.Image:
    """Return the image shrunk to this share of its side and enlarged again."""
    side = max(1, round(image.width * factor))
    return image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0).resize(
        image.size, Image.Resampling.BILINEAR
    )


# name: (what it does, its strength at severities 1, 2 and 3)
CORRUPTIONS: dict[str, tuple[Corrupt, tuple[float, float, float]]] = {
    "blur": (blurred, (0.008, 0.02, 0.04)),
    "noise": (noisy, (10, 25, 50)),
    "JPEG": (compressed, (40, 15, 5)),
    "darkness": (darkened, (0.7, 0.45, 0.25)),
    "turn": (turned, (10, 25, 45)),
    "small size": (shrunk, (0.5, 0.25, 0.125)),
}


def robustness(material: Material) -> list[Row]:
    """Return the accuracy on at most MOST test images under each corruption; [] without a test image."""
    own = material.test.predictions
    if not len(own):
        return []
    indices = balanced_rows(own.labels, len(own.classes), MOST)
    group = None if own.group is None else np.unique(own.group[indices], return_inverse=True)[1]
    pixels = material.test.shards.rows(indices)

    def row(kind: str, severity: int, images: np.ndarray) -> Row:
        right = answers(material, images) == own.labels[indices]
        found = share("accuracy", right, group)
        return Row(kind, severity, float(right.mean()), found["accuracy_low"], found["accuracy_high"])

    untouched = row("", 0, pixels)
    rows = []
    steps = [(kind, *made) for kind, made in CORRUPTIONS.items()]
    for kind, corrupt, strengths in progress(steps, "robustness", len(steps), "corruption"):
        rows.append(Row(kind, 0, untouched.accuracy, untouched.low, untouched.high))
        for severity, strength in enumerate(strengths, start=1):
            random = np.random.default_rng([severity, 0xB1])
            images = [np.asarray(corrupt(Image.fromarray(image), strength, random)) for image in pixels]
            rows.append(row(kind, severity, np.stack(images)))
    return rows


def answers(material: Material, images: np.ndarray) -> np.ndarray:
    """Return the class of each image (n, S, S, 3) uint8: int64 (n,), -1 for no answer."""
    answerer = material.answerer
    starts = range(0, len(images), AT_ONCE)
    features = np.concatenate([answerer.body.features(images[at : at + AT_ONCE]) for at in starts])
    return most_probable(classifier.logits(features, answerer.saved.head).astype(np.float64))
