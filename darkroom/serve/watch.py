"""Record counts and sketches of a service's answers for `darkroom drift`, never a picture.

Of each picture a few numbers (VALUES) are counted in BINS bins of 0..1. The counts are kept in blocks of equally many
pictures, in the order of arrival. Where there would be more than BLOCKS of them, neighbours are joined, so that memory
and file stay small however long the service runs.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.serve.predictor import Prediction

FORMAT = 1
UNIT = 50  # pictures of a block, at first
BLOCKS = 16  # at most; an even number
BINS = 128
VALUES = ("brightness", "contrast", "warmth", "sharpness", "confidence", "similarity")


def measure(images: np.ndarray, answers: Sequence[Prediction]) -> dict[str, np.ndarray]:
    """Return the numbers that are watched of pictures (n, S, S, 3) uint8 and their answers: (n,) each, 0..1.

    Brightness, contrast and sharpness are mean, standard deviation and mean step between neighbours of grey; warmth is
    red minus blue. `similarity` is NaN where the model has no such output.
    """
    grey = images.mean(axis=3, dtype=np.float32)
    red, blue = images[..., 0].mean(axis=(1, 2)), images[..., 2].mean(axis=(1, 2))
    return {
        "brightness": grey.mean(axis=(1, 2)) / 255,
        "contrast": np.minimum(grey.std(axis=(1, 2)) / 127.5, 1),
        "warmth": (red - blue) / 510 + 0.5,
        "sharpness": np.minimum(np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2)) / 64, 1),
        "confidence": np.array([answer.probability for answer in answers]),
        "similarity": np.array([np.nan if answer.similarity is None else answer.similarity for answer in answers]),
    }


def bins(values: np.ndarray) -> np.ndarray:
    """Return the bin of each value (n,), 0..BINS - 1, int64; -1 for NaN."""
    found = np.clip(np.nan_to_num(values, nan=0.0) * BINS, 0, BINS - 1).astype(np.int64)
    return np.where(np.isnan(values), -1, found)


@dataclass
class Block:
    """Counts of successive pictures, int64.

    All of them, those answered with each class (K,), those of these that are unknown (K,), and those in each bin of
    each of VALUES (V, BINS).
    """

    images: int
    classes: np.ndarray
    unknown: np.ndarray
    values: np.ndarray

    @classmethod
    def empty(cls, classes: int) -> "Block":
        """Return a block of no picture."""
        return cls(0, np.zeros(classes, np.int64), np.zeros(classes, np.int64), np.zeros((len(VALUES), BINS), np.int64))

    def add(self, label: int, unknown: bool, at: Sequence[int]) -> None:
        """Count one picture: its class, and the bin of each value."""
        self.images += 1
        self.classes[label] += 1
        self.unknown[label] += unknown
        for row, index in enumerate(at):
            if index >= 0:
                self.values[row, index] += 1

    def is_possible(self, classes: int, size: int) -> bool:
        """Return whether pictures of `classes` classes, at most `size` of them, can have these counts."""
        shapes = self.classes.shape, self.unknown.shape, self.values.shape
        if shapes != ((classes,), (classes,), (len(VALUES), BINS)):
            return False
        counts = (self.unknown >= 0).all() and (self.unknown <= self.classes).all() and (self.values >= 0).all()
        sums = self.classes.sum() == self.images <= size and (self.values <= self.images).all()
        return bool(counts and sums and (self.values.sum(axis=1) <= self.images).all())

    def __add__(self, other: "Block") -> "Block":
        return Block(self.images + other.images, self.classes + other.classes, self.unknown + other.unknown,
                     self.values + other.values)  # fmt: skip


class Watch:
    """Counts of the answers of one model, in `blocks` of `size` pictures; the last one may hold fewer."""

    def __init__(self, version: str, classes: list[str]) -> None:
        self.version, self.classes, self.size = version, classes, UNIT
        self.blocks = [Block.empty(len(classes))]
        self._lock = threading.Lock()

    def record(self, images: np.ndarray, answers: Sequence[Prediction]) -> None:
        """Count pictures (n, S, S, 3) uint8 and their answers, in order. Safe to call from several threads."""
        rows = np.stack([bins(values) for values in measure(images, answers).values()], axis=1).tolist()
        for answer, row in zip(answers, rows, strict=True):
            self.count(int(answer.probabilities.argmax()), answer.unknown, row)

    def count(self, label: int, unknown: bool, at: Sequence[int]) -> None:
        """Count one picture: its class, whether it is unknown, and the bin of each of VALUES."""
        with self._lock:
            if self.blocks[-1].images == self.size:
                self._begin()
            self.blocks[-1].add(label, unknown, at)

    def total(self, first: int = 0) -> Block:
        """Return the counts of all blocks from `first` on."""
        with self._lock:
            return sum(self.blocks[first:], Block.empty(len(self.classes)))

    def mean(self, row: int) -> float:
        """Return the mean of one of VALUES over all pictures, to half a bin; NaN without a picture."""
        counts = self.total().values[row]
        return float(counts @ (np.arange(BINS) + 0.5) / BINS / counts.sum()) if counts.any() else math.nan

    def starts(self) -> Iterator[int]:
        """Yield how many pictures came before each block."""
        yield from range(0, self.size * len(self.blocks), self.size)

    def facts(self) -> dict[str, Any]:
        """Return the content of the file, from which `Watch.of` makes the watch again."""
        with self._lock:
            rows = [
                {"images": block.images, "classes": block.classes.tolist(), "unknown": block.unknown.tolist(),
                 "values": dict(zip(VALUES, block.values.tolist(), strict=True))} for block in self.blocks
            ]  # fmt: skip
        return {"format": FORMAT, "model": self.version, "classes": self.classes, "size": self.size, "blocks": rows}

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Watch":
        """Return the watch that a file holds. Raises KeyError, TypeError or ValueError where it is none."""
        if facts["format"] != FORMAT:
            raise ValueError(f"it has format {str(facts['format'])[:20]}, expected {FORMAT}; another version wrote it")
        found = cls(str(facts["model"]), [str(name) for name in facts["classes"]])
        found.size = int(facts["size"])
        found.blocks = [
            Block(int(row["images"]), np.array(row["classes"], np.int64), np.array(row["unknown"], np.int64),
                  np.array([row["values"][name] for name in VALUES], np.int64)) for row in facts["blocks"]
        ]  # fmt: skip
        is_whole = all(block.images == found.size for block in found.blocks[:-1]) and 0 < len(found.blocks) <= BLOCKS
        sizes = {UNIT << doubled for doubled in range(63)}
        if found.size not in sizes or not is_whole or not found.classes:
            raise ValueError("its blocks are not of equally many pictures")
        if not all(block.is_possible(len(found.classes), found.size) for block in found.blocks):
            raise ValueError("its counts do not fit its classes")
        return found

    def _begin(self) -> None:
        if len(self.blocks) == BLOCKS:
            self.blocks = [one + other for one, other in zip(self.blocks[::2], self.blocks[1::2], strict=True)]
            self.size *= 2
        self.blocks.append(Block.empty(len(self.classes)))


def read_watch(path: Path) -> Watch:
    """Return the watch in a file. Raises DarkroomError."""
    try:
        return Watch.of(files.read_json(path))
    except FileNotFoundError as error:
        raise DarkroomError(f"{path} does not exist; `darkroom serve --watch {path}` writes it") from error
    except OSError as error:
        raise DarkroomError(f"{path} cannot be read: {error.strerror}") from error
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise DarkroomError(
            f"{path} is not what `darkroom serve --watch` writes: {str(error)[:100]}; move it away to begin another"
        ) from error


class WatchFile:
    """The file of a service's watch. One service at a time writes it, and a restarted one continues it.

    A file with another model's counts is renamed, with that model's version in its name.
    """

    def __init__(self, path: Path, version: str, classes: list[str]) -> None:
        self.path, self.watch = path, Watch(version, classes)
        self._held = self._lock()
        try:
            self._go_on()
            self.save()
        except DarkroomError:
            self._held.close()
            raise

    def save(self) -> None:
        """Write the counts atomically. Raises DarkroomError."""
        try:
            files.write_json(self.path, self.watch.facts())
        except OSError as error:
            raise DarkroomError(f"--watch {self.path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Write the counts, and release the file for another service."""
        try:
            self.save()
        finally:
            self._held.close()

    def _go_on(self) -> None:
        """Continue the counts in the file, or rename the file of another model."""
        if not self.path.exists():
            return
        found = read_watch(self.path)
        if (found.version, found.classes) == (self.watch.version, self.watch.classes):
            self.watch = found
        else:
            self.path.replace(self.path.with_name(f"{self.path.stem}-{found.version[:12]}{self.path.suffix}"))

    def _lock(self) -> TextIO:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            held = self.path.with_name(f".{self.path.name}.lock").open("w")
        except OSError as error:
            raise DarkroomError(f"--watch {self.path} cannot be written: {error.strerror}") from error
        try:
            import fcntl  # late: Windows has none, and then nothing is locked

            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ModuleNotFoundError:
            pass
        except OSError as error:
            held.close()
            raise DarkroomError(f"--watch {self.path}: another service writes it; name a file of its own") from error
        return held
