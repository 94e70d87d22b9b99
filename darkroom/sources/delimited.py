"""Read delimited text as spreadsheets and tools write it, with any separator and comments, into a grid of text."""

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

DELIMITERS = ",;\t|"
SPACES = r"\s+"
LOOKED_AT = 20  # lines
MOST_COLUMNS = 20_000  # more than Excel has; pixels in cells, a millisecond a column
MOST_LETTERS = 1_000_000  # of the first cell: a disk that failed leaves NULs without an end


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
