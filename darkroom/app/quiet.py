"""Standard error is for the program's own words: a bad picture's reason stands in its answer."""

import ctypes
import logging
import warnings
from pathlib import Path

import PIL


def silence_decoders() -> None:
    """Keep Pillow, and the libtiff in its wheel, from writing to standard error; for the whole process."""
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    for path in sorted((Path(PIL.__file__).parents[1] / "pillow.libs").glob("libtiff*")):
        try:
            library = ctypes.CDLL(str(path))
            for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
                set_handler = getattr(library, name)
                set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                set_handler(None)
        except (OSError, AttributeError):
            continue  # another build of Pillow: its words are a blemish, not a fault
