"""Near duplicates: how many altered copies are found, how many other pairs are taken for copies, and how fast.

    python -m benchmarks.duplicates [--photos FOLDER …] [--mnist ../shared/data/mnist] [--among 100000]
    python -m benchmarks.duplicates --groups FOLDER [--samples 4]

Every photo is altered in each way and looked for among random hashes that fill up to `--among`. Then all pairs of
unrelated photos are compared, and MNIST, where all pictures are alike, is searched. `--groups`: instead, the groups
among 2,000 pictures of a folder, by hashes alone and once doubtful pairs are laid over each other, and the copies that
are found of 100 of them.
"""

import argparse
import io
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from darkroom.images import hashes
from darkroom.sources.arrays import png
from darkroom.sources.catalog import ARRAYS
from darkroom.sources.index import fingerprints, small_picture
from darkroom.splits.alike import STORED
from darkroom.splits.duplicates import MOST, as_bits, clusters, doubtful, near_pairs, near_threshold

SUFFIXES = (".jpg", ".jpeg", ".png")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    shared = Path("../shared/data")
    parser.add_argument("--photos", type=Path, nargs="+", default=[shared / "dogs-vs-cats", shared / "hymenoptera"])
    parser.add_argument("--mnist", type=Path, default=shared / "mnist")
    parser.add_argument("--among", type=int, default=100_000)
    parser.add_argument("--groups", type=Path, help="a folder of pictures of which some are alike")
    parser.add_argument("--samples", type=int, default=4, help="of 2,000 pictures each, with --groups")
    asked = parser.parse_args()
    if asked.groups:
        groups(asked.groups, asked.samples)
        return
    paths = sorted(path for root in asked.photos for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    with ProcessPoolExecutor() as pool:
        hashed = [row for row in pool.map(hashes_of, paths, chunksize=16) if all(row[0])]
    bits = np.stack([as_bits(row) for row, _ in hashed], axis=1)  # (ways, photos, bytes)
    windows = hashes.from_text([text for _, text in hashed])
    originals = bits[0]
    print(f"{len(originals)} photos; threshold {near_threshold(originals)} of 256 bits")
    print(f"{'altered copy':24} within the threshold   found among {asked.among:,}   seconds")
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (asked.among - 2 * len(originals), bits.shape[2]), dtype=np.uint8)
    parts = random.integers(0, 256, (asked.among, *windows.shape[1:]), dtype=np.uint8)
    parts[: len(originals)] = windows
    for name, altered in zip(WAYS, bits[1:], strict=True):
        near = distances(originals, altered) <= MOST
        near |= (distances(windows, altered[:, None, : hashes.WINDOW_BITS // 8]) <= hashes.MAX_DISTANCE).any(axis=1)
        everything = np.concatenate([originals, altered, noise])
        times = [time.perf_counter()]
        alike_pairs = near_pairs(everything, MOST)
        times.append(time.perf_counter())
        cut_pairs = hashes.crop_pairs(everything, parts, hashes.MAX_DISTANCE)
        times.append(time.perf_counter())
        pairs = np.concatenate([alike_pairs, cut_pairs])
        right = pairs[(pairs[:, 1] - pairs[:, 0] == len(originals)) & (pairs[:, 0] < len(originals))]
        whole, cut = np.diff(times)
        print(f"{name:24} {near.mean():20.1%} {len(np.unique(right, axis=0)) / len(originals):25.1%} "
              f"{whole:9.1f} + {cut:.1f}")  # fmt: skip
    false_positives(originals, windows)
    alike(asked.mnist)


def hashes_of(path: Path) -> tuple[list[str], str]:
    """Return the hashes of a photo and of each altered copy, and those of the photo's windows."""
    image = Image.open(path).convert("RGB")
    whole, windows = fingerprints(path.read_bytes(), min(image.size))
    return [whole, *(fingerprints(way(image))[0] for way in WAYS.values())], windows


def saved(image: Image.Image, quality: int = 90) -> bytes:
    """Return the picture as a JPEG file."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def cropped(share: float, image: Image.Image) -> bytes:
    """Return the middle of the picture, `share` of each side."""
    width, height = image.size
    left, top = round(width * (1 - share) / 2), round(height * (1 - share) / 2)
    return saved(image.crop((left, top, width - left, height - top)))


def cut_anywhere(share: float, image: Image.Image) -> bytes:
    """`share` of each side, from a place that the picture itself decides by chance."""
    width, height = image.size
    left, top = np.random.default_rng(zlib.crc32(image.tobytes())).uniform(0, 1 - share, 2)
    return saved(image.crop((round(width * left), round(height * top), round(width * (left + share)),
                             round(height * (top + share)))))  # fmt: skip


def cut_off(part: float, image: Image.Image) -> bytes:
    """Return the picture without `part` of it at one edge, which the picture itself decides by chance."""
    box = [0.0, 0.0, 1.0, 1.0]
    edge = zlib.crc32(image.tobytes()) % 4
    box[edge] += part if edge < 2 else -part
    return saved(image.crop((round(image.width * box[0]), round(image.height * box[1]), round(image.width * box[2]),
                             round(image.height * box[3]))))  # fmt: skip


def resized(factor: float, image: Image.Image) -> bytes:
    """Return the picture with sides `factor` times as long."""
    size = max(round(image.width * factor), 1), max(round(image.height * factor), 1)
    return saved(image.resize(size, Image.Resampling.LANCZOS))


def brightened(factor: float, image: Image.Image) -> bytes:
    """Return the picture `factor` times as bright."""
    return saved(ImageEnhance.Brightness(image).enhance(factor))


WAYS: dict[str, Callable[[Image.Image], bytes]] = {
    **{f"JPEG quality {quality}": partial(saved, quality=quality) for quality in (75, 30, 10)},
    **{f"resized to {factor:.0%}": partial(resized, factor) for factor in (0.5, 0.25, 2.0)},
    **{f"brightness {factor:.0%}": partial(brightened, factor) for factor in (0.7, 1.3)},
    **{f"cropped to {share:.0%}": partial(cropped, share) for share in (0.98, 0.95, 0.9, 0.85, 0.8, 0.7)},
    **{f"{share:.0%}, anywhere": partial(cut_anywhere, share) for share in (0.95, 0.9, 0.85, 0.8)},
    **{f"{part:.0%} off an edge": partial(cut_off, part) for part in (0.05, 0.1, 0.2)},
}


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Bits that differ, row by row."""
    return np.bitwise_count(one ^ other).sum(axis=-1, dtype=np.int64)


def false_positives(originals: np.ndarray, windows: np.ndarray) -> None:
    """All pairs of different photos, and all pairs of a photo's window and another photo."""
    indices = np.triu_indices(len(originals), 1)
    apart = np.concatenate([
        distances(originals[one], originals[other])
        for one, other in zip(np.array_split(indices[0], 50), np.array_split(indices[1], 50), strict=True)
    ])  # fmt: skip
    close = int((apart <= MOST).sum())
    print(f"{len(apart):,} pairs of photos: {close} within {MOST} bits; the nearest are {np.sort(apart)[:6].tolist()}")
    begins = originals[:, : hashes.WINDOW_BITS // 8]
    strangers = ~(distances(originals[:, None], originals[None]) <= MOST)
    cut = np.concatenate([distances(windows[:, n, None], begins[None])[strangers] for n in range(windows.shape[1])])
    within = f"{(cut <= hashes.MAX_DISTANCE).sum()} within {hashes.MAX_DISTANCE} of {hashes.WINDOW_BITS} bits"
    print(f"{len(cut):,} pairs of a window and another photo: {within}; the nearest are {np.sort(cut)[:6].tolist()}")


def alike(mnist: Path) -> None:
    """MNIST's training digits, which a threshold for photos would chain together."""
    from torchvision import datasets

    known = ARRAYS["MNIST"]
    paths = {remote.name: mnist / remote.name for remote in known.remotes(datasets.MNIST)}
    if not all(path.exists() for path in paths.values()):
        print(f"{mnist} has no MNIST; skipped")
        return
    bits = as_bits([fingerprints(png(pixels))[0] for _, pixels in known.pictures(datasets.MNIST, paths)])
    threshold = near_threshold(bits)
    for limit in (threshold, MOST):
        start = time.perf_counter()
        pairs = near_pairs(bits, limit)
        print(f"MNIST, {len(bits):,} digits: {len(pairs):,} pairs within {limit} bits "
              f"({'the chosen threshold' if limit == threshold else 'what photos get'}), "
              f"{time.perf_counter() - start:.1f} s")  # fmt: skip


def groups(folder: Path, samples: int) -> None:
    """Count the groups among 2,000 pictures of a folder, and the altered copies of 100 of them that are found."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    chosen = ("JPEG quality 10", "brightness 130%", "resized to 25%", "cropped to 95%", "cropped to 90%",
              "90%, anywhere", "10% off an edge")  # fmt: skip
    for sample in range(samples):
        order = np.random.default_rng(sample).permutation(len(paths))[:2000]
        datas = [paths[index].read_bytes() for index in np.sort(order)]
        every = [len(datas) * part // 100 for part in range(100)]
        for name in (None, *chosen) if sample == 0 else (None,):
            altered = [WAYS[name](Image.open(io.BytesIO(datas[row])).convert("RGB")) for row in every] if name else []
            by_hash, checked = (found_in([*datas, *altered], check) for check in (False, True))
            if name:
                hits = [np.mean(one[len(datas) :] == one[every]) for one in (by_hash, checked)]
                print(f"{name:20} found by hashes {hits[0]:.0%}, once checked {hits[1]:.0%}", flush=True)
                continue
            counts = [int((np.bincount(one, minlength=len(datas)) > 1).sum()) for one in (by_hash, checked)]
            print(f"sample {sample}: {counts[0]} groups by hashes, {counts[1]} once checked", flush=True)


def found_in(datas: list[bytes], check: bool) -> np.ndarray:
    """Return the cluster of each picture; `check` lays doubtful pairs over each other."""
    rows = [fingerprints(data, min(Image.open(io.BytesIO(data)).size)) for data in datas]
    hashed = np.array([bool(whole) for whole, _ in rows])
    bits = as_bits([whole or "0" * 64 for whole, _ in rows])
    windows = hashes.from_text([text for _, text in rows])
    _, first = np.unique(bits, axis=0, return_index=True)
    first = first[hashed[first]]
    wanted = first[doubtful(np.ascontiguousarray(bits[first]), windows[first])] if check else []
    pictures = {bits[row].tobytes(): small_picture(datas[row], STORED) for row in wanted}
    return clusters(np.zeros(len(datas), "S1"), bits, hashed, windows, pictures)


if __name__ == "__main__":
    main()
