"""Write safetensors files as a stream, without a second copy in memory, and read them by mapping, without any copy.

The format is an 8-byte little-endian length, a JSON header of that length, and the tensors' bytes, from whose start the
header's `data_offsets` count. The library's own writer copies all tensors and hides a full disk from Python; its reader
loads the whole file. The library reads files written here, and files written by it are read here.
"""

import hashlib
import json
import math
import mmap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import files
from darkroom.core.text import one_line

NAMES = {np.dtype(kind): name for name, kind in {
    "U8": np.uint8, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "F16": np.float16, "F32": np.float32, "F64": np.float64, "BOOL": np.bool_,
}.items()}  # fmt: skip
PIECE = 1 << 22
TYPES = {name: kind for kind, name in NAMES.items()}
MAX_HEADER = 100_000_000  # bytes, the limit of the format's own library
MAX_AXES = 32
SHOWN = 100  # characters of a value in a message


@dataclass(frozen=True)
class Stream:
    """A tensor that is written without being held in memory: `blocks` yields its bytes, and may reuse its buffer."""

    dtype: np.dtype
    shape: tuple[int, ...]
    blocks: Iterator[np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks together."""
        return self.dtype.itemsize * math.prod(self.shape)


def write(path: Path, tensors: Mapping[str, np.ndarray | Stream], facts: Mapping[str, Any] | None = None) -> str:
    """Write `tensors` atomically, with `facts` as JSON in the header; return the file's sha256.

    The bytes depend on the content alone: tensors are ordered by size of element and name, and the header has a single
    metadata key, because the format's library writes several in any order.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {}
    if facts is not None:
        header["__metadata__"] = {"json": json.dumps(facts, sort_keys=True, allow_nan=False)}
    end = 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the mapped tensors are aligned
    with files.atomic(path) as temporary:
        with temporary.open("wb") as file:
            digest = hashlib.sha256()
            for piece in _pieces(len(text).to_bytes(8, "little") + text, (array for _, array in ordered)):
                file.write(piece)
                digest.update(piece)
        return digest.hexdigest()


def _pieces(header: bytes, tensors: Iterable[np.ndarray | Stream]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a file in pieces small enough to be digested and written from the processor's cache.

    Pieces end at multiples of PIECE bytes of the file, so that it is cached in large pages where the file system can
    (XFS, ext4 since Linux 6.16): rows of the mapped file are then read in random order as fast as rows in memory.
    """
    yield header
    at = len(header)
    for tensor in tensors:
        for block in tensor.blocks if isinstance(tensor, Stream) else [tensor]:
            data = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
            while data:
                piece, data = data[: PIECE - at % PIECE], data[PIECE - at % PIECE :]
                yield piece
                at += len(piece)


def mapped(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a file as read-only views of its mapped bytes. Raises OSError, or ValueError if damaged."""
    tensors, start = _header(path)
    tensors.pop("__metadata__", None)
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with suppress(AttributeError, OSError):  # the system may have no large pages for files
        whole.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(whole, np.uint8)[start:]
    found = {}
    for name, facts in tensors.items():
        try:
            kind, (first, last) = np.dtype(TYPES[facts["dtype"]]), facts["data_offsets"]
            shape = tuple(facts["shape"])
            whole_numbers = all(type(number) is int and number >= 0 for number in (first, last, *shape))
            whole_numbers &= len(shape) <= MAX_AXES
        except (KeyError, TypeError, ValueError):
            whole_numbers = False
        if not whole_numbers or last > len(raw) or last - first != kind.itemsize * math.prod(shape):
            entry = f"{one_line(name[:SHOWN])}: {json.dumps(facts)[:SHOWN]}"
            raise ValueError(f"{path}: not a safetensors file that can be mapped ({entry})")
        found[name] = raw[first:last].view(kind).reshape(shape)
    return found


def offset_of(path: Path, name: str) -> int:
    """Return the byte of the file at which the tensor `name` begins."""
    header, start = _header(path)
    return int(start + header[name]["data_offsets"][0])


def facts(path: Path) -> dict[str, Any] | None:
    """Return the facts in a file's header; None if another program wrote it. Raises as `mapped` does."""
    about = _header(path)[0].get("__metadata__", {})
    if not isinstance(about, dict) or not isinstance(about.get("json", ""), str):
        raise ValueError(f"{path}: its metadata are {json.dumps(about)[:SHOWN]}, expected texts by name")
    found = _parsed(path, about["json"]) if "json" in about else None
    if found is not None and not isinstance(found, dict):
        raise ValueError(f"{path}: its facts are {json.dumps(found)[:SHOWN]}, expected an object")
    return found


def _parsed(path: Path, text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{path}: its header is nested too deep") from error
    except ValueError as error:
        raise ValueError(f"{path}: its header is not JSON ({str(error)[:SHOWN]})") from error


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the parsed header, and where the tensors' bytes start."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= path.stat().st_size - 8:
            raise ValueError(f"{path}: not a whole safetensors file")
        if length > MAX_HEADER:
            raise ValueError(f"{path}: a header of {length:,} bytes; at most {MAX_HEADER:,} are read")
        header = _parsed(path, file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{path}: not a safetensors file")
    return header, 8 + length
