"""Table files as pandas frames of text: CSV, lists, Excel, JSON and Parquet.

Every cell stays the text that it is (`007`, `1e5`, `nan`, `null`); an absent one is "".
"""

import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from darkroom.core.errors import SourceError
from darkroom.sources.columns import is_header
from darkroom.sources.delimited import read_grid
from darkroom.sources.encodings import decode
from darkroom.sources.extents import MAX_BYTES

if TYPE_CHECKING:
    import pandas as pd

PACKED = ".gz"
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".xlsx", ".parquet", ".csv.gz", ".tsv.gz", ".jsonl.gz")
LISTS = (".txt", ".lst")  # tables where their lines name images, otherwise texts
UNREAD = {
    ".xls": "save it as .xlsx or .csv", ".ods": "save it as .xlsx or .csv", ".numbers": "save it as .xlsx or .csv",
    ".mat": "write its labels into a .csv", ".arrow": "write it as Parquet, with `to_parquet`",
    ".tfrecord": "write its images into folders", ".npz": "write its images into folders",
    ".npy": "write its images into folders", ".h5": "write its images into folders",
    ".pkl": "write its labels into a .csv", ".rar": "unpack it", ".7z": "unpack it",
}  # fmt: skip
TITLES = 20  # rows in which the header is looked for


def read_frame(name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    """Return the rows of a table file as text, and what had to be guessed. Raises SourceError.

    The header is the first row, or the first below a title; its names are stripped. pandas is imported here: an
    experiment without a table does not wait for it.
    """
    lowered = name.lower()
    try:
        if lowered.endswith(PACKED):
            data, lowered = _unpacked(name, data), lowered.removesuffix(PACKED)
        suffix = next(suffix for suffix in READERS if lowered.endswith(suffix))
        return READERS[suffix](name, data)
    except SourceError:
        raise
    except Exception as error:  # each format's library has its own kinds
        suffix = "." + name.rpartition(".")[2]
        reason = " ".join(str(error).split())[:100]
        raise SourceError(f"{name}: not a {suffix} file that can be read ({reason}); export it again") from error


def _unpacked(name: str, data: bytes) -> bytes:
    with gzip.open(io.BytesIO(data)) as file:
        whole = file.read(MAX_BYTES + 1)
    if len(whole) > MAX_BYTES:
        raise SourceError(f"{name} unpacks to more than {MAX_BYTES:,} bytes; unpack it, and divide it")
    return whole


def _delimited(name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    text, guessed = decode(data)
    notes = [f"{name} is not UTF-8 and is read as {guessed}; save it as UTF-8 if names look wrong"] if guessed else []
    grid, cells = read_grid(name, text)
    frame, header = _headed(grid)
    width = cells[header] if cells else 0
    for column in frame.columns[width:]:
        beyond = frame[frame[column] != ""]
        if len(beyond):
            row, cell = beyond.index[0] + header + 2, beyond[column].iloc[0][:100]
            what = f"row {row} has more cells than the header's {width}, such as {cell!r}"
            raise SourceError(f"{name}: {what}; put cells with the separator in quotes")
    return frame.iloc[:, :width], notes


def _headed(grid: "pd.DataFrame") -> tuple["pd.DataFrame", int]:
    """Return the rows below the header with its names as columns, and the header's row.

    The header is the first row that names columns of paths and labels, otherwise the first that is no title: a title
    fills one cell where the rows below it fill more.
    """
    if not len(grid):
        return grid, 0
    first = grid.head(TITLES)
    filled = (first != "").sum(axis=1).tolist()
    known = [number for number, cells in enumerate(first.to_numpy().tolist()) if is_header(cells)]
    titles = next((number for number, count in enumerate(filled) if count > 1), 0)
    header = known[0] if known else titles
    body = grid.iloc[header + 1 :].reset_index(drop=True)
    body.columns = _distinct(grid.iloc[header].tolist())
    return body, header


def _distinct(names: list[str]) -> list[str]:
    """Return the names, a repeated one with its number: `label`, `label 2`."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return found


def _excel(name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    """Read the first sheet with a known header, or the first that is filled; merged cells hold their text in each."""
    import openpyxl  # type: ignore[import-untyped]
    import pandas as pd

    sheets = {}
    for sheet in openpyxl.load_workbook(io.BytesIO(data), data_only=True).worksheets:
        rows = [["" if value is None else str(value).strip() for value in row] for row in sheet.values]
        for merged in sheet.merged_cells.ranges:
            whole = range(merged.min_row - 1, merged.max_row) if merged.min_col == merged.max_col else ()
            for row in whole:  # a label for several rows; a title across columns stays in one cell
                rows[row][merged.min_col - 1] = rows[merged.min_row - 1][merged.min_col - 1]
        filled = [row for row in rows if any(row)]
        if filled:
            sheets[sheet.title] = filled
    if not sheets:
        return pd.DataFrame(), []
    known = (title for title, rows in sheets.items() if any(map(is_header, rows[:TITLES])))
    title = next(known, next(iter(sheets)))
    notes = [f"{name} has {len(sheets)} sheets; {title} is read"] if len(sheets) > 1 else []
    return _headed(pd.DataFrame(sheets[title]))[0], notes


def _json_lines(name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    return _of_records(_lines(name, decode(data)[0])), []


def _lines(name: str, text: str) -> Iterator[Any]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                record = json.loads(line, parse_int=str, parse_float=str)
            except (ValueError, RecursionError) as error:
                raise SourceError(
                    f"{name}: line {number} is not JSON ({str(error)[:100]}); mend or delete it"
                ) from error
            if not isinstance(record, dict):
                raise SourceError(f"{name}: line {number} is {line[:100]!r}, expected an object such as "
                                  '{"file_name": "1.jpg", "label": "cat"}')  # fmt: skip
            yield record


def _json(_name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    """Read a list of records, columns by name, labels by file name, or COCO's lists; nothing of any other JSON."""
    import pandas as pd

    found = json.loads(decode(data)[0], parse_int=str, parse_float=str)
    if isinstance(found, list):
        return _of_records(record for record in found if isinstance(record, dict)), []
    if not isinstance(found, dict):
        return pd.DataFrame(), []
    if all(isinstance(found.get(key), list) for key in ("images", "annotations")):
        return _of_records(_coco(found)), []
    values = list(found.values())
    if values and all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        return pd.DataFrame({key: list(map(_text, value)) for key, value in found.items()}, dtype=str), []
    if values and all(isinstance(value, dict) for value in values):
        return _of_records({"path": key} | value for key, value in found.items()), []
    if values and not any(isinstance(value, list | dict) for value in values):
        return _of_records({"path": key, "label": value} for key, value in found.items()), []
    return pd.DataFrame(), []


def _coco(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    names = {category.get("id"): category.get("name") for category in found.get("categories", [])}
    files = {image.get("id"): image.get("file_name") for image in found["images"]}
    for annotation in found["annotations"]:
        kind = annotation.get("category_id")
        yield {"path": files.get(annotation.get("image_id")), "label": names.get(kind, kind)}


def _parquet(_name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    import pandas as pd
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    table = pq.read_table(io.BytesIO(data))
    cells = {column: [_text(value) for value in table[column].to_pylist()] for column in table.column_names}
    return pd.DataFrame(cells, dtype=str), []


def _of_records(records: Iterator[dict[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    rows = [{str(key).strip(): _text(value) for key, value in record.items()} for record in records]
    return pd.DataFrame(rows, dtype=str).fillna("")


def _text(value: Any) -> str:
    """Return a cell of JSON or Parquet as text; a list of one as what it holds."""
    if value is None:
        return ""
    if isinstance(value, list) and len(value) == 1:
        return _text(value[0])
    if isinstance(value, list | dict | bool):
        return json.dumps(value, ensure_ascii=False, default=repr)
    return str(value).strip()


READERS: dict[str, Callable[[str, bytes], tuple["pd.DataFrame", list[str]]]] = {
    ".csv": _delimited,
    ".tsv": _delimited,
    ".txt": _delimited,
    ".lst": _delimited,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".xlsx": _excel,
    ".parquet": _parquet,
}
