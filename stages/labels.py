"""Apply corrections of labels: index, split, rejects, corrections -> data/labels. Nothing is decoded again."""

from dataclasses import dataclass
from pathlib import Path

from darkroom.core import files
from darkroom.core.params import load, param
from darkroom.core.progress import say
from darkroom.core.stage import run
from darkroom.splits.corrections import apply, read_corrections, write_labels


@dataclass(frozen=True)
class LabelsParams:
    """The params of labels."""

    corrections: str = param("A table of decisions about labels, which `darkroom review` writes; in Git")


def main(index: Path, split: Path, rejects: Path, out: Path) -> str:
    """Write into OUT the labels in INDEX that the corrections change, for each split in SPLIT."""
    path = Path(load(LabelsParams).corrections)
    divided = {row["id"]: row["split"] for row in files.read_csv(split)}
    rejected = {row["sha256"] for row in files.read_csv(rejects)}
    applied = apply(read_corrections(path), path, files.read_csv(index), divided, rejected)
    for note in applied.notes:
        say(f"note: {note}")
    write_labels(out, applied)
    relabelled, excluded = applied.counts["relabelled"], applied.counts["excluded"]
    return f"{relabelled:,} labels corrected, {excluded:,} images excluded, {len(applied.classes)} classes"


if __name__ == "__main__":
    run(main)
