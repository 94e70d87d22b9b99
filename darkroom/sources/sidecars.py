"""Small texts beside the images: each one's label, as in WebDataset's tars, and lists of the official splits."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from darkroom.core.errors import SourceError
from darkroom.images.formats import SUFFIXES
from darkroom.sources.encodings import decode
from darkroom.sources.folder_names import strict_split
from darkroom.sources.frames import LISTS
from darkroom.sources.labels import Labelled
from darkroom.sources.matching import FileFinder
from darkroom.sources.records import frame_of
from darkroom.sources.trees import Tree, read_one

if TYPE_CHECKING:
    import pandas as pd

CLASS, RECORD, TEXT = ".cls", ".json", ".txt"
LONGEST_LABEL, REPEATED, TRIED = 60, 0.5, 50  # signs of a text; share of different ones; texts that are tried first
NUMBERS = re.compile(r"[\d.\s-]+\s[\d.\s-]+")  # boxes
MOST = 0.5  # share of the images that must have one
LISTED = 0.9  # share of a list's lines that must name images
LONGEST = 4096  # bytes of such a file: a picture's annotation is larger


def sidecar_frame(tree: Tree, images: list[str]) -> tuple[str, "pd.DataFrame"] | None:
    """Return a name for the files `1.cls`, `1.json` or `1.txt` beside `1.jpg`, and their contents as a table with
    `path` and `label`, or with `path` and the keys of the JSON; None where most images have none, or where texts are
    boxes or captions."""
    keys = {_key(image): image for image in images}
    for suffix in (CLASS, RECORD, TEXT):
        beside = {name: keys[key] for name in tree.files if name.endswith(suffix) and (key := _key(name)) in keys}
        if beside and len(beside) >= MOST * len(images):
            if suffix == TEXT and not all(map(_may_be_label, _texts(tree, list(beside)[:TRIED]).values())):
                continue  # a hundred thousand files of boxes are not read
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
    """Return a name up to its first dot, which WebDataset takes for that of the sample."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _texts(tree: Tree, names: Iterable[str]) -> dict[str, str]:
    return {name: decode(extent.read()[:LONGEST])[0].strip() for name, extent in tree.extents(names)}


def _may_be_label(text: str) -> bool:
    """Tell whether a text is short, of one line, and no box (`0 0.5 0.5 0.2 0.2`)."""
    return len(text) <= LONGEST_LABEL and "\n" not in text and not NUMBERS.fullmatch(text)


def _are_labels(texts: list[str]) -> bool:
    """Tell whether texts are labels, and no captions: short and repeated."""
    return all(map(_may_be_label, texts)) and 1 < len(set(texts)) <= REPEATED * len(texts)


def joined_lists(tree: Tree, images: list[str]) -> tuple[str, "pd.DataFrame"] | None:
    """Return names for lists that number the images, and their contents as a table with `path`, `label` and `split`.

    As CUB-200 has them: `images.txt` has a number and a path a line, `image_class_labels.txt` a number and a class,
    `train_test_split.txt` a number and whether it is of train, `classes.txt` a class and its name. None without the
    first two.
    """
    pairs = {name: found for name in tree.files if name.lower().endswith(LISTS) and (found := _pairs(tree, name))}
    if len(pairs) < 2:
        return None
    finder = FileFinder(images, ".")
    for paths, numbered in pairs.items():
        if not all(path.lower().endswith(SUFFIXES) for path in numbered.values()):
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
    """Return the second word of each line by the first; {} where lines have other numbers of words."""
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
    """Return the labelled files with the splits of `train.txt` and `test.txt`, lists of paths, where they have none."""
    names = {name: strict_split(PurePosixPath(name).stem) for name in tree.files if name.lower().endswith(LISTS)}
    names = {name: split for name, split in names.items() if split}
    kinds = set(names.values())
    if (
        len(kinds) < len(names)
        or "train" not in kinds
        or len(kinds) < 2
        or any(sample.split for sample in found.samples)
    ):
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
    """Return the images that a list names, [] where its lines are not paths."""
    try:
        lines = [line.strip() for line in decode(read_one(tree, name))[0].splitlines() if line.strip()]
    except SourceError:
        return []
    found = FileFinder(images, str(PurePosixPath(name).parent)).find_all(lines)[0]
    known = [image for image in found if image]
    return known if len(known) >= LISTED * len(lines) else []
