"""Extents: a file, a part of an archive, or bytes in memory. A worker process reads them by itself."""

import errno
import io
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

from darkroom.core.errors import BadImage

MAX_BYTES = 1 << 29  # no image, label file or array that is read whole needs 512 MB
PIECE = 1 << 20
READING = os.O_RDONLY | getattr(os, "O_BINARY", 0)
AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # a pipe opens without a writer, and is then rejected
NO_FILE = "a pipe, socket or device, no file"
CIRCLE = "a link that leads back to itself"


@dataclass(frozen=True)
class Extent:
    """Where some bytes are: `size` bytes of `path` from `start` on, or `data` itself.

    `size` -1 means to the end of the file. `unpacked` >= 0 marks a deflated zip member and its real size; `crc` is
    checked where it is known.
    """

    path: str
    start: int = 0
    size: int = -1
    unpacked: int = -1
    crc: int = -1
    data: bytes | None = None

    def read(self) -> bytes:
        """Return the bytes.

        Raises BadImage when it is not of an image's size, or not a file, or damaged; OSError as `open` does.
        """
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
        """Return the first bytes, of a whole file at most `most`, to see what it is. Raises as `read` does."""
        if self.data is not None or self.size >= 0:
            return self.read()
        with io.FileIO(_opened(self.path)) as file:
            _check_file(os.fstat(file.fileno()), 0)
            return file.read(most)

    def copy(self, target: Path) -> None:
        """Write the bytes to a file, piece by piece: also more than fit in memory. Raises BadImage as `read` does."""
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
                    # A piece may unpack to a thousand times its size: it is written in pieces, too.
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
    """Return the bytes of an open file of about `size` bytes: by one call to the system, where `read` makes five."""
    data = os.read(handle, size + 1)
    if len(data) == size:
        return data
    with io.FileIO(handle, closefd=False) as file:  # it grew, or comes in pieces
        return data + file.read()


def _opened(path: str) -> int:
    """Return the handle of a file, open for reading."""
    try:
        return os.open(path, READING | AT_ONCE)
    except BlockingIOError:  # another program holds a lease on the file: it is asked to give it up, and waited for
        return os.open(path, READING)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise BadImage(NO_FILE) from error
        if error.errno == errno.ELOOP:
            raise BadImage(CIRCLE) from error
        raise


def _check_file(found: os.stat_result, size: int) -> None:
    """Raise BadImage for what would keep a reader waiting for ever, or fill its memory."""
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
