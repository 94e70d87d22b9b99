"""The data sets that torchvision knows: its addresses and checksums, with readers of our own.

torchvision would extract everything. Here archives of images are read in place (IMAGES), and arrays become one zip of
PNGs (ARRAYS), with one entry per data set. Addresses that torchvision keeps inside its functions are repeated here; a
test compares them with torchvision's source.
"""

import csv
import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from darkroom.core.errors import SourceError
from darkroom.images.formats import is_image_name
from darkroom.sources.arrays import idx, unpickled
from darkroom.sources.download import Remote
from darkroom.sources.labels import Sample
from darkroom.sources.trees import MEMBER, RAW, open_tree

Pictures = Iterable[tuple[str, np.ndarray]]  # (split/class/number, pixels (h, w) or (h, w, 3) uint8)
Files = Mapping[str, Path]  # the downloaded files by name
EUROSAT = (
    "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
    "c8fa014336c82ac7804f0398fcb19387",
)
GTSRB = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
GTSRB_FILES = {
    "GTSRB-Training_fixed.zip": "513f3c79a4c5141765e10e952eaa2478",
    "GTSRB_Final_Test_Images.zip": "c7e4e6327067d32654124b0fe9e82185",
    "GTSRB_Final_Test_GT.zip": "fe31e9c9270bbcd7b84b7f21a9d9d9e5",
}


@dataclass(frozen=True)
class KnownArrays:
    """A data set of arrays: `remotes(class of torchvision)` returns its files, `pictures(class, files)` reads them."""

    remotes: Callable[[Any], list[Remote]]
    pictures: Callable[[Any, Files], Pictures]


@dataclass(frozen=True)
class KnownImages:
    """A data set of images.

    `remotes(class of torchvision)` returns its files, of which `archives` hold images, and `samples(class, files)`
    reads the labels.
    """

    remotes: Callable[[Any], list[Remote]]
    archives: tuple[str, ...]
    samples: Callable[[Any, Files], Iterable[Sample]]


def remote(url: str, md5: str) -> Remote:
    """Return a file at one address, named by its last part."""
    return Remote(url.rsplit("/", 1)[-1], (url,), "md5", md5)


def _mnist_remotes(known: Any) -> list[Remote]:
    return [Remote(name, tuple(mirror + name for mirror in known.mirrors), "md5", md5) for name, md5 in known.resources]


def _mnist_pictures(known: Any, paths: Files) -> Pictures:
    for split, start in (("train", "train"), ("test", "t10k")):
        images = idx(_gunzipped(paths[f"{start}-images-idx3-ubyte.gz"]), start)
        labels = idx(_gunzipped(paths[f"{start}-labels-idx1-ubyte.gz"]), start)
        yield from _named(split, images, [_folder_name(known.classes[label]) for label in labels])


def _emnist_pictures(known: Any, paths: Files) -> Pictures:
    """Yield the balanced split: 47 classes of digits and letters, stored with their axes exchanged."""
    classes = known.classes_split_dict["balanced"]
    with zipfile.ZipFile(paths["gzip.zip"]) as archive:
        for split in ("train", "test"):
            name = f"gzip/emnist-balanced-{split}"
            images = idx(gzip.decompress(archive.read(f"{name}-images-idx3-ubyte.gz")), name)
            labels = idx(gzip.decompress(archive.read(f"{name}-labels-idx1-ubyte.gz")), name)
            yield from _named(split, images.transpose(0, 2, 1), [classes[label] for label in labels])


def _cifar_pictures(known: Any, paths: Files) -> Pictures:
    """Yield the pictures of CIFAR's pickles, whose archive has been verified; only arrays are unpickled."""
    wanted = [name for name, _ in (*known.train_list, *known.test_list)] + [known.meta["filename"]]
    found = _members(paths[known.filename], {f"{known.base_folder}/{name}": name for name in wanted})
    classes = unpickled(found[known.meta["filename"]])[known.meta["key"]]
    for part, batches in (("train", known.train_list), ("test", known.test_list)):
        for name, _ in batches:
            batch = unpickled(found[name])
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
    """Return the members of a tar in one pass; `wanted` maps their names to the keys of the result."""
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
        raise SourceError(f"{path} does not hold {', '.join(absent)}; delete it and run `dvc repro fetch`")
    return found


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


def _flowers(known: Any, paths: Files) -> Iterable[Sample]:
    from scipy.io import loadmat

    labels = loadmat(paths["imagelabels.mat"])["labels"].ravel()
    parts = loadmat(paths["setid.mat"])
    for split, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid")):
        for number in parts[key].ravel():
            name = f"jpg/image_{number:05d}.jpg"
            yield Sample(_in("102flowers.tgz", name), known.classes[labels[number - 1] - 1], split)


def _pets(known: Any, paths: Files) -> Iterable[Sample]:  # noqa: ARG001
    for split, table in (("train", "trainval"), ("test", "test")):
        for line in _text(paths["annotations.tar.gz"], f"annotations/{table}.txt").splitlines():
            name = line.split(" ")[0]
            yield Sample(_in("images.tar.gz", f"images/{name}.jpg"), name.rpartition("_")[0].replace("_", " "), split)


def _food(known: Any, paths: Files) -> Iterable[Sample]:  # noqa: ARG001
    for split in ("train", "test"):
        for name in _text(paths["food-101.tar.gz"], f"food-101/meta/{split}.txt").split():
            yield Sample(_in("food-101.tar.gz", f"food-101/images/{name}.jpg"), name.split("/")[0], split)


def _dtd(known: Any, paths: Files) -> Iterable[Sample]:  # noqa: ARG001
    """Yield the samples of the first of ten official partitions."""
    for split in ("train", "val", "test"):
        for name in _text(paths["dtd-r1.0.1.tar.gz"], f"dtd/labels/{split}1.txt").split():
            yield Sample(_in("dtd-r1.0.1.tar.gz", f"dtd/images/{name}"), name.split("/")[0], split)


def _eurosat(known: Any, paths: Files) -> Iterable[Sample]:  # noqa: ARG001
    for name in open_tree(paths["EuroSAT.zip"]).files:
        if is_image_name(name):
            yield Sample(_in("EuroSAT.zip", name), PurePosixPath(name).parent.name)


def _gtsrb(known: Any, paths: Files) -> Iterable[Sample]:  # noqa: ARG001
    """Yield the samples, grouped by track, 30 frames of one sign: `00012_00007.ppm` is frame 7 of track 12."""
    for name in open_tree(paths["GTSRB-Training_fixed.zip"]).files:
        if name.endswith(".ppm"):
            label = PurePosixPath(name).parent.name
            track = f"{label}/{PurePosixPath(name).stem.partition('_')[0]}"
            yield Sample(_in("GTSRB-Training_fixed.zip", name), label, "train", track)
    with zipfile.ZipFile(paths["GTSRB_Final_Test_GT.zip"]) as archive:
        text = archive.read("GT-final_test.csv").decode()
    for row in csv.DictReader(io.StringIO(text), delimiter=";"):
        name = f"GTSRB/Final_Test/Images/{row['Filename']}"
        yield Sample(_in("GTSRB_Final_Test_Images.zip", name), f"{int(row['ClassId']):05d}", "test")


def _in(archive: str, name: str) -> str:
    return f"{RAW}{archive}{MEMBER}{name}"


def _text(path: Path, name: str) -> str:
    return _members(path, {name: name})[name].decode()


IMAGES: dict[str, KnownImages] = {
    "Flowers102": KnownImages(
        lambda known: [remote(known._download_url_prefix + name, md5) for name, md5 in known._file_dict.values()],
        ("102flowers.tgz",),
        _flowers,
    ),
    "OxfordIIITPet": KnownImages(
        lambda known: [remote(url, md5) for url, md5 in known._RESOURCES], ("images.tar.gz",), _pets
    ),
    "Food101": KnownImages(lambda known: [remote(known._URL, known._MD5)], ("food-101.tar.gz",), _food),
    "DTD": KnownImages(lambda known: [remote(known._URL, known._MD5)], ("dtd-r1.0.1.tar.gz",), _dtd),
    "EuroSAT": KnownImages(lambda _: [remote(*EUROSAT)], ("EuroSAT.zip",), _eurosat),
    "GTSRB": KnownImages(
        lambda _: [remote(GTSRB + name, md5) for name, md5 in GTSRB_FILES.items()],
        ("GTSRB-Training_fixed.zip", "GTSRB_Final_Test_Images.zip"),
        _gtsrb,
    ),
}
