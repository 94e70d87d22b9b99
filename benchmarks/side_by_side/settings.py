"""What a run of `make bench` is about: the same for Darkroom and for every peer."""

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from darkroom.core import runtime

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".bench/bin/python"  # of the peers' environment
WORK = ROOT / ".bench/work"


@dataclass(frozen=True)
class Settings:
    """The photos (train/ and test/), the published weights, and the numbers that all share."""

    photos: Path
    weights: Path
    epochs: int = 10
    tuning_epochs: int = 2
    lr: float = 1e-3
    second_lr: float = 2e-3
    tuning_lr: float = 1e-4
    batch_size: int = 32
    size: int = 224  # px; smaller: pictures of which nothing is mirrored, and little cropped
    seed: int = 0
    seeds: int = 1  # runs of each, with this seed and those after it
    samples: int = 1000  # at least so many are loaded in an epoch of the loading part

    @property
    def name(self) -> str:
        """What the photos are called in the tables."""
        return self.photos.name

    @property
    def work(self) -> Path:
        """Where the runs on these photos take place."""
        return WORK / self.name

    def facts(self) -> dict[str, Any]:
        """Return what a measurement depends on, without paths (they differ elsewhere), and how many photos there
        are."""
        numbers = {name: value for name, value in asdict(self).items() if not isinstance(value, Path)}
        del numbers["seeds"]  # a run with one seed is the same however many there are
        return numbers | {"photos": self.name, "train": self.count("train"), "test": self.count("test")}

    def count(self, split: str) -> int:
        """Return the number of photos of a split."""
        return sum(path.is_file() for path in (self.photos / split).rglob("*"))


def machine() -> str:
    """Return the machine in a line."""
    facts = runtime.machine()
    kind = [flag for flag in ("amx_bf16", "avx512_bf16", "avx2") if flag in facts["cpu_flags"]][:1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [
        f"{facts['cores']} cores of {facts['cpu']}",
        *kind,
        f"{memory:.0f} GB",
        f"Python {platform.python_version()}",
    ]
    return ", ".join(parts)
