"""WebDataset: tar files read in order, shuffled in a buffer, with the JPEGs themselves or with decoded arrays."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import webdataset as wds

from benchmarks.loaders.contract import BATCH, listed, main, normalised, opened, pixels

A_SHARD, BUFFER = 250, 1000  # samples; several shards, so that each worker has some; its guide's size of buffer


def write(photos: Path, folder: Path, variant: str) -> None:
    """Its ShardWriter: one sample is a .jpg or .npy and a .cls."""
    with wds.ShardWriter(f"{folder}/%04d.tar", maxcount=A_SHARD, verbose=0) as writer:
        for index, (path, label) in enumerate(listed(photos)):
            data = path.read_bytes()
            image = {"jpg": data} if variant == "jpeg" else {"npy": pixels(opened(data)).numpy()}
            writer.write({"__key__": f"{index:06d}", "cls": label} | image)


def loader(folder: Path, variant: str, workers: int) -> Callable[[int], Iterator[tuple[Any, Any]]]:
    """Its pipeline, which makes the batches in the workers, and its WebLoader."""
    urls = sorted(str(path) for path in folder.glob("*.tar"))
    data = wds.WebDataset(urls, shardshuffle=len(urls), seed=0, empty_check=False).shuffle(BUFFER)
    if variant == "jpeg":
        data = data.decode("pil").to_tuple("jpg", "cls").map_tuple(pixels, int)
    else:
        data = data.decode().to_tuple("npy", "cls").map_tuple(torch.from_numpy, int)
    batches = wds.WebLoader(
        data.batched(BATCH, partial=True), batch_size=None, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda _: ((normalised(torch.as_tensor(images)), torch.as_tensor(labels)) for images, labels in batches)


if __name__ == "__main__":
    main(write, loader, ("webdataset", "torch"))
