"""Record decisions in `corrections.csv` as they are made: appended and synced, one row an image.

Several pages, several servers and an editor may write the same file. Each change is made under a lock and begins with
what the file holds then, so nobody's rows are lost. A decision about an image that has none is appended; one that
replaces or withdraws another rewrites the file atomically.
"""

import csv
import errno
import fcntl
import io
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from darkroom.core.errors import DarkroomError
from darkroom.core.stage import REASONS
from darkroom.splits.corrections import Correction, decisions, read_corrections, write_corrections

LOCK = Path(".darkroom/corrections.lock")
Stamp = tuple[int, int, int]


class DecisionLog:
    """The decisions in the file `path`, by the sha256 of the image, or by its id where it has no sha256.

    `version` grows with each change that this object has seen, whoever made it.
    """

    def __init__(self, path: Path, lock: Path = LOCK) -> None:
        self.path, self.version = path, 0
        self._lock_file, self._mutex = lock, threading.Lock()
        self._rows: list[Correction] = []
        self._by_key: dict[str, Correction] = {}
        self._stamp: Stamp | None = None
        with self._locked():
            self._read()

    def decided(self) -> Mapping[str, Correction]:
        """Return the decision about each image, as of the last look at the file."""
        return self._by_key

    def refresh(self) -> int:
        """Read the file if somebody else has changed it; return the version. Raises DarkroomError."""
        if _stamp(self.path) != self._stamp:
            with self._locked():
                self._read()
        return self.version

    def record(self, changes: Mapping[str, Correction | None]) -> dict[str, Correction | None]:
        """Write what is now decided about each key, None to withdraw it; return what was decided before.

        When this returns, the decisions are on the disk. Raises DarkroomError, and then none of them is.
        """
        with self._locked():
            self._read()
            before = {key: self._by_key.get(key) for key in changes}
            added = [change for change in changes.values() if change is not None]
            kept = self._rows
            try:
                if any(before.values()):
                    kept = [row for row in self._rows if row.key not in changes]
                    write_corrections(self.path, [*kept, *added])
                    stamp = _stamp(self.path)
                else:
                    stamp = _append(self.path, added, self._stamp)
            except OSError as error:
                raise DarkroomError(f"{self.path}: {_reason(error)}; the decision is not saved") from error
            kept.extend(added)
            by_key = {key: change for key, change in {**self._by_key, **changes}.items() if change}
            self._take(kept, by_key, stamp)
        return before

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the file. Raises DarkroomError where it cannot be had, or the file not be begun."""
        with self._mutex, ExitStack() as held:
            try:
                self._lock_file.parent.mkdir(parents=True, exist_ok=True)
                fcntl.flock(held.enter_context(self._lock_file.open("w")), fcntl.LOCK_EX)
                if not self.path.exists():  # at first, or where another branch was checked out meanwhile
                    write_corrections(self.path, [])
            except OSError as error:
                raise DarkroomError(f"{error.filename or self.path}: {_reason(error)}") from error
            yield

    def _read(self) -> None:
        """Take what the file holds, unless it is what is known already."""
        stamp = _stamp(self.path)
        if stamp != self._stamp:
            rows = read_corrections(self.path)
            self._take(rows, decisions(rows, self.path), stamp)

    def _take(self, rows: list[Correction], by_key: dict[str, Correction], stamp: Stamp | None) -> None:
        self._rows, self._by_key, self._stamp = rows, by_key, stamp
        self.version += 1


def _append(path: Path, added: Iterable[Correction], known: Stamp | None) -> Stamp | None:
    """Write rows at the end of the file and sync it; what a full disk left of them is taken back.

    Returns the stamp of the file; None where an editor, which asks for no lock, has changed it since `known`.
    """
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).writerows(change.row() for change in added)
    with path.open("r+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        data = (b"" if file.read(1) == b"\n" else b"\n") + text.getvalue().encode()
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise
    stamp = _stamp(path)
    return stamp if known and stamp and stamp[:2] == (known[0], known[1] + len(data)) else None


def _reason(error: OSError) -> str:
    return REASONS.get(error.errno or 0, os.strerror(error.errno or errno.EIO))


def _stamp(path: Path) -> Stamp | None:
    """Return what changes with the file's content: its inode, size and time of change; None where there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
