"""Map a function over many files: in processes of this machine, or on a Ray cluster, to which the bytes are sent."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from darkroom.cluster import nodes
from darkroom.core.errors import BadImage
from darkroom.core.runtime import Runtime
from darkroom.images.workers import OUT_OF_MEMORY, Died, run_tasks
from darkroom.sources.extents import Extent

T = TypeVar("T", bound="tuple[Any, ...]")
R = TypeVar("R")
CHUNK = 32  # files per message: enough that its few milliseconds do not matter
CHUNK_BYTES = 1 << 25  # a message ends beyond this size, so that all that are on their way fit in memory


def run(function: Callable[[T], R], tasks: Iterable[T], runtime: Runtime) -> Iterator[tuple[T, R | Died]]:
    """Yield (task, function(task)) in any order; the result is Died for a task that kills its process.

    A task is a tuple with the `Extent` of its file at index 1. `function` and the tasks must be picklable.
    """
    if runtime.ray is None:
        yield from run_tasks(function, tasks, runtime.workers)
        return
    alone: list[T] = []
    unread: list[T] = []
    for chunk, results in nodes.map_chunks(_each, function, _chunks(_carrying(tasks, unread)), runtime.ray):
        if isinstance(results, nodes.Lost):
            alone += chunk
        else:
            yield from zip(chunk, results, strict=True)
    # A lost chunk holds a file that kills its process: each of its files is tried by itself.
    for chunk, results in nodes.map_chunks(_each, function, ([task] for task in alone), runtime.ray):
        yield chunk[0], Died(f"decoder crashed ({results.reason})") if isinstance(results, nodes.Lost) else results[0]
    for task in unread:
        yield task, function(task)


def _each(function: Callable[[Any], Any], chunk: list[Any]) -> list[Any]:
    try:
        return [function(task) for task in chunk]
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # as a worker of this machine does


def _carrying(tasks: Iterable[T], unread: list[T]) -> Iterator[T]:
    """Yield each task with the bytes of its file; append those whose file cannot be read to `unread`."""
    for task in tasks:
        extent: Extent = task[1]
        try:
            carried = dataclasses.replace(extent, data=extent.read())
        except (OSError, BadImage):
            unread.append(task)
        else:
            yield (task[0], carried, *task[2:])  # type: ignore[misc]


def _chunks(tasks: Iterable[T]) -> Iterator[list[T]]:
    source = iter(tasks)
    for first in source:
        chunk, size = [first], len(first[1].data or b"")
        for task in itertools.islice(source, CHUNK - 1):
            chunk.append(task)
            size += len(task[1].data or b"")
            if size > CHUNK_BYTES:
                break
        yield chunk
