"""Divide the images into train, val and test, and keep copies and groups together: index -> data/split.csv."""

from dataclasses import dataclass
from pathlib import Path

from darkroom.core import files
from darkroom.core.params import load, param
from darkroom.core.stage import run
from darkroom.splits.columns import read_columns
from darkroom.splits.divide import SPLIT_COLUMNS, SplitOptions, divide


@dataclass(frozen=True)
class SplitParams:
    """The params of split."""

    seed: int = param("Seed of every random choice", at_least=0, at_most=2**63 - 1)
    val_fraction: float = param("Share of the images for validation, which tune the training", at_least=0, below=1)
    test_fraction: float = param("Share of the images for the test set", at_least=0, below=1)
    folds: int = param("Number of folds of the cross-validation", at_least=2)
    limit: int | None = param("Images per class, at most, for a quick look; null: all", at_least=3)
    exclude: list[str] = param("Ids, paths or path patterns (cats/*) to leave out")
    duplicates: str = param("Copies of one picture: keep them in one split, keep one of them, or ignore that",
                            choices=("group", "drop", "ignore"))  # fmt: skip

    def options(self) -> SplitOptions:
        """Return the params as SplitOptions."""
        return SplitOptions(**vars(self))


def main(index: Path, split: Path) -> str:
    """Divide the rows of INDEX and write SPLIT: id, split, fold, duplicate_of."""
    options = load(SplitParams).options()
    division = divide(read_columns(index, locations=bool(options.exclude)), options)
    files.write_csv(split, SPLIT_COLUMNS, division.rows())
    return ", ".join(f"{count:,} {part}" for part, count in division.counts().items() if count)


if __name__ == "__main__":
    run(main)
