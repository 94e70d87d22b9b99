"""Read shards: a split's decoded images, or its features, in a few large files.

A folder of shards holds

- `shard-00000.safetensors`, …: the rows in order, each file at most 256 MB. Tensors: `images` uint8 (n, S, S, 3)
  or `features` float32 (n, views, D); `labels` int64 (n,), the class's index in `classes`; `ids` uint8 (n, ID_WIDTH),
  the sample's id in ASCII, padded with zeros.
- `index.json`: classes, count, the shards with their counts and sha256, and the facts that the writer adds.
- `samples.csv`, beside images only: id, label, location, width, height of each row, and its `group` where the data set
  has groups.

`data/shards` also holds `data.json`: what preprocess counted (darkroom.reporting.overview).
"""

import functools
import io
import itertools
import math
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from darkroom.core import files, runtime, tensorfile
from darkroom.core.errors import DarkroomError

DATA = "data.json"
EXCLUDED = -1
ID_WIDTH = 72  # a sha256 in hex and a suffix that tells exact duplicates apart
SPLITS = ("train", "val", "test")  # the folders of `data/shards` and `data/features`
MAPPED_BYTES = 512_000_000  # a folder with more is not mapped, because its pages would count as memory of the process
PIECE_BYTES = 1 << 21  # that a thread reads at a time: less would take no longer than waking the thread
MAX_THREADS = 4  # that read a batch together


class Shards:
    """The rows of a folder of shards.

    `labels` int64 (n,) and `classes` are in memory; images or features stay on disk until `rows` reads them. They are
    memory-mapped up to `mapped_bytes`, and read from the files in a larger folder. `corrections`: the file that the
    stage `labels` wrote for this split; a corrected sample has its new label, and an excluded one is left out.
    """

    def __init__(self, folder: Path, mapped_bytes: int = MAPPED_BYTES, corrections: Path | None = None) -> None:
        self.folder = folder
        try:
            self.index: dict[str, Any] = files.read_json(folder / "index.json")
        except FileNotFoundError as error:
            raise DarkroomError(f"{folder} holds no shards (index.json is missing); run `dvc repro`") from error
        self.classes: list[str] = self.index["classes"]
        parts = [_mapped(folder / shard["file"]) for shard in self.index["shards"]]
        counts = [len(part["labels"]) for part in parts]
        if counts != [shard["count"] for shard in self.index["shards"]]:
            raise DarkroomError(f"{folder}: the shards do not hold the rows that index.json counts; run `dvc repro -f`")
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.labels = np.concatenate([np.array(part["labels"]) for part in parts] or [np.empty(0, np.int64)])
        tensors = [part[self.index["tensor"]] for part in parts]
        self._nothing = tensors[0][:0].copy() if parts else np.empty(0)
        self._row_bytes = self._nothing.itemsize * math.prod(self.row_shape)
        self._mapped: _MappedRows | None = None
        self._files: list[tuple[io.FileIO, int]] = []
        if sum(tensor.nbytes for tensor in tensors) > mapped_bytes:
            for shard in self.index["shards"]:
                path = folder / shard["file"]
                self._files.append((path.open("rb", buffering=0), tensorfile.offset_of(path, self.index["tensor"])))
            weakref.finalize(self, _close, self._files)
        elif tensors:
            self._mapped = _MappedRows(tensors)
        self._kept: np.ndarray | None = None
        if corrections is not None and corrections.exists():
            self._correct(files.read_json(corrections))

    def __len__(self) -> int:
        return len(self.labels)

    def _correct(self, corrected: dict[str, Any]) -> None:
        """Apply the classes and changed labels of `corrected`, as darkroom.splits.corrections writes it."""
        classes, changes = corrected["classes"], corrected["changes"]
        if classes == self.classes and not changes:
            return
        index_of = {name: index for index, name in enumerate(classes)}
        labels = np.array([index_of.get(name, EXCLUDED) for name in self.classes], np.int64)[self.labels]
        for row, sample in enumerate(self.ids()) if changes else ():
            if sample in changes:
                labels[row] = EXCLUDED if changes[sample] is None else index_of[changes[sample]]
        if (labels == EXCLUDED).any():
            self._kept = np.flatnonzero(labels != EXCLUDED)
            labels = labels[self._kept]
        counts = dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))
        self.labels, self.classes = labels, classes
        self.index = self.index | {"classes": classes, "count": len(labels), "class_counts": counts}

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Return the shape of one row: (S, S, 3) of images, (views, D) of features; () when there are no rows."""
        return self._nothing.shape[1:]

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Return a copy of the rows at `indices` int64 (b,), in that order: (b, *row_shape). Raises IndexError."""
        if not len(self):
            raise IndexError(f"{self.folder} is empty")
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"{self.folder} holds {len(self)} rows; asked for {indices.min()} to {indices.max()}")
        if self._kept is not None:
            indices = self._kept[indices]
        pieces = len(indices) * self._row_bytes // PIECE_BYTES
        if self._mapped and pieces <= 1:
            return self._mapped.rows(indices)
        out = np.empty((len(indices), *self.row_shape), self._nothing.dtype)
        get = self._mapped.copy if self._mapped else self._read
        _share(lambda piece: get(indices[piece], out[piece]), len(indices), pieces)
        return out

    def _read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Read the rows at `indices`, all within range, into `out`.

        Pages of a mapped file count as memory of the process; giving them back from time to time would cost page faults
        instead of calls, and memory would grow in between.
        """
        size, raw = self._row_bytes, out.reshape(-1).view(np.uint8).data
        shards = np.searchsorted(self._starts, indices, side="right") - 1
        shard, row = shards.tolist(), (indices - self._starts[shards]).tolist()
        # Rows that follow one another in a file are read together.
        begins = [at for at in range(len(row)) if not at or row[at] != row[at - 1] + 1 or shard[at] != shard[at - 1]]
        runs = [raw[begin * size : end * size] for begin, end in itertools.pairwise([*begins, len(row)])]
        opened = [self._files[shard[begin]] for begin in begins]
        offsets = [start + row[begin] * size for (_, start), begin in zip(opened, begins, strict=True)]
        # No Python code runs between two calls, where threads that share a batch would wait for each other.
        if sum(map(os.preadv, [file.fileno() for file, _ in opened], zip(runs), offsets)) != len(raw):
            raise DarkroomError(f"{self.folder}: a shard has become shorter; run `dvc repro -f` or `dvc checkout`")

    def ids(self) -> list[str]:
        """Return the id of every row, in order."""
        parts = (_mapped(self.folder / shard["file"]) for shard in self.index["shards"])
        every = [name for part in parts for name in _decode(part["ids"])]
        return every if self._kept is None else [every[at] for at in self._kept]

    def samples(self) -> list[dict[str, str]]:
        """Return the row of samples.csv of each row, in order."""
        rows = list(files.read_csv(self.folder / "samples.csv"))
        return rows if self._kept is None else [rows[at] for at in self._kept]

    def groups(self) -> list[str]:
        """Return the group of each row; "" where it has none, as all rows of a folder without samples.csv."""
        if not (self.folder / "samples.csv").exists():
            return [""] * len(self)
        return [row.get("group") or "" for row in self.samples()]

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield all rows in order, as (rows (b, …), labels (b,)) with b <= size."""
        for start in range(0, len(self), size):
            indices = np.arange(start, min(start + size, len(self)))
            yield self.rows(indices), self.labels[indices]


def open_split(folder: Path, split: str, images: Path | None = None, mapped_bytes: int = MAPPED_BYTES) -> Shards:
    """Open a split of `data/shards`, or of `data/features` whose images are in `images`, with the corrections applied.

    The stage `labels` writes these beside the folder of the images, in `labels/<split>.json`.
    """
    return Shards(folder / split, mapped_bytes, corrections=(images or folder).parent / f"labels/{split}.json")


class _MappedRows:
    """The rows of several arrays in memory, gathered as if they were one array.

    numpy gathers from one array at a time, and merging the results would copy every row once more. So a single view
    spans the memory from the first array to the end of the last, with a row starting every few bytes: the greatest
    common divisor of the arrays' distances. Most of its rows straddle real ones, or lie between arrays; only rows that
    belong to an array are read.

    `arrays`: one or more, contiguous, not empty, all of one dtype and row shape.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        first, size = arrays[0], arrays[0][:1].nbytes
        begins = np.array([array.ctypes.data for array in arrays])
        lowest, ends = int(begins.min()), begins + [array.nbytes for array in arrays]
        step = math.gcd(size, *(begins - lowest).tolist())
        shape = ((int(ends.max()) - lowest - size) // step + 1, size // first.itemsize)
        flat = arrays[int(begins.argmin())].reshape(-1)
        self._all = as_strided(flat, shape, (step, first.itemsize), writeable=False)
        self._arrays = arrays  # kept alive as long as their rows may be read
        self._row_shape, self._rows_apart = first.shape[1:], size // step
        self._starts = np.cumsum([0, *(len(array) for array in arrays[:-1])])
        self._offsets = (begins - lowest) // step - self._starts * self._rows_apart
        self._only = first if len(arrays) == 1 else None

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Return a copy of the rows at `indices` int64 (b,), all within range."""
        if self._only is not None:
            return self._only.take(indices, axis=0)
        array = np.searchsorted(self._starts, indices, side="right") - 1
        return self._all[self._offsets[array] + indices * self._rows_apart].reshape(len(indices), *self._row_shape)

    def copy(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy the rows at `indices` int64 (b,), all within range, into `out`."""
        if self._only is not None:
            self._only.take(indices, axis=0, out=out, mode="clip")  # the default mode "raise" would copy twice
        else:
            out[...] = self.rows(indices)


def _share(work: Callable[[slice], None], count: int, pieces: int) -> None:
    """Call `work(piece)` for each of `pieces` parts of 0..count, in this thread and helpers; raise what one raised.

    A free thread takes the next piece, so that a slow helper delays no more than one piece.
    """
    pieces = max(1, min(pieces, count))
    waiting = iter([slice(count * at // pieces, count * (at + 1) // pieces) for at in range(pieces)])

    def go() -> None:
        for piece in waiting:
            work(piece)

    helpers = [_helpers().submit(go) for _ in range(min(_threads(), pieces) - 1)] if pieces > 1 else []
    go()
    for helper in helpers:
        if not helper.cancel():  # a helper that has not started has nothing left to do
            helper.result()


@functools.cache
def _threads() -> int:
    return min(MAX_THREADS, runtime.from_environment().threads)


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads() - 1, "shards")


if hasattr(os, "register_at_fork"):  # a forked process inherits the pool, but not its threads
    os.register_at_fork(after_in_child=_helpers.cache_clear)


def _close(opened: list[tuple[io.FileIO, int]]) -> None:
    for file, _ in opened:
        file.close()


def _mapped(path: Path) -> dict[str, np.ndarray]:
    try:
        return tensorfile.mapped(path)
    except (FileNotFoundError, ValueError) as error:
        raise DarkroomError(f"{path}: damaged or missing shard; run `dvc repro -f` or `dvc checkout`") from error


def _decode(ids: np.ndarray) -> list[str]:
    return [name.decode() for name in np.ascontiguousarray(ids).view(f"S{ID_WIDTH}").ravel().tolist()]
