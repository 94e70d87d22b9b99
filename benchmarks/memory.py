"""Peak memory of training, for a set of images and for one eight times as large: shards are read by mapping.

python -m benchmarks.memory [--images 1000] [--size 160]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards

TIMES = 8


def main() -> None:
    """Measure each size in a process of its own and print both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.folder:
        print(peak(asked.folder))
        return
    peaks = []
    for count in (asked.images, TIMES * asked.images):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / "train", count, asked.size)
            command = [sys.executable, "-m", "benchmarks.memory", "--folder", f"{folder}/train"]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        peaks.append(float(said[0]))
        pixels = count * asked.size**2 * 3 / 1e6
        print(f"{count:,} images, {pixels:,.0f} MB of pixels: {peaks[-1]:,.0f} MB resident at most")
    print(f"memory of {TIMES} times the images / memory: {peaks[1] / peaks[0]:.2f}")


def write(folder: Path, count: int, size: int) -> None:
    """Shards of random pixels."""
    random = np.random.default_rng(0)
    with write_shards(folder, "images", ["a", "b"]) as writer:
        for number in range(count):
            writer.add(random.integers(0, 256, (size, size, 3), np.uint8), number % 2, f"{number:064x}")
        writer.close()


def peak(folder: Path) -> float:
    """Train two epochs of a network that needs next to no memory itself; MB resident at most."""
    import torch
    from torch import nn

    from benchmarks.finetune import RECIPE
    from darkroom.images.augment import STRENGTHS
    from darkroom.images.batches import Table
    from darkroom.training.data import ImageInputs
    from darkroom.training.fit import Fit
    from darkroom.training.step import Phase

    cpu = torch.device("cpu")
    table, nothing = Table([Shards(folder)]), Table([Shards(folder)], [np.empty(0, np.int64)])
    net = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3 * (table.row_shape[0] // 16) ** 2, 2))
    train, val = (ImageInputs(part, cpu, 0, STRENGTHS["light"], True) for part in (table, nothing))
    Fit([Phase(net, [list(net.parameters())], train, val, 0, 2, 0.001)], RECIPE, cpu).run()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
