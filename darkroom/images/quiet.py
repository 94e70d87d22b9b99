"""Standard error is for the program's own words: what is wrong with a picture stands in its reason."""

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

_lock = threading.Lock()
_state: dict[str, Any] = {"inside": 0, "catcher": None}


def silence_decoders() -> None:
    """Keep Pillow's log, and the libtiff in its wheels, from writing on standard error; for the whole process."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    root = Path(Image.__file__).parent
    for path in (*root.parent.glob("pillow.libs/libtiff*"), *root.glob(".dylibs/libtiff*")):
        library = ctypes.CDLL(str(path))  # the copy that Pillow has loaded, not a second one
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings from Pillow. The filters belong to the process: the first thread in sets them, the last restores."""
    with _lock:
        if _state["inside"] == 0:
            _state["catcher"] = warnings.catch_warnings()
            _state["catcher"].__enter__()
            warnings.simplefilter("ignore")
        _state["inside"] += 1
    try:
        yield
    finally:
        with _lock:
            _state["inside"] -= 1
            if _state["inside"] == 0:
                _state["catcher"].__exit__(None, None, None)
