"""Read small texts beside the images: the label of each, as in WebDataset's tars, lists of splits, names of classes."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from darkroom.core.errors import BadImage, SourceError
from darkroom.images.formats import is_image_name
from darkroom.sources.columns import CALLED
from darkroom.sources.encodings import decode, few_of
from darkroom.sources.folder_names import strict_split
from darkroom.sources.frames import LISTS, read_frame
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
# Classes that another file may name: numbers, and those of WordNet; and files that are searched for the names.
CODE, NAMED = re.compile(r"\d{1,6}(\.0)?|n\d{8}"), (".txt", ".names", ".json", ".csv", ".tsv")
NUMBERED = re.compile(r"(n?\d+)\s*[\s:;,=.)-]\s*(.+)")  # `0 cat`, `1: dog`
MOST_NAMING, NAMING_BYTES, MOST_KEYS = 20, 1 << 22, 1.25  # files; bytes; keys for each class: more are images
SPARE, MOST_RECORDS = 20, 10_000  # lines beside those of classes, as in a header; records of JSON


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


def with_class_names(tree: Tree, images: list[str], found: Labelled) -> Labelled:
    """Return the labelled files with names for classes that are numbers, where a file beside them names each one.

    Such are `{"0": "cat"}`, `{"cat": 0}`, `0 cat` a line, a table with a column of numbers, and in `classes.txt` and
    the like a name a line, as many as there are classes, from 0 or 1.
    """
    labels = {sample.label for sample in found.samples}
    if len(labels) < 2 or not all(map(CODE.fullmatch, labels)):
        return found
    codes = {label: label.removesuffix(".0").lstrip("0") or "0" for label in labels}
    if len(set(codes.values())) < len(labels):
        return found
    keys = {_key(image) for image in images}
    beside = [name for name in tree.files if name.lower().endswith(NAMED) and _key(name) not in keys]
    namings: dict[str, dict[str, str]] = {}
    for name in sorted(beside, key=lambda name: (name.count("/"), name))[:MOST_NAMING]:
        for naming in _namings(tree, name, set(codes.values())):
            namings.setdefault(name, naming)
    if not namings:
        return found
    first, naming = next(iter(namings.items()))
    if any(other != naming for other in namings.values()):
        found.notes.append(f"the classes are numbers, and {few_of(list(namings))} name them differently: none is taken")
        return found
    found.samples = [replace(sample, label=naming[codes[sample.label]]) for sample in found.samples]
    shown = few_of([f"{label} is {naming[code]}" for label, code in sorted(codes.items(), key=lambda pair: pair[1])])
    found.notes.append(f"the classes are numbers, and {first} names them: {shown}")
    return found


def _namings(tree: Tree, name: str, codes: set[str]) -> Iterator[dict[str, str]]:
    """Yield the names that a file gives to `codes`, each another one, in the ways it can be read."""
    called = bool(CALLED.search(PurePosixPath(name).name)) or not all(map(str.isdigit, codes))
    try:
        (data,) = (extent.head(NAMING_BYTES) for _, extent in tree.extents([name]))
        text = decode(data)[0]
        if len(data) >= NAMING_BYTES or not text.strip():
            return
        if not name.lower().endswith(RECORD) and text.count("\n") > 2 * len(codes) + SPARE and min(codes).isdigit():
            return  # a table of images
        pairs: list[dict[str, str]] = []
        if name.lower().endswith(RECORD):
            pairs += _pairs_within(json.loads(text), codes, called)
        elif name.lower().endswith((".csv", ".tsv")):
            pairs += _pairs_of_columns(read_frame(name, data)[0], called)
        if called:
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            pairs += [{match[1]: match[2] for line in lines if (match := NUMBERED.fullmatch(line))}]
            pairs += [_by_place(lines, codes)]
    except (BadImage, OSError, SourceError, ValueError, RecursionError):
        return
    for found in pairs:
        plain = {key.removesuffix(".0").lstrip("0") or "0": value.strip() for key, value in found.items()}
        names = {code: plain.get(code, "") for code in codes}
        of_images = len(plain) > MOST_KEYS * len(codes) and all(map(str.isdigit, codes))
        if len(set(names.values())) == len(codes) and all(map(_is_name, names.values())) and not of_images:
            yield names


def _is_name(text: str) -> bool:
    return len(text) <= MAX_LABEL and bool(re.search(r"[^\W\d_]", text)) and not is_image_name(text)


def _by_place(lines: list[str], codes: set[str]) -> dict[str, str]:
    """Return the lines by their place from 0 or 1, where there are as many as classes of these numbers, else {}."""
    numbers = sorted(int(code) for code in codes if code.isdigit())
    first = numbers[0] if numbers else 0
    whole = first < 2 and len(numbers) == len(codes) and len(lines) == numbers[-1] - first + 1
    return {str(place): line for place, line in enumerate(lines, first)} if whole else {}


def _pairs_within(value: Any, codes: set[str], called: bool, depth: int = 3) -> Iterator[dict[str, str]]:
    """Yield the pairs of JSON, at most three levels deep, of what is `called` like classes by its file or its key.

    They are those of objects in both directions (`{"0": "cat"}`, `{"cat": 0}`), of lists of names and of records.
    """
    if isinstance(value, dict) and depth:
        if called and all(isinstance(cell, str | int) for cell in value.values()):
            pairs = {str(key): str(cell) for key, cell in value.items()}
            yield pairs
            yield {cell: key for key, cell in pairs.items()}
        for key, cell in value.items():
            yield from _pairs_within(cell, codes, called or bool(CALLED.search(str(key))), depth - 1)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        yield _by_place(value, codes) if called else {}
    if isinstance(value, list) and 0 < len(value) < MOST_RECORDS and all(isinstance(item, dict) for item in value):
        yield from _pairs_of_columns(frame_of(value), called)


def _pairs_of_columns(frame: "pd.DataFrame", called: bool) -> Iterator[dict[str, str]]:
    """Yield the cells of each two columns of which the first has each cell once and is `called` like classes."""
    for key in map(str, frame.columns):
        if frame[key].is_unique and (called or CALLED.search(key)):
            for other in frame.columns:
                yield dict(zip(frame[key], frame[other], strict=True)) if other != key else {}
