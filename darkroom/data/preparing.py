"""Every image decoded once: from an index and a split to tensor shards, and to a list of what cannot be decoded."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from darkroom import files
from darkroom.data.decode import Framing, decode
from darkroom.data.places import Places
from darkroom.data.shards import SAMPLE_COLUMNS, write_shards
from darkroom.data.tasks import run
from darkroom.data.trees import Extent
from darkroom.data.workers import Died
from darkroom.errors import BadImage, NoMemory, SourceError
from darkroom.progress import progress
from darkroom.runtime import Runtime

SPLITS = ("train", "val", "test")
REJECT_COLUMNS = ("location", "sha256", "reason")
BLOCK_BYTES = 1 << 24  # rows are copied from the scratch file in blocks of this size
CHANGED = "changed"
Row = Mapping[str, str]


@dataclass
class Prepared:
    """What became of each row: the splits' rows in order, and the reasons of those that were set aside, by id."""

    rows: dict[str, list[Row]]
    rejects: dict[str, str] = field(default_factory=dict)

    def kept(self, split: str) -> list[Row]:
        """The rows of `split` that became pictures."""
        return [row for row in self.rows[split] if row["id"] not in self.rejects]

    def classes(self) -> list[str]:
        """The labels of which there is a picture."""
        return sorted({row["label"] for split in self.rows for row in self.kept(split)})

    def lost_classes(self) -> list[str]:
        """The labels of which no picture could be decoded."""
        return sorted({row["label"] for rows in self.rows.values() for row in rows} - set(self.classes()))


def rows_of_splits(index: Sequence[Row], split: Mapping[str, str]) -> dict[str, list[Row]]:
    """The index's rows of train, val and test, each in order of id: names and order in the source never matter."""
    rows: dict[str, list[Row]] = {name: [] for name in SPLITS}
    for row in sorted(index, key=lambda row: row["id"]):
        if row["id"] not in split:
            raise SourceError(f"data/split.csv has no row for {row['location']}; run `dvc repro split`")
        if split[row["id"]] in rows:
            rows[split[row["id"]]].append(row)
    return rows


@contextmanager
def decoded(
    rows: dict[str, list[Row]], places: Places, framing: Framing, environment: Runtime, folder: Path
) -> Iterator[tuple[Prepared, Path]]:
    """Decode all rows into a scratch file in `folder`: row i of train + val + test at byte i * size * size * 3.

    The workers write there themselves: no pixels pass through a pipe, the order of completion does not matter, and
    memory does not grow with the number of images. From a cluster's nodes the pixels come back, to be written here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(".pixels.*.tmp"):
        stale.unlink()
    handle, name = tempfile.mkstemp(prefix=".pixels.", suffix=".tmp", dir=folder)
    os.close(handle)
    try:
        prepared = Prepared(rows)
        everyone = [row for split in SPLITS for row in rows[split]]
        ranks = {row["location"]: rank for rank, row in enumerate(everyone)}
        tasks = ((ranks[location], extent, everyone[ranks[location]]["sha256"])
                 for location, extent in places.extents(ranks))  # fmt: skip
        decoder = partial(decode_row, framing) if environment.ray else partial(decode_into, name, framing)
        results = run(decoder, tasks, environment)
        for (rank, _, _), said in progress(results, "decoding", total=len(everyone)):
            reason = said.reason if isinstance(said, Died) else said
            if isinstance(reason, np.ndarray):
                reason = write_row(name, rank, reason)
            if reason == CHANGED:
                raise SourceError(
                    f"{everyone[rank]['location']} has changed since it was indexed; run `dvc repro fetch`"
                )
            if reason:
                prepared.rejects[everyone[rank]["id"]] = reason
        yield prepared, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def decode_into(scratch: str, framing: Framing, task: tuple[int, Extent, str]) -> str:
    """Decode one file and write its pixels at its rank; "" or the reason why there are none."""
    pixels = decode_row(framing, task)
    return pixels if isinstance(pixels, str) else write_row(scratch, task[0], pixels)


def decode_row(framing: Framing, task: tuple[int, Extent, str]) -> np.ndarray | str:
    """The pixels (S, S, 3) of one file, or the reason why there are none."""
    _, extent, sha256 = task
    try:
        data = extent.read()
        if not sha256:
            return "its reader died when it was indexed"
        if hashlib.sha256(data).hexdigest() != sha256:
            return CHANGED
        return np.ascontiguousarray(decode(data, framing))
    except NoMemory:
        raise  # it is tried again when nothing else runs
    except BadImage as error:
        return str(error)
    except (FileNotFoundError, PermissionError) as error:
        return CHANGED if sha256 else f"cannot be read: {os.strerror(error.errno or errno.EIO)}"


def write_row(scratch: str, rank: int, pixels: np.ndarray) -> str:
    """Write pixels (S, S, 3) at their rank; returns ""."""
    handle = os.open(scratch, os.O_WRONLY)
    try:
        if os.pwrite(handle, np.ascontiguousarray(pixels).data, rank * pixels.nbytes) != pixels.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), scratch)  # a disk fills up in the middle of a write
    finally:
        os.close(handle)
    return ""


def check_rejects(prepared: Prepared, max_rejects: float, path: Path) -> None:
    """Write the list of rejects; raise SourceError when they are more than the fraction `max_rejects`."""
    everyone = [row for split in SPLITS for row in prepared.rows[split]]
    rejected = sorted((row for row in everyone if row["id"] in prepared.rejects), key=lambda row: row["location"])
    files.write_csv(path, REJECT_COLUMNS, ((r["location"], r["sha256"], prepared.rejects[r["id"]]) for r in rejected))
    if len(rejected) > max_rejects * len(everyone):
        shown = "".join(f"\n  {row['location']}: {prepared.rejects[row['id']]}" for row in rejected[:20])
        more = f"\n  … all of them in {path}" if len(rejected) > 20 else ""
        raise SourceError(
            f"{len(rejected)} of {len(everyone)} files cannot be decoded, more than max_rejects {max_rejects:g}; "
            f"repair or exclude them, or raise max_rejects:{shown}{more}"
        )


def write_splits(
    prepared: Prepared, scratch: Path, framing: Framing, folder: Path, facts: Mapping[str, Any]
) -> dict[str, list[float]]:
    """Write the shards of each split into `folder`/train, /val and /test; returns mean and std of train, 0..1."""
    classes = prepared.classes()
    untaught = sorted(set(classes) - {row["label"] for row in prepared.kept("train")})
    if untaught:
        raise SourceError(f"the class {untaught[0]!r} has no image in train; add images of it, or `exclude` the class")
    starts = dict(zip(SPLITS, np.cumsum([0] + [len(prepared.rows[split]) for split in SPLITS]).tolist(), strict=False))
    colours: dict[str, list[float]] = {}
    for split in SPLITS:
        kept = [
            (starts[split] + i, row) for i, row in enumerate(prepared.rows[split]) if row["id"] not in prepared.rejects
        ]
        values = np.zeros((3, 256), np.int64)  # how often each channel has each value: exact, and quick to count
        with write_shards(folder / split, "images", classes) as writer:
            for row, pixels in _pixels(kept, scratch, framing.size):
                writer.add(pixels, classes.index(row["label"]), row["id"])
                if split == "train":
                    values += [np.bincount(pixels[..., channel].ravel(), minlength=256) for channel in range(3)]
            if split == "train":
                colours = _colours(values)
            writer.close(image_size=framing.size, framing=framing.facts(), **colours, **facts)
            samples = ([row[column] for column in SAMPLE_COLUMNS] for _, row in kept)
            files.write_csv(writer.folder / "samples.csv", SAMPLE_COLUMNS, samples)
    return colours


def _pixels(kept: Sequence[tuple[int, Row]], scratch: Path, size: int) -> Iterator[tuple[Row, np.ndarray]]:
    """(row, pixels (S, S, 3)) of the rows at their ranks, which ascend."""
    row_bytes = size * size * 3
    at_once = max(BLOCK_BYTES // row_bytes, 1)
    with scratch.open("rb") as file:
        first, block = -at_once, np.empty((0, size, size, 3), np.uint8)
        for rank, row in kept:
            if rank >= first + at_once:
                first = rank
                data = os.pread(file.fileno(), at_once * row_bytes, rank * row_bytes)
                block = np.frombuffer(data[: len(data) // row_bytes * row_bytes], np.uint8).reshape(-1, size, size, 3)
            yield row, block[rank - first]


def _colours(values: np.ndarray) -> dict[str, list[float]]:
    """Mean and standard deviation of each channel, 0..1, from counts (3, 256) of values: the same on every machine."""
    pixels, value = values.sum(axis=1), np.arange(256)
    mean = (values * value).sum(axis=1) / pixels
    std = np.sqrt(np.maximum((values * value * value).sum(axis=1) / pixels - mean * mean, 0.0))
    return {"mean": [round(float(m) / 255, 6) for m in mean], "std": [round(max(float(s) / 255, 1e-3), 6) for s in std]}
