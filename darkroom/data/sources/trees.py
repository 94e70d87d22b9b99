"""A data set as it lies: a folder, a zip or a tar, listed and read in place, never extracted, never written.

Every tree answers with the same two things: the names in it, and where the bytes of a name are (an `Extent`), which a
worker process reads by itself. A compressed tar has no such places: it is read from its start, in one pass.
"""

import errno
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, Self

from darkroom.data.sources.extents import MAX_BYTES, Extent
from darkroom.errors import BadImage, SourceError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")  # and everything whose name starts with a dot
MAX_MEMBERS = 20_000_000
DRIVE = re.compile("[A-Za-z]:")  # as in C:\\x.jpg; a colon further on is a name's own
MAX_RATIO, RATIO_FROM = 300, 1 << 26  # an archive that grows 300-fold beyond 64 MB is a bomb, not pictures
SLIPS = (ValueError, TypeError, NotImplementedError, struct.error)  # what the readers also raise on damaged headers
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


class Tree(Protocol):
    """What a folder and the archives have in common. Names are posix paths below the root, sorted."""

    path: Path

    @property
    def files(self) -> list[str]:
        """The names of all files, sorted."""
        ...

    @property
    def empty_folders(self) -> list[str]:
        """The names of folders that hold nothing."""
        ...

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """The places of `names`, in the order in which reading them is fastest."""
        ...


def open_tree(path: Path) -> Tree:
    """The folder or archive at `path`. Raises SourceError when it is neither, damaged or hostile."""
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise SourceError(f"{path} does not exist; set `source` in params.yaml to a card, folder, .csv or archive")
    if path.name.endswith(".zip"):
        return Zip(path)
    if path.name.endswith((".tar",)):
        return Tar(path)
    if path.name.endswith(ARCHIVES):
        return PackedTar(path)
    raise SourceError(f"{path}: expected a folder, a .csv, a card (.yaml) or an archive ({', '.join(ARCHIVES)})")


def read_one(tree: Tree, name: str) -> bytes:
    """The bytes of one file of a tree."""
    for _, extent in tree.extents([name]):
        try:
            return extent.read()
        except BadImage as error:
            raise SourceError(f"{tree.path}: {name}: {error}") from error
        except FileNotFoundError as error:
            raise SourceError(f"{tree.path}: {name} is a link to no file; delete it, or mend it") from error
    raise SourceError(f"{tree.path} holds no {name}")


class Folder:
    """A folder on disk; symbolic links are followed, hidden files are left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: list[str] = []
        self.empty_folders: list[str] = []
        self._walk(str(path), "", set())
        self.files.sort()
        self.empty_folders.sort()

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """Where the named files are, in order of name."""
        for name in sorted(names):
            yield name, Extent(f"{self.path}/{name}")

    def _walk(self, folder: str, prefix: str, above: set[tuple[int, int]]) -> None:
        found = False
        here = Path(folder).stat()
        if (here.st_dev, here.st_ino) in above:
            return  # a link back to a folder above would never end
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_junk(entry.name):
                    continue
                found = True
                if _is_folder(entry):
                    self._walk(entry.path, f"{prefix}{entry.name}/", above | {(here.st_dev, here.st_ino)})
                else:
                    self.files.append(prefix + entry.name)
        if not found and prefix:
            self.empty_folders.append(prefix.rstrip("/"))


class Zip:
    """A zip archive: members that are stored or deflated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, OSError, EOFError, *SLIPS) as error:
            raise SourceError(f"{path} is not a whole zip archive ({error}); {_advice(path)}") from error
        _check_bomb(path, len(members), sum(member.file_size for member in members))
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._size = path.stat().st_size
        folders = set()
        for member in members:
            _check_name(path, member.filename, member.external_attr >> 16)
            if any(_is_junk(part) for part in member.filename.split("/") if part):
                continue
            if member.is_dir():
                folders.add(member.filename.rstrip("/"))
                continue
            _check_size(path, member.filename, max(member.file_size, member.compress_size))
            if member.flag_bits & 1:
                raise SourceError(f"{path}: {member.filename} is encrypted; unpack and pack it without a password")
            if member.compress_type not in (STORED, DEFLATED):
                raise SourceError(f"{path}: {member.filename} is packed by method {member.compress_type}; "
                                  "only stored and deflated members can be read: pack it again")  # fmt: skip
            self._members[member.filename] = member
        self.files = sorted(self._members)
        self.empty_folders = _empty(folders, self.files)

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """Where the named members are, in the archive's own order."""
        members = sorted((self._members[name] for name in names), key=lambda member: member.header_offset)
        with self.path.open("rb") as file:
            for member in members:
                here = 0 <= member.header_offset < self._size  # what a damaged list says may be no place at all
                header = os.pread(file.fileno(), 30, member.header_offset) if here else b""
                if len(header) < 30 or header[:4] != b"PK\x03\x04":
                    raise SourceError(
                        f"{self.path}: {member.filename} is not where the archive's list says; {_advice(self.path)}"
                    )
                name_length, extra_length = struct.unpack_from("<HH", header, 26)
                start = member.header_offset + 30 + name_length + extra_length
                deflated = member.compress_type == DEFLATED
                unpacked = member.file_size if deflated else -1
                yield member.filename, Extent(str(self.path), start, member.compress_size, unpacked, member.CRC)


class Tar:
    """A tar archive without compression: its members lie in the file as they are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        folders = set()
        for _, member in _tar_members(path, "r:"):
            if member.isdir():
                folders.add(_tar_name(member))
            else:
                self._places[_tar_name(member)] = (member.offset_data, member.size)
        self.files = sorted(self._places)
        self.empty_folders = _empty(folders, self.files)

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """Where the named members are, in the archive's own order."""
        for name in sorted(names, key=lambda name: self._places[name]):
            yield name, Extent(str(self.path), *self._places[name])


class PackedTar:
    """A compressed tar archive: unpacked in memory from its start, once to list it and once a reading.

    It is listed before it is read: of a name that occurs twice the last counts, as when tar extracts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def files(self) -> list[str]:
        """The names of its files; the first use reads the archive once."""
        return sorted(self._listed[0])

    @cached_property
    def empty_folders(self) -> list[str]:
        """The names of folders that hold nothing."""
        return self._listed[1]

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """The bytes of the named members, in the archive's own order."""
        wanted, places = set(names), self._listed[0]
        for archive, member in _tar_members(self.path, "r|*"):
            name = _tar_name(member)
            if name in wanted and member.isfile() and member.offset_data == places[name]:
                wanted.discard(name)
                file = archive.extractfile(member)
                assert file is not None
                yield name, Extent(str(self.path), data=file.read())
            if not wanted:
                return
        raise SourceError(f"{self.path} holds no {min(wanted)}" + (", …" if len(wanted) > 1 else ""))

    @cached_property
    def _listed(self) -> tuple[dict[str, int], list[str]]:
        places: dict[str, int] = {}
        folders, total = set(), 0
        for _, member in _tar_members(self.path, "r|*"):
            if member.isdir():
                folders.add(_tar_name(member))
            else:
                places[_tar_name(member)] = member.offset_data
                total += member.size
                _check_bomb(self.path, len(places), total)
        return places, _empty(folders, sorted(places))


class _Member(tarfile.TarInfo):
    """A header. tarfile takes one that is cut off or damaged for the end of the archive; here it is an error."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Self:
        """The header in a block of 512 bytes. Raises ReadError, except for the zeros that end an archive."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise
            raise tarfile.ReadError(str(error) if buf else "its end is missing") from error


def _tar_members(path: Path, mode: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Each file and folder of a tar, with the open archive, after checking that it is no trap."""
    try:
        with tarfile.open(path, mode, tarinfo=_Member) as archive:  # type: ignore[call-overload]
            for count, member in enumerate(archive):
                _check_name(path, member.name, 0)
                if member.issym() or member.islnk():
                    raise SourceError(f"{path}: {member.name} is a link to {member.linkname}; pack the file itself")
                if not (member.isfile() or member.isdir()):
                    raise SourceError(f"{path}: {member.name} is a device or pipe, no file; pack the images alone")
                _check_bomb(path, count, 0)
                if any(_is_junk(part) for part in member.name.split("/") if part not in ("", ".")):
                    continue
                _check_size(path, member.name, member.size)
                yield archive, member
    except (tarfile.TarError, OSError, EOFError, zlib.error, *SLIPS) as error:
        raise SourceError(f"{path} is not a whole tar archive ({error}); {_advice(path)}") from error


def _tar_name(member: tarfile.TarInfo) -> str:
    return str(PurePosixPath(member.name))  # `./cats/1.jpg` as `tar c .` writes it


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False  # a link to itself: a file that cannot be read
        raise


def _is_junk(name: str) -> bool:
    return (name.startswith(".") and name != ".") or name in JUNK


def _check_name(path: Path, name: str, mode: int) -> None:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or DRIVE.match(name):
        raise SourceError(f"{path}: the member {name!r} points outside the archive; this archive is not to be trusted")
    kind = mode & 0o170000
    if kind not in (0, 0o100000, 0o040000):
        what = "a link" if kind == 0o120000 else "a device or pipe"
        raise SourceError(f"{path}: {name} is {what}, no file; pack the images alone")


def _check_size(path: Path, name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise SourceError(f"{path}: {name} unpacks to {size:,} bytes; at most {MAX_BYTES:,} are read of one file")


def _check_bomb(path: Path, count: int, total: int) -> None:
    if count > MAX_MEMBERS:
        raise SourceError(f"{path} lists more than {MAX_MEMBERS:,} members; this archive is not to be trusted")
    if total > RATIO_FROM and total > MAX_RATIO * path.stat().st_size:
        raise SourceError(f"{path} unpacks to more than {MAX_RATIO} times its size; this archive is not to be trusted")


def _empty(folders: set[str], files: list[str]) -> list[str]:
    used = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    return sorted(folder for folder in folders if folder not in used and folder not in ("", "."))


def _advice(path: Path) -> str:
    from darkroom.data.sources.diagnosis import what_is_wrong

    with path.open("rb") as file:
        known = what_is_wrong(file.read(4096))
    return f"it is {known}" if known else "download or copy it again"
