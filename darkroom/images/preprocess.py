"""Decode every image of an index and a split, once, into a scratch file; list what cannot be decoded."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from darkroom.cluster.tasks import run
from darkroom.core import files
from darkroom.core.errors import BadImage, NoMemory, SourceError
from darkroom.core.progress import progress
from darkroom.core.runtime import Runtime
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.images.shards import SPLITS
from darkroom.images.workers import Died
from darkroom.sources.extents import Extent
from darkroom.sources.trees import Locations

REJECT_COLUMNS = ("location", "sha256", "reason")
CHANGED = "changed"
Row = Mapping[str, str]


@dataclass
class Prepared:
    """The rows of each split in order, and the rejects: the reason of each by its id."""

    rows: dict[str, list[Row]]
    rejects: dict[str, str] = field(default_factory=dict)
    colours: np.ndarray = field(default_factory=lambda: np.zeros((2, 3), np.int64))  # `colour_sums` of train

    def kept(self, split: str) -> list[Row]:
        """Return the rows of `split` that were decoded."""
        return [row for row in self.rows[split] if row["id"] not in self.rejects]

    def classes(self) -> list[str]:
        """Return the classes of which an image was decoded, sorted."""
        return sorted({row["label"] for split in self.rows for row in self.kept(split)})

    def lost_classes(self) -> dict[str, list[tuple[str, str]]]:
        """Return (location, reason) of each file of the classes of which no image was decoded."""
        lost: dict[str, list[tuple[str, str]]] = {}
        for row in (row for rows in self.rows.values() for row in rows):
            lost.setdefault(row["label"], []).append((row["location"], self.rejects.get(row["id"], "")))
        kept = set(self.classes())
        return {label: files for label, files in lost.items() if label not in kept}


def rows_of_splits(index: Sequence[Row], split: Mapping[str, str]) -> dict[str, list[Row]]:
    """Return the index's rows of train, val and test, in order of id. Raises SourceError for an id without a split."""
    rows: dict[str, list[Row]] = {name: [] for name in SPLITS}
    for row in sorted(index, key=lambda row: row["id"]):
        if row["id"] not in split:
            raise SourceError(f"data/split.csv has no row for {row['location']}; run `dvc repro split`")
        if split[row["id"]] in rows:
            rows[split[row["id"]]].append(row)
    return rows


@contextmanager
def decoded(
    rows: dict[str, list[Row]], locations: Locations, framing: Framing, runtime: Runtime, folder: Path
) -> Iterator[tuple[Prepared, Path]]:
    """Decode all rows into a scratch file in `folder`: row i of train + val + test is at byte i * size * size * 3.

    The workers write to it themselves, so no pixels pass through a pipe, and memory does not grow with the number of
    images. Nodes of a cluster return the pixels, which are written here. Raises SourceError for a changed file.
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
                 for location, extent in locations.extents(ranks))  # fmt: skip
        decoder = partial(decode_row, framing) if runtime.ray else partial(decode_into, name, framing)
        results = run(decoder, tasks, runtime)
        for (rank, _, _), answer in progress(results, "decoding", total=len(everyone)):
            if isinstance(answer, np.ndarray):
                if answer.ndim == 3:  # pixels, from a cluster
                    answer = write_row(name, rank, answer)
                if rank < len(rows["train"]):
                    prepared.colours += answer
                continue
            reason = answer.reason if isinstance(answer, Died) else answer
            if reason == CHANGED:
                raise SourceError(
                    f"{everyone[rank]['location']} has changed since it was indexed; run `dvc repro fetch`"
                )
            prepared.rejects[everyone[rank]["id"]] = reason
        yield prepared, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def decode_into(scratch: str, framing: Framing, task: tuple[int, Extent, str]) -> np.ndarray | str:
    """Decode one file and write its pixels at its rank; return their `colour_sums`, or the reason for a reject."""
    pixels = decode_row(framing, task)
    return pixels if isinstance(pixels, str) else write_row(scratch, task[0], pixels)


def decode_row(framing: Framing, task: tuple[int, Extent, str]) -> np.ndarray | str:
    """Return the pixels (S, S, 3) of one file, or the reason for a reject."""
    _, extent, sha256 = task
    try:
        data = extent.read()
        if not sha256:
            return "its reader died when it was indexed"
        if hashlib.sha256(data).hexdigest() != sha256:
            return CHANGED
        return np.ascontiguousarray(decode(data, framing))
    except NoMemory:
        raise  # the file is tried again while nothing else runs
    except BadImage as error:
        return str(error)
    except OSError as error:
        return CHANGED if sha256 else f"cannot be read: {os.strerror(error.errno or errno.EIO)}"


def write_row(scratch: str, rank: int, pixels: np.ndarray) -> np.ndarray:
    """Write pixels (S, S, 3) at their rank; return their `colour_sums`."""
    handle = os.open(scratch, os.O_WRONLY)
    try:
        if os.pwrite(handle, np.ascontiguousarray(pixels).data, rank * pixels.nbytes) != pixels.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), scratch)  # the disk became full during the write
    finally:
        os.close(handle)
    return colour_sums(pixels)


def colour_sums(pixels: np.ndarray) -> np.ndarray:
    """Return the sums of the values (S, S, 3) of each channel, and of their squares: (2, 3) int64.

    float64 is exact up to 2 ** 53. BLAS is avoided, because its threads would slow the other workers down.
    """
    channels = [pixels[..., channel].ravel().astype(np.float64) for channel in range(3)]
    return np.array([[c.sum() for c in channels], [np.einsum("i,i->", c, c) for c in channels]]).astype(np.int64)


def check_rejects(prepared: Prepared, max_rejects: float, path: Path) -> None:
    """Write the list of rejects to `path`; raise SourceError when they are more than the fraction `max_rejects`."""
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
