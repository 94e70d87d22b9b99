"""Hold the labelled files of a tree, and what the ways of reading labels share."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from darkroom.core.errors import SourceError
from darkroom.core.text import quoted, without_controls
from darkroom.sources.class_level import Folders
from darkroom.sources.encodings import few_of

SHOWN = 5  # names in a message
DRIVE_PART = re.compile(r"-\d{8}T\d{6}Z(-\d+)+$")  # what Google Drive appends: `cat-20230101T123456Z-001`
# Additions to a label that do not make it another one: by file managers to a second folder of the same name, and by
# people to name what was done to the pictures.
COPY = re.compile(
    r" (copy|copie|kopie|copia|\(\d\)|aug|augmented|augmentation|additional|resized|cropped|flipped|rotated|small)$"
    r"|^(aug|augmented|additional|resized|cropped|flipped|rotated) "
)
NUMBER = re.compile(r"\d+(\.0+)?")


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
    """The result of a layout: the samples in order of location, and notes for the user, one line each."""

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
    """Return the parts of a path, without the first `shared`, and without what Google Drive appends to folders' names.

    PurePosixPath would take ten times as long.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")][shared:]
    return tuple(parts if "Z-" not in name else [DRIVE_PART.sub("", part) or part for part in parts])


def shared_depth(images: list[str]) -> int:
    """Return how many leading folders all images share: those of the first and the last name, which are sorted."""
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
        raise SourceError(f"{key}: {quoted(pattern)} is not a regular expression ({error}); correct it") from error
    if not expression.groups:
        what = "has no group; put the part that counts in brackets, as in '^([a-z]+)'"
        raise SourceError(f"{key}: {quoted(pattern)} {what}")
    return expression


def note_loose(loose: list[str], why: str) -> list[str]:
    """Return a note about images that have no label."""
    return [f"{len(loose)} images {why} and are left out: {few_of(loose)}"] if loose else []


def with_clean_labels(samples: list[Sample]) -> tuple[list[Sample], list[str]]:
    """Return the samples with labels of one line, and a note about those that contained control characters.

    A file with one label per line would otherwise have more lines than classes.
    """
    labels = {sample.label for sample in samples}
    clean = {label: without_controls(label) or "unnamed" for label in labels}
    changed = {label: new for label, new in clean.items() if new != label}
    if not changed:
        return samples, []
    shown = ", ".join(f"{quoted(old)} is {quoted(new)}" for old, new in sorted(changed.items())[:SHOWN])
    merged = " (and joins a class of that name)" if len(set(clean.values())) < len(labels) else ""
    renamed = [replace(sample, label=clean[sample.label]) for sample in samples]
    many = "1 label has" if len(changed) == 1 else f"{len(changed):,} labels have"
    note = f"{many} line ends or control characters, which become spaces: {shown}{merged}"
    return renamed, [note]


def check_official_splits(path: Path, found: Labelled) -> None:
    """Note classes without a training image. Raises SourceError where train has one class, or shares none with a split.

    `path` is the data set's, for the message.
    """
    classes: dict[str, set[str]] = {}
    for sample in found.samples:
        classes.setdefault(sample.split, set()).add(sample.label)
    learnt = classes.get("train", set())
    for split in ("val", "test"):
        if learnt and len(classes.get(split, ())) > 1 and not learnt & classes[split]:
            raise SourceError(
                f"{path}: train holds the classes {few_of(sorted(learnt))} and {split} holds "
                f"{few_of(sorted(classes[split]))}, no class in common; name them alike, or set `source` to one of them"
            )
    others = sorted(set().union(*classes.values()) - learnt)
    learnable = sum(sample.split == "train" for sample in found.samples)
    if len(learnt) == 1 and learnable > 1 and others and "" not in classes:
        raise SourceError(
            f"{path}: train holds one class only, {quoted(learnt.pop())}, and a classifier learns from two; "
            f"{few_of(others)} lies in other splits alone: move images of it to train, or set `source` to a folder "
            "with both"
        )
    unseen = sorted(set().union(*classes.values()) - learnt - classes.get("", set())) if learnt else []
    if unseen:
        found.notes.append(f"{few_of(unseen)} has no image in train" if len(unseen) == 1 else
                           f"{len(unseen)} classes have no image in train: {few_of(unseen)}")  # fmt: skip


def note_spellings(found: Labelled) -> None:
    """Note labels that differ only in spelling: case, separators, copies, the form of a number or a character."""
    spellings: dict[str, set[str]] = {}
    for label in {sample.label for sample in found.samples}:
        alike = _normalised(label.lower())
        alike = COPY.sub("", " ".join((alike[:1] + alike[1:].replace("-", " ")).replace("_", " ").split()))
        alike = f"{float(alike):g}" if NUMBER.fullmatch(alike) else alike  # 1, 1.0 and 01
        spellings.setdefault(alike, set()).add(label)
    for several in sorted(sorted(names) for names in spellings.values() if len(names) > 1):
        same = len(set(map(_normalised, several))) < len(several)
        shown = ", ".join(map(ascii, several) if same else several)
        found.notes.append(f"one label in several spellings, kept as separate classes: {shown}")


def _normalised(label: str) -> str:
    """Return a label in one form of what looks alike: é as one character or two, wide ａ, zero-width ones."""
    composed = unicodedata.normalize("NFKC", label)
    return "".join(char for char in composed if unicodedata.category(char) != "Cf")
