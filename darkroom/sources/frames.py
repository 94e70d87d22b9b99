"""Read table files as pandas frames of text: CSV, lists, Excel, JSON and Parquet.

Every cell keeps its text (`007`, `1e5`, `nan`, `null`); a missing one is "".
"""

import gzip
import io
import re
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING

from darkroom.core.errors import SourceError
from darkroom.core.text import quoted
from darkroom.sources.columns import is_header
from darkroom.sources.encodings import decode
from darkroom.sources.extents import MAX_BYTES
from darkroom.sources.folder_names import split_names
from darkroom.sources.parquet import class_names, named
from darkroom.sources.text_tables import as_text, read_grid, read_json, read_json_lines

if TYPE_CHECKING:
    import pandas as pd

PACKED = ".gz"
TABLES = (
    ".csv", ".tsv", ".jsonl", ".ndjson", ".manifest", ".json", ".xlsx", ".parquet", ".csv.gz", ".tsv.gz", ".jsonl.gz",
)  # fmt: skip
LISTS = (".txt", ".lst")  # tables only where their lines name images
NO_BOXES = "a classifier needs one label for each image, in a table or by folder"
UNREAD = {
    ".xml": f"if it holds boxes (Pascal VOC), {NO_BOXES}",
    ".xls": "save it as .xlsx or .csv", ".ods": "save it as .xlsx or .csv", ".numbers": "save it as .xlsx or .csv",
    ".mat": "write its labels into a .csv", ".arrow": "write it as Parquet, with `to_parquet`",
    ".tfrecord": "write its images into folders", ".npz": "write its images into folders",
    ".npy": "write its images into folders", ".h5": "write its images into folders",
    ".pkl": "write its labels into a .csv",
} | dict.fromkeys((".rar", ".7z", ".zst", ".tzst", ".lz4", ".lz", ".lzma", ".z", ".cab"), "unpack it")  # fmt: skip
SPLIT = "split"
MOST_CELLS = 20_000_000  # of a sheet of Excel, empty ones included
TITLES = 20  # rows that are searched for the header


def read_frame(name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    """Return the rows of a table file as text, and notes about guesses. Raises SourceError.

    The header is the first row, or the first below a title. pandas is imported late, since most runs have no table.
    """
    lowered = name.lower()
    try:
        if lowered.endswith(PACKED):
            data, lowered = _unpacked(name, data), lowered.removesuffix(PACKED)
        suffix = next(suffix for suffix in READERS if lowered.endswith(suffix))
        return READERS[suffix](name, data)
    except SourceError:
        raise
    except Exception as error:  # each format's library raises exceptions of its own
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
            what = f"row {row} has more cells than the header's {width}, such as {quoted(cell)}"
            raise SourceError(f"{name}: {what}; put cells with the separator in quotes")
    return frame.iloc[:, :width], notes


def _headed(grid: "pd.DataFrame") -> tuple["pd.DataFrame", int]:
    """Return the rows below the header, with its names as columns, and the index of the header.

    The header is the first row that names columns of paths and labels, otherwise the first with more than one cell:
    titles fill a single one.
    """
    if not len(grid):
        return grid, 0
    first = grid.head(TITLES)
    filled = (first != "").sum(axis=1).tolist()
    known = [number for number, cells in enumerate(first.to_numpy().tolist()) if is_header(cells)]
    titles = next((number for number, count in enumerate(filled) if count > 1), 0)
    if len(filled) > 1 and filled[0] == 1 and filled[1] == 2 and first.iloc[0, 0] == "" != first.iloc[0, 1]:
        titles = 0  # `,label`: an index without a name beside one column
    header = known[0] if known else titles
    body = grid.iloc[header + 1 :].reset_index(drop=True)
    names = grid.iloc[header].tolist()
    unnamed = names[0] == "" and len(body) and bool((body.iloc[:, 0] != "").any())
    body.columns = _distinct(["unnamed", *names[1:]] if unnamed else names)
    return body, header


def _distinct(names: list[str]) -> list[str]:
    """Return the names, with a number after repeated ones: `label`, `label 2`."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return found


def _excel(name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    """Read the first sheet with a known header, otherwise the first with any cells, and all others with its header.

    Cells merged in a column each get their text. Sheets named like splits get a column of the split.
    """
    import openpyxl  # type: ignore[import-untyped]
    import pandas as pd

    _check_merged(name, data)
    sheets = {}
    for sheet in openpyxl.load_workbook(io.BytesIO(data), data_only=True).worksheets:
        _check_cells(f"{name}: sheet {sheet.title}", sheet.max_row * sheet.max_column)
        rows = [["" if value is None else str(value).strip() for value in row] for row in sheet.values]
        for merged in sheet.merged_cells.ranges:
            whole = range(merged.min_row - 1, merged.max_row) if merged.min_col == merged.max_col else ()
            for row in whole:  # a label of several rows; a title across columns stays in one cell
                rows[row][merged.min_col - 1] = rows[merged.min_row - 1][merged.min_col - 1]
        filled = [row for row in rows if any(row)]
        if filled:
            sheets[sheet.title] = filled
    if not sheets:
        return pd.DataFrame(), []
    known = (title for title, rows in sheets.items() if any(map(is_header, rows[:TITLES])))
    title = next(known, next(iter(sheets)))
    frames = {name: _headed(pd.DataFrame(rows))[0] for name, rows in sheets.items()}
    alike = {name: frame for name, frame in frames.items() if list(frame.columns) == list(frames[title].columns)}
    splits = split_names(alike) if len(alike) > 1 and SPLIT not in frames[title] else {}
    if len(splits) == len(alike):
        alike = {name: frame.assign(**{SPLIT: splits[name]}) for name, frame in alike.items()}
    which = f"{', '.join(alike)} {'are' if len(alike) > 1 else 'is'} read"
    notes = [f"{name} has {len(sheets)} sheets; {which}"] if len(sheets) > 1 else []
    return pd.concat(alike.values(), ignore_index=True), notes


def _check_merged(name: str, data: bytes) -> None:
    """Raise SourceError where a workbook unpacks to too much, or merges more cells than are read."""
    from openpyxl.utils import range_boundaries  # type: ignore[import-untyped]

    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        size = sum(member.file_size for member in packed.infolist())
        if size > MAX_BYTES:
            raise SourceError(f"{name} unpacks to {size:,} bytes, and at most {MAX_BYTES:,} are read; divide it")
        for sheet in (member for member in packed.namelist() if "worksheets/" in member):
            ranges = re.findall(rb"mergeCell [^>]*?ref=[\"']([A-Z0-9:]{1,40})[\"']", packed.read(sheet))
            bounds = [range_boundaries(cells.decode()) for cells in ranges]
            merged = sum((right - left + 1) * (below - top + 1) for left, top, right, below in bounds)
            _check_cells(f"{name}: {sheet.rpartition('/')[2]}", merged)


def _check_cells(where: str, cells: int) -> None:
    if cells > MOST_CELLS:
        raise SourceError(f"{where} reaches over {cells:,} cells, and at most {MOST_CELLS:,} are read; delete what "
                          "lies beside and below the table, or save it as CSV")  # fmt: skip


def _parquet(name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    import pandas as pd
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    cells: dict[str, list[str]] = {}
    size = 0
    with pq.ParquetFile(io.BytesIO(data)) as file:
        names = class_names(file.schema_arrow.metadata or {})
        for batch in file.iter_batches():
            size += batch.nbytes
            if size > MAX_BYTES:
                raise SourceError(f"{name} unpacks to more than {MAX_BYTES:,} bytes; divide it")
            for column in batch.schema.names:
                known = names.get(column, [])
                cells.setdefault(column, []).extend(as_text(named(cell, known)) for cell in batch[column].to_pylist())
    return pd.DataFrame(cells, columns=file.schema_arrow.names, dtype=str), []


READERS: dict[str, Callable[[str, bytes], tuple["pd.DataFrame", list[str]]]] = {
    ".csv": _delimited,
    ".tsv": _delimited,
    ".txt": _delimited,
    ".lst": _delimited,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".manifest": read_json_lines,
    ".json": read_json,
    ".xlsx": _excel,
    ".parquet": _parquet,
}
