"""Assemble the shards of train, val and test from the file that holds all decoded pictures.

The rows of each shard are known beforehand, so several processes copy and digest shards at the same time. The bytes are
those that `ShardWriter.add` would write row by row. This is not in `shard_writer`, so that embed, which only adds rows,
does not depend on decoding.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import files, tensorfile
from darkroom.core.errors import DarkroomError, SourceError
from darkroom.core.text import quoted
from darkroom.images.framing import Framing
from darkroom.images.preprocess import Prepared
from darkroom.images.shard_writer import SAMPLE_COLUMNS, ShardWriter, encode_ids, file_name, write_shards
from darkroom.images.shards import SPLITS
from darkroom.images.workers import Died, run_tasks

BLOCK_BYTES = 1 << 22  # read, digested and written while it is in the processor's cache


def write_splits(
    prepared: Prepared, scratch: Path, framing: Framing, folder: Path, facts: Mapping[str, Any], workers: int,
    groups: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Write the shards of each split into `folder`/train, /val and /test, with `facts` in each index.json.

    `groups`: the group of each image that has one, by id; if any, samples.csv gets a column for it. Raises SourceError
    where fewer than two classes are left, or one has no image in train.
    """
    classes = prepared.classes()
    if len(classes) < 2:
        total = sum(map(len, prepared.rows.values()))
        what = f"only those of the class {quoted(classes[0])}" if classes else "none"
        raise SourceError(f"of {total} images {what} can be decoded, and a classifier needs two classes; "
                          "data/rejects.csv says what is wrong with the others")  # fmt: skip
    untaught = sorted(set(classes) - {row["label"] for row in prepared.kept("train")})
    if untaught:
        name = quoted(untaught[0])
        raise SourceError(f"the class {name} has no image in train; add images of it, or `exclude` the class")
    colours = _mean_and_std(prepared.colours, len(prepared.kept("train")) * framing.size**2)
    number = {label: index for index, label in enumerate(classes)}
    start = 0
    for split in SPLITS:
        kept = [(start + i, row) for i, row in enumerate(prepared.rows[split]) if row["id"] not in prepared.rejects]
        start += len(prepared.rows[split])
        ranks, rows = [rank for rank, _ in kept], [row for _, row in kept]
        labels, ids = [number[row["label"]] for row in rows], [row["id"] for row in rows]
        with write_shards(folder / split, "images", classes) as writer:
            copy_pictures(writer, scratch, framing.size, ranks, labels, ids, workers)
            writer.close(image_size=framing.size, framing=framing.facts(), **colours, **facts)
            samples = ([*(row[column] for column in SAMPLE_COLUMNS), *_group(row, groups)] for row in rows)
            files.write_csv(writer.folder / "samples.csv", [*SAMPLE_COLUMNS, *(["group"] if groups else [])], samples)


def _group(row: Mapping[str, str], groups: Mapping[str, str] | None) -> list[str]:
    return [groups.get(row["id"], "")] if groups else []


def _mean_and_std(sums: np.ndarray, pixels: int) -> dict[str, list[float]]:
    """Return mean and standard deviation of each channel, 0..1, from the sums of `colour_sums` over `pixels`."""
    mean = sums[0] / pixels
    std = np.sqrt(np.maximum(sums[1] / pixels - mean * mean, 0.0))
    return {"mean": [round(float(m) / 255, 6) for m in mean], "std": [round(max(float(s) / 255, 1e-3), 6) for s in std]}


def copy_pictures(
    writer: ShardWriter, scratch: Path, side: int, ranks: Sequence[int], labels: Sequence[int], ids: Sequence[str],
    workers: int,
) -> None:  # fmt: skip
    """Fill `writer` with the pictures of the file `scratch` at `ranks`, in order, in `workers` processes.

    Picture i of `scratch` is the `side` x `side` RGB pixels from byte i * side * side * 3 on. Raises DarkroomError.
    """
    capacity = writer.capacity(side * side * 3)
    parts = [
        _Part(writer.folder / file_name(number), np.asarray(ranks[first : first + capacity]),
              np.asarray(labels[first : first + capacity], np.int64), ids[first : first + capacity])
        for number, first in enumerate(range(0, len(ids), capacity))
    ]  # fmt: skip
    copy = _Copier(scratch, side)
    digests: dict[Path, str] = {}
    together = run_tasks(copy, parts, min(workers, len(parts)), patience=1800.0, batch=1)
    for part, digest in together if len(parts) > 1 and workers > 1 else ((part, copy(part)) for part in parts):
        if isinstance(digest, Died):
            raise DarkroomError(f"{part.path}: the process that wrote it died ({digest.reason}); run the stage again")
        digests[part.path] = digest
    writer.class_counts += np.bincount(np.asarray(labels, np.int64), minlength=len(writer.classes))
    writer.shards += [{"file": part.path.name, "count": len(part.ids), "sha256": digests[part.path]} for part in parts]


@dataclass(frozen=True)
class _Part:
    """A shard to be written: its file; ranks (n,) in the scratch file, labels (n,) int64 and ids of its rows."""

    path: Path
    ranks: np.ndarray
    labels: np.ndarray
    ids: Sequence[str]


@dataclass(frozen=True)
class _Copier:
    """Copy parts of `scratch`, in which row i is the `side` x `side` RGB pixels of rank i."""

    scratch: Path
    side: int

    def __call__(self, part: _Part) -> str:
        """Write one shard; return its sha256."""
        with self.scratch.open("rb", buffering=0) as file:
            shape = (len(part.ids), self.side, self.side, 3)
            images = tensorfile.Stream(np.dtype(np.uint8), shape, self._blocks(file.fileno(), part.ranks))
            tensors: dict[str, np.ndarray | tensorfile.Stream] = {
                "labels": part.labels, "ids": encode_ids(part.ids), "images": images,
            }  # fmt: skip
            return tensorfile.write(part.path, tensors)

    def _blocks(self, file: int, ranks: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the bytes of the rows at `ranks`, which ascend; each block is overwritten by the next."""
        row = self.side * self.side * 3
        at_once = max(BLOCK_BYTES // row, 1)
        block = np.empty(at_once * row, np.uint8)
        for run in np.split(ranks, np.flatnonzero(np.diff(ranks) != 1) + 1):  # a reject leaves a gap
            for first in range(0, len(run), at_once):
                size = min(at_once, len(run) - first) * row
                if os.preadv(file, [block[:size].data], int(run[first]) * row) != size:
                    raise DarkroomError(f"{self.scratch} became shorter while it was read; run the stage again")
                yield block[:size]
