"""Read data/index.csv as columns of arrays: a million images take 0.3 kB of memory each."""

import csv
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.images.hashes import from_text, pictures
from darkroom.splits.duplicates import BITS, as_bits, order_of_texts

READ = ("id", "label", "split", "group", "location", "sha256", "phash", "windows", "width", "height")
FEW = ("label", "split", "group")  # columns of few different texts
AT_ONCE = 1 << 14  # rows that are held as text at a time
NO_HASH = "0" * (BITS // 4)


@dataclass(frozen=True)
class Names:
    """A column of few different texts: `codes` int32 (n,) are indices into `names`, which are in ascending order."""

    names: list[str]
    codes: np.ndarray

    def code(self, name: str) -> int:
        """Return the index of a name; -1 where it does not occur."""
        return self.names.index(name) if name in self.names else -1


@dataclass(frozen=True)
class Columns:
    """The rows of an index in order of id.

    `ids` S (n,); `digests` S (n,), of each file's bytes, empty where it could not be read; `hashes` uint8 (n, BITS /
    8), perceptual hashes of the rows that are `hashed` bool (n,); `windows` from `hashes.from_text`, (0, …) where no
    picture has any; `pixels` int64 (n,), width times height; `locations`, [] where they were not asked for; `pictures`,
    small ones of some hashes, see duplicates.clusters.
    """

    ids: np.ndarray
    labels: Names
    officials: Names
    groups: Names
    digests: np.ndarray
    hashes: np.ndarray
    hashed: np.ndarray
    windows: np.ndarray
    pixels: np.ndarray
    locations: list[str]
    pictures: dict[bytes, bytes]

    def __len__(self) -> int:
        return len(self.ids)


def read_columns(path: Path, locations: bool = False) -> Columns:
    """Return the columns of an index file; `locations`, which take the most memory, only if asked for."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        indices = [header.index(name) for name in READ]
        return columns(([row[position] for position in indices] for row in reader if row), locations)


def columns(rows: Iterable[Sequence[str]], locations: bool = True) -> Columns:
    """Return the columns of rows with the cells named in READ."""
    seen: dict[str, dict[str, int]] = {name: {} for name in FEW}
    arrays = (*FEW, "id", "sha256", "phash", "hashed", "windows", "pixels")
    blocks: dict[str, list[np.ndarray]] = {name: [] for name in arrays}
    found: list[str] = []
    small: dict[bytes, bytes] = {}
    source = iter(rows)
    while texts := list(itertools.islice(source, AT_ONCE)):
        cells = dict(zip(READ, zip(*texts, strict=True), strict=True))
        for name, array in _arrays(cells, seen).items():
            blocks[name].append(array)
        small |= pictures(cells["windows"], cells["phash"])
        if locations:
            found += cells["location"]
    return _sorted(blocks, seen, found, small) if blocks["id"] else _empty()


def _arrays(cells: Mapping[str, Sequence[str]], seen: Mapping[str, dict[str, int]]) -> dict[str, np.ndarray]:
    hexes = cells["phash"]
    return {
        **{
            name: np.array([known.setdefault(text, len(known)) for text in cells[name]], np.int32)
            for name, known in seen.items()
        },
        "id": np.array(cells["id"], np.bytes_),
        "sha256": np.array(cells["sha256"], np.bytes_),
        "phash": as_bits([text or NO_HASH for text in hexes]),
        "hashed": np.array([text != "" for text in hexes]),
        "windows": from_text(cells["windows"] if any(cells["windows"]) else []),
        "pixels": np.array(cells["width"], np.bytes_).astype(np.int64)
        * np.array(cells["height"], np.bytes_).astype(np.int64),
    }


def _sorted(
    blocks: dict[str, list[np.ndarray]], seen: Mapping[str, Mapping[str, int]], found: list[str],
    small: dict[bytes, bytes],
) -> Columns:  # fmt: skip
    ids = np.concatenate(blocks.pop("id"))
    order = order_of_texts(ids)

    def ordered(name: str) -> np.ndarray:
        return np.concatenate(blocks.pop(name))[order]  # popped, so that one column at a time is held twice

    def names(name: str) -> Names:
        texts = sorted(seen[name])
        rank = np.empty(len(texts), np.int32)
        rank[[seen[name][text] for text in texts]] = np.arange(len(texts))
        return Names(texts, rank[ordered(name)])

    # Where some blocks have windows, those without get zeros.
    sizes = [len(block) for block in blocks["hashed"]]
    windows = from_text([])
    if any(map(len, blocks["windows"])):
        pairs = zip(blocks.pop("windows"), sizes, strict=True)
        windows = np.concatenate([block if len(block) else from_text([""] * size) for block, size in pairs])[order]

    return Columns(
        ids[order],
        names("label"),
        names("split"),
        names("group"),
        ordered("sha256"),
        ordered("phash"),
        ordered("hashed"),
        windows,
        ordered("pixels"),
        [found[position] for position in order.tolist()] if found else [],
        small,
    )


def _empty() -> Columns:
    none: Any = Names([], np.empty(0, np.int32))
    texts, numbers = np.empty(0, "S1"), np.empty(0, np.int64)
    return Columns(texts, none, none, none, texts, np.empty((0, BITS // 8), np.uint8), numbers == 0,
                   from_text([]), numbers, [], {})  # fmt: skip
