"""Data sets that torchvision knows and that come as archives of images: kept as they are and read in place.

One entry of IMAGES a data set: its files, which of them hold the images, and how to read the labels. The addresses that
torchvision keeps inside its functions are repeated here; a test holds them against torchvision's source.
"""

import csv
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from darkroom.core.errors import SourceError
from darkroom.images.formats import SUFFIXES
from darkroom.sources.download import Remote
from darkroom.sources.labels import Sample
from darkroom.sources.locations import MEMBER, RAW
from darkroom.sources.torchvision_sets import remote
from darkroom.sources.trees import open_tree

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
class KnownImages:
    """`remotes(torchvision's class)` lists the files; `archives` are those with images; `samples(that class, the files
    by name)` reads the labels.
    """

    remotes: Callable[[Any], list[Remote]]
    archives: tuple[str, ...]
    samples: Callable[[Any, Mapping[str, Path]], Iterable[Sample]]


def _flowers(known: Any, paths: Mapping[str, Path]) -> Iterable[Sample]:
    from scipy.io import loadmat

    labels = loadmat(paths["imagelabels.mat"])["labels"].ravel()
    parts = loadmat(paths["setid.mat"])
    for split, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid")):
        for number in parts[key].ravel():
            name = f"jpg/image_{number:05d}.jpg"
            yield Sample(_in("102flowers.tgz", name), known.classes[labels[number - 1] - 1], split)


def _pets(known: Any, paths: Mapping[str, Path]) -> Iterable[Sample]:  # noqa: ARG001
    for split, table in (("train", "trainval"), ("test", "test")):
        for line in _text(paths["annotations.tar.gz"], f"annotations/{table}.txt").splitlines():
            name = line.split(" ")[0]
            yield Sample(_in("images.tar.gz", f"images/{name}.jpg"), name.rpartition("_")[0].replace("_", " "), split)


def _food(known: Any, paths: Mapping[str, Path]) -> Iterable[Sample]:  # noqa: ARG001
    for split in ("train", "test"):
        for name in _text(paths["food-101.tar.gz"], f"food-101/meta/{split}.txt").split():
            yield Sample(_in("food-101.tar.gz", f"food-101/images/{name}.jpg"), name.split("/")[0], split)


def _dtd(known: Any, paths: Mapping[str, Path]) -> Iterable[Sample]:  # noqa: ARG001
    """The first of its ten official partitions."""
    for split in ("train", "val", "test"):
        for name in _text(paths["dtd-r1.0.1.tar.gz"], f"dtd/labels/{split}1.txt").split():
            yield Sample(_in("dtd-r1.0.1.tar.gz", f"dtd/images/{name}"), name.split("/")[0], split)


def _eurosat(known: Any, paths: Mapping[str, Path]) -> Iterable[Sample]:  # noqa: ARG001
    for name in open_tree(paths["EuroSAT.zip"]).files:
        if name.lower().endswith(SUFFIXES):
            yield Sample(_in("EuroSAT.zip", name), PurePosixPath(name).parent.name)


def _gtsrb(known: Any, paths: Mapping[str, Path]) -> Iterable[Sample]:  # noqa: ARG001
    """Tracks of 30 frames of one sign are groups: `00012_00007.ppm` is frame 7 of track 12 of its class."""
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
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            if member.name == name:
                file = archive.extractfile(member)
                assert file is not None
                return file.read().decode()
    raise SourceError(f"{path} holds no {name}")


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
