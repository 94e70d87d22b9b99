"""Start a program that ends with this process: a command that is killed leaves nobody who writes into the workspace.

As a script, `bound.py PARENT PROGRAM ARGUMENT…` binds itself to the process PARENT and becomes the program.
"""

import ctypes
import os
import signal
import sys


def bound(command: list[str]) -> list[str]:
    """Return the command that runs `command` until it ends, or until the thread that has started it does.

    On Linux alone; elsewhere the command itself. It is a script, since `preexec_fn` is not safe in a process with
    threads; it stands alone, since the folder that the program runs in may hold other code of this name.
    """
    return [sys.executable, "-IS", __file__, str(os.getpid()), *command] if sys.platform == "linux" else command


def dvc() -> list[str]:
    """Return the command that runs this environment's DVC as long as this process lives."""
    return bound([sys.executable, "-m", "dvc"])


def end_with_parent() -> None:
    """Make Linux kill this process when the one that started it ends; elsewhere do nothing."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def main(parent: int, command: list[str]) -> None:
    """Become `command`, which Linux kills when `parent` ends; end at once where that has happened already."""
    end_with_parent()
    if os.getppid() == parent:
        os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
