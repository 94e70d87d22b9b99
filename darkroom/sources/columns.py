"""Recognise the columns of a table: paths, labels and splits, as labelling tools and competitions name them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from darkroom.core.errors import SourceError
from darkroom.core.text import quoted
from darkroom.images.formats import SUFFIXES
from darkroom.sources.encodings import few_of
from darkroom.sources.folder_names import strict_split
from darkroom.sources.labels import LayoutOptions
from darkroom.sources.matching import FileFinder

if TYPE_CHECKING:
    import pandas as pd


# Names in the form of `plain_name`; of several in a table, the first counts.
PATHS = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_name", "image_id",
    "img", "img_path", "id", "name", "imagename", "imagepath", "imageid", "image_file", "image_filename", "img_name",
    "img_id", "img_file", "image_index", "picture", "photo", "photo_id", "filenames", "files", "images", "paths", "uri",
    "url", "image_url", "key", "uuid", "source_ref", "imagegcsuri",
    "filepaths", "file_paths", "file_names", "image_paths", "imagepaths",
)  # fmt: skip
LABELS = (
    "label", "class", "category", "target", "class_name", "label_name", "classid", "breed", "species", "y", "labels",
    "classname", "class_id", "class_label", "category_name", "category_id", "label_id", "labelname", "tag", "choice",
    "choices", "displayname",
)  # fmt: skip
VAGUE = ("breed", "species", "y", "tag", "choice", "choices", "displayname")  # beside another column of few values
CALLED = re.compile(r"class|label|categor|species|target|breed|synset|names?\.", re.IGNORECASE)  # files and columns
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold_name", "usage", "ml_use",
                 "aiplatform_googleapis_com_ml_use")  # fmt: skip
# Columns with the folder of the file that the column of paths names.
FOLDERS = ("folder", "dir", "directory", "subfolder", "subdir", "folder_name", "dir_name", "image_dir", "image_folder")
BOXES = ("bbox", "box", "boxes", "xmin", "x_min", "x1", "points", "shapes", "shape_type", "segmentation")
UNASSIGNED = ("", "unassigned", "none")  # in a column of splits
CORNERS = ("x", "y", "width", "height")
# Columns of true and false: the split of those that are true, and of the others.
FLAGS = {
    "is_valid": ("val", "train"), "is_val": ("val", "train"), "is_test": ("test", ""), "is_train": ("train", "test"),
    "is_training": ("train", "test"), "is_training_image": ("train", "test"),
}  # fmt: skip
TRUE, FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no", "")
TRIED = 50  # rows
FEWEST = 4  # rows for each value, on average, of a column that may be labels
QUIET = (".txt", ".lst", ".json")  # texts and settings, which are not reported where they name no image
LIST_OF_ONE = re.compile(r"\[\s*(['\"])([^'\"\[\],]*)\1\s*,?\s*\]")
ABSENT = ("", "nan", "na", "n/a", "none", "null")  # cells without a value


def plain_name(column: str) -> str:
    """Return a column's name as PATHS and LABELS have it: `Image Name`, `image-name` and `#Image_Name` are one."""
    return re.sub(r"[ .\-/]+", "_", column.strip(" #").lower())


def column_of(columns: list[str], wanted: str, usual: tuple[str, ...]) -> str:
    """Return the column `wanted`, or for auto the first one with a usual name; "" where there is none."""
    if wanted != "auto":
        return wanted.strip() if wanted.strip() in columns else ""
    return next(iter(usual_columns(columns, usual)), "")


def usual_columns(columns: list[str], usual: tuple[str, ...]) -> list[str]:
    """Return the columns with a usual name, in the order of `usual`."""
    plain = {plain_name(column): column for column in reversed(columns)}
    return [plain[name] for name in usual if name in plain]


def is_header(cells: Iterable[str]) -> bool:
    """Return whether cells are names of columns, one of paths and one of labels among them."""
    plain = {plain_name(cell) for cell in cells}
    return not plain.isdisjoint(PATHS) and not plain.isdisjoint(LABELS)


@dataclass
class Table:
    """A table file of a tree: its cells as text, and the names of the recognised columns, "" where there is none.

    `one_hot`: columns of zeros and ones with a single 1 in each row, instead of `label`; `part`: the official split by
    the file's name, where it is one of several parts of a table; `group`: a column of what stays in one split.
    """

    name: str
    frame: "pd.DataFrame"
    path: str = ""
    label: str = ""
    one_hot: list[str] = field(default_factory=list)
    part: str = ""
    group: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def quiet(self) -> bool:
        """Whether it is not worth a note where it names no image."""
        return self.name.lower().endswith(QUIET) and not self.name.startswith("*")  # `*.txt` are files beside images

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
        """The folder of the file."""
        return str(PurePosixPath(self.name).parent)

    def labels(self) -> list[str]:
        """Return the label of each row, "" where it has none."""
        if self.label:
            return [_without_list(cell) for cell in self.frame[self.label].tolist()]
        ones = self.frame[self.one_hot].apply(lambda column: column.str.lower().isin(TRUE))
        return ones.idxmax(axis=1).where(ones.any(axis=1), "").tolist() if len(ones) else []


def _without_list(cell: str) -> str:
    """Return the item of a list of one, as Python and JSON write it (`['cat']`); any other cell as it is."""
    match = LIST_OF_ONE.fullmatch(cell)
    return match[2] if match else cell


class Finders:
    """Find a tree's images by the names in tables, with one FileFinder for each folder of tables."""

    def __init__(self, images: list[str]) -> None:
        self.images = images
        self.within = cache(lambda folder: FileFinder(images, folder))

    def count(self, table: Table, column: str) -> int:
        """Return how many images the cells of `column` name."""
        return len(set(filter(None, self.within(table.folder).find_all(table.frame[column].tolist())[0])))

    def any_of(self, table: Table, column: str) -> bool:
        """Return whether cells of `column` name images."""
        return any(self.within(table.folder).find_all(table.frame[column].tolist())[0])


def recognised(table: Table, options: LayoutOptions, finders: Finders) -> Table:
    """Return the table with its columns of paths and labels found."""
    table.path = _path_column(table, options, finders)
    _join_folder(table, options, finders)
    table.label = column_of(table.columns, options.label_column, LABELS)
    if table.label == table.path:
        table.label = next(iter(usual_columns([name for name in table.columns if name != table.path], LABELS)), "")
    _take_names(table, options)
    _note_other_labels(table, options)
    if table.fits and (boxes := _box_columns(table.columns)):
        table.notes.append(f"{table.name}: {few_of(boxes)} are of boxes or outlines; an image gets the one label of "
                           "all of its own")  # fmt: skip
    if table.path and all(re.fullmatch(r"column \d", column) for column in table.columns):
        _take_other_column(table)
    if table.path and not table.label and options.label_column == "auto":
        table.one_hot = _one_hot(table)
        if table.one_hot:
            others = [column for column in table.columns if _may_be_labels(table, column)]
            more = f", and not {few_of(others)}; `label_column` chooses another" if others else ""
            table.notes.append(f"{table.name}: labels are the columns of zeros and ones: {few_of(table.one_hot)}{more}")
    return table


def _box_columns(columns: list[str]) -> list[str]:
    """Return the columns that describe boxes or outlines; x, y, width and height only together."""
    corners = [column for column in columns if plain_name(column) in CORNERS]
    return [column for column in columns if plain_name(column) in BOXES] or (corners if len(corners) == 4 else [])


def _path_column(table: Table, options: LayoutOptions, finders: Finders) -> str:
    """Return the column of paths or ids: the first with a usual name that names images, else any that does."""
    if options.path_column != "auto":
        return column_of(table.columns, options.path_column, PATHS)
    usual = usual_columns(table.columns, PATHS)
    tried = Table(table.name, table.frame.head(TRIED))
    if len(usual) == 1 or not finders.images:
        return usual[0] if usual else ""
    for column in usual:
        if finders.any_of(tried, column):
            if column != usual[0]:
                table.notes.append(f"{table.name}: {column} names the images, and {usual[0]} does not")
            return column
    if usual or not usual_columns(table.columns, LABELS):
        named = [column for column in table.columns if column.startswith("column ")]
        endings = [column for column in named if tried.frame[column].str.lower().str.endswith(SUFFIXES).any()]
        return usual[0] if usual else next(iter(endings), "")
    counts = {column: finders.count(tried, column) for column in table.columns}
    found = max(counts, key=counts.__getitem__, default="")
    if found and counts[found] > len(tried.frame) / 2:  # class numbers may name some images by chance
        table.notes.append(f"{table.name}: {found} is read as the path, since it names images")
        return found
    return ""


def _join_folder(table: Table, options: LayoutOptions, finders: Finders) -> None:
    """Join a column of folders with the names, where these alone do not identify the images."""
    if not table.path or options.path_column != "auto" or not finders.images:
        return
    finder = finders.within(table.folder)
    tried = table.frame.head(TRIED)
    if all(finder.find_all(tried[table.path].tolist())[0]):
        return
    for column in usual_columns([name for name in table.columns if name != table.path], (*FOLDERS, *SPLIT_COLUMNS)):
        if all(map(finder.find, (tried[column] + "/" + tried[table.path]).tolist())):
            joined = f"{column}/{table.path}"
            table.frame = table.frame.assign(**{joined: table.frame[column] + "/" + table.frame[table.path]})
            table.notes.append(f"{table.name}: paths are {joined}")
            table.path = joined
            return


def _take_other_column(table: Table) -> None:
    """Take the column beside the paths for labels in a table without header, unless all its cells differ.

    A third column may hold the split: `TRAIN,gs://bucket/1.jpg,cat`.
    """
    others = [column for column in table.columns if column != table.path]
    splits = [column for column in others if len(others) > 1 and table.frame[column].map(_is_split).all()]
    others = [column for column in others if column not in splits]
    if len(others) != 1 or len(splits) > 1:
        return
    if len(table.frame) < 4 or table.frame[others[0]].nunique() <= len(table.frame) / 2:
        table.label = table.label or others[0]
        table.frame = table.frame.rename(columns=dict.fromkeys(splits, SPLIT_COLUMNS[0]))


def _is_split(cell: str) -> bool:
    return bool(strict_split(cell)) or cell.lower() in UNASSIGNED


def _note_other_labels(table: Table, options: LayoutOptions) -> None:
    """Note other columns that could be labels. Raises SourceError where two columns of one name differ."""
    if options.label_column != "auto":
        return
    again = f"{table.label} 2"
    if again in table.columns and (table.frame[table.label] != table.frame[again]).any():
        raise SourceError(f"{table.name} has two columns {table.label} that differ; set `label_column` to "
                          f"{quoted(table.label)} or {quoted(again)} in params.yaml")  # fmt: skip
    others = [column for column in usual_columns(table.columns, LABELS) if column not in (table.label, table.path)]
    if plain_name(table.label) in VAGUE:
        others += [column for column in table.columns if column not in others and _may_be_labels(table, column)]
    others += [column for column in table.columns if column not in others and _is_coarser(table, column)]
    if others and table.label:
        table.notes.append(f"{table.name}: {table.label} is read as the label, and not {few_of(others)}; "
                           "`label_column` chooses another")  # fmt: skip


def _take_names(table: Table, options: LayoutOptions) -> None:
    """Take names for labels: of another column, where labels are numbers with a name each; genus with species."""
    if options.label_column != "auto" or not table.label or not table.path:
        return
    genus = next(iter(usual_columns(table.columns, ("genus",))), "")
    if genus and plain_name(table.label) == "species" and not table.frame[table.label].str.contains(" ").any():
        table.frame = table.frame.assign(
            **{(both := f"{genus} {table.label}"): table.frame[genus] + " " + table.frame[table.label]}
        )
        table.label = both  # `alba` is an oak, and a willow
        return
    numbers = table.frame[table.label]
    if not all(cell.removesuffix(".0").isdecimal() for cell in numbers.unique() if cell):
        return
    for column in table.columns:
        names = table.frame[column]
        if (column not in (table.label, table.path) and CALLED.search(column) and names.nunique() == numbers.nunique()
                and _may_be_labels(table, column, fewest=1) and _depends(table, column, table.label)
                and _depends(table, table.label, column)):  # fmt: skip
            table.label = column
            return


def _depends(table: Table, column: str, other: str) -> bool:
    """Return whether rows of equal cells in `other` have equal cells in `column`."""
    return bool(table.frame.groupby(other)[column].nunique().max() == 1)


def _is_coarser(table: Table, column: str) -> bool:
    """Return whether a column groups the labels, as orders do species: each label has one word, few have their own."""
    return (bool(table.label) and _may_be_labels(table, column) and _depends(table, column, table.label)
            and 2 * table.frame[column].nunique() <= table.frame[table.label].nunique())  # fmt: skip


def _may_be_labels(table: Table, column: str, fewest: int = FEWEST) -> bool:
    """Return whether a column holds a few different words, each for `fewest` rows, which are not splits."""
    if column in (table.label, table.path) or plain_name(column) in (*FOLDERS, *SPLIT_COLUMNS, *FLAGS):
        return False
    cells = table.frame[column]
    values = [cell for cell in cells.unique() if cell.lower() not in ABSENT]
    words = all(re.search(r"[^\W\d_]", cell) for cell in values)
    return words and 1 < len(values) <= len(cells) / fewest and not cells.map(_is_split).all()


def _one_hot(table: Table) -> list[str]:
    """Return two or more columns of zeros and ones with exactly one 1 in each row, else []; blank rows do not count."""
    others = [column for column in table.columns if plain_name(column) not in PATHS and column != table.path]
    lowered = table.frame[others].apply(lambda column: column.str.lower())
    flags = [column for column in others if lowered[column].isin([*TRUE, *FALSE, *ABSENT]).all()
             and plain_name(column) not in FLAGS and lowered[column].isin(TRUE).any()]  # fmt: skip
    known = lowered[flags][~lowered[flags].isin(ABSENT).all(axis=1)]
    return flags if len(flags) > 1 and len(known) and bool((known.isin(TRUE).sum(axis=1) == 1).all()) else []
