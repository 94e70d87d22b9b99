"""Where the labels are: class folders, file names or a table. `read_layout` finds out, or says why not."""

import errno
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from darkroom.data.sources.diagnosis import what_is_wrong
from darkroom.data.sources.extents import Extent
from darkroom.data.sources.tables import find_table, read_table
from darkroom.data.sources.trees import Tree
from darkroom.errors import BadImage, SourceError

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif",
            ".ppm", ".pgm")  # fmt: skip
SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
LIKE_A_SPLIT = re.compile("(train|val|test|dev|eval|unlab)", re.IGNORECASE)
SEPARATOR = re.compile(r"[._\-\s]")
LAYOUTS = ("auto", "folders", "names", "csv")
SHOWN, LOOKED_AT = 5, 20


@dataclass(frozen=True)
class LayoutOptions:
    """How to read labels; the fields are params of fetch, and a card may set them too."""

    layout: str = "auto"
    label_pattern: str = ""
    path_column: str = "auto"
    label_column: str = "auto"
    split_column: str = "auto"
    group_by: str = ""


@dataclass(frozen=True)
class Sample:
    """One labelled file of a tree. `split` is the official one: train, val, test or ""; `group` is "" without one."""

    location: str
    label: str
    split: str = ""
    group: str = ""


@dataclass
class Labelled:
    """What a layout found: the samples in order of location, and what a person should know."""

    layout: str
    samples: list[Sample]
    notes: list[str] = field(default_factory=list)


def read_layout(tree: Tree, options: LayoutOptions) -> Labelled:
    """The labelled files of `tree`. Raises SourceError with what was seen and how to say what is meant."""
    images = [name for name in tree.files if name.lower().endswith(SUFFIXES)]
    others = len(tree.files) - len(images)
    unwritable = _unwritable(images)
    images = [name for name in images if name not in unwritable] if unwritable else images
    name, unread_table = (options.layout, "") if options.layout != "auto" else _detect(tree, images, options)
    found = READERS[name](tree, images, options)
    if not found.samples:
        why = "".join(f"; {note}" for note in found.notes)
        raise SourceError(f"{tree.path}: layout {name} finds no labelled image{why}; {_seen(tree, images)}")
    found.notes += [unread_table] if unread_table else []
    found.samples.sort(key=lambda sample: sample.location)
    if name != "csv":
        found.samples = _with_groups(found.samples, options.group_by)
        unread = others
        if unread:
            found.notes.append(f"{unread} files are no images by their names and are left out")
    if unwritable:
        why = "images have names that are not UTF-8 and are left out"
        found.notes.append(f"{len(unwritable)} {why}: {_few(sorted(unwritable))}; rename them")
    _note_empty(tree, found)
    _note_spellings(found)
    labels = {sample.label for sample in found.samples}
    if len(labels) < 2:
        raise SourceError(f"{tree.path}: layout {name} finds one class only, {labels.pop()!r}, and a classifier needs "
                          f"two; {_seen(tree, images)}")  # fmt: skip
    return found


def _detect(tree: Tree, images: list[str], options: LayoutOptions) -> tuple[str, str]:
    """The layout, and a note about a table that looks like labels and is not read."""
    table, note = find_table(tree, options.path_column, options.label_column), ""
    if table:
        named = len(_read_csv(tree, images, options).samples) if images else 0
        if named * 2 >= len(images):
            return "csv", ""
        note = f"{table} is not read for labels: it names {named} of {len(images)} images"
    return _detect_without_table(tree, images, options), note


def _detect_without_table(tree: Tree, images: list[str], options: LayoutOptions) -> str:
    if options.label_pattern:
        return "names"
    if not images:
        raise SourceError(f"{tree.path} holds no images; {_seen(tree, images)}")
    shared = _shared_depth(images)
    if all(len(_parts(name, shared)) > 1 for name in images):
        return "folders"
    labels = Counter(_first_part(PurePosixPath(name).name) for name in images)
    if 2 <= len(labels) <= max(2, len(images) // 4) and not any(label.isdigit() for label in labels):
        return "names"
    folder = str(PurePosixPath(images[0]).parent)
    alone = f" All lie in {folder}: if that is a class, a second one is missing." if shared else ""
    raise SourceError(
        f"{tree.path}: cannot tell where the labels are; {_seen(tree, images)}. Say it in params.yaml: "
        "`layout: folders` (one folder a class), `layout: names` with a `label_pattern` (a regular expression whose "
        f"first group is the label), or `layout: csv` (a table beside them).{alone}"
    )


def _read_folders(_tree: Tree, images: list[str], _options: LayoutOptions) -> Labelled:
    samples, loose = [], []
    shared = _shared_depth(images)
    parts_of = [_parts(name, shared) for name in images]
    called = _class_called_like_a_split(parts_of)
    for name, parts in zip(images, parts_of, strict=True):
        split, inner = ("", parts) if parts[0] == called else _split_of(parts)
        if len(inner) < 2:
            loose.append(name)
        else:
            samples.append(Sample(name, inner[0], split))
    notes = _note_loose(loose, "lie in no class folder")
    if called:
        notes.append(f"{called} is taken for a class and no split, since its images lie in no further folder; "
                     "if it is no class, `exclude` it")  # fmt: skip
    return Labelled("folders", samples, notes)


def _class_called_like_a_split(parts_of: list[tuple[str, ...]]) -> str:
    """The one folder that is called `train` and is a class beside two others or more: no split folder here holds
    folders, and a set of vehicles has trains. "" when there is none, or where a folder beside it is called like a
    split, too, as `test1` is: then its images are more likely without labels."""
    tops = {parts[0] for parts in parts_of if len(parts) > 1}
    called = {top for top in tops if SPLITS.get(top.lower()) == "train"}
    nested = any(len(parts) > 2 and parts[0].lower() in SPLITS for parts in parts_of)
    others = tops - called
    alike = any(LIKE_A_SPLIT.match(top) for top in others)
    return called.pop() if len(called) == 1 and len(others) > 1 and not nested and not alike else ""


def _read_names(_tree: Tree, images: list[str], options: LayoutOptions) -> Labelled:
    label_of = _label_by_pattern(options.label_pattern) if options.label_pattern else _label_by_separator
    samples, loose = [], []
    shared = _shared_depth(images)
    for name in images:
        label = label_of(name)
        if label:
            samples.append(Sample(name, label, _split_of(_parts(name, shared))[0]))
        else:
            loose.append(name)
    if not any(sample.split == "train" for sample in samples):
        samples = [Sample(sample.location, sample.label) for sample in samples]  # `train/` alone is no split
    return Labelled("names", samples, _note_loose(loose, "have no label in their name"))


def _read_csv(tree: Tree, images: list[str], options: LayoutOptions) -> Labelled:
    table = find_table(tree, options.path_column, options.label_column, must=True)
    rows, notes = read_table(tree, table, images, options)
    samples = [Sample(row.location, row.label, SPLITS.get(row.split.lower(), ""), row.group) for row in rows]
    unknown = Counter(row.split for row in rows if row.split and row.split.lower() not in SPLITS)
    if unknown:
        values = ", ".join(f"{value} {count}" for value, count in unknown.most_common(SHOWN))
        values += ", …" if len(unknown) > SHOWN else ""
        if options.split_column != "auto" and not any(sample.split for sample in samples):
            raise SourceError(f"{table}: the column {options.split_column} names no split that is known, but {values}; "
                              f"write {', '.join(SPLITS)}, or set `split_column: \"\"`")  # fmt: skip
        notes.append(f"{unknown.total()} rows name a split that is not known, and are divided like rows without one: "
                     f"{values}")  # fmt: skip
    return Labelled("csv", samples, notes)


READERS: dict[str, Callable[[Tree, list[str], LayoutOptions], Labelled]] = {
    "folders": _read_folders,
    "names": _read_names,
    "csv": _read_csv,
}


def _parts(name: str, shared: int = 0) -> tuple[str, ...]:
    """The path below the folders that all images share (`images/`, `dogs-vs-cats/train/`).

    Split as PurePosixPath splits it, for a tenth of the time.
    """
    return tuple([part for part in name.split("/") if part not in ("", ".")][shared:])


def _shared_depth(images: list[str]) -> int:
    """How many leading folders all images share: in a sorted list the first and the last name tell."""
    if not images:
        return 0
    first, last = (_parts(name)[:-1] for name in (images[0], images[-1]))
    return next((depth for depth, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]),
                min(len(first), len(last)))  # fmt: skip


def _split_of(parts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The official split that the first folder names, and the rest of the path; "" and all of it without one."""
    if len(parts) > 1 and parts[0].lower() in SPLITS:
        return SPLITS[parts[0].lower()], parts[1:]
    return "", parts


def _first_part(name: str) -> str:
    return SEPARATOR.split(name, maxsplit=1)[0]


def _label_by_separator(location: str) -> str:
    return _first_part(PurePosixPath(location).name)


def _label_by_pattern(pattern: str) -> Callable[[str], str]:
    expression = compiled(pattern, "label_pattern")
    whole_path = "/" in pattern

    def label(location: str) -> str:
        match = expression.search(location if whole_path else PurePosixPath(location).name)
        return (match.group(1) or "").strip() if match else ""

    return label


def compiled(pattern: str, key: str) -> re.Pattern[str]:
    """A regular expression with at least one group. Raises SourceError that names the key of params.yaml."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SourceError(f"{key}: {pattern!r} is no regular expression ({error})") from error
    if not expression.groups:
        raise SourceError(f"{key}: {pattern!r} has no group; put the part that counts in brackets, as in '^([a-z]+)'")
    return expression


def _with_groups(samples: list[Sample], group_by: str) -> list[Sample]:
    if not group_by:
        return samples
    expression = compiled(group_by, "group_by")
    grouped = []
    for sample in samples:
        match = expression.search(sample.location)
        group = next((part for part in match.groups() if part), "") if match else ""
        grouped.append(Sample(sample.location, sample.label, sample.split, group))
    if not any(sample.group for sample in grouped):
        raise SourceError(f"group_by: {group_by!r} matches none of {len(samples)} paths, such as {samples[0].location}")
    return grouped


def _note_loose(loose: list[str], why: str) -> list[str]:
    return [f"{len(loose)} images {why} and are left out: {_few(loose)}"] if loose else []


def _few(names: list[str]) -> str:
    return ", ".join(map(_shown, names[:SHOWN])) + (", …" if len(names) > SHOWN else "")


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()  # a byte that is no text becomes \udcff


def _unwritable(names: list[str]) -> set[str]:
    """Those names that are no UTF-8, and so cannot stand in an index."""
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        return {name for name in names if _shown(name) != name}
    return set()


def _note_empty(tree: Tree, found: Labelled) -> None:
    if found.layout == "folders" and tree.empty_folders:
        shown = ", ".join(map(_shown, tree.empty_folders[:SHOWN]))
        found.notes.append(f"{len(tree.empty_folders)} folders are empty: {shown}")


def _note_spellings(found: Labelled) -> None:
    spellings: dict[str, set[str]] = {}
    for label in {sample.label for sample in found.samples}:
        alike = unicodedata.normalize("NFC", label.lower())  # é may be one sign or two
        spellings.setdefault(" ".join(alike.replace("_", " ").split()), set()).add(label)
    for several in sorted(sorted(names) for names in spellings.values() if len(names) > 1):
        same = len({unicodedata.normalize("NFC", name) for name in several}) < len(several)
        shown = ", ".join(map(ascii, several) if same else several)
        found.notes.append(f"one label in several spellings, kept as separate classes: {shown}")


def _seen(tree: Tree, images: list[str]) -> str:
    """What lies there, for the person who has to say what it means."""
    if not tree.files:
        return "it is empty"
    kinds = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in tree.files)
    shown = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(SHOWN))
    few = ", ".join(map(_shown, (images or tree.files)[:3]))
    return f"it holds {len(tree.files)} files ({shown}), such as {few}{_mistakes(tree, images or tree.files)}"


def _mistakes(tree: Tree, names: list[str]) -> str:
    """What some of the files really are, when they are nothing that their names say."""
    looked_at = names[:: max(len(names) // LOOKED_AT, 1)][:LOOKED_AT]
    found = Counter(map(_mistake, (extent for _, extent in tree.extents(looked_at))))
    del found[""]
    return "".join(f"; {count} of {len(looked_at)} files looked at: {known}" for known, count in found.most_common())


def _mistake(extent: Extent) -> str:
    try:
        return what_is_wrong(extent.read())
    except BadImage as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {os.strerror(error.errno or errno.EIO)}"
