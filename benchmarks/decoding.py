"""Decoding speed: preprocess against torchvision's reference transform (full decode, Resize, CenterCrop), a core each.

    python -m benchmarks.decoding [--photos ../shared/data/dogs-vs-cats] [--rounds 3]

Prints images a second side by side for 12-megapixel JPEGs (made from the photos) and for the photos as they are, then
the whole stage with one worker and with as many as there are cores, and whether their bytes are the same.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms

from darkroom import files
from darkroom.data.decode import Framing, decode
from darkroom.data.layouts import Sample
from darkroom.data.places import Places
from darkroom.data.preparing import Row, decoded, write_splits
from darkroom.data.trees import open_tree
from darkroom.runtime import from_environment

FRAMING = Framing(224, "crop", 256)
REFERENCE = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()])
LARGE = (4000, 3000)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/dogs-vs-cats"))
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    names = open_tree(asked.photos).files
    small = [(asked.photos / name).read_bytes() for name in names if name.lower().endswith((".jpg", ".jpeg"))]
    for title, data in (("12 megapixels", [enlarged(one) for one in small[:12]]), ("as they are", small[:300])):
        ours, theirs = compared(data, asked.rounds)
        size = statistics.median(Image.open(io.BytesIO(one)).width * Image.open(io.BytesIO(one)).height for one in data)
        print(f"{title} ({size / 1e6:.2f} megapixels): {ours:.0f} images/s, torchvision {theirs:.0f}, "
              f"ratio {ours / theirs:.1f}")  # fmt: skip
    scaling(asked.photos, names)


def enlarged(data: bytes) -> bytes:
    """The photo as a camera of 12 megapixels would save it."""
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize(LARGE, Image.Resampling.BICUBIC).save(out, "JPEG", quality=92)
    return out.getvalue()


def reference(data: bytes) -> torch.Tensor:
    """What torchvision's reference training script does for evaluation."""
    return REFERENCE(Image.open(io.BytesIO(data)).convert("RGB"))


def compared(data: list[bytes], rounds: int) -> tuple[float, float]:
    """Images a second of ours and of the reference: medians over rounds in which they take turns."""
    speeds: dict[str, list[float]] = {"ours": [], "theirs": []}
    functions: dict[str, Callable[[bytes], object]] = {"ours": lambda one: decode(one, FRAMING), "theirs": reference}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            for one in data:
                function(one)
            speeds[name].append(len(data) / (time.perf_counter() - start))
    return statistics.median(speeds["ours"]), statistics.median(speeds["theirs"])


def scaling(photos: Path, names: list[str]) -> None:
    """The stage's own loop over all photos with 1 worker and with one a core."""
    samples = [Sample(name, "cat" if i % 2 else "dog") for i, name in enumerate(names)]
    rows = [
        {"id": f"{i:064d}", "label": sample.label, "location": sample.location, "width": "0", "height": "0",
         "sha256": files.sha256(photos / sample.location)}
        for i, sample in enumerate(samples)
    ]  # fmt: skip
    parts: dict[str, list[Row]] = {"train": list(rows), "val": [], "test": []}
    results = {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for workers in (1, cores):
        with tempfile.TemporaryDirectory() as folder:
            shards = Path(folder) / "shards"
            start = time.perf_counter()
            places = Places(photos, Path(folder), None)
            runtime = replace(from_environment(), workers=workers)
            with decoded(parts, places, FRAMING, runtime, shards) as (
                prepared,
                scratch,
            ):
                write_splits(prepared, scratch, FRAMING, shards, {})
            took = time.perf_counter() - start
            digest = "".join(files.sha256(path) for path in sorted(shards.rglob("*")) if path.is_file())
            results[workers] = (len(rows) / took, digest)
    (one, first), (many, second) = results[1], results[cores]
    print(f"the whole stage, {len(rows)} photos: 1 worker {one:.0f} images/s, {cores} workers {many:.0f}, "
          f"ratio {many / one:.2f}, bytes {'equal' if first == second else 'DIFFER'}")  # fmt: skip


if __name__ == "__main__":
    main()
