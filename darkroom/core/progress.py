"""Show progress on standard error: a bar on a terminal, a plain line every ten seconds in a log."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")
LINE_EVERY = 10.0  # seconds between two lines of a log


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "image") -> Iterator[T]:
    """Yield `items` and show how many are done, of `total` (by default len(items), where it has one)."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=what, total=total, unit=unit, leave=False, dynamic_ncols=True)
        return
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            of = f" of {total:,}" if total else ""
            print(f"{what}: {done:,}{of} {unit}{'es' if unit.endswith('ch') else 's'}", file=sys.stderr, flush=True)


def say(message: str) -> None:
    """Print one line on standard error."""
    print(message, file=sys.stderr, flush=True)


def progress_bytes(chunks: Iterable[bytes], what: str, start: int, total: int | None) -> Iterator[bytes]:
    """Yield `chunks` and show how many of `total` bytes are done; `start` bytes were done before."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(desc=what, initial=start, total=total, unit="B", unit_scale=True, leave=False) as bar:
            for chunk in chunks:
                yield chunk
                bar.update(len(chunk))
        return
    done, last = start, time.monotonic()
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            of = f" of {total / 1e6:,.1f}" if total else ""
            print(f"{what}: {done / 1e6:,.1f}{of} MB", file=sys.stderr, flush=True)
