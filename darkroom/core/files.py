"""Atomic writes, digests, and JSON and CSV whose bytes depend on their content alone."""

import csv
import glob
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import DTypeLike

from darkroom.core.errors import DarkroomError

CHUNK = 1 << 20
SMALL = 64_000_000  # bytes that an array takes of memory


_unfinished: set[Path] = set()  # the folders that fresh_folder has open; it syncs their files itself


@contextmanager
def atomic(path: Path, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`: on success it is synced and replaces `path`, otherwise it is removed.

    So a reader sees the old file or the whole new one, even after a power cut. Which of the two is there after a power
    cut does not matter for outputs of the pipeline, which DVC makes again; `durable` makes it the new one, for what
    nobody can make again, such as people's decisions. Each sync may take as long as a write of megabytes.
    """
    handle, name = tempfile.mkstemp(**_beside(path))
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        if _unfinished.isdisjoint(path.parents):
            _sync(temporary)
        temporary.replace(path)
        if durable:
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, with line feeds as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, two spaces, a newline at the end. Raises ValueError for NaN: pass None."""
    write_text(path, json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the value in a JSON file. Raises OSError, or ValueError for what is not JSON, or nested too deep."""
    check_regular(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deep") from error


def write_csv(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any] | Mapping[str, Any]], durable: bool = False
) -> int:
    """Write rows (sequences in the order of `columns`, or mappings) as `atomic` does; return how many there were."""
    count = 0
    with atomic(path, durable) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(_Lines(file), lineterminator="\r\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([row[column] for column in columns] if isinstance(row, Mapping) else row)
            count += 1
    return count


class _Lines:
    """End rows in a line feed, though csv.writer ends them in "\\r\\n".

    The writer quotes only cells that contain a character of its own line end, and a reader takes a bare carriage return
    for the end of a line, so such cells must be quoted.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        """Write one row."""
        return self._file.write(row[:-2] + "\n")


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file with a header, one at a time: memory does not grow with the file."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def sha256(path: Path) -> str:
    """Return the hex digest of a file's bytes, read in chunks."""
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_regular(path: Path) -> None:
    """Raise DarkroomError for a pipe, socket or device, which may never end; OSError where nothing is there."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a folder raises OSError by itself
        raise DarkroomError(f"{path} is a pipe, socket or device, expected a file; put the file in its place")


def digest(value: Any) -> str:
    """Return the hex sha256 of a JSON value: the same for equal values, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`, which replaces `path` on success and is removed otherwise.

    Its files are synced once, at the end: DVC moves them into its cache, and trusts what is there without reading it.
    """
    temporary = Path(tempfile.mkdtemp(**_beside(path)))
    _unfinished.add(temporary)
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        _unfinished.discard(temporary)
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> dict[str, Any]:
    """Return tempfile's arguments for a file or folder beside `path`, and delete what killed processes left there.

    The name holds the number of this process, so that a later one knows whether it still runs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        process = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if process.isdigit() and not _is_running(int(process)):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return {"prefix": f".{path.name}.{os.getpid()}.", "suffix": ".tmp", "dir": path.parent}


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def table(shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> np.ndarray:
    """Return an array of zeros; a large one is mapped from a file in the temporary folder, deleted with the array.

    The system can write the pages of such a file out when memory is short. Raises OSError when the disk is full.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= SMALL:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(prefix="darkroom-") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)  # reserves the space: a full disk fails now, not half-way
        else:
            file.truncate(size)
        return np.asarray(np.memmap(file, dtype, mode="r+", shape=shape))


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of rows that cover a float64 array of `shape`, small enough to compute on a block in memory."""
    rows = max(1, SMALL // 4 // (8 * max(1, int(np.prod(shape[1:])))))
    for start in range(0, shape[0], rows):
        yield slice(start, min(start + rows, shape[0]))


def dvc_md5(path: Path) -> str:
    """Return the md5 by which DVC knows a file, or a folder: that of the sorted list of its files, ending in `.dir`."""
    if path.is_file():
        return _md5(path)
    entries = [
        {"md5": _md5(file), "relpath": file.relative_to(path).as_posix()} for file in path.rglob("*") if file.is_file()
    ]
    listed = json.dumps(sorted(entries, key=lambda entry: entry["relpath"]), sort_keys=True)
    return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
