"""The data sets that torchvision knows: its addresses and checksums, our download, and files read as they are.

torchvision would extract every archive and decode it in one process; here archives of images stay as they are, and
arrays become one zip of PNGs. One entry of KNOWN a data set.
"""

import gzip
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.data.download import Remote
from darkroom.errors import SourceError

Pictures = Iterable[tuple[str, np.ndarray]]  # (split/class/number, pixels)


@dataclass(frozen=True)
class KnownArrays:
    """A data set that comes as arrays. `remotes(torchvision's class)` lists its files, `pictures` reads them."""

    remotes: Callable[[Any], list[Remote]]
    pictures: Callable[[Any, Sequence[Path]], Pictures]


def torchvision_class(name: str) -> Any:
    """torchvision's class of that name. Raises SourceError."""
    if name not in ARRAYS:
        raise SourceError(f"torchvision: {name} is not among the data sets that are read: {', '.join(sorted(ARRAYS))}")
    from torchvision import datasets

    return getattr(datasets, name)


def _mnist_remotes(known: Any) -> list[Remote]:
    return [Remote(name, tuple(mirror + name for mirror in known.mirrors), "md5", md5) for name, md5 in known.resources]


def _mnist_pictures(known: Any, paths: Sequence[Path]) -> Pictures:
    train_images, train_labels, test_images, test_labels = (idx(gzip.decompress(path.read_bytes())) for path in paths)
    names = [name.partition(" - ")[0].replace("/", " or ") for name in known.classes]
    yield from _named("train", train_images, [names[label] for label in train_labels])
    yield from _named("test", test_images, [names[label] for label in test_labels])


def idx(data: bytes) -> np.ndarray:
    """An array in MNIST's own format: two zeros, the type (8: uint8), the number of axes, their sizes, the values."""
    if data[:3] != b"\0\0\x08":
        raise SourceError("not a file of MNIST's kind: it does not begin with 0 0 8")
    shape = np.frombuffer(data, ">u4", data[3], 4).tolist()
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _named(split: str, images: Iterable[np.ndarray], labels: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield f"{split}/{label}/{number:06d}", image


ARRAYS: dict[str, KnownArrays] = {
    name: KnownArrays(_mnist_remotes, _mnist_pictures) for name in ("MNIST", "FashionMNIST", "KMNIST")
}
