"""What is wrong with a file that is not what its name says: the mistakes that real data sets are full of."""

import gzip
import zlib
from pathlib import Path

LFS = b"version https://git-lfs.github.com/spec/"
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")
GZIP = b"\x1f\x8b"


def what_is_wrong(data: bytes) -> str:
    """A known mistake, in plain words, or "" when the first bytes show none."""
    if not data:
        return "empty file"
    if data.startswith(LFS):
        return "Git LFS pointer; run `git lfs pull`"
    if data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES):
        return "an HTML or XML page, saved under this name"
    if not any(data[:4096]):
        return "only zero bytes"
    return ""


def describe_file(path: Path) -> str:
    """A known mistake of a whole file, fit for "the file is …", or "" when it looks sound."""
    with path.open("rb") as file:
        head = file.read(4096)
    known = what_is_wrong(head)
    if known:
        return {"empty file": "empty (0 bytes)", "only zero bytes": "full of zero bytes"}.get(known, "a " + known
                if known.startswith("Git") else known)  # fmt: skip
    if head.startswith(GZIP) and not _is_whole_gzip(path):
        return f"truncated: it ends after {path.stat().st_size:,} bytes, an interrupted download"
    return ""


def _is_whole_gzip(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, OSError, zlib.error):
        return False
    return True
