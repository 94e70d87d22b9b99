"""A table of labels beside the images: any export of a labelling tool, with paths or ids, with or without suffix."""

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from darkroom.core.errors import SourceError
from darkroom.sources.trees import Tree, read_one

TABLES = (".csv", ".tsv")
# What the exports of labelling tools and competitions call these columns; compared in lower case.
PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_name",
         "image_id", "img", "img_path", "id", "name")  # fmt: skip
LABELS = ("label", "class", "category", "target", "class_name", "label_name", "classid", "breed", "species", "y")
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold_name")
SHOWN = 5


@dataclass(frozen=True)
class Row:
    """One row that has a file."""

    location: str
    label: str
    split: str
    group: str


def find_table(tree: Tree, path_column: str, label_column: str, must: bool = False) -> str:
    """The name of the tree's one table with a path and a label column; "" when there is none, unless it `must`."""
    tables = [name for name in tree.files if name.lower().endswith(TABLES)]
    fitting = []
    for name in tables[:50]:
        columns = _columns(_reader(read_one(tree, name)))
        if _column(columns, path_column, PATHS) and _column(columns, label_column, LABELS):
            fitting.append(name)
    if len(fitting) == 1:
        return fitting[0]
    if not must:
        return ""
    if fitting:
        raise SourceError(f"{tree.path} holds several tables of labels ({', '.join(fitting)}); name one: set `source` "
                          "to that .csv")  # fmt: skip
    if not tables:
        raise SourceError(f"{tree.path} holds no .csv; layout csv needs a table with a path and a label a row")
    columns = _columns(_reader(read_one(tree, tables[0])))
    raise SourceError(
        f"{tree.path}: {tables[0]} has the columns {', '.join(columns) or '(none)'}; name the right ones: "
        f"path_column (now {path_column}), label_column (now {label_column})"
    )


def read_table(tree: Tree, name: str, images: list[str], options: Any) -> tuple[list[Row], list[str]]:
    """The rows that have a file, and notes about those that have none, and about files that have no row.

    `options` is a LayoutOptions.
    """
    reader = _reader(read_one(tree, name))
    columns = _columns(reader)
    path = _needed(tree, name, columns, options.path_column, PATHS, "path_column")
    label = _needed(tree, name, columns, options.label_column, LABELS, "label_column")
    split = _column(columns, options.split_column, SPLIT_COLUMNS)
    if options.split_column not in ("auto", "", split):
        _needed(tree, name, columns, options.split_column, SPLIT_COLUMNS, "split_column")
    group = options.group_by if options.group_by in columns else ""
    if options.group_by and not group:
        raise SourceError(f"{name} has no column {options.group_by!r} to group by; it has {', '.join(columns)}")
    finder = _Finder(images, str(PurePosixPath(name).parent))
    rows: dict[str, Row] = {}
    absent, several, unlabelled, twice = [], [], [], []
    for record in _records(tree, name, reader):
        text, value = (record[path] or "").strip(), (record[label] or "").strip()
        location = finder.find(text)
        if location is None:
            several.append(text)
        elif not location:
            absent.append(text)
        elif not value:
            unlabelled.append(text)
        elif location in rows and rows[location].label != value:
            twice.append(text)
        else:
            rows[location] = Row(location, value, _cell(record, split), _cell(record, group))
    if twice:
        raise SourceError(f"{name} gives {len(twice)} files two different labels: {_few(twice)}; keep one row each")
    orphans = [image for image in images if image not in rows]
    notes = [
        f"{len(absent)} rows have no file: {_few(absent)}" if absent else "",
        f"{len(several)} rows could mean several files: {_few(several)}" if several else "",
        f"{len(unlabelled)} rows have no label: {_few(unlabelled)}" if unlabelled else "",
        f"{len(orphans)} files have no row: {_few(orphans)}" if orphans else "",
    ]
    return list(rows.values()), [note for note in notes if note]


class _Finder:
    """Files by what a table may call them: the path from the table or the root, its end, or the bare name; each also
    without suffix."""

    def __init__(self, images: list[str], folder: str) -> None:
        self._exact = {_composed(image): image for image in images} | {image: image for image in images}
        self._folder = "" if folder == "." else folder + "/"
        self._stems: dict[str, str | None] = {}  # None: several
        self._ends: dict[str, str | None] = {}  # the bare name, and the last folder with it
        for image in images:
            above, slash, name = _composed(image).rpartition("/")
            stem, last = PurePosixPath(name).stem, above.rpartition("/")[2] + slash
            keys = {(id(self._stems), above + slash + stem): self._stems}
            for end in (name, stem, last + name, last + stem):
                keys[id(self._ends), end] = self._ends
            for (_, key), known in keys.items():
                known[key] = image if known.get(key, image) == image else None

    def find(self, text: str) -> str | None:
        """The image's name; "" when there is none, None when several could be meant.

        A bare name may lie in any folder. A path with folders may begin with some of another machine, or below one of
        here, but the last folder that it names is the image's own.
        """
        text = text.replace("\\", "/")
        text = text[2:] if text.startswith("./") else text
        for name in (self._folder + text, text):
            if name in self._exact:
                return self._exact[name]
        rest = text = _composed(text)
        while rest:
            for name in (_composed(self._folder) + rest, rest):
                for known in (self._exact, self._stems):
                    if name in known:
                        return known[name]
            rest = rest.partition("/")[2]
        return self._ends.get("/".join(text.split("/")[-2:]), "")


def _composed(text: str) -> str:
    """The text in Unicode's form NFC: macOS names files in another form than tables are written in."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _columns(reader: "csv.DictReader[str]") -> list[str]:
    try:
        return list(reader.fieldnames or [])
    except csv.Error:
        return []  # no table


def _records(tree: Tree, name: str, reader: "csv.DictReader[str]") -> Iterator[dict[str, Any]]:
    """The rows. Raises SourceError where a quote that is never closed has swallowed the rest."""
    try:
        yield from reader
    except csv.Error as error:
        where = f"{tree.path}: {name}: line {reader.line_num}"
        raise SourceError(f"{where}: {error}; close the quote in a row above") from error


def _reader(data: bytes) -> "csv.DictReader[str]":
    text, delimiter = _without_preamble(_decoded(data))
    delimiter = delimiter or max(",;\t|", key=text.split("\n", 1)[0].count)
    return csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t")


def _decoded(data: bytes) -> str:
    """Decode what spreadsheets write: UTF-16 with a byte order mark, UTF-8 with or without one, or Windows' cp1252."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _without_preamble(text: str) -> tuple[str, str]:
    """Drop blank lines, comments and Excel's `sep=;` before the header; also return the separator that it names.

    A line that begins with # is a comment where it has no separator in it: `#id,label` is a header.
    """
    delimiter = ""
    while text:
        line, _, rest = text.partition("\n")
        line = line.strip("\r")
        if len(line) == 5 and line.lower().startswith("sep="):
            delimiter = line[4]
        elif line.strip() and not (line.startswith("#") and not any(mark in line for mark in ",;\t|")):
            break
        text = rest
    return text, delimiter


def _column(columns: Any, wanted: str, usual: tuple[str, ...]) -> str:
    if wanted != "auto":
        return wanted if wanted in columns else ""
    lower = {str(column).strip().lower(): column for column in columns}
    return next((lower[name] for name in usual if name in lower), "")


def _needed(tree: Tree, name: str, columns: list[str], wanted: str, usual: tuple[str, ...], key: str) -> str:
    column = _column(columns, wanted, usual)
    if not column:
        raise SourceError(f"{tree.path}: {name} has no column for {key} ({wanted}); it has {', '.join(columns)}")
    return column


def _cell(record: dict[str, Any], column: str) -> str:
    return (record.get(column) or "").strip() if column else ""


def _few(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
