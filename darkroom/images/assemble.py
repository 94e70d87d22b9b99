"""Shards out of the scratch file that holds all decoded pictures: each is copied and digested by a process of its own.

What one shard holds is known beforehand, so that they can be written side by side. The bytes are those that
`shards.ShardWriter` would write.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darkroom.core import tensorfile
from darkroom.core.errors import DarkroomError
from darkroom.images.shards import ID_WIDTH, ShardWriter
from darkroom.images.workers import Died, run_tasks

BLOCK_BYTES = 1 << 22  # read, digested and written while it is in the processor's cache


@dataclass(frozen=True)
class Part:
    """One shard to be: its file, and the ranks (n,) in the scratch file, labels (n,) int64 and ids of its rows."""

    path: Path
    ranks: np.ndarray
    labels: np.ndarray
    ids: Sequence[str]


@dataclass(frozen=True)
class Assembler:
    """Copies parts of `scratch`, in which row i is the `side` x `side` RGB pixels of rank i."""

    scratch: Path
    side: int

    def __call__(self, part: Part) -> str:
        """Write one shard; returns its sha256."""
        ids = np.frombuffer(b"".join(name.encode().ljust(ID_WIDTH, b"\0") for name in part.ids), np.uint8)
        with self.scratch.open("rb", buffering=0) as file:
            shape = (len(part.ids), self.side, self.side, 3)
            images = tensorfile.Stream(np.dtype(np.uint8), shape, self._blocks(file.fileno(), part.ranks))
            tensors: dict[str, np.ndarray | tensorfile.Stream] = {
                "labels": part.labels, "ids": ids.reshape(-1, ID_WIDTH), "images": images,
            }  # fmt: skip
            return tensorfile.write(part.path, tensors)

    def _blocks(self, file: int, ranks: np.ndarray) -> Iterator[np.ndarray]:
        """The bytes of the rows at `ranks`, which ascend; each block is overwritten by the next."""
        row = self.side * self.side * 3
        at_once = max(BLOCK_BYTES // row, 1)
        block = np.empty(at_once * row, np.uint8)
        for run in np.split(ranks, np.flatnonzero(np.diff(ranks) != 1) + 1):  # a reject leaves a gap
            for first in range(0, len(run), at_once):
                size = min(at_once, len(run) - first) * row
                if os.preadv(file, [block[:size].data], int(run[first]) * row) != size:
                    raise DarkroomError(f"{self.scratch} became shorter while it was read; run the stage again")
                yield block[:size]


def assemble(
    writer: ShardWriter, scratch: Path, side: int, ranks: Sequence[int], labels: Sequence[int], ids: Sequence[str],
    workers: int,
) -> None:  # fmt: skip
    """Give `writer` its shards: the rows of `scratch` at `ranks`, in order, by `workers` processes."""
    capacity = max(1, writer.shard_bytes // (side * side * 3 + ID_WIDTH + 8))
    parts = [
        Part(writer.folder / f"shard-{number:05d}.safetensors", np.asarray(ranks[first : first + capacity]),
             np.asarray(labels[first : first + capacity], np.int64), ids[first : first + capacity])
        for number, first in enumerate(range(0, len(ids), capacity))
    ]  # fmt: skip
    work = Assembler(scratch, side)
    digests: dict[Path, str] = {}
    together = run_tasks(work, parts, min(workers, len(parts)), patience=1800.0, batch=1)
    for part, digest in together if len(parts) > 1 and workers > 1 else ((part, work(part)) for part in parts):
        if isinstance(digest, Died):
            raise DarkroomError(f"{part.path}: the process that wrote it died ({digest.reason}); run the stage again")
        digests[part.path] = digest
    writer.class_counts += np.bincount(np.asarray(labels, np.int64), minlength=len(writer.classes))
    writer.shards += [{"file": part.path.name, "count": len(part.ids), "sha256": digests[part.path]} for part in parts]
