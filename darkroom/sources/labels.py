"""The three places of labels: class folders, file names and a table. A reader for each."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from darkroom.core.errors import SourceError
from darkroom.sources.class_level import Folders, Reading, at_level, possible_readings
from darkroom.sources.encodings import printable
from darkroom.sources.folder_names import SPLITS, are_images_and_masks, may_be_unlabelled, split_names
from darkroom.sources.tables import find_tables, read_tables
from darkroom.sources.trees import Tree

SEPARATOR = re.compile(r"[._\-\s]")
SHOWN = 5
CONTROLS = ("Cc", "Zl", "Zp")  # Unicode's categories of control characters and line ends
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they reorder what follows them
NO_PICTURES = (".md", ".csv", ".tsv", ".py", ".ipynb", ".yaml", ".yml")  # files that come with data, in no class
NO_CLASSES = ("annotations", "annotation", "labels", "docs", "doc", "meta", "metadata", "scripts", "code", "src")
LOOK_ALIKES = {
    ".pdf": "PDF, a document", ".mp4": "MP4, a video", ".mov": "a video", ".avi": "a video",
    ".dcm": "DICOM, a medical image", ".dicom": "DICOM, a medical image", ".html": "HTML, a page",
    ".htm": "HTML, a page", ".json": "JSON, data",
}  # fmt: skip


@dataclass(frozen=True)
class LayoutOptions:
    """How to read labels; the fields are params of fetch, and a card may set them too."""

    layout: str = "auto"
    label_pattern: str = ""
    path_column: str = "auto"
    label_column: str = "auto"
    split_column: str = "auto"
    group_by: str = ""
    class_level: int | str = "auto"
    missing_classes: str = "stop"


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


def read_folders(tree: Tree, images: list[str], options: LayoutOptions) -> Labelled:
    """The label is the name of the class folder, at the level that `class_level` says or that the branches show.

    Raises SourceError where several levels could be meant.
    """
    reading = class_reading(tree, images, options)
    found = {folders: reading.label_and_split(folders) for folders in folder_counts(images)}
    samples, loose = [], []
    for name in images:
        label, split = found[path_parts(name)[:-1]]
        if label:
            samples.append(Sample(name, label, split))
        else:
            loose.append(name)
    notes = [*_note_loose(loose, "lie in no class folder"), *_note_missing(tree, images, reading, options)]
    notes += [f"{folder} holds the class folders beside it once more: both are read" for folder in reading.copies]
    called = sorted({label for label, _ in found.values() if label.lower() in SPLITS or may_be_unlabelled(label)})
    notes += [f"{label} is taken for a class and no split, since its images lie in no further folder; "
              "if it is no class, `exclude` it" for label in called]  # fmt: skip
    return Labelled("folders", samples, notes)


def class_reading(tree: Tree, images: list[str], options: LayoutOptions) -> Reading:
    """Where the class folders are. Raises SourceError where several levels could be meant."""
    counts = folder_counts(images)
    if isinstance(options.class_level, int):
        return at_level(counts, options.class_level)
    readings = possible_readings(counts)
    if len(readings) > 1:
        shown = " or ".join(_described(reading, counts) for reading in readings)
        raise SourceError(f"{tree.path}: the folders can be read in {len(readings)} ways: {shown}; choose one by its "
                          "`class_level` in params.yaml")  # fmt: skip
    reading = readings[0] if readings else Reading(frozenset())
    classes = sorted(reading.classes(counts))
    if are_images_and_masks(classes):
        raise SourceError(f"{tree.path}: the folders {few_of(classes)} are called like images and their annotations, "
                          f"and not like classes; set `source` to one of them, or `class_level: {reading.level}` in "
                          "params.yaml if they are classes")  # fmt: skip
    return reading


def _note_missing(tree: Tree, images: list[str], reading: Reading, options: LayoutOptions) -> list[str]:
    """A note about class folders that hold files, and no image. Raises SourceError unless they are to be dropped."""
    known, suffixes = set(images), dict[str, Counter[str]]()
    labels = set(reading.classes(folder_counts(images)))
    for name in tree.files:
        if name not in known and not name.lower().endswith(NO_PICTURES):
            label, _ = reading.label_and_split(path_parts(name)[:-1])
            if label and label not in labels and label.lower() not in NO_CLASSES:
                suffixes.setdefault(label, Counter())[PurePosixPath(name).suffix.lower() or "no suffix"] += 1
    if not suffixes:
        return []
    shown = "; ".join(f"{printable(label)}: {_kinds(found)}" for label, found in sorted(suffixes.items())[:SHOWN])
    what = f"{len(suffixes)} class folders hold no file whose suffix is read: {shown}"
    if options.missing_classes == "stop":
        raise SourceError(f"{tree.path}: {what}; convert them to images, or leave these classes out by "
                          "`missing_classes: drop` in params.yaml")  # fmt: skip
    return [what]


def _kinds(suffixes: Counter[str]) -> str:
    return ", ".join(
        f"{count} {suffix}" + (f" ({LOOK_ALIKES[suffix]})" if suffix in LOOK_ALIKES else "")
        for suffix, count in suffixes.most_common(SHOWN)
    )


def _described(reading: Reading, counts: Counter[Folders]) -> str:
    classes = reading.classes(counts)
    shown = ", ".join(f"{printable(label)} {count:,}" for label, count in sorted(classes.items())[:SHOWN])
    more = ", …" if len(classes) > SHOWN else ""
    return f"`class_level: {reading.level}` takes {classes.total():,} images of {len(classes)} classes ({shown}{more})"


def folder_counts(images: list[str]) -> Counter[Folders]:
    """The number of images in each folder."""
    return Counter(path_parts(name)[:-1] for name in images)


def read_names(_tree: Tree, images: list[str], options: LayoutOptions) -> Labelled:
    """The label is in the file's name: up to the first separator, or what `label_pattern` finds. Raises SourceError."""
    label_of = _label_by_pattern(options.label_pattern) if options.label_pattern else _label_by_separator
    samples, loose = [], []
    shared = shared_depth(images)
    labels = {name: label_of(name) for name in images}
    counters = not options.label_pattern and not all(label.isdigit() for label in labels.values())
    splits = split_names({part for folders in folder_counts(images) for part in folders[shared:]})
    for name in images:
        label = labels[name]
        if label and not (counters and label.isdigit()):  # `1.jpg` beside `cat.1.jpg` has a number, no label
            split = next((splits[part] for part in path_parts(name, shared)[:-1] if part in splits), "")
            samples.append(Sample(name, label, split))
        else:
            loose.append(name)
    if not any(sample.split == "train" for sample in samples):
        samples = [Sample(sample.location, sample.label) for sample in samples]  # `train/` alone is no split
    return Labelled("names", samples, _note_loose(loose, "have no label in their name"))


def read_csv(tree: Tree, images: list[str], options: LayoutOptions) -> Labelled:
    """The label stands in a table beside the images. Raises SourceError."""
    tables = find_tables(tree, images, options, must=True)
    table = " and ".join(found.name for found in tables)
    rows, notes = read_tables(tree, tables, images, options)
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


def with_clean_labels(samples: list[Sample]) -> tuple[list[Sample], list[str]]:
    """Return the samples with labels of one line, and a note about those that had control characters in them.

    A line end in a label would make a file of one label a line longer than the classes.
    """
    labels = {sample.label for sample in samples}
    clean = {label: one_line(label) for label in labels}
    changed = {label: new for label, new in clean.items() if new != label}
    if not changed:
        return samples, []
    shown = ", ".join(f"{old!r} is {new!r}" for old, new in sorted(changed.items())[:SHOWN])
    merged = " (and joins a class of that name)" if len(set(clean.values())) < len(labels) else ""
    renamed = [replace(sample, label=clean[sample.label]) for sample in samples]
    return renamed, [
        f"{len(changed)} labels have line ends or control characters, which become spaces: {shown}{merged}"
    ]


def one_line(label: str) -> str:
    """Return the label with each run of control characters, line ends and marks of writing direction as one space.

    A joiner stays: emoji and some scripts are written with it.
    """
    spaced = "".join(" " if unicodedata.category(sign) in CONTROLS or sign in BIDI else sign for sign in label)
    return label if spaced == label else " ".join(spaced.split()) or "unnamed"
