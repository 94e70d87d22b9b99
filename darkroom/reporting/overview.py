"""Describe the data: metrics/data.json and the figure of duplicates."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.errors import BadImage
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.images.preprocess import Prepared
from darkroom.images.shards import SPLITS
from darkroom.reporting.figures import caption_names
from darkroom.reporting.sheets import INK, PALE, SMALL_SIDE, WRONG, Group, Tile, draw_sheet, save_png
from darkroom.sources.trees import Locations

PAIRS_SHOWN, PAIRS_A_ROW = 24, 4
SMALL_INPUT, PHOTO = 64, 4  # px of a network for scans and icons; how many times as large a photo is
Rows = Sequence[Mapping[str, str]]


def summary(index: Rows, split: Rows, prepared: Prepared, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of metrics/data.json: counts by class and split, rejects, duplicates, conflicts, sizes."""
    by_id = {row["id"]: row for row in index}
    copies = [(by_id[row["id"]], by_id[row["duplicate_of"]]) for row in split if row["duplicate_of"]]
    exact = [pair for pair in copies if pair[0]["sha256"] == pair[1]["sha256"]]
    conflicts = sorted(
        (pair for pair in copies if pair[0]["label"] != pair[1]["label"]), key=lambda p: p[0]["location"]
    )
    classes = sorted({row["label"] for row in index})
    kept = {name: Counter(row["label"] for row in prepared.kept(name)) for name in SPLITS}
    readable = [row for name in SPLITS for row in prepared.kept(name)]
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
        "sizes": {side: _spread([int(row[side]) for row in readable]) for side in ("width", "height")},
        "megabytes": round(sum(int(row["bytes"]) for row in index) / 1e6, 3),
        "layout": facts["layout"],
        **({"levels": facts["levels"]} if "levels" in facts else {}),
        "notes": facts["notes"]
        + [f"class {name} has no readable image and is left out" for name in prepared.lost_classes()],
    }


def blurred(sizes: Mapping[str, Mapping[str, float | None]], size: int) -> list[str]:
    """Return a note where photos, of these `sizes` as in metrics/data.json, are reduced to an input of few pixels."""
    width, height = (sizes[side]["median"] or 0 for side in ("width", "height"))
    if size > SMALL_INPUT or min(width, height) < PHOTO * size:
        return []
    advice = "try `dvc exp run -S backbone=timm/tf_efficientnet_lite0 -S weights=package` (docs/models.md)"
    return [f"images of {width:.0f} x {height:.0f} px (median) are reduced to {size} px, too few for photos; {advice}"]


def draw_duplicates(index: Rows, split: Rows, prepared: Prepared, locations: Locations, path: Path) -> None:
    """Draw pairs of copies side by side: label conflicts first, then those that differ most."""
    by_id = {row["id"]: row for row in index}
    pairs = [(by_id[row["id"]], by_id[row["duplicate_of"]]) for row in split if row["duplicate_of"]]
    pairs.sort(key=lambda pair: (pair[0]["label"] == pair[1]["label"], -_bits(pair), pair[0]["id"]))
    shown = pairs[:PAIRS_SHOWN]
    bad = {by_id[name]["sha256"] for name in prepared.rejects}
    thumbnails = _thumbnails({row["location"]: row for pair in shown for row in pair}, bad, locations)
    conflicts = sum(one["label"] != other["label"] for one, other in pairs)
    tiles = []
    for pair in shown:
        colour = INK if pair[0]["label"] == pair[1]["label"] else WRONG
        names = caption_names([row["location"] for row in pair])
        lines = [(_relation(*pair), colour), *((name, PALE) for name in names)]
        tiles.append(Tile([thumbnails[row["location"]] for row in pair], lines))
    title = "No copies (with duplicates: ignore none are looked for)"
    if pairs:
        more = f", {len(shown)} of them shown" if len(pairs) > len(shown) else ""
        what = "copy of another image" if len(pairs) == 1 else "copies of other images"
        title = f"{len(pairs):,} {what}, {conflicts:,} with another label{more}"
    sheet = draw_sheet(
        title, [Group(tiles)], 2 * PAIRS_A_ROW, "data/split.csv marks no picture as a copy of another.", SMALL_SIDE
    )
    save_png(path, sheet)


def _thumbnails(
    rows: Mapping[str, Mapping[str, str]], bad: Collection[str], locations: Locations
) -> dict[str, np.ndarray]:
    """Return the whole picture of each row on white, by location: squares of SMALL_SIDE, uint8; grey for none.

    A file whose sha256 is in `bad`, or that has no size, is not decoded: it may have killed a worker.
    """
    found = {}
    for location, extent in locations.extents(rows):
        square = np.full((SMALL_SIDE, SMALL_SIDE, 3), 255, np.uint8)
        width, height = int(rows[location]["width"]) or 1, int(rows[location]["height"]) or 1
        scale = SMALL_SIDE / max(width, height)
        across, down = max(round(width * scale), 1), max(round(height * scale), 1)
        part = (
            slice((SMALL_SIDE - down) // 2, (SMALL_SIDE - down) // 2 + down),
            slice((SMALL_SIDE - across) // 2, (SMALL_SIDE - across) // 2 + across),
        )
        try:
            if rows[location]["sha256"] in bad or rows[location]["width"] == "0":
                raise BadImage("not to be decoded again")
            square[part] = decode(extent.read(), Framing(SMALL_SIDE, "pad", SMALL_SIDE))[part]
        except BadImage:
            square[part] = 200
        found[location] = square
    return found


def _bits(pair: tuple[Mapping[str, str], Mapping[str, str]]) -> int:
    """Count the bits of the perceptual hashes that differ; 0 where one is missing, as for copies of broken files."""
    one, other = (row["phash"] for row in pair)
    return (int(one, 16) ^ int(other, 16)).bit_count() if one and other else 0


def _relation(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    labels = one["label"] if one["label"] == other["label"] else f"{one['label']} / {other['label']}"
    return f"{labels}: " + ("same bytes" if one["sha256"] == other["sha256"] else f"{_bits((one, other))} of 256 bits")


def _reasons(rejects: Mapping[str, str]) -> dict[str, int]:
    return dict(Counter(reason.partition(":")[0] for reason in rejects.values()))


def _spread(values: Sequence[int]) -> dict[str, float | None]:
    if not values:
        return {"min": None, "median": None, "max": None}
    return {"min": min(values), "median": float(np.median(values)), "max": max(values)}
