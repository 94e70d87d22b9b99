"""Data sets that torchvision knows and that come as arrays: its addresses and checksums, our download and readers.

torchvision would extract everything and keep Python objects; here the arrays become one zip of PNGs. One entry of
ARRAYS a data set: which files it needs, and how to read pictures named `split/class/number` from them.
"""

import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.errors import SourceError
from darkroom.sources.download import Remote

Pictures = Iterable[tuple[str, np.ndarray]]  # (split/class/number, pixels (h, w) or (h, w, 3) uint8)
Files = Mapping[str, Path]


@dataclass(frozen=True)
class KnownArrays:
    """`remotes(torchvision's class)` lists the files, `pictures(that class, the files by name)` reads them."""

    remotes: Callable[[Any], list[Remote]]
    pictures: Callable[[Any, Files], Pictures]


def remote(url: str, md5: str) -> Remote:
    """A file at one address, named as there."""
    return Remote(url.rsplit("/", 1)[-1], (url,), "md5", md5)


def _mnist_remotes(known: Any) -> list[Remote]:
    return [Remote(name, tuple(mirror + name for mirror in known.mirrors), "md5", md5) for name, md5 in known.resources]


def _mnist_pictures(known: Any, paths: Files) -> Pictures:
    for split, start in (("train", "train"), ("test", "t10k")):
        images = idx(_gunzipped(paths[f"{start}-images-idx3-ubyte.gz"]), start)
        labels = idx(_gunzipped(paths[f"{start}-labels-idx1-ubyte.gz"]), start)
        yield from _named(split, images, [_folder_name(known.classes[label]) for label in labels])


def _emnist_pictures(known: Any, paths: Files) -> Pictures:
    """The balanced split: 47 classes of digits and letters. NIST stored the pictures with their axes exchanged."""
    classes = known.classes_split_dict["balanced"]
    with zipfile.ZipFile(paths["gzip.zip"]) as archive:
        for split in ("train", "test"):
            name = f"gzip/emnist-balanced-{split}"
            images = idx(gzip.decompress(archive.read(f"{name}-images-idx3-ubyte.gz")), name)
            labels = idx(gzip.decompress(archive.read(f"{name}-labels-idx1-ubyte.gz")), name)
            yield from _named(split, images.transpose(0, 2, 1), [classes[label] for label in labels])


def _cifar_pictures(known: Any, paths: Files) -> Pictures:
    """Pickles, read from an archive that was verified, by a reader that makes nothing but arrays of them."""
    wanted = [name for name, _ in (*known.train_list, *known.test_list)] + [known.meta["filename"]]
    found = _members(paths[known.filename], {f"{known.base_folder}/{name}": name for name in wanted})
    classes = _unpickled(found[known.meta["filename"]])[known.meta["key"]]
    for part, batches in (("train", known.train_list), ("test", known.test_list)):
        for name, _ in batches:
            batch = _unpickled(found[name])
            labels = batch["labels"] if "labels" in batch else batch["fine_labels"]
            images = batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            yield from _named(part, images, [classes[label] for label in labels], name)


def _svhn_pictures(known: Any, paths: Files) -> Pictures:
    from scipy.io import loadmat

    for split in ("train", "test"):
        content = loadmat(paths[known.split_list[split][1]])
        labels = (content["y"].ravel().astype(int) % 10).tolist()  # the digit 0 has the label 10
        yield from _named(split, content["X"].transpose(3, 0, 1, 2), [str(label) for label in labels])


def _stl_pictures(known: Any, paths: Files) -> Pictures:
    names = ["train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt"]
    found = _members(paths[known.filename], {f"{known.base_folder}/{name}": name for name in names})
    classes = found["class_names.txt"].decode().split()
    for split in ("train", "test"):
        images = np.frombuffer(found[f"{split}_X.bin"], np.uint8).reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)
        yield from _named(split, images, [classes[label - 1] for label in found[f"{split}_y.bin"]])


def idx(data: bytes, name: str) -> np.ndarray:
    """An array in MNIST's own format: two zeros, the type (8: uint8), the number of axes, their sizes, the values."""
    if data[:3] != b"\0\0\x08":
        raise SourceError(f"{name}: not a file of MNIST's kind, which begins with the bytes 0 0 8")
    shape = np.frombuffer(data, ">u4", data[3], 4).tolist()
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _named(
    split: str, images: Iterable[np.ndarray], labels: Sequence[str], batch: str = ""
) -> Iterator[tuple[str, np.ndarray]]:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield f"{split}/{label}/{batch}{'-' if batch else ''}{number:06d}", image


def _folder_name(label: str) -> str:
    return label.partition(" - ")[0].replace("/", " or ")  # torchvision writes "7 - seven" and "T-shirt/top"


def _gunzipped(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def _members(path: Path, wanted: Mapping[str, str]) -> dict[str, bytes]:
    """The members of a tar that `wanted` names, under the names that it gives them, in one pass."""
    found: dict[str, bytes] = {}
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            if member.isfile() and member.name in wanted:
                file = archive.extractfile(member)
                assert file is not None
                found[wanted[member.name]] = file.read()
            if len(found) == len(wanted):
                break
    absent = sorted(set(wanted.values()) - set(found))
    if absent:
        raise SourceError(f"{path} holds no {', '.join(absent)}")
    return found


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numbers, texts, lists and numpy arrays, and refuses anything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        """The few functions that arrays are made with."""
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if module.endswith("core.multiarray") and name == "_reconstruct":
            return lambda cls, shape, kind: np.ndarray.__new__(cls, shape, kind)
        if (module, name) == ("_codecs", "encode"):
            return lambda text, _: text.encode("latin1")
        raise SourceError(f"a pickle asks for {module}.{name}; only arrays are read")


def _unpickled(data: bytes) -> Any:
    return _ArraysOnly(io.BytesIO(data), encoding="latin1").load()


ARRAYS: dict[str, KnownArrays] = {
    "MNIST": KnownArrays(_mnist_remotes, _mnist_pictures),
    "FashionMNIST": KnownArrays(_mnist_remotes, _mnist_pictures),
    "KMNIST": KnownArrays(_mnist_remotes, _mnist_pictures),
    "EMNIST": KnownArrays(lambda known: [remote(known.url, known.md5)], _emnist_pictures),
    "CIFAR10": KnownArrays(lambda known: [remote(known.url, known.tgz_md5)], _cifar_pictures),
    "CIFAR100": KnownArrays(lambda known: [remote(known.url, known.tgz_md5)], _cifar_pictures),
    "SVHN": KnownArrays(
        lambda known: [remote(known.split_list[part][0], known.split_list[part][2]) for part in ("train", "test")],
        _svhn_pictures,
    ),
    "STL10": KnownArrays(lambda known: [remote(known.url, known.tgz_md5)], _stl_pictures),
}
