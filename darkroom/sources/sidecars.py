"""Small texts beside the images: each one's label, as in WebDataset's tars, and lists of the official splits."""

import json
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from darkroom.core.errors import SourceError
from darkroom.sources.encodings import decode
from darkroom.sources.folder_names import strict_split
from darkroom.sources.frames import LISTS, read_frame
from darkroom.sources.labels import Labelled
from darkroom.sources.matching import FileFinder
from darkroom.sources.trees import Tree, read_one

if TYPE_CHECKING:
    import pandas as pd

CLASS, RECORD = ".cls", ".json"
MOST = 0.5  # share of the images that must have one
LISTED = 0.9  # share of a list's lines that must name images
LONGEST = 4096  # bytes of such a file: a picture's annotation is larger


def sidecar_frame(tree: Tree, images: list[str]) -> tuple[str, "pd.DataFrame"] | None:
    """Return a name for the files `1.cls` or `1.json` beside `1.jpg`, and their contents as a table with `path`
    and `label`, or with `path` and the keys of the JSON; None where most images have none."""
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


def with_split_lists(tree: Tree, images: list[str], found: Labelled) -> Labelled:
    """Return the labelled files with the splits of `train.txt` and `test.txt`, lists of paths, where they have none."""
    names = {name: strict_split(PurePosixPath(name).stem) for name in tree.files if name.lower().endswith(LISTS)}
    names = {name: split for name, split in names.items() if split}
    kinds = set(names.values())
    if (
        len(kinds) < len(names)
        or "train" not in kinds
        or len(kinds) < 2
        or any(sample.split for sample in found.samples)
    ):
        return found
    splits: dict[str, str] = {}
    for name, split in names.items():
        listed = _listed(tree, name, images)
        if not listed:
            return found
        splits |= dict.fromkeys(listed, split)
    found.samples = [replace(sample, split=splits.get(sample.location, "")) for sample in found.samples]
    found.notes.append(f"official splits are those of {' and '.join(sorted(names))}")
    return found


def _listed(tree: Tree, name: str, images: list[str]) -> list[str]:
    """Return the images that a list names, [] where its lines are no paths."""
    try:
        lines = [line.strip() for line in decode(read_one(tree, name))[0].splitlines() if line.strip()]
    except SourceError:
        return []
    found = FileFinder(images, str(PurePosixPath(name).parent)).find_all(lines)[0]
    known = [image for image in found if image]
    return known if len(known) >= LISTED * len(lines) else []
