"""Indexing many small files: fetch and split against plain hashing, and the memory that the stages take.

    python -m benchmarks.indexing [--files 200000] [--side 32] [--rounds 3]

Prints files a second for sha256 alone (one process, and as many as indexing uses), for indexing without and with the
perceptual hash, for split, and images a second and peak memory of preprocess. Hashing and indexing take turns, since a
busy machine slows now the one and now the other.
"""

import argparse
import hashlib
import os
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from darkroom.core import files
from darkroom.core.runtime import from_environment
from darkroom.images.assemble import write_splits
from darkroom.images.framing import Framing
from darkroom.images.preprocess import decoded, rows_of_splits
from darkroom.sources.arrays import png
from darkroom.sources.index import write_index
from darkroom.sources.labels import LayoutOptions
from darkroom.sources.layouts import read_layout
from darkroom.sources.trees import Locations, open_tree
from darkroom.splits.columns import read_columns
from darkroom.splits.divide import SPLIT_COLUMNS, SplitOptions, divide

OPTIONS = SplitOptions(0, 0.15, 0.15, 5, None, [], "group")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root / "pictures", asked.files, asked.side)
        timed("sha256 alone, 1 process", asked.files, lambda: hash_all(root / "pictures", 1))
        ratios = []
        for _ in range(asked.rounds):
            hashing = timed(
                f"sha256 alone, {workers} processes", asked.files, lambda: hash_all(root / "pictures", workers)
            )
            plain = timed("fetch without perceptual hashes", asked.files, lambda: fetch(root, workers, False))
            ratios.append(hashing / plain)
        print(f"  ratio to sha256 with as many processes, median: {statistics.median(ratios):.2f}")
        timed("fetch", asked.files, lambda: fetch(root, workers, True))
        timed("split", asked.files, lambda: split(root))
        timed("preprocess", asked.files, lambda: preprocess(root, workers, asked.side))
    unit = 1 << 20 if os.uname().sysname == "Darwin" else 1 << 10
    for who, name in ((resource.RUSAGE_SELF, "this process"), (resource.RUSAGE_CHILDREN, "its largest worker")):
        print(f"peak memory, {name}: {resource.getrusage(who).ru_maxrss / unit:.0f} MB")


def make(folder: Path, count: int, side: int) -> None:
    """`count` pictures of noise and a gradient in ten class folders."""
    random = np.random.default_rng(0)
    for number in range(10):
        (folder / f"class{number}").mkdir(parents=True)
    for number in range(count):
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        (folder / f"class{number % 10}" / f"{number}.png").write_bytes(png(pixels))


def timed(what: str, count: int, work: object) -> float:
    """Seconds that `work` takes; prints them and the speed."""
    start = time.perf_counter()
    work()  # type: ignore[operator]
    took = time.perf_counter() - start
    print(f"{what}: {count / took:,.0f} files/s ({took:.1f} s)", flush=True)
    return took


def hash_some(paths: list[str]) -> list[str]:
    """Return the sha256 of each file."""
    return [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]


def hash_all(folder: Path, workers: int) -> None:
    """Walk `folder` and hash everything in it, the plain way."""
    paths = sorted(str(path) for path in folder.rglob("*.png"))
    parts = [paths[start : start + 1000] for start in range(0, len(paths), 1000)]
    if workers == 1:
        for part in parts:
            hash_some(part)
        return
    with ProcessPoolExecutor(workers) as pool:
        for _ in pool.map(hash_some, parts):
            pass


def fetch(root: Path, workers: int, hashing: bool) -> None:
    """Do what the fetch stage does with a folder."""
    tree = open_tree(root / "pictures")
    locations = Locations(root / "pictures", root, None)
    runtime = replace(from_environment(), workers=workers)
    write_index(read_layout(tree, LayoutOptions()).samples, locations, root / "index.csv", runtime, hashing)


def split(root: Path) -> None:
    """Do what the split stage does."""
    files.write_csv(root / "split.csv", SPLIT_COLUMNS, divide(read_columns(root / "index.csv"), OPTIONS).rows())


def preprocess(root: Path, workers: int, side: int) -> None:
    """Do what the preprocess stage does before it draws."""
    parts = {row["id"]: row["split"] for row in files.read_csv(root / "split.csv")}
    rows = rows_of_splits(list(files.read_csv(root / "index.csv")), parts)
    framing = Framing(side, "crop", side)
    locations = Locations(root / "pictures", root, None)
    runtime = replace(from_environment(), workers=workers)
    with decoded(rows, locations, framing, runtime, root / "shards") as (
        prepared,
        scratch,
    ):
        write_splits(prepared, scratch, framing, root / "shards", {}, workers)


if __name__ == "__main__":
    main()
