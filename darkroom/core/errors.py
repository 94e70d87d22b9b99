"""Errors that a user can cause: one message each, which names the thing, the value and the next step."""

import errno

from darkroom.core.text import escape

MAX_MESSAGE = 4000  # characters
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
REASONS = {
    errno.ENOSPC: "the disk is full; free some space, then run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space, then run the same command again",
    errno.EFBIG: "the file is too large for this disk or for `ulimit -f`; raise the limit",
    errno.EACCES: "no permission; check the owner and mode of this path",
    errno.EPERM: "not permitted; check the owner and mode of this path",
    errno.EROFS: "the file system is read-only; work in a folder that can be written",
    errno.ENOENT: "no such file or folder; run `dvc repro`, which makes what is missing",
    errno.EISDIR: "is a folder, expected a file",
    errno.ENOTDIR: "is a file, expected a folder",
    errno.EMFILE: "too many open files; raise `ulimit -n`",
    errno.EIO: "the disk gave an input/output error; check it before going on",
}  # of an OSError


class DarkroomError(Exception):
    """The base of all errors that are shown as one line, without a traceback."""

    def __str__(self) -> str:
        """Return the message with control characters escaped: it may quote names and values from files."""
        lines = super().__str__()[:MAX_MESSAGE].split("\n")
        return "\n".join(escape(line, "terminal") for line in lines)


class ParamsError(DarkroomError):
    """A key of params.yaml is absent, misspelt or out of range."""


class SourceError(DarkroomError):
    """The data set cannot be found, read, verified or understood."""


class BadImage(DarkroomError):
    """One file cannot be turned into a picture; str(error) is the reason, short enough for a table."""


class NoMemory(BadImage, MemoryError):
    """A picture needs more memory than is free now; decoded alone, or on another machine, it may succeed."""


class WeightsError(DarkroomError):
    """A file of weights is damaged or does not fit the model."""


class TrainingError(DarkroomError):
    """Training cannot go on: a loss that is not a number, nothing to train, no memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` reports that the machine or the device ran out of memory."""
    return isinstance(error, MemoryError) or any(phrase in str(error) for phrase in NO_MEMORY)
