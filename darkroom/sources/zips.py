"""A zip archive, read in place."""

import os
import struct
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from darkroom.core.errors import SourceError
from darkroom.sources.extents import Extent
from darkroom.sources.guards import SLIPS, advice, check_bomb, check_name, check_size, empty_folders, is_junk

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


class Zip:
    """A zip archive: members that are stored or deflated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, OSError, EOFError, *SLIPS) as error:
            raise SourceError(f"{path} is not a whole zip archive ({error}); {advice(path)}") from error
        check_bomb(path, len(members), sum(member.file_size for member in members))
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._size = path.stat().st_size
        folders = set()
        for member in members:
            check_name(path, member.filename, member.external_attr >> 16)
            if any(is_junk(part) for part in member.filename.split("/") if part):
                continue
            if member.is_dir():
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

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """Where the named members are, in the archive's own order."""
        members = sorted((self._members[name] for name in names), key=lambda member: member.header_offset)
        with self.path.open("rb") as file:
            for member in members:
                here = 0 <= member.header_offset < self._size  # what a damaged list says may be no place at all
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
