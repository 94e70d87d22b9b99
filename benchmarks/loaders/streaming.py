"""MosaicML Streaming: MDS shards read by its StreamingDataset, with the JPEGs themselves or with decoded arrays."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from streaming import MDSWriter, StreamingDataset
from streaming.base.util import clean_stale_shared_memory
from torch.utils.data import DataLoader

from benchmarks.loaders.contract import BATCH, SIZE, listed, main, normalised, opened, pixels

COLUMNS = {
    "jpeg": {"image": "bytes", "label": "int"},
    "arrays": {"image": f"ndarray:uint8:3,{SIZE},{SIZE}", "label": "int"},
}


class Photos(StreamingDataset):
    """Samples as (uint8 (3, 224, 224), label)."""

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        """One sample."""
        sample = super().__getitem__(at)
        image = sample["image"]
        return (pixels(opened(image)) if isinstance(image, bytes) else torch.from_numpy(image.copy())), sample["label"]


def write(photos: Path, folder: Path, variant: str) -> None:
    """Its MDSWriter, with the shards of 64 MB that it makes by default, uncompressed."""
    with MDSWriter(out=str(folder), columns=COLUMNS[variant]) as writer:
        for path, label in listed(photos):
            data = path.read_bytes()
            image = data if variant == "jpeg" else pixels(opened(data)).numpy()
            writer.write({"image": image, "label": label})


def loader(folder: Path, variant: str, workers: int) -> Callable[[int], Iterator[tuple[Any, Any]]]:
    """torch's DataLoader on its dataset, which shuffles by its own plan (py1e); it is told the size of a batch."""
    del variant
    clean_stale_shared_memory()
    data = Photos(local=str(folder), shuffle=True, shuffle_seed=0, batch_size=BATCH, num_canonical_nodes=1)
    batches: DataLoader = DataLoader(data, BATCH, num_workers=workers, persistent_workers=workers > 0)
    return lambda _: ((normalised(images), labels) for images, labels in batches)


if __name__ == "__main__":
    main(write, loader, ("mosaicml-streaming", "torch"))
