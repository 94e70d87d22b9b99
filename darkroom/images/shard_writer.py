"""Write a folder of shards, row by row; `shards` describes its files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import files, tensorfile
from darkroom.images.shards import ID_WIDTH

SHARD_BYTES = 256_000_000
SAMPLE_COLUMNS = ("id", "label", "location", "width", "height")


class ShardWriter:
    """Collect rows and write a shard whenever it is full, so that memory holds one shard at most."""

    def __init__(self, folder: Path, tensor: str, classes: Sequence[str], shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.tensor, self.classes, self.shard_bytes = folder, tensor, list(classes), shard_bytes
        self.shards: list[dict[str, Any]] = []
        self.class_counts = np.zeros(len(classes), np.int64)
        self._buffer: dict[str, np.ndarray] = {}
        self._filled = 0

    def add(self, row: np.ndarray, label: int, sample_id: str) -> None:
        """Append one row; all rows of a folder have the same shape and dtype."""
        if not self._buffer:
            capacity = self.capacity(row.nbytes)
            self._buffer = {
                # The system allocates pages when they are first written, so a small set takes little memory.
                self.tensor: np.empty((capacity, *row.shape), row.dtype),
                "labels": np.empty(capacity, np.int64),
                "ids": np.empty((capacity, ID_WIDTH), np.uint8),
            }
        self._buffer[self.tensor][self._filled] = row
        self._buffer["labels"][self._filled] = label
        self._buffer["ids"][self._filled] = encode_ids([sample_id])[0]
        self.class_counts[label] += 1
        self._filled += 1
        if self._filled == len(self._buffer["labels"]):
            self._flush()

    def capacity(self, row_bytes: int) -> int:
        """Return how many rows of `row_bytes` a shard holds."""
        return max(1, self.shard_bytes // (row_bytes + ID_WIDTH + 8))

    def close(self, **facts: Any) -> None:
        """Write the last shard, and `index.json` with `facts` beside the writer's own."""
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
        name = file_name(len(self.shards))
        rows = {tensor: buffer[: self._filled] for tensor, buffer in self._buffer.items()}
        digest = tensorfile.write(self.folder / name, rows)
        self.shards.append({"file": name, "count": self._filled, "sha256": digest})
        self._filled = 0


@contextmanager
def write_shards(
    folder: Path, tensor: str, classes: Sequence[str], shard_bytes: int = SHARD_BYTES
) -> Iterator[ShardWriter]:
    """Open a ShardWriter on a temporary folder that replaces `folder` at the end of the block; `close` it inside."""
    with files.fresh_folder(folder) as temporary:
        yield ShardWriter(temporary, tensor, classes, shard_bytes)


def encode_ids(ids: Sequence[str]) -> np.ndarray:
    """Return ids as the tensor `ids`: (n, ID_WIDTH) uint8, ASCII padded with zeros."""
    return np.frombuffer(b"".join(name.encode().ljust(ID_WIDTH, b"\0") for name in ids), np.uint8).reshape(-1, ID_WIDTH)


def file_name(number: int) -> str:
    """Return the name of shard `number` in its folder."""
    return f"shard-{number:05d}.safetensors"
