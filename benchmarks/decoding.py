"""Decoding speed: preprocess against torchvision's reference transform (full decode, Resize, CenterCrop), a core each.

    python -m benchmarks.decoding [--photos ../shared/data/dogs-vs-cats] [--rounds 3]

Prints images a second side by side for 12-megapixel JPEGs (made from the photos) and for the photos as they are, then
the whole stage on either with 1 worker to one a core, and whether the bytes are the same.
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

from PIL import Image

from darkroom.core import files
from darkroom.core.runtime import from_environment
from darkroom.images.assemble import write_splits
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.images.preprocess import Row, decoded
from darkroom.sources.trees import Locations, open_tree

FRAMING = Framing(224, "crop", 256)
LARGE = (4000, 3000)
LARGE_PHOTOS = 48


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/dogs-vs-cats"))
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    names = open_tree(asked.photos).files
    small = [(asked.photos / name).read_bytes() for name in names if name.lower().endswith((".jpg", ".jpeg"))]
    for title, data in (("12 megapixels", [enlarged(one) for one in small[:12]]), ("as they are", small[:300])):
        ours, theirs = compared(data, asked.rounds)
        size = statistics.median(Image.open(io.BytesIO(one)).width * Image.open(io.BytesIO(one)).height for one in data)
        print(f"{title} ({size / 1e6:.2f} megapixels): {ours:.0f} images/s, torchvision {theirs:.0f}, "
              f"ratio {ours / theirs:.1f}")  # fmt: skip
    scaling("photos", asked.photos, names)
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(small[:LARGE_PHOTOS]):
            (Path(folder) / f"{number:03d}.jpg").write_bytes(enlarged(data))
        scaling("photos of 12 megapixels", Path(folder), open_tree(Path(folder)).files)


def enlarged(data: bytes) -> bytes:
    """Return the photo as a camera of 12 megapixels would save it."""
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize(LARGE, Image.Resampling.BICUBIC).save(out, "JPEG", quality=92)
    return out.getvalue()


def reference() -> Callable[[bytes], object]:
    """Return what torchvision's reference training script does for evaluation.

    torch is imported here: workers import this module, as those of the stage import the stage's, which does without.
    """
    import torch
    from torchvision import transforms

    torch.set_num_threads(1)
    steps = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()])
    return lambda data: steps(Image.open(io.BytesIO(data)).convert("RGB"))


def compared(data: list[bytes], rounds: int) -> tuple[float, float]:
    """Images a second of ours and of the reference: medians over rounds in which they take turns."""
    speeds: dict[str, list[float]] = {"ours": [], "theirs": []}
    functions: dict[str, Callable[[bytes], object]] = {"ours": lambda one: decode(one, FRAMING), "theirs": reference()}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            for one in data:
                function(one)
            speeds[name].append(len(data) / (time.perf_counter() - start))
    return statistics.median(speeds["ours"]), statistics.median(speeds["theirs"])


def scaling(title: str, photos: Path, names: list[str]) -> None:
    """Time the stage's own loop over all photos with 1 worker, 2, and so on to one a core."""
    rows = [
        {"id": f"{i:064d}", "label": "cat" if i % 2 else "dog", "location": name, "width": "0", "height": "0",
         "sha256": files.sha256(photos / name)}
        for i, name in enumerate(names)
    ]  # fmt: skip
    parts: dict[str, list[Row]] = {"train": list(rows), "val": [], "test": []}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    digests, slowest = set(), 0.0
    for workers in range(1, cores + 1):
        with tempfile.TemporaryDirectory() as folder:
            shards, runtime = Path(folder) / "shards", replace(from_environment(), workers=workers)
            times, own = [time.perf_counter()], [os.times()]
            with decoded(parts, Locations(photos, Path(folder), None), FRAMING, runtime, shards) as (prepared, scratch):
                times.append(time.perf_counter())
                own.append(os.times())
                write_splits(prepared, scratch, FRAMING, shards, {}, workers)
            times.append(time.perf_counter())
            own.append(os.times())
            digests.add("".join(files.sha256(path) for path in sorted(shards.rglob("*")) if path.is_file()))
        speed = len(rows) / (times[2] - times[0])
        slowest = slowest or speed
        in_one = sum(after - before for before, after in zip(own[0][:2], own[2][:2], strict=True))
        print(f"the stage, {len(rows)} {title}, {workers} workers: {speed:.0f} images/s, ratio {speed / slowest:.2f}; "
              f"decoding {times[1] - times[0]:.2f} s, shards {times[2] - times[1]:.2f} s; the stage's own process "
              f"computes for {in_one:.2f} s, which no worker shares")  # fmt: skip
    print(f"bytes {'equal' if len(digests) == 1 else 'DIFFER'} whatever the number of workers")


if __name__ == "__main__":
    main()
