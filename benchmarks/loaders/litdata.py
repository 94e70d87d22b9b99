"""LitData: chunks written by its optimize and read by its StreamingDataset, with JPEGs or with decoded arrays."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import litdata
import torch

from benchmarks.loaders.contract import BATCH, listed, main, normalised, opened, pixels


def sample(variant: str, item: tuple[str, int]) -> dict[str, Any]:
    """Return what is stored of a photo."""
    data = Path(item[0]).read_bytes()
    return {"image": data if variant == "jpeg" else pixels(opened(data)), "label": item[1]}


class Photos(litdata.StreamingDataset):
    """Samples as (uint8 (3, 224, 224), label)."""

    def __getitem__(self, index: Any) -> tuple[torch.Tensor, int]:
        """One sample."""
        found = super().__getitem__(index)
        image = found["image"]
        return (image if isinstance(image, torch.Tensor) else pixels(opened(image))), found["label"]


def write(photos: Path, folder: Path, variant: str) -> None:
    """Its optimize, with the chunks of 64 MB that its guide names."""
    items = [(str(path.absolute()), label) for path, label in listed(photos)]
    litdata.optimize(
        partial(sample, variant), items, output_dir=str(folder), chunk_bytes="64MB", num_workers=1, verbose=False
    )


def loader(folder: Path, variant: str, workers: int) -> Callable[[int], Iterator[tuple[Any, Any]]]:
    """Its StreamingDataLoader, as its guide asks for."""
    del variant
    data = Photos(str(folder), shuffle=True, seed=0)
    batches = litdata.StreamingDataLoader(
        data, batch_size=BATCH, num_workers=workers, persistent_workers=workers > 0, drop_last=False
    )
    return lambda _: ((normalised(images), labels) for images, labels in batches)


if __name__ == "__main__":
    main(write, loader, ("litdata", "torch"))
