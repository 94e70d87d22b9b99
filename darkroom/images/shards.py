"""Tensor shards: a split's decoded images (or its features) in a few large files.

A folder of shards holds

- `shard-00000.safetensors`, …: the rows in order, each file at most SHARD_BYTES. Tensors: `images` uint8 (n, S, S, 3)
  or `features` float32 (n, views, D); `labels` int64 (n,), the class's place in `classes`; `ids` uint8 (n, ID_WIDTH),
  the sample's id in ASCII, padded with zeros.
- `index.json`: the facts: classes, count, the shards with their counts and sha256, and whatever the writer adds.
- `samples.csv`: id, label, location, width, height of each row, for people and figures.
"""

import functools
import io
import itertools
import math
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import files, runtime, tensorfile
from darkroom.core.errors import DarkroomError
from darkroom.images.span import Span

SHARD_BYTES = 256_000_000
MAPPED_BYTES = 512_000_000  # of images or features in one folder: no more than that may count as our memory
PIECE_BYTES = 1 << 21  # that a thread reads at a time: less is there before another thread has woken
MOST_THREADS = 4  # that read a batch together
ID_WIDTH = 72  # a sha256 in hex and a suffix that tells exact duplicates apart
SAMPLE_COLUMNS = ("id", "label", "location", "width", "height")


class ShardWriter:
    """Collects rows and writes a shard whenever one is full: memory holds one shard, never the data set."""

    def __init__(self, folder: Path, tensor: str, classes: Sequence[str], shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.tensor, self.classes, self.shard_bytes = folder, tensor, list(classes), shard_bytes
        self.shards: list[dict[str, Any]] = []
        self.class_counts = np.zeros(len(classes), np.int64)
        self._buffer: dict[str, np.ndarray] = {}
        self._filled = 0

    def add(self, row: np.ndarray, label: int, sample_id: str) -> None:
        """Append one row; all rows of a folder have the same shape and dtype."""
        if not self._buffer:
            capacity = max(1, self.shard_bytes // (row.nbytes + ID_WIDTH + 8))
            self._buffer = {
                # The system gives memory as it is filled, so a small set takes no more than it needs.
                self.tensor: np.empty((capacity, *row.shape), row.dtype),
                "labels": np.empty(capacity, np.int64),
                "ids": np.empty((capacity, ID_WIDTH), np.uint8),
            }
        self._buffer[self.tensor][self._filled] = row
        self._buffer["labels"][self._filled] = label
        self._buffer["ids"][self._filled] = np.frombuffer(sample_id.encode().ljust(ID_WIDTH, b"\0"), np.uint8)
        self.class_counts[label] += 1
        self._filled += 1
        if self._filled == len(self._buffer["labels"]):
            self._flush()

    def close(self, **facts: Any) -> None:
        """Write the last shard and `index.json` with `facts` beside the writer's own."""
        self._flush()
        index = {
            "tensor": self.tensor,
            "classes": self.classes,
            "count": int(self.class_counts.sum()),
            "class_counts": dict(zip(self.classes, self.class_counts.tolist(), strict=True)),
            "shards": self.shards,
        }
        files.write_json(self.folder / "index.json", index | facts)

    def _flush(self) -> None:
        if not self._filled:
            return
        name = f"shard-{len(self.shards):05d}.safetensors"
        rows = {tensor: buffer[: self._filled] for tensor, buffer in self._buffer.items()}
        digest = tensorfile.write(self.folder / name, rows)
        self.shards.append({"file": name, "count": self._filled, "sha256": digest})
        self._filled = 0


@contextmanager
def write_shards(
    folder: Path, tensor: str, classes: Sequence[str], shard_bytes: int = SHARD_BYTES
) -> Iterator[ShardWriter]:
    """A ShardWriter into a temporary folder that replaces `folder` when the block ends; call `close` in the block."""
    with files.fresh_folder(folder) as temporary:
        yield ShardWriter(temporary, tensor, classes, shard_bytes)


class Shards:
    """The rows of a folder of shards: opening reads headers alone, `rows` reads what it is asked for.

    `labels` int64 (n,) and `classes` are in memory; images or features stay on disk until they are asked for. Up to
    `mapped_bytes` of them are memory-mapped; those of a larger set are read.
    """

    def __init__(self, folder: Path, mapped_bytes: int = MAPPED_BYTES) -> None:
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
        self._mapped: Span | None = None
        self._files: list[tuple[io.FileIO, int]] = []
        if sum(tensor.nbytes for tensor in tensors) > mapped_bytes:
            for shard in self.index["shards"]:
                path = folder / shard["file"]
                self._files.append((path.open("rb", buffering=0), tensorfile.where(path, self.index["tensor"])))
            weakref.finalize(self, _close, self._files)
        elif tensors:
            self._mapped = Span(tensors)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row: (S, S, 3) of images, (views, D) of features; () when there are no rows."""
        return self._nothing.shape[1:]

    def rows(self, places: np.ndarray) -> np.ndarray:
        """The rows at `places` int64 (b,), in that order: (b, *row_shape), a copy that the caller owns."""
        if not len(self):
            raise IndexError(f"{self.folder} is empty")
        if len(places) and not 0 <= places.min() <= places.max() < len(self):
            raise IndexError(f"{self.folder} holds {len(self)} rows; asked for {places.min()} to {places.max()}")
        pieces = len(places) * self._row_bytes // PIECE_BYTES
        if self._mapped and pieces <= 1:
            return self._mapped.rows(places)
        out = np.empty((len(places), *self.row_shape), self._nothing.dtype)
        get = self._mapped.copy if self._mapped else self._read
        _share(lambda piece: get(places[piece], out[piece]), len(places), pieces)
        return out

    def _read(self, places: np.ndarray, out: np.ndarray) -> None:
        """Read the rows at `places`, which are there, into `out`.

        A large set is read, not mapped, so that no page of it counts as our memory. Mapping it and giving the pages
        back from time to time costs page faults instead of calls, and memory grows in between.
        """
        size, raw = self._row_bytes, out.reshape(-1).view(np.uint8).data
        shards = np.searchsorted(self._starts, places, side="right") - 1
        shard, row = shards.tolist(), (places - self._starts[shards]).tolist()
        # Rows that follow one another in a file are read together.
        begins = [at for at in range(len(row)) if not at or row[at] != row[at - 1] + 1 or shard[at] != shard[at - 1]]
        runs = [raw[begin * size : end * size] for begin, end in itertools.pairwise([*begins, len(row)])]
        opened = [self._files[shard[begin]] for begin in begins]
        offsets = [start + row[begin] * size for (_, start), begin in zip(opened, begins, strict=True)]
        # No Python between two calls: threads that share a batch would wait for one another there.
        if sum(map(os.preadv, [file.fileno() for file, _ in opened], zip(runs), offsets)) != len(raw):
            raise DarkroomError(f"{self.folder}: a shard has become shorter; run `dvc repro -f` or `dvc checkout`")

    def ids(self) -> list[str]:
        """The id of every row, in order."""
        parts = (_mapped(self.folder / shard["file"]) for shard in self.index["shards"])
        return [name for part in parts for name in _decode(part["ids"])]

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All rows in order, as (rows (b, …), labels (b,)) with b <= size."""
        for start in range(0, len(self), size):
            places = np.arange(start, min(start + size, len(self)))
            yield self.rows(places), self.labels[places]


def _share(work: Callable[[slice], None], count: int, pieces: int) -> None:
    """`work(piece)` for each of so many pieces of 0..count, by this thread and helpers; raises what one of them raised.

    Whoever is free takes the next piece, so a helper that wakes late or shares its core holds up no more than its own.
    """
    pieces = max(1, min(pieces, count))
    waiting = iter([slice(count * at // pieces, count * (at + 1) // pieces) for at in range(pieces)])

    def go() -> None:
        for piece in waiting:
            work(piece)

    helpers = [_helpers().submit(go) for _ in range(min(_threads(), pieces) - 1)] if pieces > 1 else []
    go()
    for helper in helpers:
        if not helper.cancel():  # one that had not begun has nothing left to do
            helper.result()


@functools.cache
def _threads() -> int:
    return min(MOST_THREADS, runtime.from_environment().threads)


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads() - 1, "shards")


if hasattr(os, "register_at_fork"):  # a forked process has its parent's pool without the threads in it
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
