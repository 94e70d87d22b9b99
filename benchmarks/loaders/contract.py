"""What every loader shares: its command line, its clock and its result. Imports nothing of Darkroom's.

A loader is a module with `write(photos, folder, variant)`, which puts the photos into its format, and
`loader(folder, variant, workers)`, which gives a function from an epoch to its batches in random order: float32
(b, 3, 224, 224), normalised by ImageNet's mean and std, and int64 (b,). Started as

    python -m benchmarks.loaders.NAME --photos FOLDER --work FOLDER --variant jpeg --result FILE

it writes, then runs a first epoch, which warms up and is not counted, and EPOCHS more, for each number of workers.
"""

import argparse
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

SIZE, RESIZE, BATCH, EPOCHS = 224, 256, 32, 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WORKERS = (0, 1, 2)  # all that two cores may want; the best one counts

Loader = Callable[[Path, str, int], Callable[[int], Iterable[tuple[Any, Any]]]]


def main(write: Callable[[Path, Path, str], None], loader: Loader, packages: tuple[str, ...]) -> None:
    """Write once, load with each number of workers, and note the best."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--variant", default="")
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--workers", type=int, nargs="+", default=[count for count in WORKERS if count <= _cores()])
    asked = parser.parse_args()
    shutil.rmtree(asked.work, ignore_errors=True)
    asked.work.mkdir(parents=True)
    started = time.perf_counter()
    write(asked.photos, asked.work, asked.variant)
    writing = time.perf_counter() - started
    count = sum(path.is_file() for path in asked.photos.rglob("*"))
    speeds: dict[str, float] = {}
    for workers in asked.workers:
        epoch_of = loader(asked.work, asked.variant, workers)
        run_epoch(epoch_of(0), count)
        started = time.perf_counter()
        for epoch in range(1, EPOCHS + 1):
            run_epoch(epoch_of(epoch), count)
        speeds[str(workers)] = count * EPOCHS / (time.perf_counter() - started)
    best = max(speeds, key=lambda workers: speeds[workers])
    facts = {
        "images_per_second": speeds[best],
        "workers": int(best),
        "by_workers": speeds,
        "writing": writing,
        "bytes": sum(path.stat().st_size for path in asked.work.rglob("*") if path.is_file()),
        "versions": {name: metadata.version(name) for name in packages},
    }
    asked.result.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")


def run_epoch(batches: Iterable[tuple[Any, Any]], count: int) -> None:
    """Go through an epoch; raises SystemExit unless it has `count` images of the shape and kind that training takes."""
    import torch

    seen = 0
    for images, labels in batches:
        if images.dtype != torch.float32 or images.shape[1:] != (3, SIZE, SIZE) or len(images) != len(labels):
            raise SystemExit(
                f"a batch of {images.dtype} {tuple(images.shape)}, expected float32 (b, 3, {SIZE}, {SIZE})"
            )
        seen += len(labels)
    if seen != count:
        raise SystemExit(f"an epoch of {seen} images, expected {count}")


def listed(photos: Path) -> list[tuple[Path, int]]:
    """Every photo and its label."""
    classes = sorted(path.name for path in photos.iterdir())
    return [(path, classes.index(path.parent.name)) for path in sorted(photos.rglob("*")) if path.is_file()]


def pixels(image: Any) -> Any:
    """Return a PIL image as uint8 (3, 224, 224): short side to 256, the middle of it; torchvision's evaluation
    preset."""
    from torchvision.transforms import v2

    tensor = v2.functional.pil_to_tensor(image.convert("RGB"))
    return v2.functional.center_crop(v2.functional.resize(tensor, [RESIZE], antialias=True), [SIZE])


def opened(data: bytes) -> Any:
    """JPEG bytes as a PIL image."""
    from PIL import Image

    return Image.open(io.BytesIO(data))


def normalised(batch: Any) -> Any:
    """Return a batch of uint8 (b, 3, 224, 224) as float32, normalised: once for the batch, cheaper than for each
    image."""
    import torch

    mean, std = (torch.tensor(values).mul(255).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    return batch.float().sub_(mean).div_(std)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
