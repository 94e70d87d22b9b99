"""Describe where bytes are, so that a worker process can read them: a file, a part of an archive, or memory."""

import errno
import io
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

from darkroom.core.errors import BadImage

MAX_BYTES = 1 << 29  # 512 MB: no image, label file or array that is read whole is larger
PIECE = 1 << 20
READING = os.O_RDONLY | getattr(os, "O_BINARY", 0)
NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # opens a pipe that has no writer, which is then rejected
NO_FILE = "a pipe, socket or device, not a file"
CIRCLE = "a link that leads back to itself"


@dataclass(frozen=True)
class Extent:
    """Where some bytes are: `size` bytes of `path` from `start` on, or `data` itself.

    `size` -1: to the end of the file. `unpacked` >= 0: the bytes are a deflated zip member of this size. `crc` >= 0:
    the CRC-32 to check.
    """

    path: str
    start: int = 0
    size: int = -1
    unpacked: int = -1
    crc: int = -1
    data: bytes | None = None

    def read(self) -> bytes:
        """Return the bytes. Raises BadImage for what is too large, damaged or not a file, and OSError."""
        if self.data is not None:
            return self.data
        handle = _opened(self.path)
        try:
            found = os.fstat(handle)
            _check_file(found, self.size)
            if self.size < 0:
                return _whole(handle, found.st_size)
            data = os.pread(handle, self.size, self.start)
        finally:
            os.close(handle)
        if self.unpacked >= 0:
            data = _inflate(data, self.unpacked)
        if len(data) != max(self.size, self.unpacked) and self.unpacked < 0:
            raise BadImage("truncated in the archive")
        if self.crc >= 0 and zlib.crc32(data) != self.crc:
            raise BadImage("damaged in the archive (its CRC does not match)")
        return data

    def head(self, most: int) -> bytes:
        """Return the first `most` bytes of a file, all bytes of another extent. Raises as `read` does."""
        if self.data is not None or self.size >= 0:
            return self.read()
        with io.FileIO(_opened(self.path)) as file:
            _check_file(os.fstat(file.fileno()), 0)
            return file.read(most)

    def copy(self, target: Path) -> None:
        """Write the bytes to a file in pieces, so that they need not fit in memory. Raises BadImage as `read` does."""
        with target.open("wb") as out:
            if self.data is not None or self.size < 0:
                out.write(self.read())
                return
            reader = zlib.decompressobj(-zlib.MAX_WBITS) if self.unpacked >= 0 else None
            crc, left, most = 0, self.size, max(self.size if not reader else 0, self.unpacked)
            with io.FileIO(_opened(self.path)) as file:
                file.seek(self.start)
                packed = b""
                while out.tell() <= most and (packed or left):
                    if not packed:
                        packed = file.read(min(left, PIECE))
                        left -= len(packed) or left
                    # A piece may unpack to a thousand times its size, so the result is written in pieces, too.
                    piece = reader.decompress(packed, PIECE) if reader else packed
                    packed = reader.unconsumed_tail if reader else b""
                    crc = zlib.crc32(piece, crc)
                    out.write(piece)
                if reader:
                    rest = reader.decompress(b"", PIECE)
                    crc = zlib.crc32(rest, crc)
                    out.write(rest)
            if out.tell() != most or (self.crc >= 0 and crc != self.crc):
                raise BadImage("damaged in the archive (its size or its CRC does not match)")


def _whole(handle: int, size: int) -> bytes:
    """Return the bytes of an open file of about `size` bytes, with one system call, where `read` makes five."""
    data = os.read(handle, size + 1)
    if len(data) == size:
        return data
    with io.FileIO(handle, closefd=False) as file:  # it has grown, or is read in pieces
        return data + file.read()


def _opened(path: str) -> int:
    """Return the handle of a file, open for reading."""
    try:
        return os.open(path, READING | NO_WAITING)
    except BlockingIOError:  # another program holds a lease on the file: wait until it gives it up
        return os.open(path, READING)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise BadImage(NO_FILE) from error
        if error.errno == errno.ELOOP:
            raise BadImage(CIRCLE) from error
        raise


def _check_file(found: os.stat_result, size: int) -> None:
    """Raise BadImage for what is not a file, or too large to be read whole."""
    if not stat.S_ISREG(found.st_mode):
        raise BadImage(NO_FILE)
    if size < 0 and found.st_size > MAX_BYTES:
        raise BadImage(f"too large: {found.st_size:,} bytes")


def _inflate(data: bytes, size: int) -> bytes:
    try:
        reader = zlib.decompressobj(-zlib.MAX_WBITS)
        out = reader.decompress(data, size + 1)
    except zlib.error as error:
        raise BadImage("damaged in the archive (it does not unpack)") from error
    if len(out) != size:
        raise BadImage("damaged in the archive (it unpacks to another size)")
    return out
