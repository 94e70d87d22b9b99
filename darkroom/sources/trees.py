"""Read a data set as a tree: a folder, a zip or a tar, listed and read in place, never extracted, never written.

Every tree gives two things: the names in it, and where the bytes of a name are (an `Extent`), which a worker process
reads by itself. A compressed tar is read from its start, in one pass, and its extents hold the bytes.

A *location*, as in `data/index.csv`, is one of
- a name below the source, or beside it, when the source is a table;
- `train.zip::cats/1.jpg`, in an archive;
- `raw:…`, below data/raw, for files of a card and for members of archives in an archive;
- `downloads:…`, below the folder DARKROOM_DOWNLOADS;
- `added://…`, a photo that was labelled later.

Which of these prefixes count depends on the source, since a user's files may be named `raw:x` or `a::b.jpg`.
"""

import errno
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from darkroom.core.errors import BadImage, SourceError
from darkroom.images.formats import is_image_name
from darkroom.sources.archives import Zip, is_junk, is_tool_folder
from darkroom.sources.extents import Extent
from darkroom.sources.parquet import Parquet
from darkroom.sources.tars import PackedTar, Tar

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
CONTAINERS = (*ARCHIVES, ".parquet")  # files that may hold images
RAW, DOWNLOADS, MEMBER = "raw:", "downloads:", "::"
# The schemes of object stores, and the packages that read them.
STORES = {
    "s3": "dvc-s3", "gs": "dvc-gs", "gcs": "dvc-gs", "hf": "huggingface-hub", "az": "adlfs", "abfs": "adlfs",
    "memory": "fsspec",
}  # fmt: skip
ADDRESS = re.compile(rf"({'|'.join(STORES)}):/+(.+)")  # pathlib turns two slashes into one
ADDED = "added://"  # a photo in data/raw/added; no path below a source begins like this
FACTS = "source.json"  # in data/raw: what later stages need to know about the source


class Tree(Protocol):
    """The interface of folders and archives. Names are POSIX paths below the root, sorted."""

    path: Path
    notes: list[str]  # about guesses and omissions in listing it

    @property
    def files(self) -> list[str]:
        """The names of all files, sorted."""
        ...

    @property
    def empty_folders(self) -> list[str]:
        """The names of empty folders."""
        ...

    @property
    def tool_folders(self) -> Counter[str]:
        """How many folders of network drives, systems and tools are left out, by name."""
        ...

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """Yield where `names` are, in the order in which they are read fastest."""
        ...


def open_tree(path: Path) -> Tree:
    """Return the folder or archive at `path`. Raises SourceError when it is neither, damaged or hostile."""
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise SourceError(f"{path} does not exist; set `source` in params.yaml to a card, folder, .csv or archive")
    if path.name.lower().endswith(".zip"):
        return Zip(path)
    if path.name.lower().endswith(".tar"):
        return Tar(path)
    if path.name.lower().endswith(ARCHIVES):
        return PackedTar(path)
    if path.name.lower().endswith(".parquet"):
        return Parquet(path)
    expected = f"a folder, a .csv, a card (.yaml) or an archive ({', '.join(ARCHIVES)})"
    raise SourceError(f"{path}: expected {expected}; unpack an archive of another kind, and name its folder")


def read_one(tree: Tree, name: str) -> bytes:
    """Return the bytes of one file of a tree. Raises SourceError."""
    for _, extent in tree.extents([name]):
        try:
            return extent.read()
        except BadImage as error:
            raise SourceError(f"{tree.path}: {name}: {error}") from error
        except FileNotFoundError as error:
            raise SourceError(f"{tree.path}: {name} is a link to nothing; delete it, or mend it") from error
    raise SourceError(f"{tree.path} holds no {name}")


class Folder:
    """A folder on disk; symbolic links are followed, hidden files are left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.files: list[str] = []
        self.empty_folders: list[str] = []
        self.tool_folders: Counter[str] = Counter()
        self._walk(str(path), "", set())
        self.files.sort()
        self.empty_folders.sort()

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """Yield where the named files are, in order of name."""
        for name in sorted(names):
            yield name, Extent(f"{self.path}/{name}")

    def _walk(self, folder: str, prefix: str, above: set[tuple[int, int]]) -> None:
        found = False
        here = Path(folder).stat()
        if (here.st_dev, here.st_ino) in above:
            return  # a link to a folder above, which would never end
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_junk(entry.name):
                    self.tool_folders[entry.name] += is_tool_folder(entry.name) or _hides_images(entry)
                    continue
                found = True
                if _is_folder(entry):
                    self._walk(entry.path, f"{prefix}{entry.name}/", above | {(here.st_dev, here.st_ino)})
                else:
                    self.files.append(prefix + entry.name)
        if not found and prefix:
            self.empty_folders.append(prefix.rstrip("/"))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False  # a link to itself: a file that cannot be read
        raise


def _hides_images(entry: "os.DirEntry[str]") -> bool:
    """Return whether a hidden folder has images in it, as a class called `...dots` has."""
    try:
        return _is_folder(entry) and any(is_image_name(name) and not is_junk(name) for name in os.listdir(entry.path))
    except OSError:
        return False


class Locations:
    """Find the bytes of locations; each archive is opened once."""

    def __init__(self, source: Path, raw: Path, downloads: Path | None) -> None:
        # Texts, because making a Path for each file would take as long as reading it.
        self._base = str(source if source.is_dir() else source.parent)
        self._card = is_card(source) or bool(address_of(source))
        self._archive = source.name + MEMBER if source.is_file() and source.name.lower().endswith(ARCHIVES) else ""
        self._bases = {RAW: str(raw)} | ({DOWNLOADS: str(downloads)} if downloads else {})
        self._trees: dict[Path, Tree] = {}
        self._known: dict[str, bool] = {}

    def know(self, tree: Tree) -> None:
        """Keep an archive that is open already, so that it is not listed twice."""
        self._trees[tree.path.absolute()] = tree

    def extents(self, locations: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """Yield (location, where its bytes are), container by container, in the order in which each is read fastest."""
        containers: dict[str, list[str]] = {}
        for location in locations:
            container = self._container(location)
            containers.setdefault(container, []).append(location.removeprefix(container))
        for container, names in sorted(containers.items()):
            if not container:
                for name in sorted(names):
                    yield name, Extent(self._path(name))
                continue
            path = Path(self._path(container.removesuffix(MEMBER)))
            if path.absolute() not in self._trees:
                self._trees[path.absolute()] = open_tree(path)
            for name, extent in self._trees[path.absolute()].extents(names):
                yield container + name, extent

    def _container(self, location: str) -> str:
        """Return the archive of a location, with the MEMBER that ends it; "" where it is not in an archive."""
        if self._archive and location.startswith(self._archive):
            return self._archive
        path, member, _ = location.partition(MEMBER)
        if member and path.lower().endswith(CONTAINERS) and self._is_file(path):
            return path + member
        return ""

    def _is_file(self, path: str) -> bool:
        """Return whether a container exists, which is not so for a user's file named `a.zip::b.jpg`."""
        if path not in self._known:
            self._known[path] = Path(self._path(path)).is_file()
        return self._known[path]

    def _path(self, location: str) -> str:
        if location.startswith(ADDED):
            return f"{self._bases[RAW]}/{ADDED.rstrip(':/')}/{location.removeprefix(ADDED)}"
        if self._card or (self._archive and location + MEMBER != self._archive):
            for prefix, base in self._bases.items():
                if location.startswith(prefix):
                    return f"{base}/{location.removeprefix(prefix)}"
            if location.startswith(DOWNLOADS):
                raise SourceError(
                    f"{location} lies in a folder that DARKROOM_DOWNLOADS should name; set it as in fetch"
                )
        return f"{self._base}/{location}"


def address_of(source: str | Path) -> str:
    """Return `source` as an address of an object store, `s3://bucket/folder`; "" for a path on disk."""
    match = ADDRESS.fullmatch(str(source))
    return f"{match[1]}://{match[2]}" if match else ""


def is_card(source: Path) -> bool:
    """Return whether `source` names a card."""
    return source.suffix in (".yaml", ".yml") and source.is_file()
