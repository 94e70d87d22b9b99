"""Run a function over many tasks in processes that may die: only the task that kills its process is lost.

`concurrent.futures` would give up all work. Here each worker has its own pipe, and writes to shared memory which task
it is working on. When it dies, that task is tried once more at the end, while nothing else runs (another may have taken
the memory that it needed), and is then given up with the reason.
"""

import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from darkroom.core import runtime
from darkroom.core.errors import DarkroomError

T = TypeVar("T")
R = TypeVar("R")
BATCH = 32  # tasks per message: a message takes some 50 us, so a task less than 2 us
PAUSED = 2.0  # seconds between two polls, which are 1 s apart at most: the process was stopped meanwhile
MAX_FAILED_STARTS = 5  # workers in a row that may die before their first task
NOT_STARTED = -1
OUT_OF_MEMORY = 86  # exit status of a worker that ran out of memory
PATIENCE = 300.0  # seconds that one task may take before its worker counts as hung


@dataclass(frozen=True)
class Died:
    """The result of a task that killed its worker twice, or hung; `reason` is short enough for a table."""

    reason: str


@dataclass
class _Worker:
    process: Any
    pipe: multiprocessing.connection.Connection
    index: Any  # in shared memory: which task of the batch the worker is at
    batch: list[Any] = field(default_factory=list)
    since: float = 0.0
    seen: int = -1


@dataclass
class _Queue:
    """The tasks that are left: new ones, `rest` of a lost batch, and those to be tried `again`.

    The last are tried one at a time, after all others: together, two large files could run out of memory again, and it
    would be chance which one is lost.
    """

    source: Iterator[Any]
    size: int
    rest: deque[Any] = field(default_factory=deque)
    again: deque[Any] = field(default_factory=deque)
    failed_starts: int = 0  # workers in a row that died before their first task
    polled: float = field(default_factory=time.monotonic)  # when the workers were last polled

    def batch(self, alone: bool) -> list[Any]:
        """Return up to `size` pairs of a task and how often it was tried; [] when none may run now."""
        if self.rest:
            return [self.rest.popleft() for _ in range(min(len(self.rest), self.size))]
        batch = [(task, 0) for task in itertools.islice(self.source, self.size)]
        return [self.again.popleft()] if self.again and alone and not batch else batch

    def put_back(self, batch: list[Any]) -> None:
        """Put back tasks whose worker died before it reached them."""
        for task, tries in batch:
            (self.again if tries else self.rest).append((task, tries))


def run_tasks(
    function: Callable[[T], R], tasks: Iterable[T], count: int, patience: float = PATIENCE, batch: int = BATCH
) -> Iterator[tuple[T, R | Died]]:
    """Yield (task, function(task)) in any order, from `count` processes, which get `batch` tasks at a time.

    The result is Died for a task that kills its process twice, or takes longer than `patience` seconds. `function` and
    the tasks must be picklable; an exception in `function` is raised here and ends the run. Raises DarkroomError where
    workers cannot be started.
    """
    context = runtime.processes_with(getattr(function, "func", function).__module__)  # also a partial's
    queue = _Queue(iter(tasks), batch)
    workers: list[_Worker] = []
    try:
        while True:
            for worker in [worker for worker in workers if not worker.batch]:
                _send(worker, queue.batch(alone=_idle(workers)))
            while len(workers) < count:
                first = queue.batch(alone=_idle(workers))
                if not first:
                    break
                workers.append(_start(context, function))
                _send(workers[-1], first)
            busy = [worker for worker in workers if worker.batch]
            if not busy:
                return
            yield from _collect(workers, busy, queue, patience)
    finally:
        for worker in workers:
            worker.pipe.close()
            worker.process.kill() if worker.batch else None
        for worker in workers:
            worker.process.join()


def _idle(workers: list[_Worker]) -> bool:
    return not any(worker.batch for worker in workers)


def _collect(workers: list[_Worker], busy: list[_Worker], queue: _Queue, patience: float) -> Iterator[tuple[Any, Any]]:
    ready = multiprocessing.connection.wait([worker.pipe for worker in busy], timeout=min(patience, 1.0))
    slept = time.monotonic() - queue.polled
    queue.polled += slept
    if slept > PAUSED:  # so were the workers: time in Ctrl-Z or a paused container does not count as hanging
        for worker in busy:
            worker.since += slept
    for worker in busy:
        if worker.pipe in ready:
            try:
                answer = worker.pipe.recv()
            except (EOFError, OSError):
                workers.remove(worker)
                yield from _requeue(worker, queue, None)
                continue
            if isinstance(answer, BaseException):
                raise answer
            batch, worker.batch, queue.failed_starts = worker.batch, [], 0
            yield from zip([task for task, _ in batch], answer, strict=True)
        elif worker.index.value != worker.seen:
            worker.seen, worker.since = worker.index.value, time.monotonic()
        elif time.monotonic() - worker.since > patience:
            worker.process.kill()
            workers.remove(worker)
            yield from _requeue(worker, queue, f"decoder hung for {patience:g} s")


def _requeue(worker: _Worker, queue: _Queue, hung: str | None) -> Iterator[tuple[Any, Any]]:
    """Queue the tasks of a dead worker again; the one that killed it only once, then yield Died for it."""
    worker.process.join()
    worker.pipe.close()
    status = _status(worker.process.exitcode)
    if worker.index.value == NOT_STARTED:
        queue.put_back(worker.batch)
        queue.failed_starts += 1
        if queue.failed_starts > MAX_FAILED_STARTS:
            raise DarkroomError(f"worker processes die before they begin ({status}); set DARKROOM_WORKERS=1, "
                                "and look for what ends them: no memory, or a broken installation")  # fmt: skip
        return
    task, tries = worker.batch.pop(worker.index.value)
    queue.put_back(worker.batch)
    if tries or hung:
        short = worker.process.exitcode == OUT_OF_MEMORY
        yield task, Died(hung or ("not enough memory" if short else f"decoder crashed ({status})"))
    else:
        queue.again.append((task, 1))


def _status(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"status {code}"


def _send(worker: _Worker, batch: list[Any]) -> None:
    if not batch:
        return
    worker.batch, worker.since, worker.seen = batch, time.monotonic(), -1
    worker.index.value = NOT_STARTED
    # A worker may have died while it was idle: then the next wait finds its end of the pipe closed.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        worker.pipe.send([task for task, _ in batch])


def _start(context: Any, function: Callable[[Any], Any]) -> _Worker:
    mine, its = context.Pipe()
    index = context.RawValue("i", NOT_STARTED)
    process = context.Process(target=_work, args=(function, its, index), daemon=True)
    process.start()
    its.close()
    return _Worker(process, mine, index)


def _work(function: Callable[[Any], Any], pipe: multiprocessing.connection.Connection, index: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    try:
        while True:
            answers = []
            for number, task in enumerate(pipe.recv()):
                index.value = number
                answers.append(function(task))
            pipe.send(answers)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has no more work, or is gone
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # frees all memory at once; the task may succeed alone
    except Exception as error:
        pipe.send(error)
