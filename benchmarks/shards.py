"""Reading shards in random batches, against a plain copy in order and a gather of the same rows in memory, all warm.

Each makes a new array for every batch, from the same allocator. The copy and the gather are numpy's, by one thread, out
of an array in large pages; the shards lie in the file cache, and several threads may read them (DARKROOM_THREADS). The
three take turns in each round, and a ratio is that of two turns of one round, since other work weighs on both.

python -m benchmarks.shards [--images 4000] [--side 224] [--batch 64]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import MAPPED_BYTES, Shards


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (asked.side, asked.side, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        with write_shards(Path(folder) / "train", "images", ["a"]) as writer:
            for number in range(asked.images):
                writer.add(image, 0, f"{number:064d}")
            writer.close()
        shards = Shards(Path(folder) / "train")
        resident = np.tile(image, (asked.images, 1, 1, 1))
        seconds: dict[str, list[float]] = {"shards": [], "copy": [], "gather": []}
        for turn in range(asked.rounds + 1):
            order = random.permutation(asked.images)
            batches = [order[start : start + asked.batch] for start in range(0, asked.images, asked.batch)]
            batches = [indices for indices in batches if len(indices) == asked.batch]
            for name in seconds:
                start = time.perf_counter()
                for at, indices in enumerate(batches):
                    part = slice(at * asked.batch, (at + 1) * asked.batch)
                    if name == "shards":
                        rows = shards.rows(indices)
                    else:
                        rows = resident[part].copy() if name == "copy" else resident[indices]
                    assert len(rows) == asked.batch
                if turn:  # the first round warms up
                    seconds[name].append(time.perf_counter() - start)
    size = len(batches) * asked.batch * image.nbytes
    how = "mapped" if resident.nbytes <= MAPPED_BYTES else "read"
    print(f"{size / 1e6:.0f} MB, {how}, random batches of {asked.batch}; medians of {asked.rounds} rounds")
    print(f"- shards: {size / statistics.median(seconds['shards']) / 1e9:.1f} GB/s")
    for name, what in (("copy", "a copy of the same bytes in order"), ("gather", "the same rows of an array")):
        ratios = sorted(theirs / ours for ours, theirs in zip(seconds["shards"], seconds[name], strict=True))
        speed, ratio = size / statistics.median(seconds[name]) / 1e9, statistics.median(ratios)
        print(f"- {what}: {speed:.1f} GB/s, ratio {ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
