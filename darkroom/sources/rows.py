"""Match the rows of tables with images: the label, split and group of each, and notes about what has no match."""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from os.path import commonprefix
from pathlib import PurePosixPath

from darkroom.core.errors import SourceError
from darkroom.core.text import quoted
from darkroom.sources.columns import ABSENT, FALSE, FLAGS, SPLIT_COLUMNS, TRUE, Table, column_of, plain_name
from darkroom.sources.encodings import few_of
from darkroom.sources.folder_names import split_in, strict_split
from darkroom.sources.labels import LayoutOptions, Sample
from darkroom.sources.matching import FileFinder
from darkroom.sources.trees import Tree, address_of

MAX_SPLITS = 20  # different cells of a column of splits
LIST = re.compile(r"\[.*,.*\]")
SEVERAL = re.compile(r"\s*[|;,/+&]\s*|\s+")


@dataclass
class _Read:
    """The rows whose file was found, by location, and the names in other rows, by reason."""

    rows: dict[str, Sample] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    several: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    resplit: list[str] = field(default_factory=list)


def read_tables(
    tree: Tree, tables: list[Table], images: list[str], options: LayoutOptions
) -> tuple[list[Sample], list[str]]:
    """Return the rows whose file was found, and notes about rows without a file and files without a row.

    Raises SourceError where two rows give a file different labels, or a column is missing.
    """
    read = _Read()
    notes: list[str] = []
    for table in tables:
        found = _read_one_table(tree, table, images, options, read)
        notes += [*table.notes, *found]
    if read.twice:
        names = " and ".join(table.name for table in tables)
        raise SourceError(f"{names} gives {len(read.twice)} files two different labels: {few_of(read.twice)}; "
                          "keep one row each")  # fmt: skip
    orphans = [image for image in images if image not in read.rows]
    counts = {"rows have no file": read.absent, "rows could mean several files": read.several,
              "rows name a file again in another split, and the first counts": read.resplit,
              "rows have no label": read.unlabelled, "files have no row": orphans}  # fmt: skip
    notes += [f"{len(names)} {what}: {few_of(names)}" for what, names in counts.items() if names]
    if addresses := [text for text in read.absent if "://" in text]:
        folder = address_of(commonprefix(addresses).rpartition("/")[0])  # noqa: RUF071 - cut at a slash
        there = f"put it beside the files in {folder}, and set `source` to that, or " if folder else ""
        notes.append(f"addresses in a table are not followed: {there}copy the files beside the table")
    rows = list(read.rows.values())
    if options.split_column == "auto" and not any(row.split for row in rows):
        return _with_splits_of_folders(rows, notes)
    return rows, notes


def _read_one_table(tree: Tree, table: Table, images: list[str], options: LayoutOptions, read: _Read) -> list[str]:
    """Add the rows of one table to `read`; return notes."""
    splits = _splits_of(tree, table, options)
    group = options.group_by if options.group_by in table.columns else ""
    group = table.group if not options.group_by else group
    if options.group_by and not group and "(" not in options.group_by:
        shown = ", ".join(table.columns)
        raise SourceError(f"{table.name} has no column {quoted(options.group_by)} to group by; it has {shown}")
    groups = table.frame[group].tolist() if group else [""] * len(table.frame)
    texts, labels = table.frame[table.path].tolist(), table.labels()
    locations, notes = _located(table, texts, images)
    for text, label, split, its_group, location in zip(texts, labels, splits, groups, locations, strict=True):
        if not location:
            (read.several if location is None else read.absent).append(text)
        elif not label:
            read.unlabelled.append(text)
        elif location in read.rows and read.rows[location].label != label:
            read.twice.append(text)
        else:
            row = read.rows.setdefault(location, Sample(location, label, split, its_group))
            if row.split != split:
                read.resplit.append(text)
    absent = Counter(label for label in labels if label.lower() in ABSENT and label)
    notes += [f"{table.name}: {count} rows have the label {label}, which is taken for a class; if it means none, empty "
              "these cells" for label, count in absent.items()]  # fmt: skip
    return notes + _note_several(table.name, table.label, labels)


def _located(table: Table, texts: list[str], images: list[str]) -> tuple[list[str | None], list[str]]:
    """Return the image of each text ("" where there is none, None for several), and notes.

    An id with files in the folders of several splits means that of the split in the table's name, or of train.
    """
    locations, notes = FileFinder(images, table.folder).find_all(texts)
    if None not in locations:
        return locations, notes
    split = _split_of_ids(table)
    within = [image for image in images if split in map(strict_split, image.split("/")[:-1])]
    finder = FileFinder(within, table.folder)
    chosen = [
        finder.find(text) if location is None else location for text, location in zip(texts, locations, strict=True)
    ]
    if not within or None in chosen or "" in [new for new, old in zip(chosen, locations, strict=True) if old is None]:
        return locations, notes
    count = locations.count(None)
    return chosen, [*notes, f"{table.name}: {count} ids lie in several folders, and are taken for those of {split}"]


def _with_splits_of_folders(rows: list[Sample], notes: list[str]) -> tuple[list[Sample], list[str]]:
    """Return rows with the official splits of their images' folders, where all have one, and notes."""
    splits = {row.location: next(filter(None, map(strict_split, row.location.split("/")[:-1])), "") for row in rows}
    kinds = set(splits.values())
    if "" in kinds or "train" not in kinds or len(kinds) < 2:
        return rows, notes
    shown = ", ".join(f"{split} {count}" for split, count in sorted(Counter(splits.values()).items()))
    found = [replace(row, split=splits[row.location]) for row in rows]
    return found, [*notes, f'official splits are those of the images\' folders: {shown}; `split_column: ""` takes none']


def _note_several(name: str, column: str, labels: list[str]) -> list[str]:
    """Return a note where cells look like several labels: `scab|rust`, or several labels of other rows.

    Words beside each other count in a column `labels`, unless most labels have several words, as names of birds do.
    """
    parts = {label: [part for part in SEVERAL.split(label) if part] for label in set(labels)}
    several = [label for label in parts if len(parts[label]) > 1]
    unusual = column.lower() == "labels" and len(several) * 2 <= len(parts)
    doubtful = [
        label
        for label in several
        if unusual or "|" in label or ";" in label or LIST.fullmatch(label) or parts.keys() >= set(parts[label])
    ]
    if not doubtful:
        return []
    return [f"{name}: {len(doubtful)} labels look like several in one cell ({few_of(sorted(doubtful))}); each is taken "
            "for a class of its own"]  # fmt: skip


def _splits_of(tree: Tree, table: Table, options: LayoutOptions) -> list[str]:
    """Return the official split of each row, as text: from the split column, a flag, or the table's name."""
    split = column_of(table.columns, options.split_column, SPLIT_COLUMNS)
    if options.split_column not in ("auto", "", split):
        raise SourceError(f"{tree.path}: {table.name} has no column for split_column ({options.split_column}); "
                          f"it has {', '.join(table.columns)}")  # fmt: skip
    if split:
        return table.frame[split].tolist()
    flags = (
        [column for column in table.columns if plain_name(column) in FLAGS] if options.split_column == "auto" else []
    )
    for column in flags:
        cells = table.frame[column].str.lower()
        if cells.isin([*TRUE, *FALSE]).all():
            chosen, others = FLAGS[plain_name(column)]
            table.notes.append(f"{table.name}: {column} is read as an official split")
            return cells.isin(TRUE).map({True: chosen, False: others}).tolist()
    if not table.part and options.split_column == "auto" and (found := _split_by_cells(table)):
        table.notes.append(f"{table.name}: {found} is read as an official split")
        return table.frame[found].tolist()
    return [table.part] * len(table.frame)


def _split_by_cells(table: Table) -> str:
    """Return the only column, of any name, whose cells are all splits, train among them; "" without one."""
    found = []
    for column in table.columns:
        cells = table.frame[column].unique() if column not in (table.path, table.label) else ()
        kinds = set(map(strict_split, cells)) if 1 < len(cells) <= MAX_SPLITS else {""}
        if "" not in kinds and "train" in kinds and len(kinds) > 1:
            found.append(column)
    return found[0] if len(found) == 1 else ""


def _split_of_ids(table: Table) -> str:
    """Return the split that ids with files in several splits mean: that in the table's name, otherwise train."""
    return split_in(PurePosixPath(table.name).name.partition(".")[0]) or "train"
