"""Darkroom's shards, read as its training reads them; `workers` is of no use here, a thread reads ahead."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.loaders.contract import BATCH, MEAN, RESIZE, SIZE, STD, listed, main
from darkroom.images.batches import Table, order, steps
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.training.data import ImageInputs


def write(photos: Path, folder: Path, variant: str) -> None:
    """Decode as preprocess does, here in one process, and write the shards."""
    del variant
    framing = Framing(size=SIZE, resize="crop", short_side=RESIZE)
    classes = sorted(path.name for path in photos.iterdir())
    with write_shards(folder / "train", "images", classes) as writer:
        for index, (path, label) in enumerate(listed(photos)):
            writer.add(decode(path.read_bytes(), framing), label, f"{index:064x}")
        writer.close()


def loader(folder: Path, variant: str, workers: int) -> Callable[[int], Iterator[tuple[Any, Any]]]:
    """Return the batches of an epoch, normalised as the network's first step does it."""
    del variant, workers
    table = Table([Shards(folder / "train")])
    inputs = ImageInputs(table, torch.device("cpu"), 0, None, False)
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))

    def epoch(number: int) -> Iterator[tuple[Any, Any]]:
        for images, labels in inputs.training(steps(order(len(table), 0, number), BATCH), number):
            yield (images - mean) / std, labels

    return epoch


if __name__ == "__main__":
    main(write, loader, ("torch", "numpy"))
