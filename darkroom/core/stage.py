"""Run a stage script: arguments from dvc.yaml, errors as one line, one closing line, an entry in metrics/run.json."""

import gc
import inspect
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darkroom.core import runtime
from darkroom.core.bound import end_with_parent
from darkroom.core.errors import REASONS, DarkroomError, is_out_of_memory

INTERRUPTED = 130
CODE = Path("stages/code")
PACKAGES = ("darkroom", "stages")
_noted: dict[str, Any] = {}


def run(main: Callable[..., str]) -> None:
    """Call `main` with the command line's arguments as Paths, and print its closing line with the time it took.

    `main` takes Paths only and returns the closing line. An error that a user can cause is printed as one line on
    standard error, and the exit status is not 0.
    """
    name = Path(sys.argv[0]).stem
    started = time.monotonic()
    # Importing torch makes some 100,000 objects. Searching them for garbage several times meanwhile, and again at the
    # end, would take a quarter of the 2 s that the import costs.
    gc.set_threshold(10_000)
    end_with_parent()  # where DVC is killed, it would write at the same time as the next run
    runtime.open_files()
    try:
        closing = main(*_arguments(name, main))
        seconds = time.monotonic() - started
        runtime.record(name, started, runtime.from_environment(), _noted)
        if missing := unlinked(name):
            print(f"{name}: note: DVC does not know that this stage ran {', '.join(missing)}; run `make wire`")
    except DarkroomError as error:
        _fail(f"{name}: {error}")
    except KeyboardInterrupt:
        _fail(f"{name}: interrupted; the same command goes on from here", INTERRUPTED)
    except OSError as error:
        if error.errno not in REASONS:
            raise
        _fail(f"{name}: {error.filename or 'this disk'}: {REASONS[error.errno]}")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):  # torch raises RuntimeError where a GPU's memory is full
            raise
        _fail(f"{name}: out of memory; use a smaller image_size or batch_size, or fewer DARKROOM_WORKERS")
    print(f"{name}: {closing} in {seconds:.1f} s", flush=True)
    gc.freeze()  # so that Python does not search all objects once more as it exits


def _arguments(name: str, main: Callable[..., str]) -> list[Path]:
    wanted = list(inspect.signature(main).parameters)
    if len(sys.argv) - 1 != len(wanted):
        _fail(f"usage: stages/run {name} {' '.join(wanted).upper()}\n{inspect.getdoc(main) or ''}", 2)
    return [Path(argument) for argument in sys.argv[1:]]


def note(**facts: Any) -> None:
    """Add facts of this run (device, precision, engine) to its entry in metrics/run.json."""
    _noted.update(facts)


def _fail(message: str, status: int = 1) -> None:
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    # After Ctrl-C, threads of workers and libraries could keep a plain exit waiting.
    os._exit(status) if status == INTERRUPTED else sys.exit(status)


def unlinked(stage: str, root: Path = Path()) -> list[str]:
    """Return the project's own modules that this process has imported and that `stages/code/<stage>` does not link.

    Return [] where that folder does not exist: a script that runs outside a project has no deps.
    """
    folder = root / CODE / stage
    if not folder.is_dir():
        return []
    linked = {path.name for path in folder.iterdir()}
    used = [name for name, module in sys.modules.items() if not hasattr(module, "__path__")]
    return sorted(name for name in used if name.partition(".")[0] in PACKAGES and name not in linked)
