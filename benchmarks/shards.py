"""Reading shards in random batches, against a plain memory copy of the same bytes, both warm.

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
        speeds: dict[str, list[float]] = {"shards": [], "copy": []}
        for turn in range(asked.rounds + 1):
            order = random.permutation(asked.images)
            batches = [order[start : start + asked.batch] for start in range(0, asked.images, asked.batch)]
            batches = [places for places in batches if len(places) == asked.batch]
            for name in speeds:
                start = time.perf_counter()
                for at, places in enumerate(batches):
                    part = slice(at * asked.batch, (at + 1) * asked.batch)
                    rows = shards.rows(places) if name == "shards" else resident[part].copy()
                    assert len(rows) == asked.batch
                if turn:  # the first round warms up
                    speeds[name].append(len(batches) * asked.batch * image.nbytes / (time.perf_counter() - start))
    ours, copy = (statistics.median(speeds[name]) for name in ("shards", "copy"))
    print(f"random batches of {asked.batch} from {asked.images * image.nbytes / 1e6:.0f} MB of shards: "
          f"{ours / 1e9:.2f} GB/s, a memory copy {copy / 1e9:.2f} GB/s, ratio {ours / copy:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
