"""What is wrong with a file that is not what its name says: the mistakes that real data sets are full of."""

import zlib

LFS = b"version https://git-lfs.github.com/spec/"
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")


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


def is_whole_gzip(path_bytes: bytes) -> bool:
    """True when gzip data ends as it should: an interrupted download does not."""
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        for start in range(0, len(path_bytes), 1 << 20):
            reader.decompress(path_bytes[start : start + (1 << 20)])
    except zlib.error:
        return False
    return reader.eof
