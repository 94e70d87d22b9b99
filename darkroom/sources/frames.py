"""Table files as pandas frames of text: CSV as spreadsheets and tools write it, Excel, JSON lines and Parquet.

Every cell stays the text that it is (`007`, `1e5`, `nan`, `null`); an absent one is "".
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from darkroom.core.errors import SourceError
from darkroom.sources.encodings import decode

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".xlsx", ".parquet")
DELIMITERS = ",;\t|"


def read_frame(name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    """Return the rows of a table file as text, and what had to be guessed. Raises SourceError.

    The first row is the header; its names are stripped. pandas is imported here: an experiment without a table does
    not wait for it.
    """
    suffix = next(suffix for suffix in TABLES if name.lower().endswith(suffix))
    try:
        return READERS[suffix](name, data)
    except SourceError:
        raise
    except Exception as error:  # each format's library has its own kinds
        reason = " ".join(str(error).split())[:100]
        raise SourceError(f"{name}: not a {suffix} file that can be read ({reason}); export it again") from error


def _csv(name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    import pandas as pd

    text, guessed = decode(data)
    text, delimiter = without_preamble(text)
    delimiter = delimiter or delimiter_of(text)
    header = _header(text, delimiter)
    try:
        frame = pd.read_csv(io.StringIO(text), sep=delimiter, header=None, names=range(len(header) + 1), dtype=str,
                            na_filter=False, skipinitialspace=delimiter != "\t", index_col=False)  # fmt: skip
    except pd.errors.EmptyDataError:
        return pd.DataFrame(), []
    except pd.errors.ParserError as error:
        raise SourceError(f"{name}: {_why(str(error), len(header))}") from error
    frame = frame.fillna("").apply(lambda column: column.str.strip())
    beyond = frame[frame[len(header)] != ""]
    if len(beyond):
        raise SourceError(f"{name}: row {beyond.index[0] + 1} has more cells than the header's {len(header)}, such as "
                          f"{beyond.iloc[0, -1][:100]!r}; put cells with {delimiter!r} in quotes")  # fmt: skip
    notes = [f"{name} is not UTF-8 and is read as {guessed}; save it as UTF-8 if names look wrong"] if guessed else []
    return _headed(frame.drop(columns=len(header))), notes


def _why(error: str, cells: int) -> str:
    """Return pandas' reason in the words of the file."""
    if quote := re.search(r"EOF inside string starting at row (\d+)", error):
        return f"the quote that opens in row {int(quote[1]) + 1} is never closed; close it"
    if long := re.search(r"Expected \d+ fields in line (\d+), saw (\d+)", error):
        return f"row {long[1]} has {long[2]} cells and the header {cells}; put cells with the separator in quotes"
    return f"not a table that can be read ({' '.join(error.split())[:100]})"


def _headed(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the frame with its first row as the names of its columns."""
    if not len(frame):
        return frame
    body = frame.iloc[1:].reset_index(drop=True)
    body.columns = _distinct(frame.iloc[0].tolist())
    return body


def _distinct(names: list[str]) -> list[str]:
    """Return the names, a repeated one with its number: `label`, `label 2`."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return found


def _header(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return [""]  # a quote that is never closed: pandas says where


def delimiter_of(text: str) -> str:
    """Return the separator that stands most often in the header, outside of quotes."""
    line = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    return max(DELIMITERS, key=line.count)


def without_preamble(text: str) -> tuple[str, str]:
    """Drop blank lines, comments and Excel's `sep=;` before the header; also return the separator that it names.

    A line that begins with # is a comment where a line below it has other cells: `#id,label` is a header.
    """
    delimiter = ""
    while text:
        line, _, rest = text.partition("\n")
        line = line.strip("\r")
        if len(line) == 5 and line.lower().startswith("sep="):
            delimiter = line[4]
        elif line.strip(f" {DELIMITERS}") and not _is_comment(line, rest):
            break
        text = rest
    return text, delimiter


def _is_comment(line: str, rest: str) -> bool:
    if not line.startswith("#"):
        return False
    following = next((other for other in rest.split("\n", 20) if other.strip()), "")
    mark = delimiter_of(following)
    # A header has as many cells as the row below it, and no words after the # like "exported by a tool, on Monday".
    words = len(line.split()) > 2 * (line.count(mark) + 1)
    words = len(line.split()) > 2 * (line.count(mark) + 1)
    return line.count(mark) != following.count(mark) or (line.startswith("# ") and words)


def _excel(name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    import pandas as pd

    sheets = pd.read_excel(io.BytesIO(data), sheet_name=None, header=None, dtype=str, na_filter=False)
    filled = {title: sheet for title, sheet in sheets.items() if len(sheet)}
    if not filled:
        return pd.DataFrame(), []
    title, sheet = next(iter(filled.items()))
    sheet = sheet.fillna("").apply(lambda column: column.astype(str).str.strip())
    sheet = sheet[(sheet != "").any(axis=1)].reset_index(drop=True)
    notes = [f"{name} has {len(filled)} sheets; {title} is read"] if len(filled) > 1 else []
    return _headed(sheet), notes


def _json_lines(name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    import pandas as pd

    return pd.DataFrame(list(_records(name, decode(data)[0])), dtype=str).fillna(""), []


def _records(name: str, text: str) -> Iterator[dict[str, str]]:
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
            yield {key.strip(): _text(value) for key, value in record.items()}


def _parquet(_name: str, data: bytes) -> tuple["pd.DataFrame", list[str]]:
    import pandas as pd
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    table = pq.read_table(io.BytesIO(data))
    cells = {column: [_text(value) for value in table[column].to_pylist()] for column in table.column_names}
    return pd.DataFrame(cells, dtype=str), []


def _text(value: Any) -> str:
    """Return a cell of JSON or Parquet as text."""
    if value is None:
        return ""
    if isinstance(value, list | dict | bool):
        return json.dumps(value, ensure_ascii=False, default=repr)
    return str(value).strip()


READERS: dict[str, Callable[[str, bytes], tuple["pd.DataFrame", list[str]]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".xlsx": _excel,
    ".parquet": _parquet,
}
