"""Read JSON as tables of text: lines and lists of records, labels by file, files by label, and tools' own forms."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from darkroom.core.errors import SourceError
from darkroom.core.text import quoted
from darkroom.images.formats import is_image_name
from darkroom.sources.columns import is_header
from darkroom.sources.encodings import decode
from darkroom.sources.folder_names import split_names

if TYPE_CHECKING:
    import pandas as pd

Record = Mapping[str, Any]


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
