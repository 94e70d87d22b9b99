"""The photos that all are measured on: what the user named, as train/CLASS/ and test/CLASS/, each file decodable."""

import gzip
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from darkroom.core import files
from darkroom.core.errors import DarkroomError

SUFFIXES = (".jpg", ".jpeg", ".png")
TEST_SHARE = 0.15
DRAWN: dict[str, dict[str, Any]] = {
    "digits": {
        "homepage": "https://archive.ics.uci.edu/dataset/80/",
        "licence": "CC BY 4.0",
        "flips": False,
        "citation": "E. Alpaydin, C. Kaynak (1998)",
    },
    "mnist": {
        "homepage": "http://yann.lecun.com/exdb/mnist/",
        "licence": "CC BY-SA 3.0",
        "flips": False,
        "citation": "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998)",
    },
}  # the cards of the small pictures that `drawn` writes, without name and folder


def prepare(source: Path, target: Path) -> Path:
    """Fill `target` with links to the photos of `source`, and return it; what was made of this `source` is used again.

    `source` has train/ and val/ or test/ (then that is the split), or class folders, or files named CLASS.NUMBER.jpg;
    without an official split a seeded 15 % of each class is for the test. What cannot be decoded is left out, because
    most peers would stop at it.
    """
    if not source.is_dir():
        raise DarkroomError(f"{source} is no folder of photos; name one: make bench PHOTOS=folder")
    origin = target.parent / "source.txt"
    if (target / "test").exists() and origin.exists():
        if origin.read_text() != str(source.resolve()):
            raise DarkroomError(f"{target} was made of {origin.read_text()}; give the folder another name, or FRESH=1")
        return target
    working = target.with_name(target.name + ".tmp")
    shutil.rmtree(working, ignore_errors=True)
    for (split, label), paths in divided(source).items():
        folder = working / split / label
        folder.mkdir(parents=True)
        for path in paths:
            _link(path, folder / path.name)
    shutil.rmtree(target, ignore_errors=True)
    working.rename(target)
    origin.write_text(str(source.resolve()))
    return target


def divided(source: Path) -> dict[tuple[str, str], list[Path]]:
    """Sorted photos by (train or test, label)."""
    found: dict[tuple[str, str], list[Path]] = defaultdict(list)
    held_out = next((name for name in ("test", "val") if (source / name).is_dir()), None)
    official = held_out is not None and (source / "train").is_dir()
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not _readable(path):
            continue
        parts = path.relative_to(source).parts
        if official and len(parts) == 3 and parts[0] in ("train", held_out):
            found["train" if parts[0] == "train" else "test", parts[1]].append(path)
        elif not official:
            found["", parts[-2] if len(parts) > 1 else path.name.partition(".")[0]].append(path)
    if len({label for _, label in found}) < 2:
        raise DarkroomError(f"{source}: fewer than two classes of photos; expected train/CLASS/, CLASS/ or CLASS.1.jpg")
    return dict(found) if official else _drawn(found)


def _drawn(found: dict[tuple[str, str], list[Path]]) -> dict[tuple[str, str], list[Path]]:
    random, splits = np.random.default_rng(0), {}
    for (_, label), paths in sorted(found.items()):
        order = random.permutation(len(paths))
        held = set(order[: max(1, round(TEST_SHARE * len(paths)))].tolist())
        splits["test", label] = [path for index, path in enumerate(paths) if index in held]
        splits["train", label] = [path for index, path in enumerate(paths) if index not in held]
    return splits


def drawn(name: str, folder: Path, shared: Path) -> Path:
    """Write one of DRAWN's sets as class folders of PNG: scikit-learn's digits, or MNIST's first 100 of each digit."""
    if not folder.exists() and name == "digits":
        from sklearn.datasets import load_digits

        found = load_digits()
        _write((found.images / 16 * 255).astype(np.uint8), found.target, range(len(found.target)), folder)
    elif not folder.exists():
        pixels, labels = mnist(shared)
        _write(pixels, labels, (row for digit in range(10) for row in np.flatnonzero(labels == digit)[:100]), folder)
    return folder


def mnist(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's training images uint8 (60000, 28, 28) and labels uint8 (60000,)."""
    pixels, labels = (np.frombuffer(gzip.decompress((shared / "data/mnist" / name).read_bytes()), np.uint8)
                      for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"))  # fmt: skip
    return pixels[16:].reshape(-1, 28, 28), labels[8:]


def _write(pixels: np.ndarray, labels: np.ndarray, rows: Iterable[int], folder: Path) -> None:
    with files.fresh_folder(folder) as working:
        for row in rows:
            (working / str(labels[row])).mkdir(exist_ok=True)
            Image.fromarray(pixels[row]).save(working / str(labels[row]) / f"image{row}.png")


def repeated(photos: Path, target: Path, at_least: int) -> Path:
    """Return the train photos, each as often as it takes to have `at_least` files: for measuring loaders."""
    if target.exists():
        return target
    paths = sorted(path for path in (photos / "train").rglob("*") if path.is_file())
    times = -(-at_least // len(paths))
    working = target.with_name(target.name + ".tmp")
    shutil.rmtree(working, ignore_errors=True)
    for path in paths:
        folder = working / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        for copy in range(times):
            _link(path, folder / f"{copy}-{path.name}")
    working.rename(target)
    return target


def _readable(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.convert("RGB")
    except (OSError, Image.DecompressionBombError, SyntaxError, ValueError):
        return False
    return True


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path.resolve(), target)
    except FileExistsError as error:  # writing to it would write through the link into the other photo
        raise DarkroomError(f"{path} and another photo of its class are both called {path.name}; rename one") from error
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(path, target)
