"""safetensors files: written as a stream, so that memory holds no second copy; read by mapping, so that it holds none.

The format is an 8-byte little-endian length, a JSON header of that length, and the tensors' bytes, which the header's
`data_offsets` count from. The library's own writer copies all tensors and hides a full disk from Python; its own reader
loads the file. Files made here are read by the library, and the other way round.
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
MAX_HEADER = 100_000_000  # bytes, as the format's own library
MAX_SIDES = 32  # of a tensor
SHOWN = 100  # characters of a value in a message


@dataclass(frozen=True)
class Stream:
    """A tensor to be written that memory need not hold: its bytes come in `blocks`, each used up before the next."""

    dtype: np.dtype
    shape: tuple[int, ...]
    blocks: Iterator[np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks together."""
        return self.dtype.itemsize * math.prod(self.shape)


def write(path: Path, tensors: Mapping[str, np.ndarray | Stream], facts: Mapping[str, Any] | None = None) -> str:
    """Write `tensors` atomically, `facts` as JSON in the header; returns the file's sha256, taken on the way.

    The bytes depend on the content alone: tensors are ordered by size of element and name, and there is one metadata
    key, since the format's readers and writers keep no order between several.
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
    """Yield the bytes of a file, in pieces that are still in the processor's cache when they are used again.

    A piece ends where a multiple of PIECE bytes of the file does: the system then keeps the file in large pages, where
    it can (ext4 since Linux 6.16, XFS), and a mapped file's rows are found in random order as fast as rows in memory.
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
    """Return the tensors of a file as read-only views of its mapped bytes.

    Raises OSError, or ValueError if it is damaged.
    """
    tensors, start = _header(path)
    tensors.pop("__metadata__", None)
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with suppress(AttributeError, OSError):  # where the system knows of no large pages for files
        whole.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(whole, np.uint8)[start:]
    found = {}
    for name, facts in tensors.items():
        try:
            kind, (first, last) = np.dtype(TYPES[facts["dtype"]]), facts["data_offsets"]
            shape = tuple(facts["shape"])
            whole_numbers = all(type(number) is int and number >= 0 for number in (first, last, *shape))
            whole_numbers &= len(shape) <= MAX_SIDES
        except (KeyError, TypeError, ValueError):
            whole_numbers = False
        if not whole_numbers or last > len(raw) or last - first != kind.itemsize * math.prod(shape):
            told = f"{one_line(name[:SHOWN])}: {json.dumps(facts)[:SHOWN]}"
            raise ValueError(f"{path}: not a safetensors file that can be mapped ({told})")
        found[name] = raw[first:last].view(kind).reshape(shape)
    return found


def where(path: Path, name: str) -> int:
    """Return the byte of the file at which the tensor `name` begins."""
    header, start = _header(path)
    return int(start + header[name]["data_offsets"][0])


def facts(path: Path) -> dict[str, Any] | None:
    """Return the facts in a file's header, read without its tensors; None when another program wrote it.

    Raises OSError, or ValueError for a damaged file.
    """
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
