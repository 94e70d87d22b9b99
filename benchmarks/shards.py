"""Reading shards in random batches, against a plain copy in order and a gather of the same rows in memory, all warm.

python -m benchmarks.shards [--images 4000] [--side 224] [--batch 64]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from darkroom.data.shards import Shards, write_shards


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
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
        speeds: dict[str, list[float]] = {"shards": [], "copy": [], "gather": []}
        for turn in range(asked.rounds + 1):
            order = random.permutation(asked.images)
            batches = [order[start : start + asked.batch] for start in range(0, asked.images, asked.batch)]
            batches = [places for places in batches if len(places) == asked.batch]
            for name in speeds:
                start = time.perf_counter()
                for at, places in enumerate(batches):
                    part = slice(at * asked.batch, (at + 1) * asked.batch)
                    if name == "shards":
                        rows = shards.rows(places)
                    else:
                        rows = resident[part].copy() if name == "copy" else resident[places]
                    assert len(rows) == asked.batch
                if turn:  # the first round warms up
                    speeds[name].append(len(batches) * asked.batch * image.nbytes / (time.perf_counter() - start))
    ours, copy, gather = (statistics.median(speeds[name]) for name in ("shards", "copy", "gather"))
    print(f"batches of {asked.batch} of {asked.images * image.nbytes / 1e6:.0f} MB of shards: {ours / 1e9:.1f} GB/s")
    print(f"- a copy in order: {copy / 1e9:.1f} GB/s, ratio {ours / copy:.2f}")
    print(f"- the same rows gathered from an array in memory: {gather / 1e9:.1f} GB/s, ratio {ours / gather:.2f}")


if __name__ == "__main__":
    main()
