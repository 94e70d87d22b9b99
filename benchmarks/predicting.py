"""`darkroom predict` on a folder against onnxruntime's own batch speed on the same pictures, decoded beforehand or not.

python -m benchmarks.predicting models/export PHOTOS [--count 320]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from darkroom.app import Predictor
from darkroom.serve.predictor import BATCH, Prediction

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 5


def main() -> None:
    """Measure in turns and print medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=320)
    options = parser.parse_args()
    photos = list(islice(cycle(sorted(options.photos.rglob("*.jpg"))), options.count))
    predictor = Predictor(options.model, spin=False)  # as the command opens it
    spinning = Predictor(options.model)  # as onnxruntime's defaults open it
    names = ("onnxruntime, batch 32", "onnxruntime, batch 8", "decode, then onnxruntime", "predictor.stream")
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for batch in (32, 8):
            best = max(alone(one, options.count, batch) for one in (predictor, spinning))
            rates[f"onnxruntime, batch {batch}"].append(best)
        rates["decode, then onnxruntime"].append(in_turn(predictor, photos))
        rates["predictor.stream"].append(streamed(predictor, photos))
    stream = statistics.median(rates["predictor.stream"])
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"{name:26} {median:7.1f} images/s   predictor.stream is {stream / median:.2f} of it")
    print(f"cold start to first answer: {cold(options.model, photos[0]):.2f} s")
    for count in (100, 1000):
        print(f"peak memory for a folder of {count}: {folder_memory(options.model, photos, count):.0f} MB")


def alone(predictor: Predictor, count: int, batch: int) -> float:
    """Batches that are already in memory."""
    size = predictor.framing.size
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    started = time.perf_counter()
    for _ in range(count // batch):
        predictor.predict(images)
    return count / (time.perf_counter() - started)


def in_turn(predictor: Predictor, photos: list[Path]) -> float:
    """Return what one writes at first: decode a batch, run it, decode the next."""
    started = time.perf_counter()
    for start in range(0, len(photos), BATCH):
        predictor.predict(np.stack([predictor.pixels(path) for path in photos[start : start + BATCH]]))
    return len(photos) / (time.perf_counter() - started)


def streamed(predictor: Predictor, photos: list[Path]) -> float:
    """As `darkroom predict` does."""
    started = time.perf_counter()
    assert all(isinstance(answer, Prediction) for _, answer in predictor.stream(photos))
    return len(photos) / (time.perf_counter() - started)


def cold(model: Path, photo: Path) -> float:
    """Seconds of a whole `darkroom predict` of one picture, the best of five."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        predict(model, photo)
        times.append(time.perf_counter() - started)
    return min(times)


def folder_memory(model: Path, photos: list[Path], count: int) -> float:
    """Megabytes at most of a process that predicts a folder of `count` pictures."""
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(islice(cycle(photos), count)):
            (Path(folder) / f"{number}.jpg").symlink_to(path.resolve())
        code = "import sys; from darkroom.serve.predict import main; from darkroom.export.cost import peak_memory;"
        code += "main(sys.argv[1:]); print(peak_memory(), file=sys.stderr)"
        command = [sys.executable, "-c", code, folder, "--model", str(model)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stderr)


def predict(model: Path, photo: Path) -> None:
    """One picture by the command."""
    command = [sys.executable, "-m", "darkroom.cli", "predict", str(photo), "--model", str(model)]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=True)


if __name__ == "__main__":
    main()
