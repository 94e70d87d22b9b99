"""A small real data set as shards: scikit-learn's digits, or crops of its two photos."""

from pathlib import Path

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from darkroom.images.shard_writer import write_shards
from darkroom.model import builders, classifier
from darkroom.model.backbones import IMAGENET_MEAN, IMAGENET_STD
from darkroom.model.network import Body, Network


def digit_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` scans of digits drawn at 28 px: (n, 28, 28, 3) uint8, and labels (n,)."""
    from PIL import Image
    from sklearn.datasets import load_digits

    scans = load_digits()
    images = [
        np.asarray(Image.fromarray((scan * 255 / 16).astype(np.uint8)).resize((28, 28), Image.Resampling.BICUBIC))
        for scan in scans.images[:count]
    ]
    return np.repeat(np.stack(images)[..., None], 3, axis=3), scans.target[:count]


def photo_images(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` crops of a photo of a flower and of one of a temple: (n, size, size, 3) uint8, and labels (n,)."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    crops = []
    for place in range(count):
        left, top = 37 * place % 300, 23 * place % 120
        crop = Image.fromarray(photos[place % 2]).crop((left, top, left + 300, top + 300))
        crops.append(np.asarray(crop.resize((size, size))))
    return np.stack(crops), np.arange(count) % 2


def network(backbone: str, size: int) -> Network:
    """Body and head of two classes with the weights of a seed, as train makes them."""
    body = Body(builders.build(backbone, size, seed=0), IMAGENET_MEAN, IMAGENET_STD)
    linear = classifier.Head("linear", 1, 0)
    head = classifier.build(linear, classifier.initial(linear, builders.features_of(body.net, size), 2, seed=0))
    return Network(body, head, "none")


def write_splits(folder: Path, images: np.ndarray, labels: np.ndarray, classes: list[str]) -> None:
    """Shards of images in `folder`/{train,val,test}: the halves, the third quarter and the last."""
    half, last = len(images) // 2, len(images) * 3 // 4
    pixels = images[:half] / 255
    facts = {
        "image_size": images.shape[1],
        "framing": {"size": images.shape[1], "resize": "crop", "short_side": images.shape[1]},
        "flips": False,
        "mean": pixels.mean((0, 1, 2)).tolist(),
        "std": pixels.std((0, 1, 2)).tolist(),
    }
    for split, places in (("train", range(half)), ("val", range(half, last)), ("test", range(last, len(images)))):
        with write_shards(folder / split, "images", classes) as writer:
            for place in places:
                writer.add(images[place], int(labels[place]), f"{place:064x}")
            writer.close(**facts)


def empty_backbone(name: str, size: int) -> torch.nn.Module:
    """Return a backbone with names and shapes but no memory (on torch's meta device): even the largest is there at
    once."""
    # RegNet computes its widths with tensors, which need their values; its parameters alone may be empty.
    with _EmptyOnMeta() if name.startswith("regnet") else torch.device("meta"):
        return builders.build(name, size, seed=0)


class _EmptyOnMeta(TorchFunctionMode):
    def __torch_function__(self, function, _types, arguments=(), keywords=None):
        if function in (torch.empty, torch.zeros, torch.ones):
            keywords = {**(keywords or {}), "device": "meta"}
        return function(*arguments, **(keywords or {}))
