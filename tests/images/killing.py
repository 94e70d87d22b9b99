"""Real deaths of workers: whoever opens a file is killed by a signal, as the system does when memory is short."""

import contextlib
import fcntl
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import psutil

CHECKS = 0.02  # seconds
DEADLINE = 400  # seconds that a stage may take, on a machine that is busy with other tests


def run_and_kill_readers(command: list[str], path: Path, how: signal.Signals, times: int, **options) -> tuple[int, str]:
    """Run a stage, and kill its workers whenever one opens `path`, `times` times; how often, and what it printed.

    A lease holds whoever opens the file until it is given up, and tells us. It does not tell who it is: all workers of
    the moment are killed, which is worse for the stage. Without workers it is the stage's own process: a failure.
    """
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    kills = 0
    with path.open("rb+") as file, subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options) as stage:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        deadline = time.monotonic() + DEADLINE
        try:
            while stage.poll() is None:
                if kills < times and fcntl.fcntl(file, fcntl.F_GETLEASE) != fcntl.F_WRLCK:
                    os.kill(stage.pid, signal.SIGSTOP)  # or it would start a worker before the lease is taken again
                    assert kill_workers(stage.pid, how), "the stage's own process has opened what kills its readers"
                    kills += 1
                    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
                    if kills < times:
                        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
                    os.kill(stage.pid, signal.SIGCONT)
                assert time.monotonic() < deadline, f"the stage hangs, after {kills} kills"
                time.sleep(CHECKS)
        finally:
            stage.kill()  # also one that is stopped
        assert stage.stderr is not None
        said = stage.stderr.read()
        assert stage.wait() == 0, said
    return kills, said


def can_lease(path: Path) -> bool:
    """Whether files beside `path` can be held so; it is made."""
    with path.open("wb") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            return False
    return True


def run_with_little_memory(command: list[str], limit: int, **options) -> tuple[int, str]:
    """Run a stage whose workers get `limit` bytes of address space each; its status, and what it printed.

    The limit is set on the server of forks, which starts workers only after it has imported what they need.
    """
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options) as stage:
        while stage.poll() is None:
            for server in children(stage.pid):
                with contextlib.suppress(ProcessLookupError):  # it ends with the stage, at any moment
                    resource.prlimit(server, resource.RLIMIT_AS, (limit, limit))
            time.sleep(CHECKS)
        assert stage.stderr is not None
        return stage.returncode, stage.stderr.read()


def kill_workers(stage: int, how: signal.Signals) -> list[int]:
    """Kill the children of the stage's children, and wait until they are gone: multiprocessing starts workers so."""
    workers = [worker for server in children(stage) for worker in children(server)]
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):  # it had nothing left to do
            os.kill(worker, how)
    while {worker for server in children(stage) for worker in children(server)} & set(workers):
        time.sleep(CHECKS)
    return workers


def children(process: int) -> list[int]:
    """Return the processes that `process` has started; none where it has ended itself."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child.pid)
    return found
