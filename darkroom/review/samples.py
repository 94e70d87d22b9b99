"""Describe the images of a run for the review: every row of the index, with its split, pixels, label and decision."""

import re
import threading
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.params import read_yaml
from darkroom.images.shards import Shards
from darkroom.splits.corrections import SPLITS, Correction

INDEX, SPLIT, REJECTS = Path("data/index.csv"), Path("data/split.csv"), Path("data/rejects.csv")
SHARDS = Path("data/shards")
UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file


@dataclass(frozen=True)
class Sample:
    """One image: where it lies, the label that the source gives it, and why it has no pixels, if it has none.

    `key`: the key of its decision, its sha256 or its id; `original`: the id of the sample that it copies, or "".
    """

    id: str
    key: str
    sha256: str
    location: str
    label: str
    split: str
    original: str
    fold: int
    width: int
    height: int
    bytes: int
    reason: str = ""


class Samples:
    """All samples of a run. The first `pictured` of them are the rows of train, val and test shards, in that order.

    `position`: the index of a sample by its id; `labels`: of every sample, the index in `classes` of the label that
    decisions leave it, int64 (n,), -1 for an excluded one; `decided` bool (n,); `folds` int64 (n,), -1 for none.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.params = root, read_yaml(root / "params.yaml")
        self.shards = [Shards(root / SHARDS / split) for split in SPLITS]
        self.flips = bool(self.shards[0].index.get("flips", True))
        self.all = _read(root, self.shards)
        self.pictured = sum(map(len, self.shards))
        self.position = {sample.id: index for index, sample in enumerate(self.all)}
        self.by_key: dict[str, list[int]] = {}
        for index, sample in enumerate(self.all):
            self.by_key.setdefault(sample.key, []).append(index)
        self.classes = sorted({sample.label for sample in self.all})
        at = {name: index for index, name in enumerate(self.classes)}
        self._given = np.array([at[sample.label] for sample in self.all], np.int64)
        self.split = np.array([[*SPLITS, "dropped"].index(sample.split) for sample in self.all], np.int8)
        self.folds = np.array([sample.fold for sample in self.all], np.int64)
        self.labels, self.decided = self._given.copy(), np.zeros(len(self.all), bool)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.all)

    def apply(self, decided: dict[str, Correction]) -> None:
        """Set labels and `decided` anew from all decisions."""
        with self._lock:
            self.labels, self.decided = self._given.copy(), np.zeros(len(self.all), bool)
        self.change(dict(decided))

    def change(self, changes: dict[str, Correction | None]) -> None:
        """Take changed decisions, None for a withdrawn one; a key that fits no sample is passed over."""
        with self._lock:
            for key, correction in changes.items():
                for index in self.by_key.get(key, ()):
                    self.decided[index] = correction is not None
                    self.labels[index] = self._outcome(index, correction)

    def _outcome(self, index: int, correction: Correction | None) -> int:
        kind, becomes = correction.outcome if correction else ("keep", "")
        if kind == "exclude":
            return -1
        if kind == "keep":
            return int(self._given[index])
        if becomes not in self.classes:
            self.classes.append(becomes)  # at the end: the labels before it keep their numbers
        return self.classes.index(becomes)

    def index(self, name: str) -> int:
        """Return the index of the sample with this id. Raises DarkroomError."""
        if name not in self.position:
            raise DarkroomError(f"{name[:100]!r} is not an image of this run; load the page again")
        return self.position[name]

    def label(self, index: int) -> str:
        """Return the label of a sample now; "" for an excluded one."""
        return self.classes[self.labels[index]] if self.labels[index] >= 0 else ""

    def given(self, index: int) -> int:
        """Return the index in `classes` of the label that the source gives a sample."""
        return int(self._given[index])

    def counts(self) -> list[tuple[str, int, int]]:
        """Return each class's name, and its samples with pixels: all of them, and those that are learnt from."""
        labels, split = self.labels[: self.pictured], self.split[: self.pictured]
        every = np.bincount(labels[labels >= 0], minlength=len(self.classes))
        learnt = np.bincount(labels[(labels >= 0) & (split == 0)], minlength=len(self.classes))
        return list(zip(self.classes, every.tolist(), learnt.tolist(), strict=True))

    def pixels(self, index: int) -> np.ndarray:
        """Return the pixels (S, S, 3) uint8 of one of the first `pictured` samples, as the model sees them."""
        for shards in self.shards:
            if index < len(shards):
                return shards.rows(np.array([index]))[0]
            index -= len(shards)
        raise IndexError(index)


class Finder:
    """Find samples by the names that other tools give them."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self._by_name: dict[str, list[Sample]] = {}
        for sample in samples.all:
            path = PurePosixPath(sample.location.replace("::", "/"))
            for name in {path.name, path.stem}:
                self._by_name.setdefault(name, []).append(sample)

    def find(self, image: str) -> Sample | None:
        """Return the sample with this sha256 or id, or whose path ends most like `image`; None where several do."""
        if image in self.samples.by_key:
            return self.samples.all[self.samples.by_key[image][0]]
        if image in self.samples.position:
            return self.samples.all[self.samples.position[image]]
        address = urlsplit(image)
        path = PurePosixPath(parse_qs(address.query).get("d", [""])[0] or unquote(address.path) or image)
        names = (path.name, UPLOAD.sub("", path.name))
        alike = next((self._by_name[name] for name in names if name in self._by_name), [])
        shared = [_shared(path, sample.location) for sample in alike]
        best = [sample for sample, count in zip(alike, shared, strict=True) if count == max(shared)]
        return best[0] if len({sample.key for sample in best}) == 1 else None


def _shared(path: PurePosixPath, location: str) -> int:
    """Return how many folders above the file, from the last one up, a path and a location share."""
    pairs = list(zip(path.parts[-2::-1], PurePosixPath(location.replace("::", "/")).parts[-2::-1], strict=False))
    return next((at for at, (one, other) in enumerate(pairs) if one != other), len(pairs))


def _read(root: Path, shards: list[Shards]) -> list[Sample]:
    for path in (INDEX, SPLIT, REJECTS):
        if not (root / path).exists():
            raise DarkroomError(f"{path} is missing, and there is no run to review; run `dvc repro`")
    divided = {row["id"]: row for row in files.read_csv(root / SPLIT)}
    reasons = {row["location"]: row["reason"] for row in files.read_csv(root / REJECTS)}
    found: dict[str, Sample] = {}
    for row in files.read_csv(root / INDEX):
        part = divided.get(row["id"])
        if part is None:
            raise DarkroomError(f"{SPLIT} has no row for {row['location']}; run `dvc repro`")
        if part["split"] != "excluded":
            found[row["id"]] = Sample(
                row["id"], row["sha256"] or row["id"], row["sha256"], row["location"], row["label"], part["split"],
                part["duplicate_of"], int(part["fold"] or -1), int(row["width"]), int(row["height"]), int(row["bytes"]),
                reasons.get(row["location"], ""),
            )  # fmt: skip
    ids = [name for part in shards for name in part.ids()]
    unknown = [name for name in ids if name not in found]
    if unknown:
        raise DarkroomError(f"{SHARDS} holds images that {INDEX} does not (such as {unknown[0][:12]}); run `dvc repro`")
    pictured = [found.pop(name) for name in ids]
    return pictured + sorted(found.values(), key=lambda sample: sample.location)
