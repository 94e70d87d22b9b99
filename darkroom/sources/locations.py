"""Locations as `data/index.csv` writes them, and where their bytes are now.

`cats/1.jpg` lies below the source (or beside it, when the source is a table); `train.zip::cats/1.jpg` in an archive;
`raw:…` below data/raw, where a card's files are; `downloads:…` below the folder that DARKROOM_DOWNLOADS names. What a
location may begin with depends on the source, since a user's folders and files may be called `raw:x` and `a::b.jpg`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from darkroom.core.errors import SourceError
from darkroom.sources.extents import Extent
from darkroom.sources.trees import ARCHIVES, Tree, open_tree

RAW, DOWNLOADS, MEMBER = "raw:", "downloads:", "::"
FACTS = "source.json"  # in data/raw: what later stages need to know about the source


class Locations:
    """Finds the bytes of locations; opens each archive once."""

    def __init__(self, source: Path, raw: Path, downloads: Path | None) -> None:
        # As text: a Path a file would take as long as reading the file.
        self._base = str(source if source.is_dir() else source.parent)
        self._card = is_card(source)
        self._archive = source.name + MEMBER if source.is_file() and source.name.lower().endswith(ARCHIVES) else ""
        self._bases = {RAW: str(raw)} | ({DOWNLOADS: str(downloads)} if downloads else {})
        self._trees: dict[Path, Tree] = {}

    def know(self, tree: Tree) -> None:
        """Keep an archive that was opened already, so that it is not listed twice."""
        self._trees[tree.path.absolute()] = tree

    def extents(self, locations: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """(location, where its bytes are), container by container, each in the order in which it is read fastest."""
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
        """The archive that a location lies in, with the MEMBER that ends it; "" where it lies in none."""
        if self._card and location.startswith(RAW):
            return "".join(location.partition(MEMBER)[:2])
        return self._archive

    def _path(self, location: str) -> str:
        if self._card:
            for prefix, base in self._bases.items():
                if location.startswith(prefix):
                    return f"{base}/{location.removeprefix(prefix)}"
            if location.startswith(DOWNLOADS):
                raise SourceError(
                    f"{location} lies in a folder that DARKROOM_DOWNLOADS should name; set it as in fetch"
                )
        return f"{self._base}/{location}"


def is_card(source: Path) -> bool:
    """Whether `source` names a card, and no data set of the user's."""
    return source.suffix in (".yaml", ".yml") and source.is_file()
