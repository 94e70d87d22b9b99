"""Folders and archives: listed and read in place; hostile and damaged ones refused by name."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from darkroom.data.sources.extents import MAX_BYTES
from darkroom.data.sources.trees import open_tree, read_one
from darkroom.errors import BadImage, SourceError
from tests.data.pictures import class_folders, encoded

KINDS = [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"]


def packed(folder: Path, suffix: str) -> Path:
    """An archive of `folder` beside it, as the usual tools make it."""
    path = folder.with_name(folder.name + suffix)
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder.parent))
    else:
        mode: Any = {".tar": "w", ".tgz": "w:gz"}.get(suffix, "w:" + suffix.rpartition(".")[2])
        with tarfile.open(path, mode) as archive:
            archive.add(folder, "./" + folder.name)
    return path


@pytest.mark.parametrize("suffix", KINDS)
def test_an_archive_holds_what_the_folder_holds_and_is_not_unpacked(tmp_path, suffix):
    folder = class_folders(tmp_path / "pictures", each=3)
    (folder / "empty").mkdir()
    path = packed(folder, suffix)
    before = sorted(tmp_path.rglob("*"))
    tree = open_tree(path)
    assert tree.files == [f"pictures/{name}" for name in open_tree(folder).files]
    assert tree.empty_folders == ["pictures/empty"]
    for name, extent in tree.extents(tree.files):
        assert extent.read() == (tmp_path / name).read_bytes()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_leaves_out_what_the_system_put_there(tmp_path):
    folder = class_folders(tmp_path / "pictures", each=1)
    for junk in (".DS_Store", "Thumbs.db", "china/.hidden.jpg", "desktop.ini"):
        (folder / junk).write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX/0.jpg").write_bytes(b"x")
    assert open_tree(folder).files == ["china/0.jpg", "flower/0.jpg"]


def test_a_link_in_a_circle_ends(tmp_path):
    folder = class_folders(tmp_path / "pictures", each=1)
    (folder / "china/again").symlink_to(folder)
    assert open_tree(folder).files == ["china/0.jpg", "flower/0.jpg"]


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


@pytest.mark.parametrize("name", ["/etc/cron.d/x.jpg", "../../x.jpg", "a/../../x.jpg", "C:\\x.jpg", "..\\x.jpg"])
@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_members_that_point_outside_are_refused_by_name(tmp_path, name, suffix):
    path = tmp_path / f"evil{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zipfile.ZipInfo("placeholder"), b"x")
            archive.infolist()[0].filename = name
    else:
        with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as archive:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(SourceError, match="points outside the archive") as caught:
        open_tree(path).files  # noqa: B018
    assert repr(name) in str(caught.value) or name in str(caught.value)


@pytest.mark.parametrize(("kind", "what"), [(tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "link"),
                                            (tarfile.CHRTYPE, "device"), (tarfile.FIFOTYPE, "device")])  # fmt: skip
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_links_and_devices_are_refused_by_name(tmp_path, kind, what, suffix):
    path = tmp_path / f"evil{suffix}"
    with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as archive:
        member = tarfile.TarInfo("cats/1.jpg")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(SourceError, match=f"cats/1.jpg is a {what}"):
        open_tree(path).files  # noqa: B018


def test_a_link_in_a_zip_is_refused_by_name(tmp_path):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("cats/1.jpg")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(SourceError, match=r"cats/1.jpg is a link"):
        open_tree(path)


def test_a_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"cats/{number}.bmp", bytes(30_000_000))
    with pytest.raises(SourceError, match="unpacks to more than 300 times its size"):
        open_tree(path)


def test_a_member_that_is_larger_than_any_picture_is_refused(tmp_path):
    path = tmp_path / "huge.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("cats/1.bmp")
        archive.addfile(member)
    data = bytearray(path.read_bytes())
    data[124:136] = b"77777777777\0"  # 8 GB, says the header
    data[148:156] = f"{sum(data[:148]) + 8 * 32 + sum(data[156:512]):06o}\0 ".encode()
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"cats/1.bmp unpacks to 8,589,934,591 bytes"):
        open_tree(path)


def test_an_encrypted_zip_says_so(tmp_path):
    path = tmp_path / "secret.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cats/1.jpg", encoded(0))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"cats/1.jpg is encrypted"):
        open_tree(path)


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


def test_a_source_that_is_absent_or_no_archive_names_what_is_expected(tmp_path):
    with pytest.raises(SourceError, match="does not exist; set `source`"):
        open_tree(tmp_path / "absent")
    (tmp_path / "x.rar").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"expected a folder, a .csv, a card \(.yaml\) or an archive"):
        open_tree(tmp_path / "x.rar")


def test_reading_one_file_of_a_packed_tar(tmp_path):
    path = packed(class_folders(tmp_path / "pictures", each=2), ".tar.gz")
    assert read_one(open_tree(path), "pictures/flower/1.jpg") == encoded(19)
    with pytest.raises(SourceError, match="holds no absent"):
        read_one(open_tree(path), "absent")


def test_what_is_no_file_or_too_large_for_an_image_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mknod(tmp_path / "socket.jpg", stat.S_IFSOCK | 0o600)
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    with (tmp_path / "huge.tif").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    reasons = []
    for _, extent in open_tree(tmp_path).extents(["huge.tif", "pipe.jpg", "socket.jpg", "zero.jpg"]):
        with pytest.raises(BadImage) as caught:
            extent.read()
        reasons.append(str(caught.value))
    assert reasons == ["too large: 536,870,913 bytes"] + ["a pipe, socket or device, no file"] * 3


def test_a_folder_without_permission_is_an_os_error_with_its_name(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    folder = class_folders(tmp_path / "pictures", each=1)
    (folder / "china").chmod(0)
    with pytest.raises(PermissionError, match="china"):
        open_tree(folder)
