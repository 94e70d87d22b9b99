"""Read zip archives in place, and check what any archive holds before it is read."""

import os
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from darkroom.core.errors import SourceError
from darkroom.core.text import quoted
from darkroom.images.formats import is_image_name, what_is_wrong
from darkroom.sources.encodings import guess
from darkroom.sources.extents import MAX_BYTES, Extent

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
JUNK = frozenset(("thumbs.db", "desktop.ini"))  # in lower case; names that start with a dot are junk, too
# Folders of network drives, desktops and development tools, some of them full of small copies of pictures.
TOOL_FOLDERS = frozenset((
    "__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "recycler", "found.000", "#snapshot", "~snapshot",
    "@recently-snapshot", "network trash folder", "temporary items", "system volume information", "lost+found",
    ".thumbnails", "__pycache__", "node_modules", "site-packages",
))  # fmt: skip
NESTED = (".zip", ".tar", ".parquet")  # copied in pieces, not read whole
MAX_NESTED = 1 << 40
MAX_MEMBERS = 20_000_000
MAX_NAME = 4096  # characters: the limit of a path on Linux
DRIVE = re.compile("[A-Za-z]:")  # as in C:\\x.jpg
UNICODE_PATH = 0x7075  # Info-ZIP's extra field: a version, the CRC of the name that it replaces, the name in UTF-8
MS_DOS = 0  # the system of zips whose names may have backslashes
MAGIC = {b"PK\3\4": ".zip", b"\x1f\x8b": ".tar.gz", b"BZh": ".tar.bz2", b"\xfd7zX": ".tar.xz"}
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257
MAX_RATIO, RATIO_FROM = 300, 1 << 26  # an archive that unpacks to over 64 MB and 300 times its size is a bomb
# What zipfile and tarfile raise on some damaged headers; RecursionError where headers describe headers too deep.
HEADER_ERRORS = (ValueError, TypeError, NotImplementedError, OverflowError, RecursionError, struct.error)


def is_junk(name: str) -> bool:
    """Return whether a file or folder of this name is not part of a data set."""
    return (name.startswith(".") and name != ".") or name.lower() in JUNK or is_tool_folder(name)


def is_tool_folder(name: str) -> bool:
    """Return whether a folder of this name belongs to a network drive, the system or a tool."""
    return name.lower() in TOOL_FOLDERS


def tool_folder(name: str) -> str:
    """Return the path of the outermost tool folder around the member `name`, or hidden one of an image; "" if none."""
    parts, image = name.split("/")[:-1], is_image_name(name) and not is_junk(name.rpartition("/")[2])
    around = (depth for depth, part in enumerate(parts) if is_tool_folder(part) or (image and is_junk(part)))
    depth = next(around, -1)
    return "/".join(parts[: depth + 1])


def count_tool_folders(names: set[str]) -> Counter[str]:
    """Count the tool folders with these paths by name."""
    return Counter(name.rpartition("/")[2] for name in names if name)


def check_name(path: Path, name: str, mode: int) -> None:
    """Raise SourceError when a member of this name and Unix mode leads out of the archive, or is not a file."""
    parts = name.replace("\\", "/").split("/")
    if len(name) > MAX_NAME:  # listing all folders above it would take the square of its length
        raise SourceError(f"{path}: a member's name has {len(name):,} characters; at most {MAX_NAME:,} are read")
    if name.startswith(("/", "\\")) or ".." in parts or DRIVE.match(name):
        what = f"the member {quoted(name)} points outside the archive"
        raise SourceError(f"{path}: {what}; this archive is not to be trusted")
    kind = mode & 0o170000
    if kind not in (0, 0o100000, 0o040000):
        what = "a link" if kind == 0o120000 else "a device or pipe"
        raise SourceError(f"{path}: {name[:100]} is {what}, not a file; pack the images alone")


def check_size(path: Path, name: str, size: int, in_memory: bool = False) -> None:
    """Raise SourceError when a member of `size` bytes is larger than any picture, or than any archive in the archive.

    `in_memory`: members can only be read whole, so that an archive must not be larger than a picture either.
    """
    if size > (MAX_NESTED if name.lower().endswith(NESTED) and not in_memory else MAX_BYTES):
        what = f"{name[:100]} unpacks to {f'{size:,}'[:100]} bytes"
        raise SourceError(f"{path}: {what}; at most {MAX_BYTES:,} are read of one file")


def check_bomb(path: Path, count: int, total: int) -> None:
    """Raise SourceError when `count` members, or `total` unpacked bytes, are too many for the archive's size."""
    if count > MAX_MEMBERS:
        raise SourceError(f"{path} lists more than {MAX_MEMBERS:,} members; this archive is not to be trusted")
    if total > RATIO_FROM and total > MAX_RATIO * path.stat().st_size:
        raise SourceError(f"{path} unpacks to more than {MAX_RATIO} times its size; this archive is not to be trusted")


def empty_folders(folders: set[str], files: list[str]) -> list[str]:
    """Return those of `folders` that hold none of `files`, sorted."""
    used = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    return sorted(folder for folder in folders if folder not in used and folder not in ("", "."))


def advice(path: Path) -> str:
    """Return the next step for a damaged archive."""
    with path.open("rb") as file:
        head = file.read(4096)
    suffix = path.suffix.lower()
    if suffix in (".zip", ".tar"):  # a compressed tar is opened by its first bytes, whatever its suffix
        found = ".tar" if head[TAR_MAGIC_AT:].startswith(TAR_MAGIC) else next(
            (kind for magic, kind in MAGIC.items() if head.startswith(magic)), suffix)  # fmt: skip
        if found != suffix:
            return f"its bytes are those of a {found}: rename it"
    known = what_is_wrong(head)
    return f"it is {known}" if known else "download or copy it again"


def mend_names(path: Path, members: list[zipfile.ZipInfo]) -> list[str]:
    """Decode members' names whose encoding is not declared, and replace backslashes; return notes about guesses."""
    notes = []
    unmarked = [member for member in members if not member.flag_bits & 0x800 and not member.filename.isascii()
                and not _take_unicode_path(member)]  # fmt: skip
    raw = [member.filename.encode("cp437", errors="replace") for member in unmarked]
    encoding = _encoding(raw)
    for member, name in zip(unmarked, raw, strict=True):
        member.filename = name.decode(encoding, errors="replace")
    if raw and encoding != "utf-8":
        notes.append(f"{path.name} does not say how its {len(raw)} names that are not ASCII are encoded; they are read "
                     f"as {encoding}, such as {unmarked[0].filename}; if they look wrong, unpack it by `unzip -O "
                     "ENCODING` and give the folder")  # fmt: skip
    alone = not any("/" in member.filename for member in members)
    for member in members:
        if alone or member.create_system == MS_DOS:
            member.filename = member.filename.replace("\\", "/")
    return notes


def _take_unicode_path(member: zipfile.ZipInfo) -> bool:
    """Give a member the name in UTF-8 from its extra fields, where they hold one; return whether they do."""
    extra = member.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == UNICODE_PATH and len(field) > 5:
            replaced = member.orig_filename.encode("cp437", errors="replace")
            if struct.unpack_from("<L", field, 1)[0] == zlib.crc32(replaced):
                member.filename = field[5:].decode(errors="replace")
                return True
    return False


def _encoding(names: list[bytes]) -> str:
    """Return the likely encoding of the names in a zip that are not marked as UTF-8."""
    together = b"\n".join(names)
    try:
        together.decode("utf-8")
    except UnicodeDecodeError:
        return guess(together, dos=True)
    return "utf-8"


class Zip:
    """A zip archive: members that are stored or deflated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, OSError, EOFError, *HEADER_ERRORS) as error:
            raise SourceError(f"{path} is not a whole zip archive ({error}); {advice(path)}") from error
        check_bomb(path, len(members), sum(member.file_size for member in members))
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._size = path.stat().st_size
        folders, tools = set(), set()
        for member in members:  # the raw names, before any is decoded
            check_name(path, member.filename, member.external_attr >> 16)
        self.notes = mend_names(path, members)
        for member in members:
            if member.filename != member.orig_filename:
                check_name(path, member.filename, 0)
            if any(is_junk(part) for part in member.filename.split("/") if part):
                tools.add(tool_folder(member.filename))
                continue
            if member.filename.endswith("/"):
                folders.add(member.filename.rstrip("/"))
                continue
            check_size(path, member.filename, max(member.file_size, member.compress_size))
            if member.flag_bits & 1:
                raise SourceError(f"{path}: {member.filename} is encrypted; unpack and pack it without a password")
            if member.compress_type not in (STORED, DEFLATED):
                raise SourceError(f"{path}: {member.filename} is packed by method {member.compress_type}; "
                                  "only stored and deflated members can be read: pack it again")  # fmt: skip
            self._members[member.filename] = member
        self.files = sorted(self._members)
        self.empty_folders = empty_folders(folders, self.files)
        self.tool_folders = count_tool_folders(tools)

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """Yield where the named members are, in the archive's own order."""
        members = sorted((self._members[name] for name in names), key=lambda member: member.header_offset)
        with self.path.open("rb") as file:
            for member in members:
                here = 0 <= member.header_offset < self._size  # a damaged list may give any offset
                header = os.pread(file.fileno(), 30, member.header_offset) if here else b""
                if len(header) < 30 or header[:4] != b"PK\x03\x04":
                    raise SourceError(
                        f"{self.path}: {member.filename} is not where the archive's list says; {advice(self.path)}"
                    )
                name_length, extra_length = struct.unpack_from("<HH", header, 26)
                start = member.header_offset + 30 + name_length + extra_length
                deflated = member.compress_type == DEFLATED
                unpacked = member.file_size if deflated else -1
                yield member.filename, Extent(str(self.path), start, member.compress_size, unpacked, member.CRC)
