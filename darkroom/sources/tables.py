"""Tables of labels beside the images: which files of a tree are such tables, and what their columns mean."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from darkroom.core.errors import SourceError
from darkroom.images.formats import SUFFIXES
from darkroom.sources.columns import (
    ABSENT,
    FALSE,
    FLAGS,
    LABELS,
    PATHS,
    SPLIT_COLUMNS,
    TRUE,
    column_of,
    plain_name,
    usual_columns,
)
from darkroom.sources.encodings import decode, few_of, printable
from darkroom.sources.folder_names import is_submission, split_in, split_names
from darkroom.sources.frames import LISTS, TABLES, read_frame
from darkroom.sources.matching import FileFinder
from darkroom.sources.sidecars import RECORD, sidecar_frame
from darkroom.sources.trees import Tree, read_one

if TYPE_CHECKING:
    import pandas as pd

SHOWN, MOST_TABLES, TRIED = 5, 50, 50
QUIET = (*LISTS, ".json")  # texts and settings, of which nothing is said where they name no image


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
    def quiet(self) -> bool:
        """Whether nothing is to be said about it where it names no image."""
        return self.name.lower().endswith(QUIET) and not self.name.startswith("*")  # those beside images

    @property
    def fits(self) -> bool:
        """Whether it has paths and labels."""
        return bool(self.path and (self.label or self.one_hot))

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return list(map(str, self.frame.columns))

    @property
    def folder(self) -> str:
        """The folder that it lies in."""
        return str(PurePosixPath(self.name).parent)

    def labels(self) -> list[str]:
        """Return the label of each row, "" where it has none."""
        if self.label:
            return self.frame[self.label].tolist()
        ones = self.frame[self.one_hot].apply(lambda column: column.str.lower().isin(TRUE))
        return ones.idxmax(axis=1).where(ones.any(axis=1), "").tolist() if len(ones) else []


@dataclass
class TableSet:
    """The one table of a tree, or its parts; or none, and why: what is to be said about those that there are."""

    tables: list[Table] = field(default_factory=list)
    why: str = ""

    @property
    def quiet(self) -> bool:
        """Whether nothing is to be said about the tables where they name no image."""
        return all(table.quiet for table in self.tables)


class Finders:
    """Finds a tree's images by what tables in its folders call them; a finder is made once a folder."""

    def __init__(self, images: list[str]) -> None:
        self.images = images
        self.within = cache(lambda folder: FileFinder(images, folder))

    def any_of(self, table: Table, column: str) -> bool:
        """Whether cells of `column` name images."""
        return any(self.within(table.folder).find_all(table.frame[column].tolist())[0])


def find_tables(tree: Tree, images: list[str], options: Any, must: bool = False) -> TableSet:
    """Return the tree's one table with a path and a label column, or the parts of one (`train.csv` and `val.csv`).

    `options` is a LayoutOptions. Raises SourceError where there `must` be one and is none.
    """
    finders = Finders(images)
    beside = sidecar_frame(tree, images)
    texts = [name for name in tree.files if name.lower().endswith((*TABLES, *LISTS)) and not (
             beside and name.lower().endswith(RECORD))]  # fmt: skip
    names = [name for name in texts[:MOST_TABLES] if name.lower().endswith(TABLES) or _is_list(tree, name)]
    meant = [name for name in names if not is_submission(name)]
    tables, unread = [], ""
    for name in meant or (names if must else []):
        try:
            tables.append(_open(tree, name, options, finders))
        except SourceError as error:
            unread = unread or ("" if name.lower().endswith(QUIET) else str(error))
    fitting = [table for table in tables if table.fits]
    if beside and not fitting:
        tables = [_recognised(Table(*beside), options, finders)]
        fitting = [table for table in tables if table.fits]
    naming = [table for table in fitting if finders.any_of(table, table.path)] if len(fitting) > 1 else fitting
    chosen = _chosen(naming or fitting, finders)
    if chosen:
        _note_unread(chosen, [name for name in names if name not in {table.name for table in chosen}], fitting)
        return TableSet(chosen)
    why = unread
    if fitting:
        shown = ", ".join(table.name for table in naming or fitting)
        why = f"{tree.path} holds several tables of labels ({shown}); name one: set `source` to that file"
    elif described := [table for table in tables if not table.quiet and len(table.frame)]:
        why = describe(described[0], options)
    if must and not images:
        shown = f"{few_of(names)} stands alone" if names else "it is empty"
        raise SourceError(f"{tree.path} holds no images: {shown}; put the images beside it (pixels in cells are not "
                          "read: write them as images)")  # fmt: skip
    if must:
        none = "holds no .csv; layout csv needs a table with a path and a label a row"
        raise SourceError(why if fitting else f"{tree.path}: {why}" if why else f"{tree.path} {none}")
    if not why:
        lists = [table for table in tables if table.name.lower().endswith(LISTS)]
        why = describe(lists[0], options) if lists else ""
    return TableSet(why=why)


def describe(table: Table, options: Any) -> str:
    """Return what a table without known columns holds, and the params that name them."""
    rows = "; ".join(", ".join(printable(cell)[:30] for cell in row) for row in table.frame.head(3).to_numpy().tolist())
    columns = ", ".join(table.columns) or "(none)"
    return (f"{table.name} has the columns {columns}; name the right ones in params.yaml: path_column (now "
            f"{options.path_column}), label_column (now {options.label_column}); first rows: {rows}")  # fmt: skip


def _is_list(tree: Tree, name: str) -> bool:
    """Whether the first lines of a text file name images."""
    if not name.lower().endswith(LISTS):
        return False
    try:
        text, _ = decode(read_one(tree, name)[:4096])
    except SourceError:
        return False
    lines = [line for line in text.splitlines()[:TRIED] if line.strip()][:-1] or [text]
    return sum(
        any(cell.lower().endswith(SUFFIXES) for cell in line.replace(",", " ").split()) for line in lines
    ) * 2 >= len(lines)


def _open(tree: Tree, name: str, options: Any, finders: Finders) -> Table:
    """Read a table and recognise its columns. Raises SourceError when it is damaged."""
    frame, notes = read_frame(name, read_one(tree, name))
    table = Table(name, frame, notes=notes)
    if any(column.lower().endswith(SUFFIXES) for column in table.columns):
        table = _without_header(name, frame, notes)
    return _recognised(table, options, finders)


def _recognised(table: Table, options: Any, finders: Finders) -> Table:
    table.path = _path_column(table, options, finders)
    table.label = column_of(table.columns, options.label_column, LABELS)
    if table.label == table.path:
        table.label = next(iter(usual_columns([name for name in table.columns if name != table.path], LABELS)), "")
    _note_other_labels(table, options)
    if table.columns == ["column 1", "column 2"] and table.path:
        _take_other_column(table)
    if table.path and not table.label and options.label_column == "auto":
        table.one_hot = _one_hot(table)
        if table.one_hot:
            table.notes = [
                *table.notes,
                f"{table.name}: labels are the columns of zeros and ones: {few_of(table.one_hot)}",
            ]
    return table


def _path_column(table: Table, options: Any, finders: Finders) -> str:
    """Return the column of paths or ids: of those with a usual name the first that names images, else any that does."""
    if options.path_column != "auto":
        return column_of(table.columns, options.path_column, PATHS)
    usual = usual_columns(table.columns, PATHS)
    tried = Table(table.name, table.frame.head(TRIED))
    if len(usual) == 1 or not finders.images:
        return usual[0] if usual else ""
    for column in usual:
        if finders.any_of(tried, column):
            if column != usual[0]:
                table.notes = [*table.notes, f"{table.name}: {column} names the images, and {usual[0]} does not"]
            return column
    if usual or not usual_columns(table.columns, LABELS):
        named = [column for column in table.columns if column.startswith("column ")]
        endings = [column for column in named if tried.frame[column].str.lower().str.endswith(SUFFIXES).any()]
        return usual[0] if usual else next(iter(endings), "")
    found = next((column for column in table.columns if finders.any_of(tried, column)), "")
    if found:
        table.notes = [*table.notes, f"{table.name}: {found} is read as the path, since it names images"]
    return found


def _take_other_column(table: Table) -> None:
    """Take the column beside the paths for labels in a table of two columns without header, unless all differ."""
    other = next(column for column in table.columns if column != table.path)
    if len(table.frame) < 4 or table.frame[other].nunique() <= len(table.frame) / 2:
        table.label = table.label or other


def _note_other_labels(table: Table, options: Any) -> None:
    others = [column for column in usual_columns(table.columns, LABELS) if column not in (table.label, table.path)]
    if others and table.label and options.label_column == "auto":
        table.notes = [*table.notes, f"{table.name}: {table.label} is read as the label, and not {few_of(others)}; "
                       "`label_column` chooses another"]  # fmt: skip


def _without_header(name: str, frame: "pd.DataFrame", notes: list[str]) -> Table:
    """Return a table whose first row is a file and its label, no header: columns are called column 1, column 2."""
    import pandas as pd

    columns = [f"column {number}" for number in range(1, len(frame.columns) + 1)]
    first = pd.DataFrame([list(map(str, frame.columns))], columns=columns)
    whole = pd.concat([first, frame.set_axis(columns, axis=1)], ignore_index=True)
    return Table(name, whole, notes=[*notes, f"{name} has no header: its first row names a file"])


def _one_hot(table: Table) -> list[str]:
    """Return the columns, two or more, that hold zeros and ones alone, of which each row has exactly one 1; else [].

    A row whose cells are all blank has no label.
    """
    others = [column for column in table.columns if plain_name(column) not in PATHS and column != table.path]
    lowered = table.frame[others].apply(lambda column: column.str.lower())
    flags = [column for column in others if lowered[column].isin([*TRUE, *FALSE, *ABSENT]).all()
             and plain_name(column) not in FLAGS and lowered[column].isin(TRUE).any()]  # fmt: skip
    known = lowered[flags][~lowered[flags].isin(ABSENT).all(axis=1)]
    return flags if len(flags) > 1 and len(known) and bool((known.isin(TRUE).sum(axis=1) == 1).all()) else []


def splits_of(tree: Tree, table: Table, options: Any) -> list[str]:
    """Return the text of each row's official split: of the split column, of a flag, or of the file's name."""
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
    return [table.part] * len(table.frame)


def _chosen(tables: list[Table], finders: Finders) -> list[Table]:
    """Return the one table, one of equals, or all parts of one; [] where a person must choose."""
    if len(tables) < 2:
        return tables
    splits = _parts_by_name(tables)
    alike = [table for table in tables if (table.path, table.label, table.one_hot) ==
             (tables[0].path, tables[0].label, tables[0].one_hot)]  # fmt: skip
    named = [table for table in tables if table.name in splits and table in alike]
    if len({splits[table.name] for table in named}) > 1 or (len(named) == len(tables)):
        parts = named
    else:
        parts = alike if len(alike) == len(tables) else []
    contents = [dict(zip(finders.within(table.folder).find_all(table.frame[table.path].tolist())[0], table.labels(),
                         strict=True)) for table in parts or tables]  # fmt: skip
    if all(content == contents[0] for content in contents):
        return (parts or tables)[:1]
    apart = sum(map(len, contents)) == len({image for content in contents for image in content})
    if not parts or not (apart or len({splits.get(table.name) for table in parts}) == len(parts)):
        return []
    for table in parts:
        table.part = splits.get(table.name, "")
    return parts


def _parts_by_name(tables: list[Table]) -> dict[str, str]:
    """Return the split of each table that its name, or that of its folder, says."""
    paths = {table.name: PurePosixPath(table.name) for table in tables}
    for part_of in (
        lambda path: path.name.partition(".")[0],
        lambda path: path.parent.name,
        lambda path: path.parent.parent.name,
    ):
        stems = {name: part_of(path) for name, path in paths.items()}
        found = split_names(stems.values())
        if found:
            return {name: found[stem] for name, stem in stems.items() if stem in found}
    return {}


def _note_unread(chosen: list[Table], others: list[str], fitting: list[Table]) -> None:
    unread = [name for name in others if is_submission(name) or name in {table.name for table in fitting}]
    if unread:
        chosen[0].notes = [*chosen[0].notes, f"not read for labels: {few_of(unread)}"]


def split_of_ids(table: Table) -> str:
    """Return the split whose folder ids mean that lie in several: of the table's name, otherwise train."""
    return split_in(PurePosixPath(table.name).name.partition(".")[0]) or "train"
