"""Build a backbone without its classifier: its output is the features that a new head learns from.

The networks defined here are for small images: built for S px, they map (n, 3, S, S) to (n, D) features.
"""

from typing import Any

import torch
from torch import Tensor, nn

from darkroom.core.errors import DarkroomError
from darkroom.model import backbones, timm_models


class SmallCNN(nn.Module):
    """Six 3x3 convolutions with BatchNorm in three blocks, then the average over the map: 128 features, any size.

    177 thousand parameters. The widths keep most of the arithmetic off the full-size map, where it costs most.
    """

    features = 128

    def __init__(self, size: int) -> None:
        super().__init__()
        del size  # the average over the map takes any size
        self.block1 = nn.Sequential(*_conv(3, 32), *_conv(32, 32))
        self.block2 = nn.Sequential(nn.MaxPool2d(2), *_conv(32, 64), *_conv(64, 64))
        self.block3 = nn.Sequential(nn.MaxPool2d(2), *_conv(64, 64), *_conv(64, self.features))

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 3, S, S) to (n, 128)."""
        return self.block3(self.block2(self.block1(images))).mean((2, 3))


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al., 1998) with ReLU and max pooling: 84 features; built for one size, usually 28 px."""

    features = 84

    def __init__(self, size: int) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
        self.block2 = nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2))
        side = (size // 2 - 4) // 2
        self.block3 = nn.Sequential(nn.Flatten(), nn.Linear(16 * side * side, 120), nn.ReLU())
        self.block4 = nn.Sequential(nn.Linear(120, self.features), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 3, S, S) to (n, 84)."""
        return self.block4(self.block3(self.block2(self.block1(images))))


class SimpleCNN(nn.Module):
    """The tutorials' network for photos: three convolution blocks, then a dense layer with dropout: 128 features."""

    features = 128

    def __init__(self, size: int) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.block2 = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.block3 = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        side = size // 8
        self.dense = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * side * side, self.features), nn.ReLU(), nn.Dropout(0.5)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 3, S, S) to (n, 128)."""
        return self.dense(self.block3(self.block2(self.block1(images))))


def _conv(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


def build(backbone: str, image_size: int, seed: int) -> nn.Module:
    """Return a network (n, 3, S, S) -> (n, D) in eval mode, its weights drawn from `seed`. Raises DarkroomError.

    The names in its state_dict are those of torchvision's (or timm's) own model, less the classifier's.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _build(backbone, image_size)
    return network.eval()


def features_of(network: nn.Module, image_size: int) -> int:
    """Return D, the number of features that `network` gives for an image of `image_size`. Raises DarkroomError."""
    parameter = next(network.parameters())
    try:
        with torch.no_grad():
            shape = network(torch.zeros(1, 3, image_size, image_size, device=parameter.device)).shape
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DarkroomError(f"image_size: this backbone cannot take {image_size} px ({reason})") from error
    if len(shape) != 2:
        raise DarkroomError(f"the backbone gives {tuple(shape)}, expected one row of features an image")
    return int(shape[1])


def _build(backbone: str, image_size: int) -> nn.Module:
    if backbone.startswith(backbones.TIMM):
        return timm_models.build(backbone.removeprefix(backbones.TIMM), image_size)
    row = backbones.BACKBONES[backbone]
    if image_size < row.minimum:
        raise DarkroomError(f"image_size: {backbone} wants at least {row.minimum} px, not {image_size}")
    if row.library == "darkroom":
        return globals()[row.builder](image_size)  # a class of this module
    return _torchvision(row.builder, image_size)


def _torchvision(backbone: str, image_size: int) -> nn.Module:
    from torchvision import models

    builder = models.get_model_builder(backbone)
    # Auxiliary classifiers help a training from scratch of 1,000 classes; their names are dropped from weight files.
    # The published Inception weights expect the images in -1..1, which `transform_input` makes of the usual ones.
    extra = {"aux_logits": False, "init_weights": True, "transform_input": True} if _is_inception(backbone) else {}
    try:
        network = builder(weights=None, **extra, **_size_argument(backbone, image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise DarkroomError(f"image_size: {backbone} cannot take {image_size} px ({error})") from error
    _fix_pooling(network)
    if backbone.startswith(("squeezenet", "densenet")):
        return MapBody(network.features)
    name, _ = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return network


class MapBody(nn.Module):
    """Convolutions, ReLU and the average over the map, for families whose `forward` does the last two itself.

    SqueezeNet's own classifier is a 1x1 convolution before the average; a linear head after it is the same sum.
    """

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 3, S, S) to (n, C)."""
        return self.relu(self.features(images)).mean((2, 3))


class FixedPool(nn.Module):
    """AdaptiveAvgPool2d to `side` x `side` as two products with constant matrices.

    The operator itself has no ONNX form unless the sizes divide, and no deterministic gradient on a GPU.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, C, h, w) to (n, C, side, side)."""
        if tuple(maps.shape[2:]) == (self.side, self.side):
            return maps
        rows, columns = (self._averaging(int(size)).to(maps) for size in maps.shape[2:])
        return rows @ maps @ columns.T

    def _averaging(self, size: int) -> Tensor:
        indices = torch.arange(self.side)
        starts, ends = indices * size // self.side, -(-(indices + 1) * size // self.side)
        inside = (torch.arange(size) >= starts[:, None]) & (torch.arange(size) < ends[:, None])
        return inside / (ends - starts)[:, None]


def _fix_pooling(network: nn.Module) -> None:
    for name, layer in list(network.named_modules()):
        size = layer.output_size if isinstance(layer, nn.AdaptiveAvgPool2d) else 1
        if isinstance(size, tuple) and size[0] is not None and size[0] > 1:
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, FixedPool(size[0]))


def _is_inception(backbone: str) -> bool:
    return backbone in ("googlenet", "inception_v3")


def _size_argument(backbone: str, image_size: int) -> dict[str, Any]:
    if backbone.startswith("vit_"):
        return {"image_size": image_size}
    return {"input_size": (image_size, image_size)} if backbone.startswith("maxvit") else {}
