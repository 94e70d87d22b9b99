"""Read Parquet files with images in one column and labels in others, as on the Hugging Face Hub.

Such a file is read as a tree: a picture for each row, and a table `labels.jsonl` of the other columns.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from darkroom.core.errors import SourceError
from darkroom.sources.extents import Extent

LABELS = "labels.jsonl"
MAGIC = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"RIFF": ".webp", b"II*\0": ".tif", b"MM\0*": ".tif"}
BATCH = 64  # rows that are in memory at once
NAMES = "names"


def holds_images(path: Path) -> bool:
    """Return whether a Parquet file has a column of images' bytes. Raises SourceError when it is damaged."""
    return bool(_image_column(_opened(path).schema_arrow))


class Parquet:
    """A Parquet file of images as a tree: `00000017.jpg` is the image of row 17."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.empty_folders: list[str] = []
        self.tool_folders: Counter[str] = Counter()
        self._column = _image_column(_opened(path).schema_arrow)

    @cached_property
    def files(self) -> list[str]:
        """The names of its images, all with the suffix of the first, and of its table."""
        return [*self._rows, LABELS]

    def extents(self, names: Iterable[str]) -> Iterator[tuple[str, Extent]]:
        """Yield the bytes of the named files, in order of row."""
        wanted = set(names)
        if LABELS in wanted:
            lines = "".join(json.dumps(record, ensure_ascii=False, default=str) + "\n" for record in self.records())
            yield LABELS, Extent(str(self.path), data=lines.encode())
        rows = {row: name for name, row in self._rows.items() if name in wanted}
        for row, data in self._pictures() if rows else ():
            if row in rows:
                yield rows[row], Extent(str(self.path), data=data or b"")

    @cached_property
    def _rows(self) -> dict[str, int]:
        """The row of each picture, by name."""
        first = next((data for _, data in self._pictures() if data), b"")
        suffix = next((suffix for start, suffix in MAGIC.items() if first.startswith(start)), ".jpg")
        return {f"{row:08}{suffix}": row for row in range(_opened(self.path).metadata.num_rows)}

    def _pictures(self) -> Iterator[tuple[int, bytes | None]]:
        row = 0
        for batch in _opened(self.path).iter_batches(BATCH, columns=[self._column]):
            for cell in batch.column(0).to_pylist():
                yield row, cell.get("bytes") if isinstance(cell, dict) else cell
                row += 1

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield a record for each row: `file_name` and the plain columns, with names instead of class numbers."""
        file = _opened(self.path)
        columns = [field.name for field in file.schema_arrow if not _nested_or_binary(field.type)]
        names = class_names(file.schema_arrow.metadata or {})
        files = iter(self._rows)
        for batch in file.iter_batches(columns=columns):
            for record in batch.to_pylist() if columns else [{}] * batch.num_rows:
                yield {key: named(value, names.get(key, [])) for key, value in record.items()} | {
                    "file_name": next(files)
                }


def _opened(path: Path) -> Any:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise SourceError(f"{path} is not a whole Parquet file ({reason}); download or write it again") from error


def _image_column(schema: Any) -> str:
    """Return the column of images, bytes or structures with `bytes`; a usual name first; "" without any."""
    import pyarrow.types as kinds  # type: ignore[import-untyped]

    def is_image(kind: Any) -> bool:
        if kinds.is_struct(kind):
            return any(field.name == "bytes" and _is_binary(field.type) for field in kind)
        return _is_binary(kind)

    found = [field.name for field in schema if is_image(field.type)]
    return next((name for name in ("image", "img", "jpg", "png", "picture") if name in found), next(iter(found), ""))


def _is_binary(kind: Any) -> bool:
    import pyarrow.types as kinds

    return kinds.is_binary(kind) or kinds.is_large_binary(kind)


def _nested_or_binary(kind: Any) -> bool:
    import pyarrow.types as kinds

    return _is_binary(kind) or kinds.is_struct(kind)


def class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Return the class names of columns, as the Hub's `datasets` writes them into the schema's metadata."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {column: kind[NAMES] for column, kind in features.items() if isinstance(kind.get(NAMES), list)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def named(value: Any, names: list[str]) -> Any:
    """Return the name of a class number, "" for -1 (no class); any other value as it is."""
    if not names or type(value) is not int:
        return value
    return names[value] if 0 <= value < len(names) else ""
