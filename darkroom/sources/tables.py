"""Find the tables of labels beside the images, and which of them belong together."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from darkroom.core.errors import SourceError
from darkroom.images.formats import is_image_name
from darkroom.sources.class_level import are_numbered
from darkroom.sources.columns import Finders, Table, recognised
from darkroom.sources.encodings import decode, few_of, printable
from darkroom.sources.folder_names import is_submission, split_names
from darkroom.sources.frames import LISTS, TABLES, read_frame
from darkroom.sources.labels import LayoutOptions
from darkroom.sources.matching import images_below
from darkroom.sources.sidecars import RECORD, joined_lists, sidecar_frame
from darkroom.sources.trees import Tree, read_one

MAX_TABLES, TRIED = 50, 50  # files; lines of a text
MOST_NAMED, FEW_NAMED = 0.9, 0.1  # share of the images
NOT_REPORTED = (*LISTS, ".json")  # texts and settings: reading them may fail without a note


@dataclass
class TableSet:
    """The one table of a tree, or its parts; where there is none, `why` reports on the tables that were found."""

    tables: list[Table] = field(default_factory=list)
    why: str = ""

    @property
    def quiet(self) -> bool:
        """Whether the tables are not worth a note where they name no image."""
        return all(table.quiet for table in self.tables)


def find_tables(tree: Tree, images: list[str], options: LayoutOptions, must: bool = False) -> TableSet:
    """Return the tree's one table with a path and a label column, or the parts of one (`train.csv` and `val.csv`).

    Raises SourceError where there `must` be one but is none.
    """
    finders = Finders(images)
    beside = sidecar_frame(tree, images)
    names = _table_names(tree, records=not beside)
    meant = [name for name in names if not is_submission(name)]
    tables, unread = _open_all(tree, meant or (names if must else []), options, finders)
    _join_names(tables, finders)
    fitting = [table for table in tables if table.fits]
    beside = beside or (None if fitting else joined_lists(tree, images))
    if beside and not fitting:
        tables = [recognised(Table(*beside), options, finders)]
        fitting = [table for table in tables if table.fits]
    naming = [table for table in fitting if finders.any_of(table, table.path)] if len(fitting) > 1 else fitting
    chosen = _chosen(naming or fitting, finders) or _naming_most(naming, finders)
    if chosen:
        _note_unread(chosen, [name for name in names if name not in {table.name for table in chosen}], fitting)
        return TableSet(chosen)
    why = unread
    if fitting:
        shown = ", ".join(table.name for table in naming or fitting)
        why = f"{tree.path} holds several tables of labels ({shown}); name one: set `source` to that file"
    elif described := [table for table in tables if not table.quiet and len(table.frame)]:
        why = describe(max(described, key=lambda table: len(table.columns) > 1), options)  # rather not a list of ids
    if must and not images:
        shown = f"{few_of(names)} stands alone" if names else "it is empty"
        raise SourceError(f"{tree.path} holds no images: {shown}; put the images beside it (pixels in cells are not "
                          "read: write them as images)")  # fmt: skip
    if must:
        none = "holds no .csv; layout csv needs a table with a path and a label in each row"
        raise SourceError(why if fitting else f"{tree.path}: {why}" if why else f"{tree.path} {none}")
    lists = [table for table in tables if table.name.lower().endswith(LISTS)]
    return TableSet(why=why or (describe(lists[0], options) if lists else ""))


def _table_names(tree: Tree, records: bool) -> list[str]:
    """Return the files that may be tables of labels, at most MAX_TABLES, JSON only with `records`."""
    names = [name for name in tree.files if name.lower().endswith((*TABLES, *LISTS))
             and (records or not name.lower().endswith(RECORD))]  # fmt: skip
    names.sort(key=lambda name: name.lower().endswith(NOT_REPORTED))  # so that a thousand of them hide no labels.csv
    return [name for name in names[:MAX_TABLES] if name.lower().endswith(TABLES) or _is_list(tree, name)]


def _open_all(tree: Tree, names: list[str], options: LayoutOptions, finders: Finders) -> tuple[list[Table], str]:
    """Return the tables of these names that can be read, and why the first other one cannot, "" without any."""
    tables, unread = [], ""
    for name in names:
        try:
            tables.append(_open(tree, name, options, finders))
        except SourceError as error:
            unread = unread or ("" if name.lower().endswith(NOT_REPORTED) else str(error))
    return tables, unread


def describe(table: Table, options: LayoutOptions) -> str:
    """Return what a table without known columns holds, and the params that name its columns."""
    rows = "; ".join(", ".join(printable(cell)[:30] for cell in row) for row in table.frame.head(3).to_numpy().tolist())
    columns = ", ".join(table.columns) or "(none)"
    return (f"{table.name} has the columns {columns}; name the right ones in params.yaml: path_column (now "
            f"{options.path_column}), label_column (now {options.label_column}); first rows: {rows}")  # fmt: skip


def _is_list(tree: Tree, name: str) -> bool:
    """Return whether half of the first lines of a text file name images, with a label or more beside the name."""
    if not name.lower().endswith(LISTS):
        return False
    try:
        text, _ = decode(read_one(tree, name)[:4096])
    except SourceError:
        return False
    lines = [line for line in text.splitlines()[:TRIED] if line.strip()][:-1] or [text]
    cells = [line.replace(",", " ").split() for line in lines]
    return sum(len(line) > 1 and any(map(is_image_name, line)) for line in cells) * 2 >= len(lines)


def _open(tree: Tree, name: str, options: LayoutOptions, finders: Finders) -> Table:
    """Read a table and recognise its columns. Raises SourceError when it is damaged."""
    frame, notes = read_frame(name, read_one(tree, name))
    table = Table(name, frame, notes=notes)
    if any(map(is_image_name, table.columns)):
        table = _without_header(name, frame, notes)
    return _with_rows_of_folders(recognised(table, options, finders), options, finders)


def _with_rows_of_folders(table: Table, options: LayoutOptions, finders: Finders) -> Table:
    """Return a table that labels folders, such as patients, with a row for each image in them; any other as it is.

    Folders that are numbered stay in one split. Where each label has a row, the table names classes.
    """
    if not table.label or (table.path and finders.any_of(table, table.path)):
        return table
    if 2 * table.frame[table.label].nunique() > len(table.frame):
        return table
    for column in table.columns:
        cells = table.frame[column]
        if column == table.label or not cells.is_unique or options.path_column not in ("auto", column):
            continue
        if below := images_below(finders.images, cells.tolist()):
            rows = [(row, image) for row, cell in enumerate(cells) for image in below.get(cell, ())]
            table.path = f"images of {column}"
            table.frame = table.frame.iloc[[row for row, _ in rows]].reset_index(drop=True)
            table.frame[table.path] = [image for _, image in rows]
            kept = ""
            if are_numbered(below) and not options.group_by:
                table.group, kept = column, ", each of which stays in one split"
            table.notes.append(f"{table.name}: {column} names folders, and a row labels all images in one{kept}")
            return table
    return table


def _without_header(name: str, frame: Any, notes: list[str]) -> Table:
    """Return a table whose header is its first row, a file and its label: columns become column 1, column 2."""
    import pandas as pd

    columns = [f"column {number}" for number in range(1, len(frame.columns) + 1)]
    first = pd.DataFrame([list(map(str, frame.columns))], columns=columns)
    whole = pd.concat([first, frame.set_axis(columns, axis=1)], ignore_index=True)
    return Table(name, whole, notes=[*notes, f"{name} has no header: its first row names a file"])


def _join_names(tables: list[Table], finders: Finders) -> None:
    """Join tables of labels by number with a table of file names by the same numbers: `id,label`, `id,filename`.

    The numbers themselves may be names of images, too, but of other ones.
    """
    for table in filter(lambda table: table.fits, tables):
        for other in tables:
            if other.label or other.one_hot or table.path not in other.columns:
                continue
            keys = other.frame[table.path]
            if keys.duplicated().any() or set(keys) != set(table.frame[table.path]):
                continue
            names = [column for column in other.columns if column != table.path]
            named = next((column for column in names if finders.count(other, column) == len(keys)), "")
            if named:
                joined, by_key = f"{named} of {other.name}", dict(zip(keys, other.frame[named], strict=True))
                table.frame = table.frame.assign(**{joined: table.frame[table.path].map(by_key)})
                table.notes.append(f"{table.name}: paths are {joined}, by {table.path}")
                table.path = joined


def _chosen(tables: list[Table], finders: Finders) -> list[Table]:
    """Return the one table, one of several with equal content, or all parts of one; [] where a person must choose."""
    if len(tables) < 2:
        return tables
    splits = _parts_by_name(tables)
    alike = [table for table in tables if (table.path, table.label, table.one_hot) ==
             (tables[0].path, tables[0].label, tables[0].one_hot)]  # fmt: skip
    if len(splits) == len(tables) == len(set(splits.values())):
        alike = tables  # `train.csv` and `val.csv`, whose columns may have other names
    named = [table for table in tables if table.name in splits and table in alike]
    if len({splits[table.name] for table in named}) > 1 or (len(named) == len(tables)):
        parts = named
    else:
        parts = alike if len(alike) == len(tables) else []
    contents = [dict(zip(finders.within(table.folder).find_all(table.frame[table.path].tolist())[0], table.labels(),
                         strict=True)) for table in parts or tables]  # fmt: skip
    of_splits = {splits.get(table.name, "") for table in parts}
    if all(content == contents[0] for content in contents) and ("" in of_splits or len(of_splits) < len(contents)):
        return (parts or tables)[:1]
    apart = sum(map(len, contents)) == len({image for content in contents for image in content})
    if not parts or not (apart or len({splits.get(table.name) for table in parts}) == len(parts)):
        return []
    for table in parts:
        table.part = splits.get(table.name, "")
    return parts


def _naming_most(tables: list[Table], finders: Finders) -> list[Table]:
    """Return the one table that names nearly all images where all others name few, as `{"0": "cat"}` does; else []."""
    counts = [len(set(filter(None, finders.within(table.folder).find_all(table.frame[table.path].tolist())[0])))
              for table in tables]  # fmt: skip
    shares = [count / max(len(finders.images), 1) for count in counts]
    most = [table for table, share in zip(tables, shares, strict=True) if share > MOST_NAMED]
    return most if len(most) == 1 and sum(share > FEW_NAMED for share in shares) == 1 else []


def _parts_by_name(tables: list[Table]) -> dict[str, str]:
    """Return the splits of tables by their names, or by those of their folders."""
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
        chosen[0].notes.append(f"not read for labels: {few_of(unread)}")
