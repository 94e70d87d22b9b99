"""Layouts: labels from class folders, file names or a table. `read_layout` finds the layout, or reports why not."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath

from darkroom.core.errors import SourceError
from darkroom.core.text import quoted
from darkroom.images.formats import is_image_name
from darkroom.sources.archives import is_tool_folder
from darkroom.sources.class_folders import has_class_folders, parts, read_folders
from darkroom.sources.columns import UNASSIGNED
from darkroom.sources.containers import Mounted
from darkroom.sources.encodings import few_of, is_text, printable
from darkroom.sources.file_names import names_are_labels, read_names
from darkroom.sources.folder_names import masked_stem, strict_split
from darkroom.sources.labels import (
    SHOWN,
    Labelled,
    LayoutOptions,
    Sample,
    check_official_splits,
    compiled,
    note_spellings,
    shared_depth,
    with_clean_labels,
)
from darkroom.sources.rows import read_tables
from darkroom.sources.sidecars import with_class_names, with_split_lists
from darkroom.sources.survey import hint_of_suffixes, hints_of_unread, seen
from darkroom.sources.tables import TableSet, find_tables
from darkroom.sources.trees import ARCHIVES, Tree

DECIMAL = re.compile(r"-?\d*\.\d*[1-9]0*")


def read_layout(tree: Tree, options: LayoutOptions) -> Labelled:
    """Return the labelled files of `tree`. Raises SourceError with what was found, and the params that would help."""
    images = list(filter(is_image_name, tree.files))
    others = len(tree.files) - len(images)
    masks = _masks(images)
    images = [name for name in images if name not in masks] if masks else images
    unwritable = _unwritable(images)
    if unwritable:
        images = [name for name in images if name not in unwritable]
        tree.files[:] = [name for name in tree.files if name not in unwritable]
        _check_no_class_is_lost(tree, images, unwritable, options)
    found, unread_table = _read(tree, images, options)
    name = found.layout
    if not found.samples:
        why = "".join(f"; {note}" for note in found.notes)
        raise SourceError(f"{tree.path}: layout {name} finds no labelled image{why}; {seen(tree, images)}")
    found.notes += [unread_table] if unread_table else []
    found.samples.sort(key=lambda sample: sample.location)
    if not any(sample.group for sample in found.samples):  # no column of a table was meant
        found.samples = _with_groups(found.samples, options.group_by)
    if others and name != "csv":
        found.notes.append(f"{others} files are not images by their names and are left out")
    if masks:
        shown = few_of(sorted(masks))
        found.notes.append(f"{len(masks)} images are called like masks of others and are left out: {shown}")
    if unwritable:
        why = "images have names that are not UTF-8 and are left out"
        found.notes.append(f"{len(unwritable)} {why}: {few_of(sorted(unwritable))}; rename them")
    found = with_class_names(tree, images, found)
    found.samples, renamed = with_clean_labels(found.samples)
    found.notes += [*tree.notes, *renamed, *_notes_about_folders(tree, name)]
    note_spellings(found)
    check_official_splits(tree.path, found)
    labels = {sample.label for sample in found.samples}
    if len(labels) < 2:
        raise SourceError(f"{tree.path}: layout {name} finds one class only, {quoted(labels.pop())}, and a "
                          f"classifier needs two; {seen(tree, images)}")  # fmt: skip
    return found


def _read(tree: Tree, images: list[str], options: LayoutOptions) -> tuple[Labelled, str]:
    """Return the labelled files by the layout that is set or detected, and a note about a table that is not read."""
    if options.layout == "csv":
        labelled = read_csv(tree, find_tables(tree, images, options, must=True), images, options)
        return with_split_lists(tree, images, labelled), ""
    if options.layout != "auto":
        return with_split_lists(tree, images, READERS[options.layout](tree, images, options)), ""
    found, note = find_tables(tree, images, options), ""
    if found.tables and images:
        labelled = read_csv(tree, found, images, options)
        named = len(labelled.samples)
        if named * 2 >= len(images) or (named and not has_class_folders(images)):
            differ = _note_folders_differ(tree, images, options, labelled.samples)
            return with_split_lists(tree, images, labelled), differ
        shown = ", ".join(table.name for table in found.tables)
        if named or not found.quiet:
            note = f"{shown} is not read for labels: it names {named} of {len(images)} images"
    elif found.why:
        note = f"not read for labels: {found.why}"
    name = _layout_without_table(tree, images, options, found.why or note)
    return with_split_lists(tree, images, READERS[name](tree, images, options)), note


def read_csv(tree: Tree, found: TableSet, images: list[str], options: LayoutOptions) -> Labelled:
    """Return the images labelled by the tables in `found`. Raises SourceError for a split column without splits."""
    table = " and ".join(one.name for one in found.tables)
    rows, notes = read_tables(tree, found.tables, images, options)
    samples = [replace(row, split=strict_split(row.split)) for row in rows]
    unknown = Counter(row.split for row in rows if not strict_split(row.split) and row.split.lower() not in UNASSIGNED)
    if unknown:
        values = ", ".join(f"{value} {count}" for value, count in unknown.most_common(SHOWN))
        values += ", …" if len(unknown) > SHOWN else ""
        if options.split_column != "auto" and not any(sample.split for sample in samples):
            raise SourceError(f"{table}: the column {options.split_column} names no split that is known, but {values}; "
                              "write train, val, test, or set `split_column: \"\"`")  # fmt: skip
        notes.append(f"{unknown.total()} rows name a split that is not known, and are divided like rows without one: "
                     f"{values}")  # fmt: skip
    measures = {sample.label for sample in samples if DECIMAL.fullmatch(sample.label)}
    if 2 * len(measures) > len({sample.label for sample in samples}):
        notes.append(f"the labels are numbers with decimals ({few_of(sorted(measures))}), as what is measured is; each "
                     "is taken for a class of its own")  # fmt: skip
    return Labelled("csv", samples, notes)


# Each returns labelled locations, or raises SourceError with the reason why it does not apply. `csv`, which finds its
# tables first, is in `_read`.
READERS = {"folders": read_folders, "names": read_names}
LAYOUTS = ("auto", *READERS, "csv")


def _layout_without_table(tree: Tree, images: list[str], options: LayoutOptions, table: str) -> str:
    """Return folders or names; `table` is the reason why no table is read. Raises SourceError where neither fits."""
    if options.label_pattern:
        return "names"
    archives = [name for name in tree.files if name.lower().endswith(ARCHIVES)]
    if not images and archives:
        raise SourceError(f"{tree.path} holds archives and no images: {few_of(archives)}; unpack them into one folder, "
                          "or set `source` to one of them")  # fmt: skip
    if not images:
        hint = hint_of_suffixes(tree) + "".join(hints_of_unread(tree))
        raise SourceError(f"{tree.path} holds no images; {seen(tree, images)}.{hint}")
    if options.class_level == "auto" and isinstance(tree, Mounted) and tree.numbered and _are_flat(images):
        raise SourceError(f"{tree.path}: its archives are called like numbered parts of one set, without class folders "
                          f"or labels beside the images ({seen(tree, images)}); if each archive is a class, set "
                          "`class_level: 1` in params.yaml")  # fmt: skip
    if options.class_level != "auto" or has_class_folders(images):
        return "folders"
    if names_are_labels(images):
        return "names"
    hints = [
        f" The table {table.removeprefix('The table ')}." if table else "",
        _hint_of_folders(images),
        f" {len(archives)} archives are not opened, since images lie beside them: {few_of(archives)}; unpack them."
        if archives
        else "",
        *hints_of_unread(tree),
    ]
    raise SourceError(
        f"{tree.path}: cannot tell where the labels are; {seen(tree, images)}. Say it in params.yaml: "
        "`layout: folders` (one folder a class), `layout: names` with a `label_pattern` (a regular expression whose "
        f"first group is the label), or `layout: csv` (a table beside them).{''.join(hints)}"
    )


def _are_flat(images: list[str]) -> bool:
    return all(name.count("/") == 1 for name in images)


def _hint_of_folders(images: list[str]) -> str:
    if folders := parts(images):
        return (f" The folders {few_of(folders)} are called like parts of one set and not like classes; if they are "
                "classes, set their `class_level`.")  # fmt: skip
    folder = str(PurePosixPath(images[0]).parent)
    return f" All lie in {folder}: if that is a class, a second one is missing." if shared_depth(images) else ""


def _note_folders_differ(tree: Tree, images: list[str], options: LayoutOptions, labelled: list[Sample]) -> str:
    """Return a note where the table's labels divide the images in another way than their class folders, else ""."""
    if not has_class_folders(images):
        return ""
    try:
        by_folder = {sample.location: sample.label for sample in READERS["folders"](tree, images, options).samples}
    except SourceError:
        return ""  # they may not be class folders
    first: dict[str, Sample] = {}  # the first sample of each folder
    differing = [
        sample
        for sample in labelled
        if (folder := by_folder.get(sample.location)) and first.setdefault(folder, sample).label != sample.label
    ]
    if not differing or len(set(by_folder.values())) < 2:
        return ""
    one, other = first[by_folder[differing[0].location]], differing[0]
    return (f"the labels of the table are taken, which divide the class folders otherwise: {one.location} is "
            f"{one.label}, {other.location} is {other.label}; `layout: folders` takes the folders")  # fmt: skip


def _with_groups(samples: list[Sample], group_by: str) -> list[Sample]:
    if not group_by:
        return samples
    expression = compiled(group_by, "group_by")
    grouped = []
    for sample in samples:
        match = expression.search(sample.location)
        group = next((part for part in match.groups() if part), "") if match else ""
        grouped.append(replace(sample, group=group))
    if not any(sample.group for sample in grouped):
        what = f"group_by: {quoted(group_by)} matches none of {len(samples)} paths, such as {samples[0].location}"
        raise SourceError(f'{what}; correct it in params.yaml, or set it to ""')
    return grouped


def _unwritable(names: list[str]) -> set[str]:
    """Return the names that are not UTF-8, as an index requires."""
    return set() if is_text("".join(names)) else {name for name in names if not is_text(name)}


def _check_no_class_is_lost(tree: Tree, images: list[str], unwritable: set[str], options: LayoutOptions) -> None:
    """Raise SourceError where no image of a folder has a name in UTF-8, unless classes may be dropped."""
    folders = {name.rpartition("/")[0] for name in images}
    lost = sorted({name.rpartition("/")[0] for name in unwritable} - folders)
    if lost and options.missing_classes == "stop":
        raise SourceError(f"{tree.path}: the names of all images in {few_of(lost)} are not UTF-8, and cannot stand in "
                          "an index; rename them (`convmv -r -f latin1 -t utf8 --notest`), or leave "
                          "these folders out by `missing_classes: drop` in params.yaml")  # fmt: skip


def _notes_about_folders(tree: Tree, layout: str) -> list[str]:
    """Return notes about archives, folders of tools and empty folders, where they matter to `layout`."""
    archives, tools = [name for name in tree.files if name.lower().endswith(ARCHIVES)], +tree.tool_folders
    notes = []
    if archives and layout != "csv":
        notes.append(f"{len(archives)} archives among the images are not opened: {few_of(archives)}")
    if tools and layout != "csv":
        hidden = Counter({name: count for name, count in tools.items() if not is_tool_folder(name)})
        for kind, what in (
            (tools - hidden, "folders of network drives, desktops and tools are left out: "),
            (hidden, "hidden folders with images are left out; a class needs a name that begins without a dot: "),
        ):
            shown = ", ".join(f"{printable(name)} {count}" for name, count in sorted(kind.items()))
            notes += [f"{kind.total()} {what}{shown}"] if kind else []
    if tree.empty_folders and layout == "folders":
        shown = ", ".join(map(printable, tree.empty_folders[:SHOWN]))
        notes.append(f"{len(tree.empty_folders)} folders are empty: {shown}")
    return notes


def _masks(images: list[str]) -> set[str]:
    """Return the images whose names mark them as masks of others: `12_mask.png` beside `12.png`."""
    stems = {name.rpartition(".")[0] for name in images}
    return {name for name in images if masked_stem(name.rpartition(".")[0]) in stems}
