"""Small real photos for tests: cut from the two that scikit-learn ships, so that tests need nothing but the project."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

SIDE = 96


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
    """The file of one photo."""
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
