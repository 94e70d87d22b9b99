"""Open what `source` names, of any kind, as labelled locations. Each kind of card has an entry in KINDS."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from darkroom.core import files
from darkroom.core.errors import SourceError
from darkroom.core.runtime import Runtime
from darkroom.core.text import quoted
from darkroom.images.levels import Levels
from darkroom.sources.arrays import digits, write_pictures
from darkroom.sources.cards import Card, archive_remote, load_card
from darkroom.sources.catalog import ARRAYS, IMAGES
from darkroom.sources.containers import Mounted, is_nested, mounted, unpack_containers
from darkroom.sources.download import obtain, obtain_all, put_in
from darkroom.sources.frames import TABLES
from darkroom.sources.labels import Labelled, LayoutOptions, Sample, with_clean_labels
from darkroom.sources.layouts import read_layout
from darkroom.sources.parquet import holds_images
from darkroom.sources.remote import MANIFEST, copied
from darkroom.sources.trees import (
    ARCHIVES,
    DOWNLOADS,
    FACTS,
    MEMBER,
    RAW,
    Folder,
    Locations,
    address_of,
    is_card,
    open_tree,
)

CACHE = Path(".darkroom/downloads")  # complete and partial downloads, outside DVC's outputs, which it deletes
# Folders of the project with pictures that do not belong to the data set of a table in its root.
PROJECT_FOLDERS = ("docs/", "metrics/", "models/", "plots/")


@dataclass
class Opened:
    """The labelled files of a source, in order of location, and how to find their bytes."""

    samples: list[Sample]
    locations: Locations
    layout: str
    notes: list[str] = field(default_factory=list)
    flips: bool = True
    card: dict[str, str] = field(default_factory=dict)
    missing_classes: str = "stop"  # or drop: what to do about classes without a picture
    levels: Levels = field(default_factory=dict)  # of pictures of more than 8 bits, known once they are indexed

    def facts(self) -> dict[str, Any]:
        """Return what later stages need to know about the source beyond its index."""
        found: dict[str, Any] = {"levels": self.levels} if self.levels else {}
        found |= {"missing_classes": self.missing_classes} if self.missing_classes != "stop" else {}
        return {"card": self.card, "flips": self.flips, "layout": self.layout, "notes": self.notes} | found


def open_source(source: Path, raw: Path, options: LayoutOptions, runtime: Runtime) -> Opened:
    """Return the labelled files of `source`; files of a card are made or downloaded into `raw`. Raises SourceError."""
    if is_card(source):
        card = load_card(source)
        options = card.options(options)
        opened = _open_card(card, source, raw, options, runtime)
    else:
        opened = _open_files(source, raw, options, runtime)
    opened.missing_classes = options.missing_classes
    return opened


def _open_files(source: Path, raw: Path, options: LayoutOptions, runtime: Runtime) -> Opened:
    """Read the labels of the user's own folder, archive or table, or of a folder in an object store."""
    locations = Locations(source, raw, runtime.downloads)
    if address := address_of(source):
        samples, layout, notes = _copied_from(address, raw, options, locations)
        return Opened(samples, locations, layout, notes)
    if is_table(source):
        found = _read_table(source, replace(options, layout="csv"))
        return Opened(found.samples, locations, found.layout, found.notes)
    found = _read_tree(source, raw, options, locations, "" if source.is_dir() else source.name + MEMBER)
    return Opened(found.samples, locations, found.layout, found.notes)


def is_table(source: Path) -> bool:
    """Return whether `source` is a table that names files, and not a Parquet file that contains them."""
    holds = source.suffix.lower() == ".parquet" and holds_images(source)
    return source.name.lower().endswith(TABLES) and source.is_file() and not holds


def _read_tree(path: Path, raw: Path, options: LayoutOptions, locations: Locations, prefix: str) -> Labelled:
    """Read the labels of a folder or archive, and of archives in it; locations start with `prefix`."""
    tree = open_tree(path)
    inside = unpack_containers(tree, raw)
    if inside is not None:
        tree, prefix = inside, RAW
    tree = mounted(tree)
    if isinstance(tree, Mounted):
        for container in tree.trees():
            locations.know(container)
        found = read_layout(tree, options)
        found.samples = [replace(sample, location=prefix + tree.location(sample.location)) for sample in found.samples]
        return found
    locations.know(tree)
    found = read_layout(tree, options)
    found.samples = _prefixed(found.samples, prefix)
    return found


def _read_table(source: Path, options: LayoutOptions) -> Labelled:
    """Read the labels of the files that a table names, in its folder and below, but not in virtual environments."""
    folder = Folder(source.parent)
    skipped = tuple(name.removesuffix("pyvenv.cfg") for name in folder.files if name.endswith("/pyvenv.cfg"))
    if source.parent.resolve() == Path.cwd():  # stages run in the project's root
        skipped += PROJECT_FOLDERS
    folder.files = [
        name
        for name in folder.files
        if name == source.name or not (name.lower().endswith(TABLES) or name.startswith(skipped))
    ]
    return read_layout(folder, options)


def write_facts(opened: Opened, raw: Path) -> None:
    """Write `raw/source.json`."""
    files.write_json(raw / FACTS, opened.facts())


def _open_card(card: Card, source: Path, raw: Path, options: LayoutOptions, runtime: Runtime) -> Opened:
    locations = Locations(source, raw, runtime.downloads)
    samples, layout, notes = KINDS[card.kind](card, raw, options, runtime, locations)
    if card.class_names:
        names = card.class_names
        unknown = sorted(set(names) - {sample.label for sample in samples})
        if unknown:
            notes = [*notes, f"class_names: no class is called {', '.join(unknown)}"]
        samples = [replace(sample, label=names.get(sample.label, sample.label)) for sample in samples]
    samples, renamed = with_clean_labels(samples)
    return Opened(samples, locations, layout, [*notes, *renamed], card.flips, card.facts())


Found = tuple[list[Sample], str, list[str]]


def _bundled(card: Card, raw: Path, options: LayoutOptions, _runtime: Runtime, locations: Locations) -> Found:
    if card.origin != "digits":
        raise SourceError(f"{card.name}: bundled is {quoted(card.origin)}; the one embedded data set is digits")
    write_pictures(raw / "digits.zip", digits())
    return _archive_in(raw / "digits.zip", raw, options, locations)


def _torchvision(card: Card, raw: Path, options: LayoutOptions, runtime: Runtime, locations: Locations) -> Found:
    from torchvision import datasets

    if card.origin not in ARRAYS | IMAGES:
        known = ", ".join(sorted(ARRAYS | IMAGES))
        raise SourceError(f"{card.name}: torchvision: {card.origin} is not among the data sets that are read: {known}")
    theirs = getattr(datasets, card.origin)
    paths = obtain_all((ARRAYS | IMAGES)[card.origin].remotes(theirs), runtime.downloads, CACHE)
    if card.origin in ARRAYS:
        archive = raw / f"{card.origin.lower()}.zip"
        write_pictures(archive, ARRAYS[card.origin].pictures(theirs, paths))
        return _archive_in(archive, raw, options, locations)
    samples = sorted(IMAGES[card.origin].samples(theirs, paths), key=lambda sample: sample.location)
    for name in IMAGES[card.origin].archives:
        put_in(paths[name], raw, CACHE)
    return samples, card.origin, []


def _archive(card: Card, raw: Path, options: LayoutOptions, runtime: Runtime, locations: Locations) -> Found:
    return _archive_in(obtain(archive_remote(card), runtime.downloads, CACHE), raw, options, locations)


def _folder(card: Card, raw: Path, options: LayoutOptions, runtime: Runtime, locations: Locations) -> Found:
    if runtime.downloads is None or not (runtime.downloads / card.origin).is_dir():
        where = (
            f"{runtime.downloads} has no folder {card.origin}" if runtime.downloads else "DARKROOM_DOWNLOADS is not set"
        )
        raise SourceError(f"{card.name} cannot be downloaded freely ({card.homepage}) and {where}: put your copy in a "
                          f"folder named {card.origin}, and set DARKROOM_DOWNLOADS to the folder above it")  # fmt: skip
    found = _read_tree(runtime.downloads / card.origin, raw, options, locations, f"{DOWNLOADS}{card.origin}/")
    return found.samples, found.layout, found.notes


def _remote(card: Card, raw: Path, options: LayoutOptions, _runtime: Runtime, locations: Locations) -> Found:
    return _copied_from(card.origin, raw, options, locations)


def _copied_from(address: str, raw: Path, options: LayoutOptions, locations: Locations) -> Found:
    """Copy a folder or an archive in an object store into `raw`, and read its labels."""
    folder = copied(address, CACHE)
    names = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    if len(names) == 1 and names[0].name.lower().endswith(ARCHIVES):
        return _archive_in(names[0], raw, options, locations)
    here = raw / folder.name
    for path in names:
        target = here / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        put_in(path, target.parent, CACHE)
    try:
        found = _read_tree(here, raw, options, locations, f"{RAW}{here.name}/")
    except SourceError as error:
        above, _, name = address.rpartition("/")
        hint = f" Give the folder of a table: set `source` to {above}." if name.lower().endswith(TABLES) else ""
        raise SourceError(f"{error}{hint}".replace(str(here), address)) from error
    return found.samples, found.layout, found.notes


def _archive_in(path: Path, raw: Path, options: LayoutOptions, locations: Locations) -> Found:
    """Read the labels of an archive, and then put it into `raw`: error messages name the original."""
    tree = open_tree(path)
    if is_nested(tree):
        found = _read_tree(path, raw, options, locations, "")
        return found.samples, found.layout, found.notes
    found = read_layout(tree, options)
    if path.parent != raw:
        tree.path = put_in(path, raw, CACHE)  # read from here on: DARKROOM_DOWNLOADS may be on a slow disk
    locations.know(tree)
    return _prefixed(found.samples, f"{RAW}{path.name}{MEMBER}"), found.layout, found.notes


KINDS: dict[str, Callable[[Card, Path, LayoutOptions, Runtime, Locations], Found]] = {
    "bundled": _bundled,
    "torchvision": _torchvision,
    "archive": _archive,
    "folder": _folder,
    "remote": _remote,
}


def _prefixed(samples: list[Sample], prefix: str) -> list[Sample]:
    return [replace(sample, location=prefix + sample.location) for sample in samples] if prefix else samples
