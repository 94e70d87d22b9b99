"""Classifier heads on a body's features: built in torch to be trained, computed in numpy once they are.

The tensors of a head, whichever side made them: `linear` has `0.weight` (K, D) and `0.bias` (K,); `mlp` has `0.weight`
(hidden, D) and `0.bias`, a ReLU and dropout between, and `1.weight` (K, hidden) and `1.bias`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

KINDS = ("linear", "mlp")


@dataclass(frozen=True)
class Head:
    """What a head is: `kind` linear or mlp; `hidden` units and `dropout` 0..1 are the mlp's alone."""

    kind: str
    hidden: int
    dropout: float

    def facts(self) -> dict[str, Any]:
        """As JSON, for model.json."""
        return asdict(self)


def build(head: Head, features: int, classes: int, seed: int) -> "nn.Sequential":
    """A torch head from `features` to `classes` logits; the weights are a function of `seed`."""
    from collections import OrderedDict

    import torch
    from torch import nn

    if head.kind == "linear":
        layers: OrderedDict[str, nn.Module] = OrderedDict({"0": nn.Linear(features, classes)})
    else:
        layers = OrderedDict(
            {
                "0": nn.Linear(features, head.hidden),
                "relu": nn.ReLU(),
                "dropout": nn.Dropout(head.dropout),
                "1": nn.Linear(head.hidden, classes),
            }
        )
    network = nn.Sequential(layers)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.zero_()
    return network


def tensors(network: "nn.Module") -> dict[str, np.ndarray]:
    """The tensors of a torch head as float32 arrays."""
    return {name: value.detach().float().cpu().numpy() for name, value in network.state_dict().items()}


def fill(network: "nn.Module", values: Mapping[str, np.ndarray]) -> None:
    """Load arrays of the right names and shapes into a torch head."""
    import torch

    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in values.items()})


def logits(features: np.ndarray, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """(n, D) float32 features -> (n, K) float32 logits, by the head whose tensors are `values`."""
    out = features.astype(np.float32, copy=False) @ values["0.weight"].T + values["0.bias"]
    if "1.weight" in values:
        out = np.maximum(out, 0) @ values["1.weight"].T + values["1.bias"]
    return out


def keep_known_rows(
    network: "nn.Module", classes: Sequence[str], known: Mapping[str, np.ndarray], known_classes: Sequence[str]
) -> list[str]:
    """Start the head from another run's: copy the hidden layer, and the row of each class that the other run knew.

    Returns the classes that were known; nothing is copied, and it is empty, when the other head has another shape.
    """
    mine = tensors(network)
    if set(mine) != set(known):
        return []
    last = "1" if "1.weight" in mine else "0"
    first_fits = last == "0" or mine["0.weight"].shape == known["0.weight"].shape
    if not first_fits or mine[f"{last}.weight"].shape[1] != known[f"{last}.weight"].shape[1]:
        return []
    if last == "1":
        mine |= {name: known[name] for name in ("0.weight", "0.bias")}
    place = {name: row for row, name in enumerate(known_classes)}
    kept = [name for name in classes if name in place]
    for row, name in enumerate(classes):
        if name in place:
            mine[f"{last}.weight"][row] = known[f"{last}.weight"][place[name]]
            mine[f"{last}.bias"][row] = known[f"{last}.bias"][place[name]]
    fill(network, mine)
    return kept
