"""The three places of labels: class folders, file names and a table. A reader for each."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from darkroom.core.errors import SourceError
from darkroom.sources.tables import find_table, read_table
from darkroom.sources.trees import Tree

SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
LIKE_A_SPLIT = re.compile("(train|val|test|dev|eval|unlab)", re.IGNORECASE)
SEPARATOR = re.compile(r"[._\-\s]")
SHOWN = 5


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


def read_folders(_tree: Tree, images: list[str], _options: LayoutOptions) -> Labelled:
    """The label is the name of the class folder, below the split's where there is one."""
    samples, loose = [], []
    shared = shared_depth(images)
    parts_of = [path_parts(name, shared) for name in images]
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


def read_names(_tree: Tree, images: list[str], options: LayoutOptions) -> Labelled:
    """The label is in the file's name: up to the first separator, or what `label_pattern` finds. Raises SourceError."""
    label_of = _label_by_pattern(options.label_pattern) if options.label_pattern else _label_by_separator
    samples, loose = [], []
    shared = shared_depth(images)
    for name in images:
        label = label_of(name)
        if label:
            samples.append(Sample(name, label, _split_of(path_parts(name, shared))[0]))
        else:
            loose.append(name)
    if not any(sample.split == "train" for sample in samples):
        samples = [Sample(sample.location, sample.label) for sample in samples]  # `train/` alone is no split
    return Labelled("names", samples, _note_loose(loose, "have no label in their name"))


def read_csv(tree: Tree, images: list[str], options: LayoutOptions) -> Labelled:
    """The label stands in a table beside the images. Raises SourceError."""
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
    "folders": read_folders,
    "names": read_names,
    "csv": read_csv,
}
LAYOUTS = ("auto", *READERS)


def path_parts(name: str, shared: int = 0) -> tuple[str, ...]:
    """The path below the folders that all images share (`images/`, `dogs-vs-cats/train/`).

    Split as PurePosixPath splits it, for a tenth of the time.
    """
    return tuple([part for part in name.split("/") if part not in ("", ".")][shared:])


def shared_depth(images: list[str]) -> int:
    """How many leading folders all images share: in a sorted list the first and the last name tell."""
    if not images:
        return 0
    first, last = (path_parts(name)[:-1] for name in (images[0], images[-1]))
    return next((depth for depth, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]),
                min(len(first), len(last)))  # fmt: skip


def _split_of(parts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The official split that the first folder names, and the rest of the path; "" and all of it without one."""
    if len(parts) > 1 and parts[0].lower() in SPLITS:
        return SPLITS[parts[0].lower()], parts[1:]
    return "", parts


def first_part(name: str) -> str:
    """A file's name up to its first separator."""
    return SEPARATOR.split(name, maxsplit=1)[0]


def _label_by_separator(location: str) -> str:
    return first_part(PurePosixPath(location).name)


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


def _note_loose(loose: list[str], why: str) -> list[str]:
    return [f"{len(loose)} images {why} and are left out: {few_of(loose)}"] if loose else []


def few_of(names: list[str]) -> str:
    """The first of `names`, for a message."""
    return ", ".join(map(printable, names[:SHOWN])) + (", …" if len(names) > SHOWN else "")


def printable(name: str) -> str:
    """`name` as it can be written down."""
    return name.encode("utf-8", "backslashreplace").decode()  # a byte that is no text becomes \udcff
