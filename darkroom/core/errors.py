"""What a user can cause: each error is one message that names the thing, the value and the next step."""

from darkroom.core.text import escape

LONGEST = 4000  # characters of a message
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED", "ALLOCATION_FAILED")


class DarkroomError(Exception):
    """The base of all errors that are shown as one line, without a traceback."""

    def __str__(self) -> str:
        """Return the message as a terminal may show it, whatever names and values from elsewhere it holds."""
        lines = super().__str__()[:LONGEST].split("\n")
        return "\n".join(escape(line, "terminal") for line in lines)


class ParamsError(DarkroomError):
    """A key of params.yaml is absent, misspelt or out of range."""


class SourceError(DarkroomError):
    """The data set cannot be found, read, verified or understood."""


class BadImage(DarkroomError):
    """One file cannot be turned into a picture; str(error) is the reason, short enough for a table."""


class NoMemory(BadImage, MemoryError):
    """A picture needs more memory than there is now; alone, or on another machine, it may do."""


class WeightsError(DarkroomError):
    """A file of weights is damaged or does not fit the model."""


class TrainingError(DarkroomError):
    """Training cannot go on: a loss that is not a number, nothing to train, no memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether `error` says that the memory of the device or of the machine was not enough."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in NO_MEMORY)
