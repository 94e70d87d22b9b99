"""A function over many files: by processes of this machine, or on a Ray cluster, to which the bytes are sent."""

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
CHUNK = 32  # files a message: enough that a message's few milliseconds do not count
CHUNK_BYTES = 1 << 25  # and not more than this, so that what is on its way fits in memory


def run(function: Callable[[T], R], tasks: Iterable[T], environment: Runtime) -> Iterator[tuple[T, R | Died]]:
    """Yield (task, function(task)) in no fixed order; a task whose process dies of it costs itself alone.

    A task is a tuple with the `Extent` of its file at index 1. `function` and the tasks are picklable.
    """
    if environment.ray is None:
        yield from run_tasks(function, tasks, environment.workers)
        return
    alone: list[T] = []
    unread: list[T] = []
    for chunk, results in nodes.map_chunks(_each, function, _chunks(_carrying(tasks, unread)), environment.ray):
        if isinstance(results, nodes.Lost):
            alone += chunk
        else:
            yield from zip(chunk, results, strict=True)
    # A chunk that was lost holds one file that kills: each of its files is tried by itself.
    for chunk, results in nodes.map_chunks(_each, function, ([task] for task in alone), environment.ray):
        yield chunk[0], Died(f"decoder crashed ({results.reason})") if isinstance(results, nodes.Lost) else results[0]
    for task in unread:
        yield task, function(task)


def _each(function: Callable[[Any], Any], chunk: list[Any]) -> list[Any]:
    try:
        return [function(task) for task in chunk]
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # as a worker of this machine


def _carrying(tasks: Iterable[T], unread: list[T]) -> Iterator[T]:
    """Yield each task with the bytes of its file.

    Where they cannot be read, `unread` gets it: here it is found out why.
    """
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
