"""Commands as a user types them, timed from start to end: a fresh process each, its output kept in a log."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from darkroom.core.errors import DarkroomError

LIMIT = 1800.0  # seconds; a peer that takes longer has failed


class Seconds(float):
    """Wall seconds of a command; `processor`: those of all its processes, which a busy machine changes less."""

    processor = 0.0


class Failed(DarkroomError):
    """A command that did not succeed; its message is the last line that it said."""


def timed(
    command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str] | None = None, limit: float = LIMIT
) -> Seconds:
    """Return the seconds of `command`, run in `folder`; what it prints goes to `log`. Raises Failed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        started, before = time.perf_counter(), os.times()
        try:
            done = subprocess.run(
                command, cwd=folder, env=os.environ | (environment or {}), stdout=out, stderr=subprocess.STDOUT,
                timeout=limit, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise Failed(f"not done after {limit:.0f} s") from error
        except OSError as error:
            raise Failed(f"{command[0]}: {error.strerror}; run `make bench-setup`") from error
        took, after = Seconds(time.perf_counter() - started), os.times()
        took.processor = after.children_user + after.children_system - before.children_user - before.children_system
    if done.returncode:
        raise Failed(last_line(log) or f"ended with status {done.returncode}")
    return took


def last_line(log: Path) -> str:
    """Return the last line of a log that says something, at most 160 characters of it."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:160] if lines else ""
