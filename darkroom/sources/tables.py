"""Tables of labels beside the images: what their columns mean, and which row belongs to which file."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from darkroom.core.errors import SourceError
from darkroom.images.formats import SUFFIXES
from darkroom.sources.encodings import printable
from darkroom.sources.folder_names import split_names
from darkroom.sources.frames import TABLES, read_frame
from darkroom.sources.matching import FileFinder
from darkroom.sources.trees import Tree, read_one

if TYPE_CHECKING:
    import pandas as pd

# What the exports of labelling tools and competitions call these columns; compared in lower case.
PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_name",
         "image_id", "img", "img_path", "id", "name")  # fmt: skip
LABELS = ("label", "class", "category", "target", "class_name", "label_name", "classid", "breed", "species", "y",
          "labels")  # fmt: skip
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold_name")
FLAGS = {"is_valid": "val", "is_val": "val", "is_test": "test"}  # columns of true and false
TRUE, FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no", "")
SUBMISSION = re.compile("sample.?submission", re.IGNORECASE)
SEVERAL = re.compile(r"\s*[|;,]\s*|\s+")
SHOWN, MOST_TABLES = 5, 50


@dataclass(frozen=True)
class Row:
    """One row that has a file."""

    location: str
    label: str
    split: str
    group: str


@dataclass
class Table:
    """A table file of a tree: its cells as text, and the columns that were recognised ("" where none was).

    `one_hot` are the columns of zeros and ones, one of them 1 in each row, which stand for `label`; `part` is the
    official split that the file's name says, where it is one of several parts.
    """

    name: str
    frame: "pd.DataFrame"
    path: str = ""
    label: str = ""
    one_hot: list[str] = field(default_factory=list)
    part: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether it has paths and labels."""
        return bool(self.path and (self.label or self.one_hot))

    def labels(self) -> list[str]:
        """Return the label of each row."""
        if self.label:
            return self.frame[self.label].tolist()
        ones = self.frame[self.one_hot].apply(lambda column: column.str.lower().isin(TRUE))
        return ones.idxmax(axis=1).tolist() if len(ones) else []


def find_tables(tree: Tree, images: list[str], options: Any, must: bool = False) -> list[Table]:
    """Return the tree's one table with a path and a label column, or the parts of one (`train.csv` and `val.csv`).

    `options` is a LayoutOptions. Without such a table: [], or SourceError where there `must` be one.
    """
    names = [name for name in tree.files if name.lower().endswith(TABLES)]
    tables, unread = [], ""
    for name in names[:MOST_TABLES]:
        try:
            tables.append(_open(tree, name, options))
        except SourceError as error:
            unread = unread or str(error)
    fitting = [table for table in tables if table.fits]
    if len(fitting) > 1:
        fitting = _chosen(fitting, images)
    if len(fitting) == 1 or (fitting and all(table.part for table in fitting)):
        return fitting
    if not must:
        return []
    if fitting:
        shown = ", ".join(table.name for table in fitting)
        raise SourceError(f"{tree.path} holds several tables of labels ({shown}); name one: set `source` to that .csv")
    if not names:
        raise SourceError(f"{tree.path} holds no .csv; layout csv needs a table with a path and a label a row")
    raise SourceError(f"{tree.path}: {unread or describe(tables[0], options)}")


def describe(table: Table, options: Any) -> str:
    """Return what a table without known columns holds, and the params that name them."""
    rows = "; ".join(", ".join(printable(cell)[:30] for cell in row) for row in table.frame.head(3).to_numpy().tolist())
    columns = ", ".join(map(str, table.frame.columns)) or "(none)"
    return (f"{table.name} has the columns {columns}; name the right ones in params.yaml: path_column (now "
            f"{options.path_column}), label_column (now {options.label_column}); first rows: {rows}")  # fmt: skip


def describe_unread(tree: Tree, options: Any) -> str:
    """Return a description of the tree's first table that has rows and no known columns, "" where there is none."""
    for name in [name for name in tree.files if name.lower().endswith(TABLES)][:SHOWN]:
        try:
            table = _open(tree, name, options)
        except SourceError as error:
            return str(error)
        if not table.fits and len(table.frame):
            return describe(table, options)
    return ""


def read_tables(tree: Tree, tables: list[Table], images: list[str], options: Any) -> tuple[list[Row], list[str]]:
    """Return the rows that have a file, and notes about those that have none, and about files that have no row.

    `options` is a LayoutOptions. Raises SourceError where two rows give one file different labels.
    """
    rows: dict[str, Row] = {}
    lists: dict[str, list[str]] = {"absent": [], "several": [], "unlabelled": [], "twice": [], "resplit": []}
    notes: list[str] = []
    for table in tables:
        found = _read_one_table(tree, table, images, options, rows, lists)
        notes += [*table.notes, *found]
    if lists["twice"]:
        names = " and ".join(table.name for table in tables)
        raise SourceError(f"{names} gives {len(lists['twice'])} files two different labels: {_few(lists['twice'])}; "
                          "keep one row each")  # fmt: skip
    orphans = [image for image in images if image not in rows]
    counts = {"rows have no file": lists["absent"], "rows could mean several files": lists["several"],
             "rows name a file again in another split, and the first counts": lists["resplit"],
        "rows have no label": lists["unlabelled"], "files have no row": orphans}  # fmt: skip
    notes += [f"{len(names)} {what}: {_few(names)}" for what, names in counts.items() if names]
    return list(rows.values()), notes


def _read_one_table(
    tree: Tree, table: Table, images: list[str], options: Any, rows: dict[str, Row], lists: dict[str, list[str]]
) -> list[str]:
    """Add the rows of one table to `rows`, and those that give none to `lists`; return notes."""
    splits = _splits(tree, table, options)
    group = options.group_by if options.group_by in table.frame.columns else ""
    if options.group_by and not group and "(" not in options.group_by:
        shown = ", ".join(map(str, table.frame.columns))
        raise SourceError(f"{table.name} has no column {options.group_by!r} to group by; it has {shown}")
    groups = table.frame[group].tolist() if group else [""] * len(table.frame)
    texts, labels = table.frame[table.path].tolist(), table.labels()
    locations, notes = FileFinder(images, str(PurePosixPath(table.name).parent)).find_all(texts)
    for text, label, split, its_group, location in zip(texts, labels, splits, groups, locations, strict=True):
        if not location:
            lists["several" if location is None else "absent"].append(text)
        elif not label:
            lists["unlabelled"].append(text)
        elif location in rows and rows[location].label != label:
            lists["twice"].append(text)
        else:
            row = rows.setdefault(location, Row(location, label, split, its_group))
            if row.split != split:
                lists["resplit"].append(text)
    return notes + _note_several(table.name, table.label, labels)


def _note_several(name: str, column: str, labels: list[str]) -> list[str]:
    """Return a note where cells look like several labels: `scab|rust`, or words that are labels of other rows."""
    counts = Counter(labels)
    known = set(counts)
    doubtful = [
        label
        for label in counts
        if len(parts := [part for part in SEVERAL.split(label) if part]) > 1
        and ("|" in label or ";" in label or column.lower() == "labels" or known.issuperset(parts))
    ]
    if not doubtful:
        return []
    return [f"{name}: {len(doubtful)} labels look like several in one cell ({_few(sorted(doubtful))}); each is taken "
            "for a class of its own"]  # fmt: skip


def _open(tree: Tree, name: str, options: Any) -> Table:
    frame, notes = read_frame(name, read_one(tree, name))
    table = Table(name, frame, notes=notes)
    columns = list(map(str, frame.columns))
    if columns and columns[0].lower().endswith(SUFFIXES):
        table = _without_header(name, frame, notes)
        columns = list(table.frame.columns)
    table.path = column_of(columns, options.path_column, PATHS)
    table.label = column_of(columns, options.label_column, LABELS)
    others = [column for column in columns if column.lower() in LABELS and column not in (table.label, table.path)]
    if others and table.label and options.label_column == "auto":
        table.notes = [*table.notes, f"{name}: {table.label} is read as the label, and not {_few(others)}; "
                       "`label_column` chooses another"]  # fmt: skip
    if len(columns) == 2 and columns == ["column 1", "column 2"]:
        table.path, table.label = table.path or columns[0], table.label or columns[1]
    if table.path and not table.label and options.label_column == "auto":
        table.one_hot = _one_hot(table)
        if table.one_hot:
            table.notes = [*table.notes, f"{name}: labels are the columns of zeros and ones: {_few(table.one_hot)}"]
    return table


def _without_header(name: str, frame: "pd.DataFrame", notes: list[str]) -> Table:
    """Return a table whose first row is a file and its label, no header: columns are called column 1, column 2."""
    import pandas as pd

    columns = [f"column {number}" for number in range(1, len(frame.columns) + 1)]
    first = pd.DataFrame([list(map(str, frame.columns))], columns=columns)
    whole = pd.concat([first, frame.set_axis(columns, axis=1)], ignore_index=True)
    return Table(name, whole, notes=[*notes, f"{name} has no header: its first row names a file"])


def _one_hot(table: Table) -> list[str]:
    """Return the columns, two or more, that hold zeros and ones alone, where each row has exactly one 1; else []."""
    others = [column for column in table.frame.columns if column != table.path]
    lowered = table.frame[others].apply(lambda column: column.str.lower())
    flags = [column for column in others if lowered[column].isin([*TRUE, *FALSE]).all() and column.lower() not in FLAGS]
    ones = lowered[flags].isin(TRUE)
    return flags if len(flags) > 1 and len(ones) and bool((ones.sum(axis=1) == 1).all()) else []


def _splits(tree: Tree, table: Table, options: Any) -> list[str]:
    """Return the text of each row's official split: of the split column, of a flag, or of the file's name."""
    columns = list(map(str, table.frame.columns))
    split = column_of(columns, options.split_column, SPLIT_COLUMNS)
    if options.split_column not in ("auto", "", split):
        raise SourceError(f"{tree.path}: {table.name} has no column for split_column ({options.split_column}); "
                          f"it has {', '.join(columns)}")  # fmt: skip
    if split:
        return table.frame[split].tolist()
    flags = [column for column in columns if column.lower() in FLAGS] if options.split_column == "auto" else []
    for column in flags:
        cells = table.frame[column].str.lower()
        if cells.isin([*TRUE, *FALSE]).all():
            other = "train" if "val" in FLAGS[column.lower()] else ""
            table.notes.append(f"{table.name}: {column} is read as an official split")
            return cells.isin(TRUE).map({True: FLAGS[column.lower()], False: other}).tolist()
    return [table.part] * len(table.frame)


def _chosen(tables: list[Table], images: list[str]) -> list[Table]:
    """Return the one table that names images where the others name none, or all where they are parts of one."""
    naming = [table for table in tables if not SUBMISSION.search(table.name) and _names_some(table, images)]
    stems = {table.name: PurePosixPath(table.name).stem for table in naming}
    if len(set(stems.values())) == 1:  # train/metadata.csv, test/metadata.csv
        stems = {table.name: PurePosixPath(table.name).parent.name for table in naming}
    splits = split_names(stems.values())
    alike = len({(table.path, table.label, *table.one_hot) for table in naming}) == 1
    if len(naming) > 1 and alike and splits.keys() == set(stems.values()) and len(set(splits.values())) == len(naming):
        for table in naming:
            table.part = splits[stems[table.name]]
    unread = [table.name for table in tables if table not in naming]
    if naming and unread:
        naming[0].notes.append(f"not read for labels: {_few(unread)}")
    return naming or tables


def _names_some(table: Table, images: list[str]) -> bool:
    finder = FileFinder(images, str(PurePosixPath(table.name).parent))
    return any(finder.find_all(table.frame[table.path].tolist())[0])


def column_of(columns: list[str], wanted: str, usual: tuple[str, ...]) -> str:
    """Return the column that is `wanted`, or for auto the first that has a usual name; "" where there is none."""
    if wanted != "auto":
        return wanted.strip() if wanted.strip() in columns else ""
    plain = {plain_name(column): column for column in reversed(columns)}
    return next((plain[name] for name in usual if name in plain), "")


def plain_name(column: str) -> str:
    """Return a column's name as PATHS and LABELS have them: `Image Name`, `image-name` and `#Image_Name` are one."""
    return re.sub(r"[ .\-/]+", "_", column.strip(" #").lower())


def _few(names: list[str]) -> str:
    return ", ".join(map(printable, names[:SHOWN])) + (", …" if len(names) > SHOWN else "")
