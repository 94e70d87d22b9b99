"""A log of decisions, and made-up decisions."""

import resource
import signal
from pathlib import Path

from darkroom.review.decisions import DecisionLog
from darkroom.splits.corrections import Correction

WHEN = "2026-11-28T05:00:00Z"


def correction(number: int, decision: str = "exclude", becomes: str = "", note: str = "") -> Correction:
    """Return a decision about an image of such a number."""
    return Correction(f"{number:064x}", f"{number:064x}", decision, "ant", becomes, "a test", WHEN, note)


def open_log(folder: Path) -> DecisionLog:
    """Return the log of a folder."""
    return DecisionLog(folder / "corrections.csv", folder / ".darkroom/lock")


def record(log: DecisionLog, *made: Correction) -> dict[str, Correction | None]:
    """Record decisions."""
    return log.record({one.key: one for one in made})


def limit_files_to(size: int) -> None:
    """Let this process write no file beyond `size` bytes, as a full disk would."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
