"""Tasks that do to a worker what a bad decoder does; in a module of its own, because workers import it by name."""

import os
import signal
import time
from pathlib import Path

from darkroom.core.errors import NoMemory
from darkroom.sources import index
from darkroom.sources.extents import Extent


def work(task: str) -> str:
    """`double N`, or a way to die."""
    kind, _, value = task.partition(" ")
    if kind == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "killed-once" and not Path(value).exists():
        Path(value).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "alone":
        die_unless_alone(Path(value))
    if kind == "exit":
        os._exit(3)
    if kind == "sleep":
        time.sleep(float(value))
    if kind == "hang":
        time.sleep(60)
    if kind == "raise":
        raise RuntimeError(f"a mistake in our own code: {value}")
    if kind == "pid":
        time.sleep(0.05)
        return str(os.getpid())
    return str(2 * int(value)) if kind == "double" else kind


def die_unless_alone(folder: Path) -> None:
    """Do what two large pictures do to each other where there is memory for one: all but the last to come die."""
    for mark in folder.iterdir():
        mark.unlink(missing_ok=True)
    (folder / str(os.getpid())).touch()
    time.sleep(0.3)
    if {mark.name for mark in folder.iterdir()} != {str(os.getpid())}:
        os.kill(os.getpid(), signal.SIGKILL)


def short_of_memory(mark: Path, always: bool, task: tuple[str, Extent], side: int) -> bytes:
    """Make the index's small picture where decoding finds no memory, always or only the first time."""

    def refuse(data: bytes, *sides: int) -> None:
        raise NoMemory("not enough memory")

    if always or not mark.exists():
        mark.touch()
        setattr(index, "decode_grey", refuse)  # noqa: B010  in this process
    return index._small_picture(task, side)
