"""Archives that are cut, damaged or no archives: rejected by name, or read without the damaged member."""

import gzip
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from darkroom.core.errors import BadImage, SourceError
from darkroom.sources.trees import open_tree
from tests.images.pictures import class_folders
from tests.sources.archives import packed, tar_of


def test_a_zip_with_a_damaged_member_loses_that_member_alone(tmp_path):
    path = packed(class_folders(tmp_path / "pictures", each=2), ".zip")
    tree = open_tree(path)
    victim = next(extent for name, extent in tree.extents(["pictures/china/1.jpg"]))
    with path.open("r+b") as file:
        file.seek(victim.start + victim.size // 2)
        file.write(b"\xff" * 20)
    damaged = []
    for _, extent in open_tree(path).extents(tree.files):
        try:
            extent.read()
        except BadImage as error:
            damaged.append(str(error))
    assert len(damaged) == 1
    assert "damaged in the archive" in damaged[0]


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar"])
def test_a_truncated_archive_says_what_to_do(tmp_path, suffix):
    path = packed(class_folders(tmp_path / "pictures", each=4), suffix)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 200])
    with pytest.raises(SourceError, match=r"is not a whole .* archive .*; download or copy it again"):
        open_tree(path).files  # noqa: B018


def test_a_page_named_zip_is_recognised(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"<!DOCTYPE html><html></html>")
    with pytest.raises(SourceError, match="it is an HTML or XML page"):
        open_tree(tmp_path / "x.zip")


THREE = [(f"cats/{number}.jpg", bytes([65 + number]) * 512) for number in range(3)]  # a header and a block each


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:1024],  # before the second header
        lambda data: data[:1224],  # in it
        lambda data: data[:3072],  # before the mark of the end
        lambda data: data[:2060] + b"?" + data[2061:],  # a byte of the third header
    ],
    ids=["cut before a header", "cut in a header", "without its end", "a flipped byte"],
)
def test_a_tar_with_a_cut_or_damaged_header_is_not_taken_for_whole(tmp_path, suffix, damage):
    whole = tar_of(tmp_path / "x.tar", *THREE).read_bytes()
    assert open_tree(tmp_path / "x.tar").files == [name for name, _ in THREE]
    path = tmp_path / f"y{suffix}"
    path.write_bytes(damage(whole) if suffix == ".tar" else gzip.compress(damage(whole)))
    with pytest.raises(SourceError, match=rf"y{suffix} is not a whole tar archive .*; download or copy it again"):
        open_tree(path).files  # noqa: B018


def test_a_gzip_whose_checksum_is_wrong_is_not_taken_for_whole(tmp_path):
    packed = bytearray(gzip.compress(tar_of(tmp_path / "x.tar", *THREE).read_bytes()))
    (tmp_path / "x.tgz").write_bytes(packed)
    assert open_tree(tmp_path / "x.tgz").files == [name for name, _ in THREE]
    packed[-8] ^= 1
    (tmp_path / "y.tgz").write_bytes(packed)
    with pytest.raises(SourceError, match=r"y.tgz is not a whole tar archive \(CRC check failed.*; download or copy"):
        open_tree(tmp_path / "y.tgz").files  # noqa: B018


def test_a_gzip_called_tar_is_not_read_as_if_it_lay_there_unpacked(tmp_path):
    whole = tar_of(tmp_path / "x.tar", *THREE).read_bytes()
    (tmp_path / "y.tar").write_bytes(gzip.compress(whole))
    with pytest.raises(SourceError, match=r"y.tar is not a whole tar .* its bytes are those of a .tar.gz: rename it"):
        open_tree(tmp_path / "y.tar")


def test_what_follows_the_end_of_a_tar_is_no_bomb_either(tmp_path):
    whole = tar_of(tmp_path / "x.tar", *THREE).read_bytes()
    (tmp_path / "x.tgz").write_bytes(gzip.compress(whole) + gzip.compress(bytes(100 << 20)))
    with pytest.raises(SourceError, match="unpacks to more than 300 times its size"):
        open_tree(tmp_path / "x.tgz").files  # noqa: B018


def zip_with(path: Path, changes: dict[int, bytes]) -> Path:
    """Return a zip of one picture whose entry in the archive's list has other bytes at some places."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cats/ä.jpg", b"x" * 100)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    for place, new in changes.items():
        data[entry + place : entry + place + len(new)] = new
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({51: b"\xff\xff"}, "is not a whole zip archive"),  # the name is no UTF-8
        ({6: b"\x63"}, "is not a whole zip archive"),  # version 9.9 of the format
        ({42: b"\xff\xff\xff\x7f"}, "cats/ä.jpg is not where the archive's list says"),
        ({42: b"\x8f\x00\x00\x00"}, "cats/ä.jpg is not where the archive's list says"),
        ({20: b"\xf0\xff\xff\xff"}, "cats/ä.jpg unpacks to 4,294,967,280 bytes"),
    ],
    ids=["name", "version", "place", "other place", "size"],
)
def test_a_zip_whose_list_is_damaged_is_refused(tmp_path, changes, message):
    with pytest.raises(SourceError, match=message):
        list(open_tree(zip_with(tmp_path / "x.zip", changes)).extents(["cats/ä.jpg"]))


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_whatever_byte_of_an_archive_is_damaged_it_is_read_or_refused(tmp_path, suffix):
    path = packed(class_folders(tmp_path / "pictures", each=1), suffix)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    lists = whole.rindex(b"PK\x05\x06") - 250 if suffix == ".zip" else 0
    for number in range(400):
        data = bytearray(whole)
        data[random.integers(lists, len(data))] = random.integers(256)
        path.write_bytes(data[: random.integers(len(data))] if number % 4 == 0 else data)
        with suppress(SourceError):
            tree = open_tree(path)
            for _, extent in tree.extents(tree.files):
                with suppress(BadImage):
                    extent.read()
