"""Read archives and Parquet files (containers) in a folder as if they were folders: one per class, or one per part.

This applies to a folder that holds containers and no images; containers in an archive are unpacked into data/raw first.
Containers within those are not opened, but reported.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from darkroom.core.errors import SourceError
from darkroom.images.formats import is_image_name
from darkroom.sources.encodings import few_of
from darkroom.sources.extents import Extent
from darkroom.sources.parquet import LABELS, Parquet, holds_images
from darkroom.sources.trees import ARCHIVES, CONTAINERS, MEMBER, Folder, Tree, open_tree

SHARD = re.compile(r"(.*?)\d{3,}(?:-of-\d+)?")  # `00000.tar`, `train-00003.tar`


class Mounted:
    """A folder whose containers are listed like folders: `cat.zip` with `1.jpg` in it is `cat/1.jpg`."""

    def __init__(self, folder: Folder, containers: list[str]) -> None:
        self.path = folder.path
        self._folder = folder
        self._mounts = {_stem(name) + "/": (name, open_tree(folder.path / name)) for name in containers}
        beside = [name for name in folder.files if name not in containers]
        trees = {where: tree for where, (_, tree) in self._mounts.items()}
        inside = [where + name for where, tree in trees.items() for name in tree.files
                  if not (isinstance(tree, Parquet) and name == LABELS)]  # fmt: skip
        self._shards = {where: tree for where, tree in trees.items() if isinstance(tree, Parquet)}
        self.files = sorted([*beside, *inside, *([LABELS] if self._shards else [])])
        empty = [where.rstrip("/") for where, tree in trees.items() if not tree.files]
        self.empty_folders = folder.empty_folders + empty + [where + name for where, tree in trees.items()
                                                     for name in tree.empty_folders]  # fmt: skip
        self.tool_folders = sum((tree.tool_folders for tree in trees.values()), Counter(folder.tool_folders))
        self.notes = folder.notes + [note for tree in trees.values() for note in tree.notes]
        self.notes.append(f"{len(containers)} files are read like folders of their names: {few_of(containers)}")

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """Yield where the named files are, container by container."""
        inside: dict[str, list[str]] = {}
        for name in names:
            if name == LABELS and self._shards:
                yield name, Extent(str(self.path), data=self._table())
                continue
            inside.setdefault(self._where(name), []).append(name)
        for where, some in sorted(inside.items()):
            tree = self._mounts[where][1] if where else self._folder
            for name, extent in tree.extents([name.removeprefix(where) for name in some]):
                yield where + name, extent

    def location(self, name: str) -> str:
        """Return the location of a file for an index: `cat.zip::1.jpg`."""
        where = self._where(name)
        return self._mounts[where][0] + MEMBER + name.removeprefix(where) if where else name

    @property
    def numbered(self) -> bool:
        """Whether the containers are named like parts of one set: one name, with numbers of three digits or more."""
        found = [SHARD.fullmatch(where.rstrip("/")) for where in self._mounts]
        return len({match and match[1] for match in found}) == 1 and found[0] is not None

    def trees(self) -> list[Tree]:
        """Return the trees of the containers."""
        return [tree for _, tree in self._mounts.values()]

    def _table(self) -> bytes:
        """Return the labels of all Parquet files as one table of JSON lines."""
        records = (record | {"file_name": where + record["file_name"]}
                   for where, tree in sorted(self._shards.items()) for record in tree.records())  # fmt: skip
        return "".join(json.dumps(record, ensure_ascii=False, default=str) + "\n" for record in records).encode()

    def _where(self, name: str) -> str:
        parts = name.split("/")
        return next(
            (where for depth in range(1, len(parts)) if (where := "/".join(parts[:depth]) + "/") in self._mounts), ""
        )


def mounted(tree: Tree) -> Tree:
    """Return a folder without images with its containers as folders, any other tree as it is."""
    if not isinstance(tree, Folder) or _has_images(tree):
        return tree
    containers = [name for name in containers_in(tree) if not name.lower().endswith(".parquet") or
                  holds_images(tree.path / name)]  # fmt: skip
    return Mounted(tree, containers) if containers else tree


def containers_in(tree: Tree) -> list[str]:
    """Return the names of the archives and Parquet files in a tree."""
    return [name for name in tree.files if name.lower().endswith(CONTAINERS)]


def is_nested(tree: Tree) -> bool:
    """Return whether an archive holds containers, and no images."""
    return not isinstance(tree, Folder) and bool(containers_in(tree)) and not _has_images(tree)


def unpack_containers(tree: Tree, raw: Path) -> Tree | None:
    """Write the containers of an archive without images into `raw`; return that folder with them as folders.

    Return None where the archive holds images or no container. Raises SourceError where the disk is too small.
    """
    if not is_nested(tree):
        return None
    names = containers_in(tree)
    total, free = 0, shutil.disk_usage(raw).free
    for name, extent in tree.extents(names):
        total += max(extent.size, extent.unpacked, len(extent.data or b""))
        if total > free:
            raise SourceError(f"{tree.path}: its archives need more than the {free:,} bytes that are free; make room")
        target = raw / name
        target.parent.mkdir(parents=True, exist_ok=True)
        extent.copy(target)
    for name, extent in tree.extents([name for name in tree.files if name not in names]):  # tables beside them
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        extent.copy(raw / name)
    inside = mounted(Folder(raw))
    inside.notes.append(f"{len(names)} archives in {tree.path.name} are unpacked into data/raw: {few_of(names)}")
    return inside


def _has_images(tree: Tree) -> bool:
    return any(map(is_image_name, tree.files))


def _stem(name: str) -> str:
    suffix = max((suffix for suffix in (*ARCHIVES, *CONTAINERS) if name.lower().endswith(suffix)), key=len)
    return name[: -len(suffix)]
