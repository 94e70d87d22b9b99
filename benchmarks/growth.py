"""How seconds and memory grow with the number of images and of classes: `python -m benchmarks.growth [--million]`.

Each stage runs in a process of its own, on synthetic images of 8 pixels, so that what is measured is the bookkeeping
around an image and not its decoding. Seconds are of processor time, which other work on the machine does not stretch.
Memory is the anonymous resident memory at its peak, above that of the imports: files' pages are the system's.

`--count` has valgrind count instructions at the two largest sizes: what is done, whatever the processor's caches make
of it. It takes about forty times as long.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.growth_figures import draw, table
from darkroom.core import files
from darkroom.images.batches import Table, balanced_order, order, steps, views
from darkroom.images.shard_writer import SHARD_BYTES, write_shards
from darkroom.images.shards import ID_WIDTH, Shards
from darkroom.metrics.predictions import Predictions, read_predictions, write_predictions
from darkroom.metrics.summary import summarise
from darkroom.splits.columns import read_columns
from darkroom.splits.divide import SPLIT_COLUMNS, SplitOptions, divide

SIZES, MILLION = (1_000, 10_000, 100_000), 1_000_000
CLASSES = (2, 10, 100, 1_000)
MANY, FEW = 100_000, 10  # images of the sweep over classes, classes of the sweep over images
SIDE, TEST_SHARE, EPOCHS, BATCH = 8, 0.15, 5, 256
FIGURE = Path("benchmarks/growth.png")


def split(folder: Path, count: int, classes: int) -> Callable[[], object]:
    """Read data/index.csv, look for duplicates, divide, write data/split.csv."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 256, (count, 32), np.uint8)
    copies = random.integers(0, count, count // 100)
    hashes[: len(copies)] = hashes[copies]  # one in a hundred is a copy
    columns = ("id", "label", "split", "group", "location", "bytes", "sha256", "phash", "windows", "width", "height")
    rows = (
        (f"{i:064x}", f"class {i % classes}", "", "", f"{i % classes}/{i}.jpg", 9, f"{i:064x}", bytes(h).hex(), "",
         SIDE, SIDE)
        for i, h in enumerate(hashes)
    )  # fmt: skip
    if not (folder / "index.csv").exists():
        files.write_csv(folder / "index.csv", columns, rows)
    options = SplitOptions(0, 0.15, 0.15, 5, None, [], "group")
    return lambda: files.write_csv(
        folder / "split.csv", SPLIT_COLUMNS, divide(read_columns(folder / "index.csv"), options).rows()
    )


def shards(folder: Path, count: int, classes: int, shard_bytes: int = SHARD_BYTES) -> Callable[[], object]:
    """Write the rows into shards, a row at a time, as preprocess does."""
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)

    def run() -> None:
        names = [str(name) for name in range(classes)]
        with write_shards(folder / "train", "images", names, shard_bytes) as writer:
            for row in range(count):
                writer.add(picture, row % classes, f"{row:064x}")
            writer.close()

    return run


def training(folder: Path, count: int, classes: int) -> Callable[[], object]:
    """Five epochs' order, plain and balanced, their steps, and every batch read from the shards."""
    if not (folder / "train").exists():
        # Two shards at every size: that several cost 40 ns a row more than one is a step, and no growth.
        shards(folder, count, classes, (count + 1) // 2 * (SIDE * SIDE * 3 + ID_WIDTH + 8))()

    def run() -> None:
        table = Table([Shards(folder / "train")])
        for epoch in range(EPOCHS):
            balanced_order(table.labels, 0, epoch)
            for samples in steps(order(len(table), 0, epoch), BATCH):
                views(samples, 4, len(table), epoch)
                table.rows(samples)

    return run


def _answers(count: int, classes: int) -> Predictions:
    random = np.random.default_rng(0)
    n = max(classes, int(count * TEST_SHARE))
    labels = np.arange(n) % classes
    probabilities = random.random((n, classes), np.float32).astype(np.float64)
    probabilities[np.arange(n), labels] += classes / 4
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    names = [f"class {name}" for name in range(classes)]
    return Predictions.of([f"{i:064x}" for i in range(n)], names, labels, probabilities)


def evaluation(folder: Path, count: int, classes: int) -> Callable[[], object]:
    """Every score with its interval, of 15 % of the images."""
    del folder
    answers = _answers(count, classes)
    return lambda: summarise(answers, 0)


def predictions(folder: Path, count: int, classes: int) -> Callable[[], object]:
    """plots/predictions.csv of 15 % of the images, written and read."""
    answers = _answers(count, classes)

    def run() -> None:
        write_predictions(folder / "predictions.csv", answers)
        with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
            read_predictions(file, "predictions.csv")

    return run


def hashing(folder: Path, count: int, classes: int) -> Callable[[], object]:
    """DVC's own hashing and caching of the shards."""
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=folder, check=True)
    shards(folder, count, classes)()

    def run() -> None:
        from dvc.cli import main

        os.chdir(folder)
        if main(["add", "-q", str(folder / "train")]):
            raise RuntimeError("dvc add failed")

    return run


STAGES = {
    "split": split,
    "shards": shards,
    "training order": training,
    "evaluation": evaluation,
    "predictions.csv": predictions,
    "DVC's hashing": hashing,
}


class PeakMemory:
    """The peak of this process's anonymous memory in MB, above what it was, while the block runs."""

    def __enter__(self) -> "PeakMemory":
        self._start, self._stop = _anonymous(), threading.Event()
        self.megabytes = 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.megabytes = max(self.megabytes, _anonymous() - self._start)


def _anonymous() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")


def instructions(stage: str, count: int, classes: int) -> float:
    """How many instructions a stage takes: of a process that prepares and runs it, less of one that prepares it."""
    with tempfile.TemporaryDirectory() as folder:
        asked = [stage, str(count), str(classes), folder]
        command = [sys.executable, "-m", "benchmarks.growth"]
        subprocess.run([*command, "--prepare", *asked], check=True)
        found = []
        for what in ("--run", "--prepare"):
            done = subprocess.run([*VALGRIND, *command, what, *asked], check=True, capture_output=True, text=True)
            said = next(line for line in done.stderr.splitlines() if "refs:" in line)
            found.append(int(said.rpartition(":")[2].replace(",", "")))
    return float(found[0] - found[1])


def measure_here(stage: str, count: int, classes: int) -> dict[str, float]:
    """Seconds and peak MB of one stage, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        run = STAGES[stage](Path(folder), count, classes)
        with PeakMemory() as peak:
            started = time.process_time()
            run()
            seconds = time.process_time() - started
    return {"seconds": seconds, "megabytes": peak.megabytes}


def measure(stage: str, count: int, classes: int) -> dict[str, float]:
    """Return the same, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.growth", "--one", stage, str(count), str(classes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print the tables, draw the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--million", action="store_true", help="also with 1,000,000 images")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), help="measure these alone")
    parser.add_argument("--count", action="store_true", help="count instructions too, with valgrind")
    for what in ("--prepare", "--run"):
        parser.add_argument(what, nargs=4, metavar=("STAGE", "IMAGES", "CLASSES", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=3, metavar=("STAGE", "IMAGES", "CLASSES"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure_here(asked.one[0], int(asked.one[1]), int(asked.one[2]))))
        return
    if chosen := asked.prepare or asked.run:
        run = STAGES[chosen[0]](Path(chosen[3]), int(chosen[1]), int(chosen[2]))
        if asked.run:
            run()
        return
    counts = (*SIZES, MILLION) if asked.million else SIZES
    results: dict[str, Any] = {stage: {count: measure(stage, count, FEW) for count in counts} for stage in asked.stages}
    if asked.count:
        for stage in (stage for stage in asked.stages if stage != "DVC's hashing"):  # its code is not ours
            for count in counts[-2:]:
                results[stage][count]["instructions"] = instructions(stage, count, FEW)
    print("\n".join(table(f"images, {FEW} classes", results)), flush=True)
    over_classes: dict[str, Any] = {
        stage: {count: measure(stage, MANY, count) for count in CLASSES} for stage in asked.stages
    }
    print("\n" + "\n".join(table(f"classes, {MANY:,} images", over_classes)))
    if asked.stages == list(STAGES):
        draw(FIGURE, (results, f"images ({FEW} classes)"), (over_classes, f"classes ({MANY:,} images)"))


if __name__ == "__main__":
    main()
