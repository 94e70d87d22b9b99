"""The data sets that torchvision knows: small files in their own formats, read as the real ones are."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets

from darkroom.core.errors import SourceError
from darkroom.sources.cards import load_card
from darkroom.sources.catalog import ARRAYS, EUROSAT, GTSRB, GTSRB_FILES, IMAGES
from darkroom.sources.labels import Sample
from tests.images.pictures import encoded, photos

SOURCES = Path(__file__).parents[2] / "sources"


def colours(count: int, side: int) -> np.ndarray:
    """Real pixels: (count, side, side, 3) uint8."""
    return np.stack([np.asarray(photos()[number])[:side, :side] for number in range(count)])


def idx_gz(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


def tar_gz(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def read(name: str, **paths: Path) -> dict[str, np.ndarray]:
    return dict(ARRAYS[name].pictures(getattr(datasets, name), paths))


def test_every_card_is_whole_and_names_what_is_read():
    names = {path.stem: load_card(path) for path in SOURCES.glob("*.yaml")}
    assert set(names) == {
        "digits", "mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100", "svhn", "stl10", "flowers102",
        "oxford_pets", "food101", "eurosat", "dtd", "gtsrb", "dogs_vs_cats", "hymenoptera", "imagenette", "imagenet",
    }  # fmt: skip
    for card in names.values():
        if card.kind == "torchvision":
            remotes = (ARRAYS | IMAGES)[card.origin].remotes(getattr(datasets, card.origin))
            assert remotes
            assert all(len(remote.digest) == 32 and remote.urls[0].startswith("http") for remote in remotes)
    assert not any(names[name].flips for name in ("digits", "mnist", "svhn", "emnist", "kmnist", "gtsrb"))


def test_addresses_that_torchvision_hides_in_functions_are_still_its_own():
    folder = Path(datasets.__file__).parent
    eurosat, gtsrb = (folder / "eurosat.py").read_text(), (folder / "gtsrb.py").read_text()
    assert all(part in eurosat for part in EUROSAT)
    assert GTSRB in gtsrb
    for name, md5 in GTSRB_FILES.items():
        assert name in gtsrb
        assert md5 in gtsrb


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_mnist_and_its_kin(tmp_path, name):
    images = colours(4, 28)[..., 0]
    for split in ("train", "t10k"):
        (tmp_path / f"{split}-images-idx3-ubyte.gz").write_bytes(idx_gz(images))
        (tmp_path / f"{split}-labels-idx1-ubyte.gz").write_bytes(idx_gz(np.array([0, 3, 9, 0], np.uint8)))
    found = read(name, **{path.name: path for path in tmp_path.iterdir()})
    first = datasets.__dict__[name].classes[0].partition(" - ")[0].replace("/", " or ")
    assert len(found) == 8
    assert np.array_equal(found[f"train/{first}/000003"], images[3])


def test_emnist_is_turned_upright(tmp_path):
    images = colours(2, 28)[..., 0]
    with zipfile.ZipFile(tmp_path / "gzip.zip", "w") as archive:
        for split in ("train", "test"):
            archive.writestr(f"gzip/emnist-balanced-{split}-images-idx3-ubyte.gz", idx_gz(images.transpose(0, 2, 1)))
            archive.writestr(f"gzip/emnist-balanced-{split}-labels-idx1-ubyte.gz", idx_gz(np.array([9, 46], np.uint8)))
    found = read("EMNIST", **{"gzip.zip": tmp_path / "gzip.zip"})
    assert set(found) == {"train/9/000000", "train/t/000001", "test/9/000000", "test/t/000001"}
    assert np.array_equal(found["train/t/000001"], images[1])


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_cifar_pickles_are_read_without_running_them(tmp_path, name):
    known, images = getattr(datasets, name), colours(3, 32)
    rows = images.transpose(0, 3, 1, 2).reshape(3, -1)
    labels = "labels" if name == "CIFAR10" else "fine_labels"
    members = {
        f"{known.base_folder}/{part}": pickle.dumps({"data": rows, labels: [0, 1, 1]}, protocol=2)
        for part, _ in (*known.train_list, *known.test_list)
    }
    members[f"{known.base_folder}/{known.meta['filename']}"] = pickle.dumps(
        {known.meta["key"]: ["cat", "dog"]}, protocol=2
    )
    found = read(name, **{known.filename: tar_gz(tmp_path / "x.tar.gz", **members)})
    assert len(found) == 3 * (len(known.train_list) + 1)
    assert np.array_equal(found[f"train/dog/{known.train_list[0][0]}-000002"], images[2])


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("pwned",))

    known = datasets.CIFAR10
    names = [name for name, _ in (*known.train_list, *known.test_list)] + [known.meta["filename"]]
    evil = pickle.dumps(Evil())
    path = tar_gz(tmp_path / "x.tar.gz", **{f"{known.base_folder}/{name}": evil for name in names})
    with pytest.raises(SourceError, match=r"a pickle asks for builtins.print; only arrays are read"):
        read("CIFAR10", **{known.filename: path})


def test_svhn_writes_its_zeros_as_ten(tmp_path):
    images = colours(3, 32)
    for split in ("train", "test"):
        content = {"X": images.transpose(1, 2, 3, 0), "y": np.array([[10], [1], [9]], np.uint8)}
        savemat(tmp_path / f"{split}_32x32.mat", content)
    found = read("SVHN", **{path.name: path for path in tmp_path.iterdir()})
    assert sorted(found) == [
        f"{split}/{label}/00000{n}" for split in ("test", "train") for n, label in ((0, 0), (1, 1), (2, 9))
    ]
    assert np.array_equal(found["train/9/000002"], images[2])


def test_stl10_is_stored_column_by_column(tmp_path):
    images = colours(2, 96)
    pixels, labels = images.transpose(0, 3, 2, 1).tobytes(), bytes([1, 2])
    members = {
        f"stl10_binary/{split}_{kind}.bin": data
        for split in ("train", "test")
        for kind, data in (("X", pixels), ("y", labels))
    }
    path = tar_gz(tmp_path / "x.tar.gz", **members, **{"stl10_binary/class_names.txt": b"airplane\nbird\n"})
    found = read("STL10", **{datasets.STL10.filename: path})
    assert np.array_equal(found["test/bird/000001"], images[1])


def test_an_archive_without_its_files_says_which(tmp_path):
    path = tar_gz(tmp_path / "x.tar.gz", readme=b"x")
    with pytest.raises(SourceError, match=r"does not hold class_names.txt"):
        read("STL10", **{datasets.STL10.filename: path})


def samples(name: str, **paths: Path) -> list[Sample]:
    return list(IMAGES[name].samples(getattr(datasets, name), paths))


def test_flowers_have_official_splits_and_names(tmp_path):
    savemat(tmp_path / "imagelabels.mat", {"labels": np.array([[77, 1, 102, 1]])})
    savemat(tmp_path / "setid.mat", {"trnid": [[1, 2]], "valid": [[3]], "tstid": [[4]]})
    found = samples("Flowers102", **{path.name: path for path in tmp_path.iterdir()})
    assert found[1] == Sample("raw:102flowers.tgz::jpg/image_00002.jpg", "pink primrose", "train")
    assert [sample.split for sample in found] == ["train", "train", "val", "test"]


def test_pets_are_named_by_their_files(tmp_path):
    lists = {"annotations/trainval.txt": b"great_pyrenees_3 16 2 8\n", "annotations/test.txt": b"Bombay_7 6 1 6\n"}
    found = samples("OxfordIIITPet", **{"annotations.tar.gz": tar_gz(tmp_path / "a.tar.gz", **lists)})
    assert found == [
        Sample("raw:images.tar.gz::images/great_pyrenees_3.jpg", "great pyrenees", "train"),
        Sample("raw:images.tar.gz::images/Bombay_7.jpg", "Bombay", "test"),
    ]


def test_food_and_textures_come_with_lists(tmp_path):
    food = tar_gz(
        tmp_path / "f.tar.gz", **{"food-101/meta/train.txt": b"ramen/1\npho/2\n", "food-101/meta/test.txt": b"pho/3\n"}
    )
    assert samples("Food101", **{"food-101.tar.gz": food})[2] == Sample(
        "raw:food-101.tar.gz::food-101/images/pho/3.jpg", "pho", "test"
    )
    lists = {f"dtd/labels/{split}1.txt": f"banded/banded_{split}.jpg\n".encode() for split in ("train", "val", "test")}
    textures = tar_gz(tmp_path / "d.tar.gz", **lists)
    assert samples("DTD", **{"dtd-r1.0.1.tar.gz": textures})[1] == Sample(
        "raw:dtd-r1.0.1.tar.gz::dtd/images/banded/banded_val.jpg", "banded", "val"
    )


def test_eurosat_and_traffic_signs_are_read_from_zips(tmp_path):
    with zipfile.ZipFile(tmp_path / "EuroSAT.zip", "w") as archive:
        archive.writestr("2750/Forest/Forest_1.jpg", encoded(0))
    assert samples("EuroSAT", **{"EuroSAT.zip": tmp_path / "EuroSAT.zip"}) == [
        Sample("raw:EuroSAT.zip::2750/Forest/Forest_1.jpg", "Forest")
    ]
    with zipfile.ZipFile(tmp_path / "GTSRB-Training_fixed.zip", "w") as archive:
        archive.writestr("GTSRB/Training/00003/00012_00007.ppm", b"P6 1 1 255 abc")
        archive.writestr("GTSRB/Training/00003/GT-00003.csv", b"")
    with zipfile.ZipFile(tmp_path / "GTSRB_Final_Test_GT.zip", "w") as archive:
        archive.writestr("GT-final_test.csv", "Filename;Width;ClassId\n00000.ppm;53;16\n")
    found = samples("GTSRB", **{path.name: path for path in tmp_path.iterdir()})
    assert found[0].group == "00003/00012"
    assert found[1] == Sample("raw:GTSRB_Final_Test_Images.zip::GTSRB/Final_Test/Images/00000.ppm", "00016", "test")
