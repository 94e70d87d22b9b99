"""Read tables of text, every cell as it stands: delimited as spreadsheets and tools write it, or JSON.

Delimited text has any separator and comments. JSON is lines or lists of records, labels by file, files by label, or a
tool's own form.
"""

import csv
import io
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from darkroom.core.errors import SourceError
from darkroom.images.formats import is_image_name
from darkroom.sources.columns import is_header

if TYPE_CHECKING:
    import pandas as pd

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from darkroom.core.text import quoted
from darkroom.sources.encodings import decode
from darkroom.sources.folder_names import split_names

if TYPE_CHECKING:
    import pandas as pd


DELIMITERS = ",;\t|"
SPACES = r"\s+"
LOOKED_AT = 20  # lines
MOST_COLUMNS = 20_000  # more than Excel has; pixels in cells, a millisecond a column
MOST_LETTERS = 1_000_000  # of the first cell: a disk that failed leaves NULs without an end
Record = Mapping[str, Any]


def read_grid(name: str, text: str) -> tuple["pd.DataFrame", list[int]]:
    """Return all rows as text, header included, and the numbers of cells of the first ones. Raises SourceError."""
    import pandas as pd

    if len(text) > MOST_LETTERS and not re.search(r"[,;\t|\s]", text[:MOST_LETTERS]):
        what = f"its first {MOST_LETTERS:,} characters have no separator and no end of line"
        raise SourceError(f"{name}: not a table, {what} ({text[:5]!r}…); copy or export it again")
    text, delimiter = without_preamble(text.replace("\r\n", "\n").replace("\r", "\n"))
    if not delimiter and _is_list_with_words(text):  # `1.jpg golden retriever`
        text, delimiter = re.sub(r"^(\S+) +", r"\1\t", text, flags=re.MULTILINE), "\t"
    delimiter = delimiter or delimiter_of(text)
    cells = [len(row) for row in _first_rows(text, delimiter)]
    width = max(cells, default=0)
    if width > MOST_COLUMNS:
        raise SourceError(
            f"{name}: a row has {width:,} cells, and at most {MOST_COLUMNS:,} are read; write pixels as images"
        )
    names = range(width + 1)
    try:
        grid = pd.read_csv(io.StringIO(text), sep=delimiter, header=None, names=names, dtype=str, na_filter=False,
                           skipinitialspace=delimiter != "\t", index_col=False)  # fmt: skip
    except pd.errors.EmptyDataError:
        return pd.DataFrame(), []
    except pd.errors.ParserError as error:
        raise SourceError(f"{name}: {_why(str(error), width)}") from error
    grid = grid.fillna("").apply(lambda column: column.str.strip())
    return grid.apply(_unquoted) if "'" in text or '="' in text else grid, cells


def _is_list_with_words(text: str) -> bool:
    """Return whether each line is an image and its label, and labels differ in their number of words."""
    lines = [line.split() for line in text.split("\n")[:LOOKED_AT] if line.strip()]
    plain = not any(mark in text[:4096] for mark in DELIMITERS)
    return plain and len(set(map(len, lines))) > 1 and all(len(line) > 1 and is_image_name(line[0]) for line in lines)


def _unquoted(column: "pd.Series[str]") -> "pd.Series[str]":
    """Return the cells without single quotes where all cells below the header are in quotes, and `="007"` as 007."""
    column = column.str.replace('^="(.*)"$', r"\1", regex=True)  # Excel's way to keep a text
    body = column.iloc[1:]
    body = body[body != ""]
    quoted = len(body) and body.str.fullmatch("'[^']*'").all()
    return column.str.replace("^'(.*)'$", r"\1", regex=True) if quoted else column


def _why(error: str, cells: int) -> str:
    """Return pandas' reason in terms of the file's rows, with the next step."""
    if quote := re.search(r"EOF inside string starting at row (\d+)", error):
        return f"the quote that opens in row {int(quote[1]) + 1} is never closed; close it"
    if long := re.search(r"Expected \d+ fields in line (\d+), saw (\d+)", error):
        return f"row {long[1]} has {long[2]} cells and the header {cells}; put cells with the separator in quotes"
    return f"not a table that can be read ({' '.join(error.split())[:100]}); save it as CSV again"


def _first_rows(text: str, delimiter: str) -> list[list[str]]:
    lines = io.StringIO(text, newline="")
    if delimiter == SPACES:
        return [line.split() for line, _ in zip(filter(str.strip, lines), range(LOOKED_AT), strict=False)]
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    with suppress(csv.Error):  # a quote that is never closed: pandas reports where
        return [row for row, _ in zip(filter(None, reader), range(LOOKED_AT), strict=False)]
    return [[""]]


def delimiter_of(text: str) -> str:
    """Return the separator of the first line that is a header by it.

    Otherwise return the most frequent separator, outside of quotes, of the first line with any; without any, SPACES
    where all lines have the same number of words, two or more, and a comma where they do not.
    """
    lines = [re.sub(r'"[^"]*"', "", line) for line in text.split("\n", LOOKED_AT)[:LOOKED_AT] if line.strip()]
    raw = [line for line in text.split("\n", LOOKED_AT)[:LOOKED_AT] if line.strip()]
    for line in raw:
        for mark in DELIMITERS:
            if mark in line and is_header(next(csv.reader([line], delimiter=mark, skipinitialspace=True))):
                return mark
    for line in lines:
        if any(mark in line for mark in DELIMITERS):
            return max(DELIMITERS, key=line.count)
    counts = {len(line.split()) for line in raw}
    return SPACES if len(counts) == 1 and counts.pop() > 1 else ","


def without_preamble(text: str) -> tuple[str, str]:
    """Return the text from its header on, and the separator that Excel's `sep=;` names, "" without one.

    Blank lines and comments are dropped. A line that begins with # is a header, such as `#id,label`, where it has as
    many cells as the line below it.
    """
    delimiter = ""
    while text:
        line, _, rest = text.partition("\n")
        if len(line) == 5 and line.lower().startswith("sep="):
            delimiter = line[4]
        elif line.strip(f" {DELIMITERS}") and not _is_comment(line, rest):
            break
        text = rest
    return text, delimiter


def _is_comment(line: str, rest: str) -> bool:
    if not line.startswith("#"):
        return False
    following = next((other for other in rest.split("\n", LOOKED_AT) if other.strip()), "")
    mark = max(DELIMITERS, key=following.count)
    # A header has as many cells as the row below it, and no words after the # like "exported by a tool, on Monday".
    words = len(line.split()) > 2 * (line.count(mark) + 1)
    return line.count(mark) != following.count(mark) or (line.startswith("# ") and words)


def read_json_lines(name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    """Return the table of a file with one record per line, and no notes. Raises SourceError that names a bad line."""
    return frame_of(_lines(name, decode(data)[0])), []


def read_json(_name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    """Return the table of a JSON file in any of the forms that `_records` knows, empty for others, and no notes."""
    return frame_of(_records(json.loads(decode(data)[0], parse_int=str, parse_float=str))), []


def frame_of(records: Iterable[Record]) -> "pd.DataFrame":
    """Return records as rows of text.

    A nested cell's column has the name of its last key where that is unique (`{"annotation": {"label": "cat"}}` has
    the column `label`), otherwise of all keys (`annotation.label`).
    """
    import pandas as pd

    rows = [dict(_flat(record)) for record in records]
    paths = dict.fromkeys(path for row in rows for path in row)  # each once, in order
    lasts = Counter(path[-1] for path in paths)
    names = {path: path[-1] if len(path) == 1 or lasts[path[-1]] == 1 else ".".join(path) for path in paths}
    return pd.DataFrame([{names[path]: cell for path, cell in row.items()} for row in rows], dtype=str).fillna("")


def as_text(value: Any) -> str:
    """Return a cell of JSON or Parquet as text; a list of one item as that item."""
    if value is None:
        return ""
    if isinstance(value, list) and len(value) == 1:
        return as_text(value[0])
    if isinstance(value, list | dict | bool):
        return json.dumps(value, ensure_ascii=False, default=repr)
    return str(value).strip()


def _flat(record: Record, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (keys down to the cell, text) of each cell."""
    for key, value in record.items():
        path = (*above, str(key).strip())
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, dict) and value:
            yield from _flat(value, path)
        else:
            yield path, as_text(value)


def _lines(name: str, text: str) -> Iterator[Record]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                record = json.loads(line, parse_int=str, parse_float=str)
            except (ValueError, RecursionError) as error:
                raise SourceError(
                    f"{name}: line {number} is not JSON ({str(error)[:100]}); mend or delete it"
                ) from error
            if not isinstance(record, dict):
                raise SourceError(f"{name}: line {number} is {quoted(line)}, expected an object such as "
                                  '{"file_name": "1.jpg", "label": "cat"}')  # fmt: skip
            yield record


def _records(found: Any) -> Iterable[Record]:
    """Return the records of a list of records or pairs, of labels by file, files by label, columns, or COCO's lists.

    Such a list may be the only one among other facts, or there may be one for each split. Any other JSON has no
    records.
    """
    if isinstance(found, list):
        return _listed(found)
    if not isinstance(found, dict) or not found:
        return []
    if all(isinstance(found.get(key), list) for key in ("images", "annotations")):
        return _coco(found)
    values = list(found.values())
    if len(split_names(found)) == len(found) > 1 and not any(isinstance(value, str) for value in values):
        return [{**record, "split": split} for split, value in found.items() for record in _records(value)]
    if all(isinstance(value, dict) for value in values):
        if is_header(found) and all(value.keys() == values[0].keys() for value in values):  # columns of pandas
            return [{column: cells[row] for column, cells in found.items()} for row in values[0]]
        return [{"path": key} | value for key, value in found.items()]
    if not any(isinstance(value, list | dict) for value in values) or all(map(is_image_name, found)):
        return [{"path": key, "label": as_text(value)} for key, value in found.items()]
    if len(found) > 1 and all(isinstance(value, list) and value and all(map(is_image_name, value)) for value in values):
        return [{"path": name, "label": label} for label, names in found.items() for name in names]
    if is_header(found) and all(isinstance(value, list) for value in values) and len(set(map(len, values))) == 1:
        return [dict(zip(found, row, strict=True)) for row in zip(*values, strict=True)]
    lists = [rows for value in values if isinstance(value, list) and (rows := _listed(value))]
    return lists[0] if len(lists) == 1 else []


def _listed(items: list[Any]) -> list[Record]:
    """Return the records of a list, or its pairs of a file and a label as records."""
    pairs = [item for item in items if isinstance(item, list) and len(item) == 2 and is_image_name(item[0])]
    if pairs:
        return [{"path": path, "label": label} for path, label in pairs]
    return [item for item in items if isinstance(item, dict)]


def _coco(found: Mapping[str, Any]) -> Iterator[Record]:
    names = {category.get("id"): category.get("name") for category in found.get("categories", [])}
    files = {image.get("id"): image.get("file_name") for image in found["images"]}
    for annotation in found["annotations"]:
        kind = annotation.get("category_id")
        boxed = {"bbox": "yes"} if annotation.get("bbox") else {}
        yield {"path": files.get(annotation.get("image_id")), "label": names.get(kind, kind)} | boxed
