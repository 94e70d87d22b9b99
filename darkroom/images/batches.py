"""Batches of a table of samples: which samples, in which order, read ahead by a thread."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from darkroom.core.randomness import generator, uniforms
from darkroom.images.shards import Shards

Item = TypeVar("Item")
T = TypeVar("T")
AHEAD = 2  # batches that wait, read, while one is computed with


class Table:
    """The samples of one or several folders of shards, or chosen rows of them, as one table.

    `labels` int64 (n,); `classes`; `rows` reads what it is asked for from the mapped files, so memory does not grow
    with n.
    """

    def __init__(self, parts: Sequence[Shards], chosen: Sequence[np.ndarray] | None = None) -> None:
        self.parts = list(parts)
        self.classes = self.parts[0].classes
        chosen = chosen if chosen is not None else [np.arange(len(part)) for part in self.parts]
        self._part = np.repeat(np.arange(len(self.parts)), [len(places) for places in chosen])
        self._place = np.concatenate([np.asarray(places, np.int64) for places in chosen])
        self.labels = np.concatenate([part.labels[places] for part, places in zip(self.parts, chosen, strict=True)])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row, (S, S, 3) of images or (views, D) of features; () of an empty table."""
        return next((part.row_shape for part in self.parts if len(part)), ())

    def rows(self, samples: np.ndarray) -> np.ndarray:
        """The rows of `samples` int64 (b,), in that order: (b, *row_shape)."""
        return self._gather(samples, lambda part, places, _: part.rows(places))

    def features(self, samples: np.ndarray, view: np.ndarray) -> np.ndarray:
        """The features (b, D) of `samples` int64 (b,), each of its view number `view` int64 (b,).

        Views count round: a folder of one view shows it whatever the number, so folders of several may be mixed.
        """

        def read(part: Shards, places: np.ndarray, mine: np.ndarray | slice) -> np.ndarray:
            rows = part.rows(places)
            return rows[np.arange(len(rows)), view[mine] % rows.shape[1]] if rows.shape[1] > 1 else rows[:, 0]

        return self._gather(samples, read)

    def _gather(
        self, samples: np.ndarray, read: Callable[[Shards, np.ndarray, np.ndarray | slice], np.ndarray]
    ) -> np.ndarray:
        if len(self.parts) == 1:
            return read(self.parts[0], self._place[samples], slice(None))
        part, place = self._part[samples], self._place[samples]
        out: np.ndarray | None = None
        for number in np.unique(part):
            mine = part == number
            rows = read(self.parts[number], place[mine], mine)
            if out is None:
                out = np.empty((len(samples), *rows.shape[1:]), rows.dtype)
            out[mine] = rows
        if out is None:
            raise ValueError("no samples to read")
        return out


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of `count` samples, int64, that belongs to (seed, epoch)."""
    return generator(seed, "order", epoch).permutation(count)


def balanced_order(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """As many draws as there are samples, each class equally likely, int64 (n,), that belongs to (seed, epoch).

    A class is gone through in a shuffled order before any of its samples comes twice. A sample that comes for the k-th
    time again is told as its number + k * n, so that it is augmented otherwise than before.
    """
    classes = _members(labels)
    random = generator(seed, "balance", epoch)
    share = np.full(len(classes), len(labels) // len(classes))
    share[random.permutation(len(classes))[: len(labels) - share.sum()]] += 1
    drawn = []
    for members, wanted in zip(classes, share, strict=True):
        rounds = [random.permutation(members) + again * len(labels) for again in range(-(-wanted // len(members)))]
        drawn.append(np.concatenate(rounds)[:wanted])
    return random.permutation(np.concatenate(drawn))


def _members(labels: np.ndarray) -> list[np.ndarray]:
    """The places of each label that is present, in ascending order: one sort, however many labels there are."""
    small = labels.astype(np.uint16) if labels.max() < 1 << 16 else labels  # numpy sorts small numbers in linear time
    places = np.argsort(small, kind="stable")
    return np.split(places, np.flatnonzero(np.diff(labels[places])) + 1)


def steps(samples: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """`samples` (n,) in parts of at most `batch_size` whose sizes differ by one at most.

    No runt at the end of an epoch, which would weigh its few samples more than others, and stop BatchNorm when alone.
    """
    return np.array_split(samples, max(1, -(-len(samples) // batch_size)))


def views(samples: np.ndarray, count: int, seed: int, epoch: int) -> np.ndarray:
    """Which of `count` copies each sample shows in this epoch, int64 (b,): the same in whatever batch it comes."""
    if count == 1:
        return np.zeros(len(samples), np.int64)
    return (uniforms(samples, 1, seed, "view", epoch)[:, 0] * count).astype(np.int64)


def read_ahead(items: Iterable[Item], read: Callable[[Item], T], ahead: int = AHEAD) -> Iterator[T]:
    """`read(item)` of each item, in order, read by a thread while the caller computes with the one before.

    What `read` raises is raised here; a caller that stops early stops the thread.
    """
    done = object()
    waiting: queue.Queue = queue.Queue(ahead)
    stopped = threading.Event()

    def put(value: object) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(value, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((read(item), None)):
                    return
        except BaseException as error:  # handed to the caller, who raises it
            put((None, error))
        else:
            put(done)

    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while (value := waiting.get()) is not done:
            result, error = value
            if error is not None:
                raise error
            yield result
    finally:
        stopped.set()
        thread.join()
