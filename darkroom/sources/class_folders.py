"""Read labels from class folders, at the level whose names are classes; report what lies beside them."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath
from statistics import median

from darkroom.core.errors import SourceError
from darkroom.sources.class_level import Folders, Reading, at_level, possible_readings, without_strays
from darkroom.sources.class_names import are_things, doubts, is_companion, joining
from darkroom.sources.encodings import few_of, printable
from darkroom.sources.file_evidence import doubts_of_files, other_classes
from darkroom.sources.file_names import few_counts
from darkroom.sources.folder_names import (
    SPLITS,
    are_images_and_masks,
    are_parts,
    may_be_unlabelled,
    split_in,
)
from darkroom.sources.labels import (
    DRIVE_PART,
    SHOWN,
    Labelled,
    LayoutOptions,
    Sample,
    folder_counts,
    note_loose,
    path_parts,
    shared_depth,
)
from darkroom.sources.trees import Tree

NO_PICTURES = (  # suffixes of files that come with data sets
    ".md", ".txt", ".xml", ".log", ".csv", ".tsv", ".py", ".ipynb", ".yaml", ".yml", ".pth", ".pt", ".ckpt", ".onnx",
    ".safetensors", ".pb", ".tflite",
)  # fmt: skip
MAX_VIEWS, ALIKE = 4, 0.9  # folders that may be views of the same things; share of file names that all of them hold
LAST_NUMBER = re.compile(r"\d+(?=\D*$)")
HEX = re.compile(r"[0-9a-f]{4,}", re.IGNORECASE)
HASHED = re.compile(r"[0-9a-f]{1,3}", re.IGNORECASE)  # name of a folder of files that are stored by their hash
# A folder named like what comes with data is not a class where the median class has this many times its images.
FEW = 10
LOOK_ALIKES = {
    ".pdf": "PDF, a document", ".mp4": "MP4, a video", ".mov": "a video", ".avi": "a video",
    ".dcm": "DICOM, a medical image", ".dicom": "DICOM, a medical image", ".html": "HTML, a page",
    ".htm": "HTML, a page", ".json": "JSON, data",
}  # fmt: skip


def read_folders(tree: Tree, images: list[str], options: LayoutOptions) -> Labelled:
    """Return the images labelled by their class folders, at the level that `class_level` or comparing branches gives.

    Raises SourceError where several levels are possible.
    """
    reading = class_reading(tree, images, options)
    found = {folders: reading.label_and_split(folders) for folders in folder_counts(images)}
    of_folder = {folder: found[path_parts(folder)] for folder in {name.rpartition("/")[0] for name in images}}
    samples, loose = [], []
    for name in images:
        label, split = of_folder[name.rpartition("/")[0]]
        if label:
            samples.append(Sample(name, label, split))
        else:
            loose.append(name)
    notes = [*note_loose(loose, "lie in no class folder"), *_note_missing(tree, images, reading, options)]
    notes += [f"{folder} holds the class folders beside it once more: both are read" for folder in reading.copies]
    notes += _note_beside_splits(images, found)
    if any(map(DRIVE_PART.search, {part for folder in of_folder for part in folder.split("/")})):
        notes.append("the dates and numbers that Google Drive puts behind the names of folders are left out")
    labels = {label for label, _ in found.values()}
    if all(map(split_in, filter(None, labels))):
        notes.append(f"the names of all classes name a split ({few_of(sorted(filter(None, labels)))}), which is not "
                     "taken for an official one")  # fmt: skip
    called = sorted(label for label in labels if label.lower() in SPLITS or may_be_unlabelled(label))
    notes += [f"{label} is taken for a class and not for a split, since its images are in no further folder; "
              "if it is not a class, `exclude` it" for label in called]  # fmt: skip
    if options.class_level == "auto":
        if options.layout == "auto" and (others := other_classes(samples)):
            raise SourceError(_contradiction(tree, samples, others))
        notes += doubts(labels, folders=True) + doubts_of_files(samples)
    return Labelled("folders", samples, notes)


def _contradiction(tree: Tree, samples: list[Sample], others: dict[str, Counter[str]]) -> str:
    """Return the message about folders and names of files that divide the images in two ways."""
    folders = Counter(sample.label for sample in samples)
    names = " or ".join(f"`label_pattern: '{pattern}'` takes {labels.total():,} images of {len(labels)} classes "
                        f"({few_counts(labels)})" for pattern, labels in others.items())  # fmt: skip
    return (f"{tree.path}: folders and names of files divide the images in different ways: `layout: folders` takes "
            f"{len(samples):,} images of {len(folders)} classes ({few_counts(folders)}) or {names}; choose one in "
            "params.yaml")  # fmt: skip


def _note_beside_splits(images: list[str], found: dict[Folders, tuple[str, str]]) -> list[str]:
    """Return a note about class folders beside official splits: they may belong to a split of an unknown name."""
    splits = {split for label, split in found.values() if label}
    if len(splits) < 2 or "" not in splits:
        return []
    depth = shared_depth(images)
    beside = [folders for folders, (label, split) in found.items() if label and not split]
    counts = folder_counts(images)
    count = sum(counts[folders] for folders in beside)
    where = sorted({"/".join(folders[: depth + 1]) for folders in beside})
    return [f"{count} images of {few_of(where)} lie in no official split, and are divided like those without one"]


def class_reading(tree: Tree, images: list[str], options: LayoutOptions) -> Reading:
    """Return where the class folders are. Raises SourceError where several levels are possible, or none has classes."""
    counts = folder_counts(images)
    if isinstance(options.class_level, int):
        return at_level(counts, options.class_level)
    readings = possible_readings(counts)
    if len(readings) > 1:
        shown = " or ".join(_described(reading, counts) for reading in readings)
        raise SourceError(f"{tree.path}: the folders can be read in {len(readings)} ways: {shown}; choose one by its "
                          "`class_level` in params.yaml")  # fmt: skip
    reading = readings[0] if readings else Reading(frozenset())
    reading = replace(reading, unlabelled=reading.unlabelled | _come_with_data(reading.classes(counts)))
    classes = sorted(reading.classes(counts))
    if are_images_and_masks(classes):
        raise SourceError(f"{tree.path}: the folders {few_of(classes)} are called like images and their annotations, "
                          f"and not like classes; set `source` to one of them, or `class_level: {reading.level}` in "
                          "params.yaml if they are classes")  # fmt: skip
    if are_things(classes):
        raise SourceError(f"{tree.path}: the folders {few_of(classes)} are called like numbered things of a few "
                          f"classes; `class_level: {reading.level}` takes each folder for a class, and "
                          f"`label_pattern: '{joining(classes)}'` the words before the numbers; choose one in "
                          "params.yaml")  # fmt: skip
    if views := _same_names(images, reading):
        raise SourceError(f"{tree.path}: the folders {few_of(views)} hold files of the same names, as pictures and "
                          "their labels do, or several views of one thing; set `source` to one of them, or "
                          f"`class_level: {reading.level}` in params.yaml if they are classes")  # fmt: skip
    return reading


def _same_names(images: list[str], reading: Reading) -> list[str]:
    """Return the class folders where they hold files of the same names, else [].

    Such are pictures and their labels, or views of the same things. Names that are numbers from 0 or 1 do not count.
    """
    counts = folder_counts(images)
    sizes = reading.classes(counts).values()
    if not 1 < len(sizes) <= MAX_VIEWS or max(sizes) < FEW or min(sizes) < ALIKE * max(sizes):
        return []
    known = {folders: reading.label_and_split(folders) for folders in counts}
    stems: dict[str, set[str]] = {}
    for folder, _, last in (name.rpartition("/") for name in images):
        label, split = known[path_parts(folder)]
        stems.setdefault(label, set()).add(f"{split}/{last.rpartition('.')[0]}")
    stems.pop("", None)
    every, common = set().union(*stems.values()), set.intersection(*stems.values())
    if len(common) < ALIKE * len(every):
        return []
    numbers = {int(match[0]) for stem in every if (match := LAST_NUMBER.search(stem))}
    counted = bool(numbers) and min(numbers) <= 1 and max(numbers) < 2 * len(numbers)  # some may have been removed
    return [] if counted else sorted(stems)


def _come_with_data(classes: Counter[str]) -> frozenset[str]:
    """Return the folders named like what comes with data sets that hold hardly any image: they are not classes."""
    others = [count for label, count in classes.items() if not is_companion(label)]
    most = max(1, int(median(others)) // FEW) if len(others) > 1 else 0
    return frozenset(label for label, count in classes.items() if is_companion(label) and count <= most)


def _note_missing(tree: Tree, images: list[str], reading: Reading, options: LayoutOptions) -> list[str]:
    """Return notes about class folders that hold files but no image, in all or in train.

    Raises SourceError unless they may be dropped.
    """
    known, suffixes = set(images), dict[str, Counter[str]]()
    held = set(map(reading.label_and_split, folder_counts(images)))
    labels = {label for label, _ in held}
    for name in tree.files:
        if name not in known:
            label, split = reading.label_and_split(path_parts(name)[:-1])
            suffix = PurePosixPath(name).suffix.lower() or "no suffix"
            untaught = split == "train" and (label, split) not in held and suffix not in NO_PICTURES
            if label and (label not in labels or untaught) and not is_companion(label):
                suffixes.setdefault(label, Counter())[suffix] += 1
    texts = {label: found for label, found in suffixes.items() if set(found) <= set(NO_PICTURES)}
    notes = [f"{printable(label)} holds no image and is not a class: {_kinds(found)}" for label, found in texts.items()]
    suffixes = {label: found for label, found in suffixes.items() if label not in texts}
    if not suffixes:
        return notes[:SHOWN]
    shown = "; ".join(f"{printable(label)}: {_kinds(found)}" for label, found in sorted(suffixes.items())[:SHOWN])
    what = f"{len(suffixes)} class folders hold no file whose suffix is read: {shown}"
    if options.missing_classes == "stop":
        raise SourceError(f"{tree.path}: {what}; convert them to images, or leave these classes out by "
                          "`missing_classes: drop` in params.yaml")  # fmt: skip
    return [what, *notes[:SHOWN]]


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


def has_class_folders(images: list[str]) -> bool:
    """Return whether all images but strays lie in folders, and some of these are classes."""
    counts = without_strays(folder_counts(images))
    around = min(counts, key=len, default=())
    flat = all(folders[: len(around)] == around for folders in counts)
    return not flat and bool(possible_readings(counts)) and not parts(images)


def parts(images: list[str]) -> list[str]:
    """Return the names of the folders where they are parts of one set (`part1`, `part2`) and not classes, else []."""
    counts = folder_counts(images)
    readings = possible_readings(counts)
    labels = sorted(readings[0].classes(counts)) if len(readings) == 1 else []
    return labels if len(labels) > 1 and (are_parts(labels) or _are_hashed(images)) else []


def _are_hashed(images: list[str]) -> bool:
    """Return whether images lie in folders named by the beginning of their names: `3f/3fa2.jpg`, `0/a/0a17.jpg`."""
    shared, digits = shared_depth(images), set[str]()
    for name in images:
        *folders, last = path_parts(name, shared)
        stem = last.partition(".")[0]
        if not folders or not all(map(HASHED.fullmatch, folders)) or not HEX.fullmatch(stem):
            return False
        if not stem.lower().startswith("".join(folders).lower()):
            return False
        digits.update(stem.lower())
    return bool(digits & set("abcdef"))
