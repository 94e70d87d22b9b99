"""Labels in a small file beside each image: `0001.cls` or `0001.json` beside `0001.jpg`, as in WebDataset's tars."""

import json
from typing import TYPE_CHECKING

from darkroom.sources.encodings import decode
from darkroom.sources.frames import read_frame
from darkroom.sources.trees import Tree

if TYPE_CHECKING:
    import pandas as pd

CLASS, RECORD = ".cls", ".json"
MOST = 0.5  # share of the images that must have one
LONGEST = 4096  # bytes of such a file: a picture's annotation is larger


def sidecar_frame(tree: Tree, images: list[str]) -> tuple[str, "pd.DataFrame"] | None:
    """Return a name for the small files beside the images, and their contents as a table with `path` and `label`, or
    with `path` and the keys of the JSON; None where most images have none."""
    known = set(tree.files)
    keys = {image: image[: image.rfind("/") + 1] + image.rpartition("/")[2].partition(".")[0] for image in images}
    for suffix in (CLASS, RECORD):
        beside = {key + suffix: image for image, key in keys.items() if key + suffix in known}
        if beside and len(beside) >= MOST * len(images):
            records: list[dict[str, object]] = []
            for name, extent in tree.extents(beside):
                text = decode(extent.read()[:LONGEST])[0].strip()
                if suffix == CLASS:
                    records.append({"path": beside[name], "label": text})
                elif (record := _record(text)) is not None:
                    records.append(record | {"path": beside[name]})
            lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
            return f"*{suffix}", read_frame("sidecars.jsonl", lines.encode())[0]
    return None


def _record(text: str) -> dict[str, object] | None:
    try:
        record = json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
