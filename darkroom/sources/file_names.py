"""Read labels from file names: what precedes the number, or what a pattern matches."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import PurePosixPath

from darkroom.core.errors import SourceError
from darkroom.sources.class_names import doubts
from darkroom.sources.encodings import printable
from darkroom.sources.folder_names import are_parts, is_container, split_names, strict_split, words_of
from darkroom.sources.labels import (
    SHOWN,
    Labelled,
    LayoutOptions,
    Sample,
    compiled,
    folder_counts,
    note_loose,
    path_parts,
    shared_depth,
)
from darkroom.sources.trees import Tree
from darkroom.sources.vocabulary import DEVICES, ORIGINS

SEPARATOR = re.compile(r"[._\-\s]")
FIRST_WORD, BEFORE_NUMBER = r"^([^._\-\s]+)", r"^(.*?)[._\-\s(@=#]*\d+\)?\.[^.]*$"  # as a `label_pattern`
BEFORE_DIGITS = r"^([^\W\d_]+)\d+\.[^.]*$"  # `cat12.jpg`
FRAME = re.compile(r"(^|[._\-\s])frames?[._\-\s]*\d+\.[^.]*$", re.IGNORECASE)  # what precedes it names a video
HASH = re.compile(r"(?=.*\d)[0-9a-f]{4,}", re.IGNORECASE)
# What cameras, phones and programs write before the number of a picture.
CAMERAS = frozenset((
    "img", "dsc", "dscn", "dscf", "pxl", "mvimg", "gopr", "whatsapp", "screenshot", "image", "images", "photo",
    "picture", "pic", "frame", "scan", "untitled", "download", "im", "vid", "screen", "telegram", "signal", "capture",
    "foto", "fotos", "bild", "imagen", "imagem", "immagine", "afbeelding", "obraz", "фото", "снимок", "图片", "照片",
    "写真", "画像", "사진", "屏幕截图", "截屏",
))  # fmt: skip
COPIES = frozenset(("copy", "kopie", "copie", "copia", "cópia", "kopia", "копия", "副本", "コピー", "복사본"))
FEWEST = 4  # images per class, on average, for words to be labels


def read_names(tree: Tree, images: list[str], options: LayoutOptions) -> Labelled:
    """Return the images labelled by their names: the part up to a separator, or what `label_pattern` matches.

    Raises SourceError where the names can be read in several ways.
    """
    label_of = _label_by(options.label_pattern or _pattern(tree, images))
    samples, loose = [], []
    shared = shared_depth(images)
    labels = {name: label_of(name) for name in images}
    counters = not options.label_pattern and not all(label.isdigit() for label in labels.values())
    splits = split_names({part for folders in folder_counts(images) for part in folders[shared:]})
    for name in images:
        label = labels[name]
        if label and not (counters and label.isdigit()):  # the 1 of `1.jpg` beside `cat.1.jpg` is not a label
            split = next((splits[part] for part in path_parts(name, shared)[:-1] if part in splits), "")
            samples.append(Sample(name, label, split))
        else:
            loose.append(name)
    if not any(sample.split == "train" for sample in samples):
        samples = [Sample(sample.location, sample.label) for sample in samples]  # `train/` alone is not a split
    notes = note_loose(loose, "have no label in their name")
    notes += [] if options.label_pattern else doubts({sample.label for sample in samples}, folders=False)
    return Labelled("names", samples, notes)


def names_are_labels(images: list[str]) -> bool:
    """Return whether the files' names seem to hold labels."""
    return bool(name_readings(images)) and not _numbered_together(images)


def _pattern(tree: Tree, images: list[str]) -> str:
    """Return the pattern of the labels in names. Raises SourceError where two patterns give different labels."""
    readings = name_readings(images) or _whole_words(images)
    if len(readings) > 1:
        shown = " or ".join(f"`label_pattern: '{pattern}'` takes {labels.total():,} images of {len(labels)} classes "
                            f"({few_counts(labels)})" for pattern, labels in readings.items())  # fmt: skip
        raise SourceError(f"{tree.path}: the names can be read in 2 ways: {shown}; choose one in params.yaml")
    return next(iter(readings), FIRST_WORD)


def name_readings(images: list[str]) -> dict[str, Counter[str]]:
    """Return the possible patterns of the labels, and the count of each label; one of patterns with as many labels."""
    found: dict[str, Counter[str]] = {}
    if images and all(FRAME.search(name) for name in images):
        return found
    for pattern in (FIRST_WORD, BEFORE_NUMBER, BEFORE_DIGITS):
        labels = Counter(map(_label_by(pattern), images))
        whole = pattern == FIRST_WORD or labels[""] == 0
        for label in [label for label in labels if label.isdigit() or not label]:
            del labels[label]  # test1/7.jpg beside train/cat.7.jpg
        few = 2 <= len(labels) <= max(2, labels.total() // FEWEST)
        known = any(first_part(label).lower() in CAMERAS or strict_split(first_part(label)) for label in labels)
        if labels and (are_parts(labels) or all(is_container(label) or HASH.fullmatch(label) for label in labels)):
            return {}  # `patient01_benign_7.jpg` begins with a person, so the label may be anywhere
        if not (whole and few) or known:
            continue
        alike = next((one for one, other in found.items() if len(labels) == len(other)), "")
        if alike and _are_longer(found[alike], labels):
            del found[alike]
            alike = ""
        if not alike:
            found[pattern] = labels
    return found


def _are_longer(words: Counter[str], labels: Counter[str]) -> bool:
    """Return whether labels go on after the first words: `great` is `great_pyrenees`, `red` and `green` are apples.

    `cat_img` and `dog_img` only say once more that the files are pictures, and `cat-unsplash` where they are from.
    """
    rests = {label[len(first_part(label)) :].strip(" ._-") for label in labels}
    more = not re.search(r"\d", "".join(rests))  # `cat_2019` holds a year
    if len(rests) == 1:
        rest = next(iter(rests))
        more &= (
            rest != "" and (CAMERAS | ORIGINS | DEVICES | COPIES).isdisjoint(words_of(rest)) and not is_container(rest)
        )
    return more and Counter({first_part(label): count for label, count in labels.items()}) == words


def _whole_words(images: list[str]) -> dict[str, Counter[str]]:
    """Return the first word and what precedes the number as patterns where too few images tell which is the label."""
    found = {pattern: Counter(map(_label_by(pattern), images)) for pattern in (FIRST_WORD, BEFORE_NUMBER)}
    words, labels = found[FIRST_WORD], found[BEFORE_NUMBER]
    if labels[""] or any(label.isdigit() for label in words) or len(labels) < 2:
        return {}
    if _are_longer(words, labels):
        return {BEFORE_NUMBER: labels}
    return found if 1 < len(words) < len(labels) < len(images) else {}


def _numbered_together(images: list[str]) -> bool:
    """Return whether some names begin with a number, without being in split folders of their own."""
    numbered = {name.rpartition("/")[0] for name in images if first_part(PurePosixPath(name).name).isdigit()}
    others = {name.rpartition("/")[0] for name in images} - numbered
    return bool(numbered) and not (others and all(split_names(folder.split("/")) for folder in others))


def first_part(name: str) -> str:
    """Return a file's name up to its first separator."""
    return SEPARATOR.split(name, maxsplit=1)[0]


def few_counts(labels: Counter[str]) -> str:
    """Return some labels and their counts as text."""
    shown = ", ".join(f"{printable(label)} {count:,}" for label, count in sorted(labels.items())[:SHOWN])
    return shown + (", …" if len(labels) > SHOWN else "")


def _label_by(pattern: str) -> Callable[[str], str]:
    expression = compiled(pattern, "label_pattern")
    whole_path = "/" in pattern

    def label(location: str) -> str:
        match = expression.search(location if whole_path else location.rpartition("/")[2])
        return (match.group(1) or "").strip() if match else ""

    return label
