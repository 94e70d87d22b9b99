"""What no archive may do to the one who reads it, and which of its names are no data."""

import re
import struct
from pathlib import Path, PurePosixPath

from darkroom.core.errors import SourceError
from darkroom.sources.extents import MAX_BYTES

JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")  # and everything whose name starts with a dot
MAX_MEMBERS = 20_000_000
DRIVE = re.compile("[A-Za-z]:")  # as in C:\\x.jpg; a colon further on is a name's own
MAX_RATIO, RATIO_FROM = 300, 1 << 26  # an archive that grows 300-fold beyond 64 MB is a bomb, not pictures
SLIPS = (ValueError, TypeError, NotImplementedError, struct.error)  # what the readers also raise on damaged headers


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is no part of a data set."""
    return (name.startswith(".") and name != ".") or name in JUNK


def check_name(path: Path, name: str, mode: int) -> None:
    """Raise SourceError when a member of this name and Unix mode is a way out of the archive, or no file."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or DRIVE.match(name):
        raise SourceError(f"{path}: the member {name!r} points outside the archive; this archive is not to be trusted")
    kind = mode & 0o170000
    if kind not in (0, 0o100000, 0o040000):
        what = "a link" if kind == 0o120000 else "a device or pipe"
        raise SourceError(f"{path}: {name} is {what}, no file; pack the images alone")


def check_size(path: Path, name: str, size: int) -> None:
    """Raise SourceError when a member of so many bytes is more than a picture can be."""
    if size > MAX_BYTES:
        raise SourceError(f"{path}: {name} unpacks to {size:,} bytes; at most {MAX_BYTES:,} are read of one file")


def check_bomb(path: Path, count: int, total: int) -> None:
    """Raise SourceError when so many members, or bytes of all of them, are more than the archive can honestly hold."""
    if count > MAX_MEMBERS:
        raise SourceError(f"{path} lists more than {MAX_MEMBERS:,} members; this archive is not to be trusted")
    if total > RATIO_FROM and total > MAX_RATIO * path.stat().st_size:
        raise SourceError(f"{path} unpacks to more than {MAX_RATIO} times its size; this archive is not to be trusted")


def empty_folders(folders: set[str], files: list[str]) -> list[str]:
    """Those of `folders` that hold none of `files`, sorted."""
    used = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    return sorted(folder for folder in folders if folder not in used and folder not in ("", "."))


def advice(path: Path) -> str:
    """What to do about a damaged archive."""
    from darkroom.sources.diagnosis import what_is_wrong

    with path.open("rb") as file:
        known = what_is_wrong(file.read(4096))
    return f"it is {known}" if known else "download or copy it again"
