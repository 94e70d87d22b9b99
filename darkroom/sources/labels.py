"""Labelled files of a tree, and what the ways of reading labels share."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field, replace

from darkroom.core.errors import SourceError
from darkroom.sources.class_level import Folders
from darkroom.sources.encodings import few_of

SHOWN = 5
CONTROLS = ("Cc", "Zl", "Zp")  # Unicode's categories of control characters and line ends
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they reorder what follows them


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


def folder_counts(images: list[str]) -> Counter[Folders]:
    """Return the number of images in each folder."""
    found: Counter[Folders] = Counter()
    for folder, count in Counter(name.rpartition("/")[0] for name in images).items():
        found[path_parts(folder)] += count
    return found


def path_parts(name: str, shared: int = 0) -> tuple[str, ...]:
    """Return the path below the folders that all images share (`images/`, `dogs-vs-cats/train/`).

    Split as PurePosixPath splits it, for a tenth of the time.
    """
    return tuple([part for part in name.split("/") if part not in ("", ".")][shared:])


def shared_depth(images: list[str]) -> int:
    """Return how many leading folders all images share: in a sorted list the first and the last name tell."""
    if not images:
        return 0
    first, last = (path_parts(name)[:-1] for name in (images[0], images[-1]))
    return next((depth for depth, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]),
                min(len(first), len(last)))  # fmt: skip


def compiled(pattern: str, key: str) -> re.Pattern[str]:
    """Return a regular expression with at least one group. Raises SourceError that names the key of params.yaml."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SourceError(f"{key}: {pattern!r} is not a regular expression ({error})") from error
    if not expression.groups:
        raise SourceError(f"{key}: {pattern!r} has no group; put the part that counts in brackets, as in '^([a-z]+)'")
    return expression


def note_loose(loose: list[str], why: str) -> list[str]:
    """Return a note about images that have no label."""
    return [f"{len(loose)} images {why} and are left out: {few_of(loose)}"] if loose else []


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
