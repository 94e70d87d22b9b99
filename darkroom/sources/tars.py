"""Read tar archives: a plain one in place, a compressed one from its start."""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self, cast

from darkroom.core.errors import SourceError
from darkroom.sources.archives import (
    HEADER_ERRORS,
    advice,
    check_bomb,
    check_name,
    check_size,
    count_tool_folders,
    empty_folders,
    is_junk,
    tool_folder,
)
from darkroom.sources.extents import Extent

PIECE = 1 << 20
PLAIN, PACKED = "r:", "r|"  # tarfile's modes: read in place, and as a stream from the start
# Entries that hold a long name or attributes of the next entry.
EXTENDED = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
            tarfile.SOLARIS_XHDTYPE)  # fmt: skip
MAX_EXTENDED = 1 << 20
SURPLUS = 2 << 20  # bytes by which a packed archive may be larger than unpacked, beside a hundredth


class Tar:
    """A tar archive without compression, whose members are read in place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._extents: dict[str, tuple[int, int]] = {}  # offset and size in bytes
        folders: set[str] = set()
        tools: set[str] = set()
        for _, member in _tar_members(path, PLAIN, tools):
            if member.isdir():
                folders.add(_tar_name(member))
            else:
                self._extents[_tar_name(member)] = (member.offset_data, member.size)
        self.files = sorted(self._extents)
        self.empty_folders = empty_folders(folders, self.files)
        self.tool_folders = count_tool_folders(tools)

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """Yield where the named members are, in the archive's own order."""
        for name in sorted(names, key=lambda name: self._extents[name]):
            yield name, Extent(str(self.path), *self._extents[name])


class PackedTar:
    """A compressed tar archive: it is unpacked in memory from its start, once to list it and once for each reading.

    Of members with the same name, the last counts, as when tar extracts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []

    @cached_property
    def files(self) -> list[str]:
        """The names of its files; the first access reads the archive."""
        return sorted(self._listed[0])

    @cached_property
    def empty_folders(self) -> list[str]:
        """The names of empty folders."""
        return self._listed[1]

    @property
    def tool_folders(self) -> Counter[str]:
        """How many folders of network drives, systems and tools are left out, by name."""
        return self._listed[2]

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """Yield the bytes of the named members, in the archive's own order."""
        wanted, indices = set(names), self._listed[0]
        for archive, member in _tar_members(self.path, PACKED):
            name = _tar_name(member)
            if name in wanted and member.isfile() and member.offset_data == indices[name]:
                wanted.discard(name)
                file = archive.extractfile(member)
                assert file is not None
                yield name, Extent(str(self.path), data=file.read())
            if not wanted:
                return
        raise SourceError(f"{self.path} does not hold {min(wanted)}" + (", …" if len(wanted) > 1 else "")
                          + "; it has changed: run `dvc repro fetch`")  # fmt: skip

    @cached_property
    def _listed(self) -> tuple[dict[str, int], list[str], Counter[str]]:
        indices: dict[str, int] = {}
        folders: set[str] = set()
        tools: set[str] = set()
        total = 0
        for _, member in _tar_members(self.path, PACKED, tools):
            if member.isdir():
                folders.add(_tar_name(member))
            else:
                indices[_tar_name(member)] = member.offset_data
                total += member.size
                check_bomb(self.path, len(indices), total)
        return indices, empty_folders(folders, sorted(indices)), count_tool_folders(tools)


class _Member(tarfile.TarInfo):
    """A header. tarfile takes a truncated or damaged one for the end of the archive; here it is an error."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Self:
        """Return the header in a block of 512 bytes. Raises ReadError, except for the zeros that end an archive."""
        try:
            header = super().frombuf(buf, encoding, errors)
            if header.type in EXTENDED and header.size > MAX_EXTENDED:  # tarfile would read it into memory
                raise tarfile.ReadError(f"a name or header of {header.size:,} bytes; at most {MAX_EXTENDED:,} are read")
            return header
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise
            raise tarfile.ReadError(str(error) if buf else "its end is missing") from error


def _tar_members(
    path: Path, mode: str, tools: set[str] | None = None
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield each file and folder of a tar, with the open archive, once it has passed the checks. Raises SourceError.

    Members of tool folders are left out, and the paths of these are added to `tools`.
    """
    try:
        with _opened(path, mode) as archive:
            for count, member in enumerate(archive):
                check_name(path, member.name, 0)
                if member.issym() or member.islnk():
                    raise SourceError(f"{path}: {member.name} is a link to {member.linkname}; pack the file itself")
                if not (member.isfile() or member.isdir()):
                    raise SourceError(f"{path}: {member.name} is a device or pipe, not a file; pack the images alone")
                if member.issparse() and mode == PLAIN:  # its bytes are not contiguous in the archive
                    raise SourceError(f"{path}: {member.name} is packed with its holes left out; pack without --sparse")
                check_bomb(path, count, 0)
                if any(is_junk(part) for part in member.name.split("/") if part not in ("", ".")):
                    if tools is not None:
                        tools.add(tool_folder(member.name + "/" * member.isdir()))
                    continue
                check_size(path, member.name, member.size, in_memory=mode == PACKED)
                yield archive, member
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, *HEADER_ERRORS) as error:
        raise SourceError(f"{path} is not a whole tar archive ({error}); {advice(path)}") from error


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[tarfile.TarFile]:
    """Yield the open archive. A compressed one is read to its end, to verify its checksum."""
    if mode != PACKED:
        with tarfile.open(path, mode, tarinfo=_Member) as archive:  # type: ignore[call-overload]
            yield archive
        return
    with path.open("rb") as file:
        bounded = _Bounded(path, file)
        with tarfile.open(fileobj=bounded, mode="r|", bufsize=PIECE, tarinfo=_Member) as archive:  # type: ignore[call-overload]
            yield archive
            while bounded.read(PIECE):
                pass


def _unpacked(file: IO[bytes], head: bytes) -> IO[bytes] | gzip.GzipFile:
    """Return a file as a stream, uncompressed as its first bytes require, not as its name says."""
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(file)
    if head.startswith(b"BZh"):
        return bz2.open(file)
    return lzma.open(file) if head.startswith((b"\xfd7zX", b"]\0\0")) else file


class _Bounded:
    """A stream that counts what an archive unpacks to, headers and junk included, and what it takes of the file.

    Raises SourceError for a bomb, and for an archive that is larger packed than unpacked: empty parts have no end.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file, self._taken, self._total = path, file, 0, 0
        head = file.read(4)
        file.seek(0)
        self._stream = _unpacked(cast("IO[bytes]", _Packed(self._take)), head)

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        piece = self._stream.read(size)
        self._total += len(piece)
        check_bomb(self._path, 0, self._total)
        return piece

    def _take(self, size: int) -> bytes:
        piece = self._file.read(size)
        self._taken += len(piece)
        if self._taken > SURPLUS + self._total * 1.01:
            raise SourceError(f"{self._path} is larger packed than unpacked; pack its files again")
        return piece


class _Packed:
    """What a decompressor reads from."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read


def _tar_name(member: tarfile.TarInfo) -> str:
    return str(PurePosixPath(member.name))  # `./cats/1.jpg` as `tar c .` writes it
