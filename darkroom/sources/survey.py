"""Describe the files of a tree for an error message: their kinds, and what some of them really are."""

import errno
import os
import re
from collections import Counter
from pathlib import PurePosixPath

from darkroom.core.errors import BadImage
from darkroom.images.formats import what_is_wrong
from darkroom.images.headers import upright_size
from darkroom.sources.encodings import printable
from darkroom.sources.extents import Extent
from darkroom.sources.frames import NO_BOXES, UNREAD
from darkroom.sources.labels import SHOWN
from darkroom.sources.trees import Tree

BOX = re.compile(rb"\d+(\s+\d*\.\d+){4,}\s")
LOOKED_AT, MAX_BYTES = 20, 1 << 22  # files, and bytes of each: some are films


def seen(tree: Tree, images: list[str]) -> str:
    """Return the number, kinds and examples of the files of a tree, and known mistakes among them."""
    if not tree.files:
        return "it is empty"
    kinds = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in tree.files)
    shown = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(SHOWN))
    few = ", ".join(map(printable, (images or tree.files)[:3]))
    return f"it holds {len(tree.files)} files ({shown}), such as {few}{_mistakes(tree, images or tree.files)}"


def hint_of_suffixes(tree: Tree) -> str:
    """Return the next step where files are pictures without a suffix of pictures, else ""."""
    looked_at = _some(tree.files)
    pictures = sum(_is_picture(extent) for _, extent in tree.extents(looked_at))
    hint = f" {pictures} of {len(looked_at)} are pictures by their bytes: give them a suffix, such as .jpg."
    return hint if pictures else ""


def hints_of_unread(tree: Tree) -> list[str]:
    """Return the next steps for files that may hold labels or images but are not read."""
    first: dict[str, str] = {}
    for name in sorted(tree.files):
        first.setdefault(PurePosixPath(name).suffix.lower(), name)
    unread = [
        f" {printable(name)} is not read: {UNREAD[suffix]}." for suffix, name in first.items() if suffix in UNREAD
    ]
    beside = [name for name in tree.files if name.lower().endswith(".txt")]
    boxes = [name for name, extent in tree.extents(_some(beside)) if BOX.match(extent.head(MAX_BYTES))]
    return unread[:3] + [f" {printable(name)} is not read: it looks like boxes of YOLO, and {NO_BOXES}."
                         for name in boxes[:1]]  # fmt: skip


def _mistakes(tree: Tree, names: list[str]) -> str:
    """Return what some of the files really are, where they are not what their names say."""
    looked_at = _some(names)
    found = Counter(map(_mistake, (extent for _, extent in tree.extents(looked_at))))
    del found[""]
    return "".join(f"; {count} of {len(looked_at)} files looked at: {known}" for known, count in found.most_common())


def _mistake(extent: Extent) -> str:
    try:
        return what_is_wrong(extent.head(MAX_BYTES))
    except BadImage as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {os.strerror(error.errno or errno.EIO)}"


def _is_picture(extent: Extent) -> bool:
    try:
        return upright_size(extent.head(MAX_BYTES)) != (0, 0)
    except (BadImage, OSError):
        return False


def _some(names: list[str]) -> list[str]:
    return names[:: max(len(names) // LOOKED_AT, 1)][:LOOKED_AT]
