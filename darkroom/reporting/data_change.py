"""Compare the data of two runs: images added, relabelled, excluded, left out as copies, or moved."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from darkroom.images.shards import SPLITS
from darkroom.reporting.runs import INDEX, SPLIT, CompareError, Revision, locked_md5

LABELS = "data/labels"


@dataclass(frozen=True)
class Image:
    """An image of a run: its split, or `dropped` or `excluded`, and its label."""

    split: str
    label: str


@dataclass(frozen=True)
class DataChange:
    """The number of images by change; `added` and `relabelled` by split."""

    added: Mapping[str, int]
    relabelled: Mapping[str, int]
    removed: int
    excluded: int
    copies: int
    moved: int

    def in_words(self) -> str:
        """Return the change as a list in one line, "" where nothing changed."""
        parts = [
            _by_split(self.added, "new image", "new images"),
            _by_split(self.relabelled, "relabelled", "relabelled"),
            f"{self.excluded:,} excluded" if self.excluded else "",
            f"{self.removed:,} no longer there" if self.removed else "",
            f"{self.copies:,} {'copy' if self.copies == 1 else 'copies'} of other images left out"
            if self.copies
            else "",
            f"{self.moved:,} moved to another split" if self.moved else "",
        ]
        return ", ".join(part for part in parts if part)


def data_change(old: Revision, new: Revision) -> DataChange | None:
    """Return the difference of the data of two runs; None where it is the same in both files dvc.lock.

    Raises CompareError where the tables of one of them cannot be read.
    """
    tables = (INDEX, SPLIT, LABELS, *(f"{LABELS}/{split}.json" for split in SPLITS))  # LABELS: of earlier locks
    if all(locked_md5(old.lock, path) == locked_md5(new.lock, path) for path in tables):
        return None
    return difference(images(old), images(new))


def images(run: Revision) -> dict[str, Image]:
    """Return the images of a run by id, with corrected labels. Raises CompareError."""
    labels = {row["id"]: row["label"] for row in csv.DictReader(io.StringIO(run.text(INDEX), newline=""))}
    splits = {row["id"]: row["split"] for row in csv.DictReader(io.StringIO(run.text(SPLIT), newline=""))}
    for name in SPLITS:
        for sample, label in json.loads(run.optional(f"{LABELS}/{name}.json") or '{"changes": {}}')["changes"].items():
            labels[sample] = label or labels.get(sample, "")
            splits[sample] = splits.get(sample, "") if label else "excluded"
    return {sample: Image(split, labels.get(sample, "")) for sample, split in splits.items()}


def difference(old: Mapping[str, Image], new: Mapping[str, Image]) -> DataChange:
    """Compare two runs' images by id, a digest of their content: a renamed file is the same image."""
    used = {sample for sample, image in old.items() if image.split in SPLITS}
    now = {sample for sample, image in new.items() if image.split in SPLITS}
    both, gone = used & now, used - now
    return DataChange(
        added=Counter(new[sample].split for sample in now - used),
        relabelled=Counter(new[sample].split for sample in both if old[sample].label != new[sample].label),
        removed=sum(sample not in new for sample in gone),
        excluded=sum(sample in new and new[sample].split == "excluded" for sample in gone),
        copies=sum(
            image.split == "dropped" and (sample not in old or old[sample].split != "dropped")
            for sample, image in new.items()
        ),
        moved=sum(old[sample].split != new[sample].split for sample in both),
    )


def in_words(old: Revision | None, new: Revision | None) -> str:
    """Return the change of the data between two runs in words, "" without one, or why it is unknown."""
    if old is None or new is None:
        return ""
    try:
        change = data_change(old, new)
    except CompareError as error:
        return f"the data changed, but not how is known: {error}"
    return change.in_words() if change else ""


def _by_split(counts: Mapping[str, int], one: str, several: str) -> str:
    total = sum(counts.values())
    if not total:
        return ""
    shares = [f"{counts[split]:,} {split}" for split in SPLITS if counts.get(split)]
    return f"{total:,} {one if total == 1 else several} ({', '.join(shares)})"
