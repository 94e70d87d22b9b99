"""A body and a head as one torch network, normalisation inside; read from models/body or models/classifier."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darkroom.core import files
from darkroom.images.batches import on_device
from darkroom.model import builders, classifier, freezing, tensors
from darkroom.model.classifier import SavedClassifier


def pixels(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Map (n, S, S, 3) uint8 to (n, 3, S, S) float32 in 0..1 on `device`, channels last in memory."""
    there = on_device(images, torch.device(device)).permute(0, 3, 1, 2)
    return there / 255 if there.is_cuda else there.float().div_(255)  # a GPU does both in one pass


class Body(nn.Module):
    """A backbone without its classifier, with the mean and std that belong to its weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self._map_layer: str | None = None
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 3, S, S) floats in 0..1 to (n, D) features."""
        return self.net((images - self.mean) / self.std)

    def with_maps(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the features, and the last map (n, D, h, w), whose average over its positions they are.

        The map is None for a backbone whose features are not an average of a map.
        """
        if self._map_layer is None:
            self._map_layer = self._find_map_layer(images.shape[-1])
        if not self._map_layer:
            return self(images), None
        features, outputs = self._watched({self._map_layer}, images)
        return features, outputs[-1][1]

    def _find_map_layer(self, size: int) -> str:
        """Return the name of the layer whose output is the last map, found on noise in eval mode; "" without one."""
        noise = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(self.mean)
        modes = {module: module.training for module in self.modules()}
        with torch.no_grad():
            features, outputs = self.eval()._watched({name for name, _ in self.net.named_modules() if name}, noise)
        for module, mode in modes.items():
            module.training = mode
        near = 1e-4 * features.abs().max().item()  # relative: an untrained body's features can be tiny
        if not math.isfinite(near):  # such features equal no layer's mean
            return ""
        for name, output in reversed(outputs):
            is_map = isinstance(output, Tensor) and output.dim() == 4 and output.shape[:2] == features.shape
            if is_map and output[0, 0].numel() > 1 and torch.allclose(output.mean((2, 3)), features, rtol=0, atol=near):
                return name
        return ""

    def _watched(self, names: set[str], images: Tensor) -> tuple[Tensor, list[tuple[str, Any]]]:
        """Return the features and the outputs of the layers `names`, in the order of their calls."""
        outputs: list[tuple[str, Any]] = []

        def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
            return lambda _layer, _inputs, output: outputs.append((name, output))

        hooks = [layer.register_forward_hook(keep(name)) for name, layer in self.net.named_modules() if name in names]
        try:
            return self(images), outputs
        finally:
            for hook in hooks:
                hook.remove()

    def arrays(self) -> tensors.Tensors:
        """Return the weights and statistics as arrays, under the names that torchvision gives them."""
        return {name: value.detach().cpu().numpy() for name, value in self.net.state_dict().items()}


class Network(nn.Module):
    """Body and head; `freeze`: the part of the body that does not learn (see darkroom.model.freezing).

    `frozen_statistics`: the body's BatchNorm layers keep their statistics, also while their scale and shift learn.
    """

    def __init__(self, body: Body, head: nn.Module, freeze: str, frozen_statistics: bool = False) -> None:
        super().__init__()
        self.body, self.head = body, head
        self._norms = freezing.batch_norms(body.net) if frozen_statistics else []
        self.freeze(freeze)

    def freeze(self, freeze: str) -> None:
        """Freeze what `freeze` names, and nothing else."""
        self._still = freezing.freeze_body(self.body.net, freeze)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Network":
        """Set training mode; frozen modules stay in eval mode."""
        super().train(mode)
        for module in (*self._still, *self._norms):
            module.training = False
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, 3, S, S) floats in 0..1 to (n, K) logits, before the temperature."""
        return self.head(self.body(images))


def load_body(folder: Path) -> tuple[Body, dict[str, Any]]:
    """Return the body that embed wrote into `folder` (models/body), and the facts in its body.json."""
    facts = files.read_json(folder / "body.json")
    return _body(folder / "body.safetensors", facts), facts


def load_network(folder: Path) -> Network:
    """Return the whole network of a run's models/classifier, in eval mode and with every parameter frozen."""
    saved = SavedClassifier.load(folder)
    body = _body(folder / "body.safetensors", saved.facts)
    head = classifier.build(classifier.Head(**saved.facts["head"]), saved.head)
    return Network(body, head, freezing.EVERYTHING).eval()


def _body(path: Path, facts: dict[str, Any]) -> Body:
    net = builders.build(facts["backbone"], facts["image_size"], seed=0)
    tensors.fill(net, tensors.load(path))
    return Body(net, facts["mean"], facts["std"])
