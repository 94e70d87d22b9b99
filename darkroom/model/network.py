"""A body and a head as one torch network, normalisation inside; loaded from what embed and train wrote."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darkroom import files
from darkroom.model import backbones, freezing, heads, tensors
from darkroom.model.classifier import SavedClassifier


def pixels(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """(n, S, S, 3) uint8 -> (n, 3, S, S) float32 in 0..1 on `device`, channels last in memory."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255


class Body(nn.Module):
    """A backbone without its classifier, with the mean and std that belong to its weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, S, S) floats in 0..1 -> (n, D) features."""
        return self.net((images - self.mean) / self.std)

    def with_maps(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """As forward, and the last map (n, D, h, w), whose average over its places is the features.

        None for a backbone whose features are no average of a map: a head's weights say nothing about places there.
        """
        outputs: list[Tensor] = []
        hooks = [
            module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
            for module in self.net.modules()
        ]
        try:
            features = self(images)
        finally:
            for hook in hooks:
                hook.remove()
        for output in reversed(outputs):
            if not isinstance(output, Tensor) or output.dim() != 4 or output.shape[:2] != features.shape:
                continue
            if torch.allclose(output.mean((2, 3)), features, rtol=1e-3, atol=1e-5) and output.shape[2:].numel() > 1:
                return features, output
        return features, None

    def arrays(self) -> tensors.Tensors:
        """The weights and statistics as arrays, under the names that torchvision gives them."""
        return {name: value.detach().cpu().numpy() for name, value in self.net.state_dict().items()}


class Network(nn.Module):
    """Body and head; `freeze` says what of the body stays as it is (see darkroom.model.freezing)."""

    def __init__(self, body: Body, head: nn.Module, freeze: str) -> None:
        super().__init__()
        self.body, self.head = body, head
        self.freeze(freeze)

    def freeze(self, freeze: str) -> None:
        """Freeze what `freeze` names, and nothing else, from now on."""
        self._still = freezing.freeze_body(self.body.net, freeze)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Network":
        """Training mode for what learns; what is frozen stays in eval mode."""
        super().train(mode)
        for module in self._still:
            module.training = False
        return self

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, S, S) floats in 0..1 -> (n, K) logits, before the temperature."""
        return self.head(self.body(images))

    def counts(self) -> dict[str, int]:
        """The numbers of parameters: total, trainable and frozen."""
        total = sum(parameter.numel() for parameter in self.parameters())
        trainable = sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
        return {"total": total, "trainable": trainable, "frozen": total - trainable}


def load_body(folder: Path) -> tuple[Body, dict[str, Any]]:
    """The body that embed wrote into `folder` (models/body), and the facts in its body.json."""
    facts = files.read_json(folder / "body.json")
    return _body(folder / "body.safetensors", facts), facts


def load_network(folder: Path) -> Network:
    """The whole network of a run's models/classifier, in eval mode and with every parameter frozen."""
    saved = SavedClassifier.load(folder)
    body = _body(folder / "body.safetensors", saved.facts)
    head = heads.build(heads.Head(**saved.facts["head"]), saved.facts["features"], len(saved.classes), seed=0)
    heads.fill(head, saved.head)
    return Network(body, head, freezing.EVERYTHING).eval()


def _body(path: Path, facts: dict[str, Any]) -> Body:
    net = backbones.build(facts["backbone"], facts["image_size"], seed=0)
    backbones.fill(net, tensors.load(path))
    return Body(net, facts["mean"], facts["std"])
