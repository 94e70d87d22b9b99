"""Record decisions in `corrections.csv` as the page makes them: appended and synced, one row a decision.

Several pages, several servers and an editor may write the same file. Each change is made under a lock and begins with
what the file holds then, so nobody's rows are lost. A decision about an image that has none is appended; one that
replaces, withdraws or brings back another rewrites the file atomically: the row that is replaced stays, marked as such.
"""

import csv
import errno
import fcntl
import io
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from darkroom.core.errors import REASONS, DarkroomError
from darkroom.core.text import one_line
from darkroom.review.samples import Samples
from darkroom.splits.corrections import (
    DECISIONS,
    Correction,
    decisions,
    is_label,
    read_corrections,
    write_corrections,
)

LOCK = Path(".darkroom/corrections.lock")
WITHDRAWN = "none"
Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Change:
    """A decision that is asked for: about a sample, or `none` to withdraw it; `becomes` of relabel.

    `queue`: the list of the page that showed the sample, "" for none.
    """

    id: str
    decision: str
    becomes: str = ""
    queue: str = ""
    note: str = ""

    @property
    def by(self) -> str:
        """Return what proposed it, as a row of the file says."""
        return f"review: {self.queue}" if self.queue else "review"

    def checked(self, classes: Collection[str]) -> tuple[str, str]:
        """Return the decision and the new label. Raises DarkroomError for what is neither."""
        if self.decision not in (*DECISIONS, WITHDRAWN):
            raise DarkroomError(f"{self.decision[:100]!r} is not a decision; expected one of {', '.join(DECISIONS)}")
        if self.decision != "relabel":
            return self.decision, ""
        if self.becomes in classes:  # as the source has it, blanks of any kind included
            return self.decision, self.becomes
        becomes = " ".join(self.becomes.split())
        if not is_label(becomes):
            raise DarkroomError("a new label needs at least one character, and no control characters")
        return self.decision, becomes


def corrections(changes: Sequence[Change], samples: Samples) -> dict[str, Correction | None]:
    """Return the decision of `changes` about each file, by its key; None to withdraw it.

    Raises DarkroomError where two changes of one file contradict each other, or one is not valid.
    """
    wanted: dict[str, Correction | None] = {}
    for change in changes:
        index = samples.index(change.id)
        key, correction = samples.all[index].key, decided(change, samples, index, change.by)
        other = wanted.setdefault(key, correction)
        if (other and other.outcome) != (correction and correction.outcome):
            raise DarkroomError(
                f"{samples.all[index].location} is the same file as another one that is selected, under another "
                "label; decide about one of them"
            )
    return wanted


def decided(change: Change, samples: Samples, index: int, by: str) -> Correction | None:
    """Return the row of the file that a change of the sample `index` makes; None: withdrawn. Raises DarkroomError.

    To relabel an image as the source does is to keep it, unless the source has the same bytes under two labels.
    """
    decision, becomes = change.checked(samples.classes)
    if decision == WITHDRAWN:
        return None
    sample = samples.all[index]
    given = {samples.given(copy) for copy in samples.by_key[sample.key]}
    if decision == "keep" and len(given) > 1:  # the same bytes under two labels: this one is right
        decision, becomes = "relabel", sample.label
    elif becomes == sample.label and len(given) == 1:  # as the source has it
        decision, becomes = "keep", ""
    return Correction(sample.sha256, sample.id, decision, sample.label, becomes, one_line(by)[:100], now(),
                      one_line(change.note)[:500])  # fmt: skip


def now() -> str:
    """Return the time for the column `when`: ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


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
        """Return the decision about each image, as of the last read of the file."""
        return self._by_key

    def refresh(self) -> int:
        """Read the file if somebody else has changed it; return the version. Raises DarkroomError."""
        if _stamp(self.path) != self._stamp:
            with self._locked():
                self._read()
        return self.version

    def record(
        self, changes: Mapping[str, Correction | None], expected: Mapping[str, Correction | None] | None = None
    ) -> dict[str, Correction | None]:
        """Write the new decision about each key, None to withdraw it; return the previous ones.

        `expected`, of an undo: the decisions that it takes back, so that those which they replaced become the present
        ones again. A key that somebody else has decided about since stays as it is, and is not in the result. When
        this returns, the decisions are on the disk; where it raises DarkroomError, none of them is.
        """
        with self._locked():
            self._read()
            if expected is not None:
                changes = {key: change for key, change in changes.items()
                           if _cells(self._by_key.get(key)) == _cells(expected[key])}  # fmt: skip
                if not changes:
                    return {}
            before = {key: self._by_key.get(key) for key in changes}
            added = [change for change in changes.values() if change is not None]
            kept = self._rows
            try:
                if expected is not None or any(before.values()):
                    kept = self._remaining(changes, is_undo=expected is not None)
                    write_corrections(self.path, [*kept, *added])
                    stamp = _stamp(self.path)
                else:
                    stamp = _append(self.path, added, self._stamp)
            except OSError as error:
                raise DarkroomError(f"{self.path}: {_reason(error)}; the decision is not saved") from error
            kept.extend(added)
            by_key = {key: row for key, row in self._by_key.items() if key not in changes}  # the newest come last
            by_key |= {change.key: change for change in added}
            self._take(kept, by_key, stamp)
        return before

    def before(self, key: str) -> Correction | None:
        """Return the decision that the present one about `key` has replaced; None where it was the first."""
        earlier = [row for row in self._rows if row.key == key and row.replaced]
        return replace(earlier[-1], replaced=False) if earlier else None

    def _remaining(self, changes: Mapping[str, Correction | None], is_undo: bool) -> list[Correction]:
        """Return the rows that stay below `changes`: other images' rows, and what this image's new row replaces.

        A decision that is replaced or withdrawn stays, marked as such. One that is undone does not, nor does the marked
        row of the one that becomes the present one again.
        """
        kept = []
        for row in self._rows:
            if row.key not in changes:
                kept.append(row)
                continue
            new = changes[row.key]
            if row.replaced:
                if not (is_undo and new and row.row() == replace(new, replaced=True).row()):
                    kept.append(row)
            elif not is_undo and row is self._by_key[row.key] and (new is None or _is_other(row, new)):
                kept.append(replace(row, replaced=True))
        return kept

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the file. Raises DarkroomError where it, or the file, cannot be created."""
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
        """Read the file if it has changed since the last read."""
        stamp = _stamp(self.path)
        if stamp != self._stamp:
            rows = read_corrections(self.path)
            self._take(rows, decisions(rows, self.path), stamp)

    def _take(self, rows: list[Correction], by_key: dict[str, Correction], stamp: Stamp | None) -> None:
        self._rows, self._by_key, self._stamp = rows, by_key, stamp
        self.version += 1


def _is_other(old: Correction, new: Correction) -> bool:
    """Return whether `new` decides otherwise than `old`, not only at another time."""
    return (old.decision, old.becomes) != (new.decision, new.becomes)


def _cells(correction: Correction | None) -> list[str]:
    """Return the cells of a decision in the file, whatever its line; [] for none."""
    return correction.row() if correction else []


def _append(path: Path, added: Iterable[Correction], known: Stamp | None) -> Stamp | None:
    """Append rows to the file and sync it; on a full disk, remove what was written of them.

    Returns the stamp of the file; None where an editor, which takes no lock, has changed it since `known`.
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
    """Return the file's inode, size and time of change, which change with its content; None without a file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
