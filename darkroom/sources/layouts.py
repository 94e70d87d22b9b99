"""Where the labels are: class folders, file names or a table. `read_layout` finds out, or says why not."""

import errno
import os
import unicodedata
from collections import Counter
from pathlib import PurePosixPath

from darkroom.core.errors import BadImage, SourceError
from darkroom.images.formats import SUFFIXES
from darkroom.sources.class_level import possible_readings, split_names
from darkroom.sources.diagnosis import what_is_wrong
from darkroom.sources.extents import Extent
from darkroom.sources.labels import (
    READERS,
    SHOWN,
    Labelled,
    LayoutOptions,
    Sample,
    compiled,
    few_of,
    first_part,
    folder_counts,
    printable,
    read_csv,
    shared_depth,
)
from darkroom.sources.tables import find_table
from darkroom.sources.trees import Tree

LOOKED_AT = 20


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
        found.notes.append(f"{len(unwritable)} {why}: {few_of(sorted(unwritable))}; rename them")
    _note_tool_folders(tree, found)
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
        named = len(read_csv(tree, images, options).samples) if images else 0
        if named * 2 >= len(images) or (named and not _class_folders(images)):
            return "csv", ""
        note = f"{table} is not read for labels: it names {named} of {len(images)} images"
    return _detect_without_table(tree, images, options), note


def _detect_without_table(tree: Tree, images: list[str], options: LayoutOptions) -> str:
    if options.label_pattern:
        return "names"
    if not images:
        raise SourceError(f"{tree.path} holds no images; {_seen(tree, images)}")
    shared = shared_depth(images)
    if options.class_level != "auto" or _class_folders(images):
        return "folders"
    labels = Counter(first_part(PurePosixPath(name).name) for name in images)
    numbered = [label for label in labels if label.isdigit()]
    if numbered and _splits_apart(images):  # test1/7.jpg beside train/cat.7.jpg: without labels
        for label in numbered:
            del labels[label]
        numbered = []
    if 2 <= len(labels) <= max(2, labels.total() // 4) and not numbered:
        return "names"
    folder = str(PurePosixPath(images[0]).parent)
    alone = f" All lie in {folder}: if that is a class, a second one is missing." if shared else ""
    raise SourceError(
        f"{tree.path}: cannot tell where the labels are; {_seen(tree, images)}. Say it in params.yaml: "
        "`layout: folders` (one folder a class), `layout: names` with a `label_pattern` (a regular expression whose "
        f"first group is the label), or `layout: csv` (a table beside them).{alone}"
    )


def _class_folders(images: list[str]) -> bool:
    """Whether all images lie in folders, and some of these are classes."""
    counts, shared = folder_counts(images), shared_depth(images)
    return all(len(folders) > shared for folders in counts) and bool(possible_readings(counts))


def _splits_apart(images: list[str]) -> bool:
    """Whether the folders of numbered images hold no other ones, and a folder called like a split holds the others."""
    numbered = {name.rpartition("/")[0] for name in images if first_part(PurePosixPath(name).name).isdigit()}
    others = {name.rpartition("/")[0] for name in images} - numbered
    return bool(others) and all(split_names(folder.split("/")) for folder in others)


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


def _unwritable(names: list[str]) -> set[str]:
    """Those names that are no UTF-8, and so cannot stand in an index."""
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        return {name for name in names if printable(name) != name}
    return set()


def _note_tool_folders(tree: Tree, found: Labelled) -> None:
    tools = +tree.tool_folders
    if tools and found.layout != "csv":
        shown = ", ".join(f"{name} {count}" for name, count in sorted(tools.items()))
        found.notes.append(f"{tools.total()} folders of network drives, desktops and tools are left out: {shown}")


def _note_empty(tree: Tree, found: Labelled) -> None:
    if found.layout == "folders" and tree.empty_folders:
        shown = ", ".join(map(printable, tree.empty_folders[:SHOWN]))
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
    few = ", ".join(map(printable, (images or tree.files)[:3]))
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
