"""Folders and archives: listed and read in place; hostile and damaged ones refused by name."""

import io
import os
import stat
import tarfile
import zipfile

import pytest

from darkroom.core.errors import BadImage, SourceError
from darkroom.sources.extents import MAX_BYTES
from darkroom.sources.trees import open_tree, read_one
from tests.images.pictures import class_folders, encoded
from tests.sources.archives import packed, tar_of

KINDS = [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"]


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


def test_a_source_that_is_absent_or_no_archive_names_what_is_expected(tmp_path):
    with pytest.raises(SourceError, match="does not exist; set `source`"):
        open_tree(tmp_path / "absent")
    (tmp_path / "x.rar").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"expected a folder, a .csv, a card \(.yaml\) or an archive.* unpack"):
        open_tree(tmp_path / "x.rar")
    (tmp_path / "x.tar").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(range(256)) * 4)
    with pytest.raises(SourceError, match="it is a Zstandard archive; unpack it"):
        open_tree(tmp_path / "x.tar")


def test_reading_one_file_of_a_packed_tar(tmp_path):
    path = packed(class_folders(tmp_path / "pictures", each=2), ".tar.gz")
    assert read_one(open_tree(path), "pictures/flower/1.jpg") == encoded(19)
    with pytest.raises(SourceError, match="does not hold absent; it has changed"):
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
    assert reasons == ["too large: 536,870,913 bytes"] + ["a pipe, socket or device, not a file"] * 3


def test_a_folder_without_permission_is_an_os_error_with_its_name(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    folder = class_folders(tmp_path / "pictures", each=1)
    (folder / "china").chmod(0)
    with pytest.raises(PermissionError, match="china"):
        open_tree(folder)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_of_a_name_that_occurs_twice_the_last_counts_as_when_tar_extracts(tmp_path, suffix):
    path = tar_of(tmp_path / f"x{suffix}", ("cats/1.jpg", b"old"), ("cats/2.jpg", b"other"), ("./cats/1.jpg", b"new"))
    found = {name: extent.read() for name, extent in open_tree(path).extents(["cats/1.jpg", "cats/2.jpg"])}
    assert found == {"cats/1.jpg": b"new", "cats/2.jpg": b"other"}
    assert open_tree(path).files == ["cats/1.jpg", "cats/2.jpg"]


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_a_colon_in_a_name_is_no_drive(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("cat 10:00.png", b"x")
    else:
        tar_of(path, ("cat 10:00.png", b"x"))
    assert open_tree(path).files == ["cat 10:00.png"]


def test_a_link_to_itself_is_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    tree = open_tree(tmp_path)
    assert tree.files == ["loop.jpg"]
    with pytest.raises(BadImage, match="a link that leads back to itself"):
        next(extent for _, extent in tree.extents(tree.files)).read()


def test_a_table_that_is_a_link_to_nothing_is_named(tmp_path):
    (tmp_path / "labels.csv").symlink_to("absent")
    with pytest.raises(SourceError, match=r"labels.csv is a link to nothing; delete it, or mend it"):
        read_one(open_tree(tmp_path), "labels.csv")
