"""What every stage script shares: arguments from dvc.yaml, one closing line, errors as one line, a note of the run."""

import ctypes
import errno
import gc
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darkroom.core import runtime
from darkroom.core.errors import DarkroomError, is_out_of_memory

INTERRUPTED = 130
REASONS = {
    errno.ENOSPC: "the disk is full; free some space, then run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space, then run the same command again",
    errno.EACCES: "no permission; check the owner and mode of this path",
    errno.EPERM: "not permitted; check the owner and mode of this path",
    errno.EROFS: "the file system is read-only; work in a folder that can be written",
    errno.ENOENT: "no such file or folder; run `dvc repro`, which makes what is missing",
    errno.EISDIR: "is a folder, expected a file",
    errno.ENOTDIR: "is a file, expected a folder",
    errno.EMFILE: "too many open files; raise `ulimit -n`",
    errno.EIO: "the disk gave an input/output error; check it before going on",
}
_noted: dict[str, Any] = {}
CODE = Path("stages/code")
PACKAGES = ("darkroom", "stages")


def run(main: Callable[..., str]) -> None:
    """Call `main` with the command line's arguments as Paths, print what it made and how long it took, and exit.

    `main` takes one Path a positional argument and returns its closing line. What a user can cause ends as one line
    on standard error and a status that is not zero.
    """
    name = Path(sys.argv[0]).stem
    started = time.monotonic()
    # torch makes some 100,000 objects as it is imported. Python would look through all of them for unreachable ones
    # several times then, and again at the end: a quarter of the 2 s that a stage costs which imports it.
    gc.set_threshold(10_000)
    _end_with_parent()
    runtime.open_files()
    try:
        arguments = _arguments(name, main)
        said = main(*arguments)
        took = time.monotonic() - started
        runtime.record(name, started, runtime.from_environment(), _facts())
        _report_unlinked(name)
    except DarkroomError as error:
        _fail(f"{name}: {error}")
    except KeyboardInterrupt:
        _fail(f"{name}: interrupted; the same command goes on from here", INTERRUPTED)
    except OSError as error:
        if error.errno not in REASONS:
            raise
        where = error.filename or "this disk"
        _fail(f"{name}: {where}: {REASONS[error.errno]}")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):  # torch has an error of its own for a GPU's memory
            raise
        _fail(f"{name}: out of memory; use a smaller image_size or batch_size, or fewer DARKROOM_WORKERS")
    print(f"{name}: {said} in {took:.1f} s", flush=True)
    gc.freeze()


def _arguments(name: str, main: Callable[..., str]) -> list[Path]:
    wanted = list(inspect.signature(main).parameters)
    if len(sys.argv) - 1 != len(wanted):
        _fail(f"usage: stages/run {name} {' '.join(wanted).upper()}\n{inspect.getdoc(main) or ''}", 2)
    return [Path(argument) for argument in sys.argv[1:]]


def note(**facts: Any) -> None:
    """Add facts of this run (device, precision, engine) to its entry in metrics/run.json."""
    _noted.update(facts)


def _report_unlinked(name: str) -> None:
    missing = unlinked(name)
    if missing:
        print(f"{name}: note: DVC does not know that this stage ran {', '.join(missing)}; run `make wire`", flush=True)


def _end_with_parent() -> None:
    """Have Linux end this process when DVC is killed: an orphan would go on writing beside the next run."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def _facts() -> dict[str, Any]:
    return dict(_noted)


def _fail(message: str, status: int = 1) -> None:
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    # Workers and libraries may hold threads that would keep a plain exit waiting.
    os._exit(status) if status == INTERRUPTED else sys.exit(status)


def unlinked(stage: str, root: Path = Path()) -> list[str]:
    """Return the project's own modules that this process has imported and that `stages/code/<stage>` does not link.

    Empty where the folder does not exist: a script that is run outside of a project has no deps.
    """
    folder = root / CODE / stage
    if not folder.is_dir():
        return []
    linked = {path.name for path in folder.iterdir()}
    used = [name for name, module in sys.modules.items() if not hasattr(module, "__path__")]
    return sorted(name for name in used if name.partition(".")[0] in PACKAGES and name not in linked)
