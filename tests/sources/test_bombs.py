"""Archives that are small and unpack to very much: what they cost is bounded, headers and junk too."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import pytest

from darkroom.core.errors import BadImage, SourceError
from darkroom.sources.extents import Extent
from darkroom.sources.frames import read_frame
from darkroom.sources.trees import open_tree

MEGABYTE = bytes(1 << 20)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def packed(path, kind, *parts):
    opened = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}[kind]
    with opened(path, "wb") as file:
        for part in parts:
            file.write(part)
    return path


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_member_that_is_not_read_counts_as_what_it_unpacks_to(tmp_path, kind):
    size = 300
    path = packed(tmp_path / f"x.tar.{kind}", kind, header("a/.DS_Store", size << 20), *[MEGABYTE] * size, bytes(1024))
    with pytest.raises(SourceError, match="unpacks to more than 300 times its size; this archive is not to be trusted"):
        open_tree(path).files  # noqa: B018


@pytest.mark.parametrize("type_", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz"])
def test_a_long_name_or_header_is_not_read_into_memory(tmp_path, suffix, type_):
    size, path = 64, tmp_path / f"x.{suffix}"
    parts = [header("././@LongLink", size << 20, type_), *[MEGABYTE] * size, header("a/1.png", 0), bytes(1024)]
    path.write_bytes(b"".join(parts)) if suffix == "tar" else packed(path, suffix[4:], *parts)
    tracemalloc.start()
    with pytest.raises(SourceError, match="a name or header of 67,108,864 bytes; at most 1,048,576 are read"):
        open_tree(path).files  # noqa: B018
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("pad", [gzip.compress(b"") * 150_000, bytes(3 << 20), b"\x1f\x8b\x08\x08" + b"n" * (3 << 20)])
def test_empty_parts_of_a_packed_tar_come_to_an_end(tmp_path, pad):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(header("a/1.png", 0)) + pad + gzip.compress(bytes(1024)))
    with pytest.raises(SourceError, match="is larger packed than unpacked; pack its files again"):
        open_tree(path).files  # noqa: B018


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_thousands_of_headers_that_describe_each_other_are_an_error(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    data = (header("././@LongLink", 4, tarfile.GNUTYPE_LONGNAME) + b"abc\0".ljust(512, b"\0")) * 5000 + bytes(1024)
    path.write_bytes(data if suffix == "tar" else gzip.compress(data))
    with pytest.raises(SourceError, match=r"is not a whole tar archive \(maximum recursion depth"):
        open_tree(path).files  # noqa: B018


def test_a_member_with_holes_does_not_lie_in_a_tar_as_it_is(tmp_path):
    block = bytearray(header("a/1.png", 512, tarfile.GNUTYPE_SPARSE))
    block[386:410] = b"00000000000\x0000000001000\x00"  # the only piece: where, and how long
    block[483:495] = b"00000010000\x00"  # the size with its holes
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\x00 " % sum(block)
    path = tmp_path / "x.tar"
    path.write_bytes(bytes(block) + bytes(512) + bytes(1024))
    with pytest.raises(SourceError, match=r"a/1.png is packed with its holes left out; pack without --sparse"):
        open_tree(path)


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("size", [0, 100, 1 << 20])
def test_a_member_that_unpacks_to_more_than_it_says_is_copied_no_further(tmp_path, size):
    data = deflated(MEGABYTE * 200)
    (tmp_path / "x.zip").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(BadImage, match="its size or its CRC does not match"):
        Extent(str(tmp_path / "x.zip"), 0, len(data), size).copy(tmp_path / "copy")
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
    assert (tmp_path / "copy").stat().st_size < 3 << 20


@pytest.mark.parametrize("size", [0, 1, 300, 1 << 20, (1 << 20) + 1, 5_000_001])
def test_a_member_is_copied_whole_at_every_size(tmp_path, size):
    whole = (bytes(range(251)) * (size // 251 + 1))[:size]
    for name, data, unpacked in (("packed", deflated(whole), size), ("stored", whole, -1)):
        (tmp_path / name).write_bytes(b"before" + data + b"after")
        Extent(str(tmp_path / name), 6, len(data), unpacked, zlib.crc32(whole)).copy(tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == whole


def test_members_of_a_zip_that_lie_over_each_other_count_each(tmp_path):
    data, crc = deflated(MEGABYTE * 100), zlib.crc32(MEGABYTE * 100)
    facts = struct.pack("<HHHHIIIHH", 0, 8, 0, 0, crc, len(data), 100 << 20, 7, 0)
    local = b"PK\x03\x04\x14\x00" + facts + b"a/0.png" + data
    entry = b"PK\x01\x02\x14\x00\x14\x00" + facts + struct.pack("<HHHII", 0, 0, 0, 0, 0)
    listed = b"".join(entry + b"a/%d.png" % number for number in range(10))
    file = io.BytesIO()
    file.write(local + listed + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 10, 10, len(listed), len(local), 0))
    (tmp_path / "x.zip").write_bytes(file.getvalue())
    with pytest.raises(SourceError, match="unpacks to more than 300 times its size"):
        open_tree(tmp_path / "x.zip")


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_a_name_of_very_many_folders_is_an_error_and_not_listed_folder_by_folder(tmp_path, suffix):
    path, name = tmp_path / f"x.{suffix}", "a/" * 30_000 + "1.png"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"x")
    else:
        with tarfile.open(path, "w:gz" if suffix == "tar.gz" else "w") as archive:
            archive.addfile(tarfile.TarInfo(name))
    tracemalloc.start()
    with pytest.raises(SourceError, match="a member's name has 60,005 characters; at most 4,096 are read"):
        open_tree(path).files  # noqa: B018
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_a_size_of_thousands_of_digits_is_one_short_line(tmp_path):
    member = tarfile.TarInfo("a/1.png")
    member.pax_headers = {"size": "9" * 4000}
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member)
    with pytest.raises(SourceError, match="unpacks to 9,999") as error:
        open_tree(path).files  # noqa: B018
    assert len(str(error.value)) < 300 + len(str(path))


def test_a_table_of_nothing_but_nuls_is_not_parsed():
    with pytest.raises(SourceError, match=r"x.csv: not a table, its first 1,000,000 characters have no separator"):
        read_frame("x.csv", MEGABYTE * 3)
