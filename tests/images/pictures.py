"""Small real photos for tests: cut from the two that scikit-learn ships, so that tests need nothing but the project."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

from darkroom.sources.arrays import png

SIDE = 96
# PNGs whose profile or text Pillow does not read; their pictures are whole.
METADATA_ALONE = ("unopenable/unknown_compression_method.png", "bomb/png_decompression_dos.png")


@cache
def photos() -> tuple[Image.Image, ...]:
    """36 different pictures of SIDE px: parts of "china.jpg" below its sky, then of "flower.jpg"."""
    found = []
    for pixels in load_sample_images().images:
        for top in (130, 228, 326):
            for left in range(20, 620, 100):
                found.append(Image.fromarray(np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE])))
    return tuple(found)


def encoded(number: int, kind: str = "JPEG", **options: Any) -> bytes:
    """Return the file of one photo."""
    out = io.BytesIO()
    photos()[number].save(out, kind, **({"quality": 92} if kind == "JPEG" else {}) | options)
    return out.getvalue()


def class_folders(root: Path, names: tuple[str, ...] = ("china", "flower"), each: int = 10) -> Path:
    """`root` with `each` photos in a folder a class: china's from 0, flower's from 18."""
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(each):
            (root / name / f"{number}.jpg").write_bytes(encoded(place * 18 + number))
    return root


def saved(image: Image.Image, quality: int = 90) -> bytes:
    """Return the file of a picture, as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Return the middle of a picture: `share` of its width and height."""
    width, height = image.size
    edge = (1 - share) / 2
    return image.crop(
        (round(width * edge), round(height * edge), round(width * (1 - edge)), round(height * (1 - edge)))
    )


# Files that show the same picture after a change, by its name.
ALTERED = {
    "quality 30": lambda image: saved(image, 30),
    "half the size": lambda image: saved(image.resize((48, 48), Image.Resampling.LANCZOS)),
    "twice the size": lambda image: saved(image.resize((192, 192), Image.Resampling.BICUBIC)),
    "brighter": lambda image: saved(ImageEnhance.Brightness(image).enhance(1.2)),
    "darker": lambda image: saved(ImageEnhance.Brightness(image).enhance(0.7)),
    "more contrast": lambda image: saved(ImageEnhance.Contrast(image).enhance(1.3)),
    "2 % cropped": lambda image: saved(cropped(image, 0.98)),
    "as PNG": lambda image: png(np.asarray(image)),
    "grey": lambda image: saved(image.convert("L")),
}
