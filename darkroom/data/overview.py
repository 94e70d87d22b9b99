"""What the data is: metrics/data.json, the contact sheet and the figure of copies."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.data.decode import Framing, decode
from darkroom.data.figures import save_sheet
from darkroom.data.places import Places
from darkroom.data.preparing import SPLITS, Prepared
from darkroom.data.shards import Shards
from darkroom.errors import BadImage

CLASSES_SHOWN, IMAGES_SHOWN, PAIRS_SHOWN, SIDE = 12, 8, 24, 96
Rows = Sequence[Mapping[str, str]]


def summary(index: Rows, split: Rows, prepared: Prepared, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of metrics/data.json: counts by class and split, rejects, duplicates, conflicts, sizes."""
    by_id = {row["id"]: row for row in index}
    copies = [(by_id[row["id"]], by_id[row["duplicate_of"]]) for row in split if row["duplicate_of"]]
    exact = [pair for pair in copies if pair[0]["sha256"] == pair[1]["sha256"]]
    conflicts = sorted(
        (pair for pair in copies if pair[0]["label"] != pair[1]["label"]), key=lambda p: p[0]["location"]
    )
    classes = sorted({row["label"] for row in index})
    kept = {name: Counter(row["label"] for row in prepared.kept(name)) for name in SPLITS}
    status = Counter(row["split"] for row in split)
    return {
        "images": len(index),
        "classes": len(classes),
        "train": sum(kept["train"].values()),
        "val": sum(kept["val"].values()),
        "test": sum(kept["test"].values()),
        "dropped": status["dropped"],
        "excluded": status["excluded"],
        "rejects": {"total": len(prepared.rejects), "by_reason": _reasons(prepared.rejects)},
        "duplicates": {"exact": len(exact), "near": len(copies) - len(exact)},
        "label_conflicts": {
            "total": len(conflicts),
            "pairs": [[f"{row['location']} ({row['label']})" for row in pair] for pair in conflicts[:100]],
        },
        "per_class": {name: {part: kept[part][name] for part in SPLITS} for name in classes},
        "sizes": {side: _spread([int(row[side]) for row in index if int(row[side])]) for side in ("width", "height")},
        "megabytes": round(sum(int(row["bytes"]) for row in index) / 1e6, 3),
        "layout": facts["layout"],
        "notes": facts["notes"]
        + [f"class {name} has no readable image and is left out" for name in prepared.lost_classes()],
    }


def draw_samples(train: Path, path: Path) -> None:
    """Some images of each class as the model sees them."""
    shards = Shards(train)
    rows = []
    for label in _spaced(range(len(shards.classes)), CLASSES_SHOWN):
        places = np.flatnonzero(shards.labels == label)[:IMAGES_SHOWN]
        rows.append((shards.classes[label], list(shards.rows(places))))
    save_sheet(path, "After preprocessing", rows, SIDE)


def draw_duplicates(index: Rows, split: Rows, places: Places, path: Path) -> None:
    """Pairs of copies side by side, label conflicts first."""
    by_id = {row["id"]: row for row in index}
    pairs = [(by_id[row["id"]], by_id[row["duplicate_of"]]) for row in split if row["duplicate_of"]]
    pairs.sort(key=lambda pair: (pair[0]["label"] == pair[1]["label"], pair[0]["id"]))
    shown = pairs[:PAIRS_SHOWN]
    wanted = {row["location"] for pair in shown for row in pair}
    pixels = {}
    for location, extent in places.extents(wanted):
        try:
            pixels[location] = decode(extent.read(), Framing(SIDE, "pad", SIDE))
        except BadImage:
            pixels[location] = np.full((SIDE, SIDE, 3), 128, np.uint8)
    rows = [(_pair_name(pair), [pixels[row["location"]] for row in pair]) for pair in shown]
    save_sheet(path, f"{len(pairs)} copies of other images" if pairs else "No copies found", rows, SIDE)


def _pair_name(pair: tuple[Mapping[str, str], Mapping[str, str]]) -> str:
    one, other = pair
    return one["label"] if one["label"] == other["label"] else f"{one['label']} / {other['label']}"


def _reasons(rejects: Mapping[str, str]) -> dict[str, int]:
    return dict(Counter(reason.partition(":")[0] for reason in rejects.values()))


def _spread(values: Sequence[int]) -> dict[str, float | None]:
    if not values:
        return {"min": None, "median": None, "max": None}
    return {"min": min(values), "median": float(np.median(values)), "max": max(values)}


def _spaced(items: Sequence[int], count: int) -> list[int]:
    """At most `count` items, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
