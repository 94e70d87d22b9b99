"""A small real data set in the pipeline's own files: scikit-learn's digits with a small body, made in a second."""

import functools
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from darkroom.core import files
from darkroom.images.shard_writer import write_shards
from darkroom.model import tensors
from tests.training.recipes import RECIPE

CLASSES = [str(digit) for digit in range(10)]
SIZE = 16


@functools.cache
def images() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 16, 16, 3) uint8 and labels."""
    digits = load_digits()
    grey = np.clip(digits.images * 16, 0, 255).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
    return grey[..., None].repeat(3, axis=3), digits.target.astype(np.int64)


def write_data(folder: Path, train: int = 400, val: int = 200, test: int = 200, shard_bytes: int = 200_000) -> None:
    """Write data/shards, an untrained models/body and data/features below `folder`, as the stages before train do."""
    import torch

    from darkroom.model import builders
    from darkroom.model.network import Body, pixels

    pictures, labels = images()
    body = Body(builders.build("small_cnn", SIZE, seed=7), [0.3] * 3, [0.35] * 3).train()
    with torch.inference_mode():
        for _ in range(20):  # until BatchNorm's statistics are those of digits: features that a head can learn from
            body(pixels(pictures[:100]))
    body.eval()
    starts = {"train": 0, "val": train, "test": train + val}
    features = 0
    for split, count in (("train", train), ("val", val), ("test", test)):
        rows = range(starts[split], starts[split] + count)
        with write_shards(folder / "data/shards" / split, "images", CLASSES, shard_bytes) as writer:
            for row in rows:
                writer.add(pictures[row], int(labels[row]), f"{row:064x}")
            writer.close(
                image_size=SIZE,
                framing={"size": SIZE, "resize": "crop", "short_side": SIZE},
                flips=False,
                mean=[0.3] * 3,
                std=[0.35] * 3,
                card={},
            )
        with torch.inference_mode():
            computed = body(pixels(pictures[rows.start : rows.stop])).numpy()
        features = computed.shape[1]
        with write_shards(folder / "data/features" / split, "features", CLASSES, shard_bytes) as writer:
            for row, values in zip(rows, computed, strict=True):
                writer.add(values[None], int(labels[row]), f"{row:064x}")
            writer.close()
    facts = {
        "backbone": "small_cnn", "weights": "none", "weights_sha256": None, "frozen": True, "mean": [0.3] * 3,
        "std": [0.35] * 3, "image_size": SIZE, "features": features,
        "parameters": sum(parameter.numel() for parameter in body.parameters()),
    }  # fmt: skip
    files.write_json(folder / "models/body/body.json", facts)
    tensors.save(folder / "models/body/body.safetensors", body.arrays())


def write_params(folder: Path, **changes: object) -> None:
    """Write a params.yaml that has train's keys alone."""
    lines = [
        f"{key}: {'null' if value is None else str(value).lower() if isinstance(value, bool) else value}"
        for key, value in (RECIPE | changes).items()
    ]
    (folder / "params.yaml").write_text("\n".join(lines) + "\n")
