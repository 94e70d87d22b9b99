"""torchvision's ImageFolder read by torch's DataLoader: JPEGs as they lie, decoded anew in every epoch."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from benchmarks.loaders.contract import BATCH, main, normalised, pixels


def write(photos: Path, folder: Path, variant: str) -> None:
    """Nothing: it reads the files where they are."""
    del variant
    (folder / "photos").symlink_to(photos.absolute())


def loader(folder: Path, variant: str, workers: int) -> Callable[[int], Iterator[tuple[Any, Any]]]:
    """Workers last from epoch to epoch and hand over uint8, a quarter of the bytes; batches are normalised whole."""
    del variant
    data = ImageFolder(str(folder / "photos"), transform=pixels)
    batches = DataLoader(data, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    return lambda _: ((normalised(images), labels) for images, labels in batches)


if __name__ == "__main__":
    main(write, loader, ("torch", "torchvision"))
