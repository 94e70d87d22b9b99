"""Read small texts beside the images: the label of each, as in WebDataset's tars, and lists of official splits."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from darkroom.core.errors import SourceError
from darkroom.images.formats import is_image_name
from darkroom.sources.encodings import decode
from darkroom.sources.folder_names import strict_split
from darkroom.sources.frames import LISTS
from darkroom.sources.labels import Labelled
from darkroom.sources.matching import FileFinder
from darkroom.sources.text_tables import frame_of
from darkroom.sources.trees import Tree, read_one

if TYPE_CHECKING:
    import pandas as pd

CLASS, RECORD, TEXT = ".cls", ".json", ".txt"
MAX_LABEL, MAX_DIFFERENT, TRIED = 60, 0.5, 50  # characters of a label; share of different ones; texts tried first
NUMBERS = re.compile(r"[\d.\s-]+\s[\d.\s-]+")  # boxes
MOST = 0.5  # share of the images that must have one
LISTED = 0.9  # share of a list's lines that must name images
MAX_BYTES = 4096  # of such a file: a larger one is an annotation


def sidecar_frame(tree: Tree, images: list[str]) -> tuple[str, "pd.DataFrame"] | None:
    """Return a name for the files `1.cls`, `1.json` or `1.txt` beside `1.jpg`, and their contents as a table.

    Its columns are `path` and `label`, or `path` and the keys of the JSON. Return None where most images have no such
    file, or where the texts are boxes or captions.
    """
    keys = {_key(image): image for image in images}
    for suffix in (CLASS, RECORD, TEXT):
        beside = {name: keys[key] for name in tree.files if name.endswith(suffix) and (key := _key(name)) in keys}
        if beside and len(beside) >= MOST * len(images):
            if suffix == TEXT and not all(map(_may_be_label, _texts(tree, list(beside)[:TRIED]).values())):
                continue  # without reading a hundred thousand files of boxes
            records: list[dict[str, object]] = []
            for name, text in _texts(tree, beside).items():
                if suffix != RECORD:
                    records.append({"path": beside[name], "label": text})
                elif (record := _record(text)) is not None:
                    records.append(record | {"path": beside[name]})
            if suffix == TEXT and not _are_labels([str(record["label"]) for record in records]):
                continue
            return f"*{suffix}", frame_of(records)
    return None


def _key(name: str) -> str:
    """Return a name up to its first dot, which names the sample in WebDataset."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _texts(tree: Tree, names: Iterable[str]) -> dict[str, str]:
    return {name: decode(extent.read()[:MAX_BYTES])[0].strip() for name, extent in tree.extents(names)}


def _may_be_label(text: str) -> bool:
    """Return whether a text is short, on one line, and not a box (`0 0.5 0.5 0.2 0.2`)."""
    return len(text) <= MAX_LABEL and "\n" not in text and not NUMBERS.fullmatch(text)


def _are_labels(texts: list[str]) -> bool:
    """Return whether texts are labels and not captions: short and repeated."""
    return all(map(_may_be_label, texts)) and 1 < len(set(texts)) <= MAX_DIFFERENT * len(texts)


def joined_lists(tree: Tree, images: list[str]) -> tuple[str, "pd.DataFrame"] | None:
    """Return a name for lists that number the images, and their contents as a table: `path`, `label`, `is_train`.

    In CUB-200, a line of `images.txt` has a number and a path, of `image_class_labels.txt` a number and a class, of
    `train_test_split.txt` a number and whether it is in train, and of `classes.txt` a class and its name. Return None
    without the first two.
    """
    pairs = {name: found for name in tree.files if name.lower().endswith(LISTS) and (found := _pairs(tree, name))}
    if len(pairs) < 2:
        return None
    finder = FileFinder(images, ".")
    for paths, numbered in pairs.items():
        if not all(map(is_image_name, numbered.values())):
            continue
        if sum(map(bool, finder.find_all(list(numbered.values()))[0])) < LISTED * len(numbered):
            continue
        others = {name: found for name, found in pairs.items() if name != paths and found.keys() == numbered.keys()}
        splits = next((found for name, found in others.items() if {"split", "train"} & set(_words(name))), {})
        labels = [name for name, found in others.items() if found is not splits]
        if len(labels) == 1:
            label_of = others[labels[0]]
            rest = [found for name, found in pairs.items() if name != paths and name not in others]
            names = next((found for found in rest if found.keys() >= set(label_of.values())), {})
            frame = frame_of({"path": path, "label": names.get(label_of[number], label_of[number]),
                              "is_train": splits.get(number)} for number, path in numbered.items())  # fmt: skip
            return f"*{paths} with {labels[0]}", frame if splits else frame.drop(columns="is_train")
    return None


def _words(name: str) -> list[str]:
    return re.findall("[a-z]+", PurePosixPath(name).stem.lower())


def _pairs(tree: Tree, name: str) -> dict[str, str]:
    """Return the rest of each line by its first word; {} where a line has only one word."""
    try:
        lines = [line.split(maxsplit=1) for line in decode(read_one(tree, name))[0].splitlines() if line.strip()]
    except SourceError:
        return {}
    pairs = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    return pairs if len(pairs) == len(lines) else {}


def _record(text: str) -> dict[str, object] | None:
    try:
        record = json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def with_split_lists(tree: Tree, images: list[str], found: Labelled) -> Labelled:
    """Return the labelled files with splits from `train.txt`, `test.txt` and the like, where they have none."""
    names = {name: strict_split(PurePosixPath(name).stem) for name in tree.files if name.lower().endswith(LISTS)}
    names = {name: split for name, split in names.items() if split}
    kinds = set(names.values())
    one_each = len(kinds) == len(names) > 1 and "train" in kinds
    if not one_each or any(sample.split for sample in found.samples):
        return found
    splits: dict[str, str] = {}
    for name, split in names.items():
        listed = _listed(tree, name, images)
        if not listed:
            return found
        splits |= dict.fromkeys(listed, split)
    found.samples = [replace(sample, split=splits.get(sample.location, "")) for sample in found.samples]
    found.notes.append(f"official splits are those of {' and '.join(sorted(names))}")
    return found


def _listed(tree: Tree, name: str, images: list[str]) -> list[str]:
    """Return the images that a list names, [] where too few of its lines are names of images."""
    try:
        lines = [line.strip() for line in decode(read_one(tree, name))[0].splitlines() if line.strip()]
    except SourceError:
        return []
    found = FileFinder(images, str(PurePosixPath(name).parent)).find_all(lines)[0]
    known = [image for image in found if image]
    return known if len(known) >= LISTED * len(lines) else []
