"""Choose the samples of each batch, read them ahead in a thread, and prepare them on the device."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from darkroom.core.errors import is_out_of_memory
from darkroom.core.randomness import generator
from darkroom.images.shards import Shards

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Item = TypeVar("Item")
T = TypeVar("T")
Part = tuple[np.ndarray, np.ndarray]  # samples, and their rows
Ready = TypeVar("Ready", bound="tuple[Tensor, ...]")
AHEAD = 2  # batches that are read in advance
PLAIN_BYTES = 16 << 20  # that are read at once, for the one view of each row that is wanted


def balanced_rows(labels: np.ndarray, classes: int, most: int) -> np.ndarray:
    """Return at most `most` rows, int64, ascending: the first ones of each class, equally many where it has them.

    Rows are ordered by content, so the first ones are like any others. With more classes than `most`, some are skipped
    at even distances.
    """
    share = max(1, most // max(1, classes))
    found = np.concatenate([np.flatnonzero(labels == position)[:share] for position in range(classes)])
    if len(found) > most:
        found = found[np.linspace(0, len(found) - 1, most).astype(int)]
    return np.sort(found)


class Table:
    """The samples of one or several folders of shards, or `chosen` rows of them, as one table.

    `labels` int64 (n,) and `classes` are in memory; `rows` are read from the files when they are needed.
    """

    def __init__(self, parts: Sequence[Shards], chosen: Sequence[np.ndarray] | None = None) -> None:
        self.parts = list(parts)
        self.classes = self.parts[0].classes
        chosen = chosen if chosen is not None else [np.arange(len(part)) for part in self.parts]
        self._part = np.repeat(np.arange(len(self.parts)), [len(indices) for indices in chosen])
        self._index = np.concatenate([np.asarray(indices, np.int64) for indices in chosen])
        self.labels = np.concatenate([part.labels[indices] for part, indices in zip(self.parts, chosen, strict=True)])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Return the shape of one row, (S, S, 3) of images or (views, D) of features; () of an empty table."""
        return next((part.row_shape for part in self.parts if len(part)), ())

    def rows(self, samples: np.ndarray) -> np.ndarray:
        """Return the rows of `samples` int64 (b,), in that order: (b, *row_shape)."""
        return self._gather(samples, lambda part, indices, _: part.rows(indices))

    def features(self, samples: np.ndarray, view: np.ndarray) -> np.ndarray:
        """Return the features (b, D) of `samples` int64 (b,), each of its view number `view` int64 (b,).

        A number beyond the views of a folder starts again at 0, so folders of one view and of several may be mixed.
        """

        def read(part: Shards, indices: np.ndarray, mine: np.ndarray | slice) -> np.ndarray:
            rows = part.rows(indices)
            return rows[np.arange(len(rows)), view[mine] % rows.shape[1]] if rows.shape[1] > 1 else rows[:, 0]

        return self._gather(samples, read)

    def plain(self, samples: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield `samples` int64 and their features (b, D) without augmentation, PLAIN_BYTES of all views at a time."""
        views, size = self.row_shape or (1, 1)
        step = max(1, PLAIN_BYTES // (4 * views * size))
        for start in range(0, len(samples), step):
            part = samples[start : start + step]
            yield part, self.features(part, np.zeros(len(part), np.int64))

    def _gather(
        self, samples: np.ndarray, read: Callable[[Shards, np.ndarray, np.ndarray | slice], np.ndarray]
    ) -> np.ndarray:
        if len(self.parts) == 1:
            return read(self.parts[0], self._index[samples], slice(None))
        part, index = self._part[samples], self._index[samples]
        out: np.ndarray | None = None
        for number in np.unique(part):
            mine = part == number
            rows = read(self.parts[number], index[mine], mine)
            if out is None:
                out = np.empty((len(samples), *rows.shape[1:]), rows.dtype)
            out[mine] = rows
        if out is None:
            raise ValueError("no samples to read")
        return out


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the permutation of `count` samples for (seed, epoch), int64 (count,)."""
    return generator(seed, "order", epoch).permutation(count)


def balanced_order(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Draw n samples, as many as there are labels, each class equally often, for (seed, epoch): int64 (n,).

    A sample is drawn again only when all others of its class have been drawn. Its k-th repetition has the number
    `sample + k * n`, so that it is augmented differently.
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
    """Return the indices of each label that is present, in ascending order."""
    small = labels.astype(np.uint16) if labels.max() < 1 << 16 else labels  # numpy sorts 16-bit numbers in linear time
    indices = np.argsort(small, kind="stable")
    return np.split(indices, np.flatnonzero(np.diff(labels[indices])) + 1)


def steps(samples: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Divide `samples` (n,) into parts of at most `batch_size` whose sizes differ by one at most.

    A small rest at the end of an epoch would weigh its samples more than others, and break BatchNorm if it were one.
    """
    return np.array_split(samples, max(1, -(-len(samples) // batch_size)))


def views(samples: np.ndarray, count: int, images: int, epoch: int) -> np.ndarray:
    """Choose which of `count` copies of each sample is used in this epoch, int64 (b,), independent of its batch.

    They come in turn, no seed draws them: which copies a draw leaves out would change the answers more than all else
    that is random does (benchmarks/README.md). Of `images`; a larger number is a sample that comes again.
    """
    again, sample = np.divmod(samples, images)
    return (sample + again + epoch) % count


def read_ahead(items: Iterable[Item], read: Callable[[Item], T], ahead: int = AHEAD) -> Iterator[T]:
    """Yield `read(item)` of each item, in order, called by a thread while the caller computes with the one before.

    An exception in `read` is raised here; a caller that stops early stops the thread.
    """
    done = object()
    waiting: queue.Queue[Any] = queue.Queue(ahead)
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
        except BaseException as error:  # the caller raises it
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


def ready(
    parts: Sequence[np.ndarray],
    read: Callable[[np.ndarray], np.ndarray],
    finish: Callable[[np.ndarray, np.ndarray], Ready],
    device: "torch.device",
) -> Iterator[Ready]:
    """Yield `finish(samples, read(samples))` of each of `parts`, samples int64 (b,), in order: tensors on `device`.

    A thread reads. On a CPU `finish` runs in the caller, with all of torch's threads. On a GPU another thread runs it,
    on its own stream, so that pixels are copied and augmented while the network computes.
    """
    read_rows = read_ahead(parts, read)
    if device.type != "cuda":
        for samples, rows in zip(parts, read_rows, strict=True):
            yield finish(samples, rows)
        return
    import torch

    stream = torch.cuda.Stream(device)

    def on_stream(part: Part) -> tuple[Part, Ready | None, "torch.cuda.Event | None"]:
        try:
            with torch.cuda.stream(stream):
                return part, finish(*part), stream.record_event()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        return part, None, None  # outside of `except`, where the exception would keep the tensors alive

    for part, tensors, made in read_ahead(zip(parts, read_rows, strict=True), on_stream, ahead=1):
        if tensors is None or made is None:  # memory was full: by now the step before has ended, or was divided
            tensors = finish(*part)
        else:
            current = torch.cuda.current_stream(device)
            current.wait_event(made)
            for tensor in tensors:
                tensor.record_stream(current)  # its memory must not be reused before this stream is done with it
        yield tensors


def on_device(rows: np.ndarray, device: "torch.device") -> "Tensor":
    """Return `rows` as a tensor on `device`; the copy to a GPU does not wait."""
    import torch

    tensor = torch.from_numpy(rows)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
