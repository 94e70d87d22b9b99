"""A trained classifier, the content of models/classifier. Reading it, and answering from features, needs no torch.

- `model.json`: backbone, classes, image_size, framing, mean, std, head {kind, hidden, dropout}, features, frozen,
  freeze, temperature, parameters {total, trainable, frozen}, flips, weights, and other facts of the training.
- `head.safetensors`: the head's tensors. `linear` has `0.weight` (K, D) and `0.bias` (K,); `mlp` has `0.weight`
  (hidden, D) and `0.bias`, a ReLU and dropout between, and `1.weight` (K, hidden) and `1.bias`.
- `body.safetensors`: the body's tensors, with the facts that let another run use the file as its `weights`.
- `train.json`: how training went: parameters, best_epoch, epochs, temperature, {n, loss, accuracy} of train and val;
  of a fine-tuned one also tuned_share, 0..1.
- `references.safetensors`: features of training images, to find pictures unlike them (darkroom.model.novelty).
"""

import contextlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darkroom.core import exactmath, files
from darkroom.core.errors import DarkroomError
from darkroom.core.exactmath import softmax
from darkroom.core.randomness import generator
from darkroom.model import tensors
from darkroom.model.tensors import Tensors

if TYPE_CHECKING:
    from torch import nn

BODY_FACTS = ("backbone", "image_size", "mean", "std")
KINDS = ("linear", "mlp")
TRAINING = "train.json"


@dataclass(frozen=True)
class SavedClassifier:
    """The facts of model.json, the head's tensors, and the folder that holds them."""

    folder: Path
    facts: dict[str, Any]
    head: tensors.Tensors

    @classmethod
    def load(cls, folder: Path) -> "SavedClassifier":
        """Read models/classifier. Raises DarkroomError when there is none, WeightsError when it is damaged."""
        if not (folder / "model.json").exists():
            raise DarkroomError(f"{folder} holds no classifier (model.json is missing); run `dvc repro train`")
        return cls(folder, files.read_json(folder / "model.json"), tensors.load(folder / "head.safetensors"))

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the logits."""
        return self.facts["classes"]

    @property
    def temperature(self) -> float:
        """The divisor of the logits that calibrates the probabilities."""
        return self.facts["temperature"]

    @property
    def frozen(self) -> bool:
        """Whether the body is as embed wrote it, so that cached features and body.onnx belong to this classifier."""
        return self.facts["frozen"]

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Map (n, D) features to (n, K) float64 calibrated probabilities; rows sum to one."""
        return softmax(logits(features, self.head), self.temperature)


def save(folder: Path, facts: dict[str, Any], head: tensors.Tensors, body: tensors.Tensors) -> None:
    """Write models/classifier whole; on failure the old one stays."""
    kept = ("short_side", "interpolation", "resize")  # what belongs to the weights; levels and fill follow the data
    framing = {name: facts["framing"][name] for name in kept if facts["framing"].get(name, "crop") != "crop"}
    own = {name: facts[name] for name in BODY_FACTS} | framing
    with files.fresh_folder(folder) as temporary:
        files.write_json(temporary / "model.json", facts)
        tensors.save(temporary / "head.safetensors", head)
        tensors.save(temporary / "body.safetensors", body, own)


@dataclass(frozen=True)
class Head:
    """A head: its `kind`, linear or mlp, and the `hidden` units and `dropout` (0..1) of an mlp."""

    kind: str
    hidden: int
    dropout: float

    def facts(self) -> dict[str, Any]:
        """Return the facts as JSON, for model.json."""
        return asdict(self)


def initial(head: Head, features: int, classes: int, seed: int) -> Tensors:
    """Return the initial tensors of a head: weights uniform within 1/sqrt(inputs), biases zero.

    They depend on `seed` and the sizes alone, and are the same for numpy and torch.
    """
    widths = [features, classes] if head.kind == "linear" else [features, head.hidden, classes]
    values: Tensors = {}
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        bound = 1 / math.sqrt(inputs)  # IEEE 754 fixes it, unlike the C library's power
        drawn = generator(seed, "head", layer).uniform(-bound, bound, (outputs, inputs))
        values |= {f"{layer}.weight": drawn.astype(np.float32), f"{layer}.bias": np.zeros(outputs, np.float32)}
    return values


def build(head: Head, values: Mapping[str, np.ndarray]) -> "nn.Sequential":
    """Return the torch head that holds `values`."""
    from collections import OrderedDict

    from torch import nn

    outputs, inputs = values["0.weight"].shape
    layers: OrderedDict[str, nn.Module] = OrderedDict({"0": nn.Linear(inputs, outputs)})
    if head.kind == "mlp":
        last = nn.Linear(outputs, len(values["1.bias"]))
        layers |= {"relu": nn.ReLU(), "dropout": nn.Dropout(head.dropout), "1": last}
    network = nn.Sequential(layers)
    tensors.fill(network, values)
    return network


def arrays(network: "nn.Module") -> dict[str, np.ndarray]:
    """Return the tensors of a torch head as float32 arrays."""
    return {name: value.detach().float().cpu().numpy() for name, value in network.state_dict().items()}


def logits(features: np.ndarray, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the float32 logits (n, K) of features (n, D) by the head whose tensors are `values`.

    Products are exact, so the bits are the same on every processor. Rows whose features are not finite give NaN, as
    does a head whose weights are too large or not finite.
    """
    out = np.full((len(features), len(values["1.bias" if "1.bias" in values else "0.bias"])), np.nan)
    finite = np.isfinite(features).all(axis=1)
    with contextlib.suppress(OverflowError), np.errstate(over="ignore", invalid="ignore"):
        found = exactmath.product(features[finite], values["0.weight"].T) + values["0.bias"]
        if "1.weight" in values:
            found = exactmath.product(np.maximum(found, 0), values["1.weight"].T) + values["1.bias"]
        out[finite] = np.where(np.abs(found) <= np.finfo(np.float32).max, found, np.nan)
    return out.astype(np.float32)


def keep_known_rows(
    values: Tensors, classes: Sequence[str], known: Mapping[str, np.ndarray], known_classes: Sequence[str]
) -> list[str]:
    """Copy into the head `values` another run's hidden layer, and its row of each class that both have.

    Returns these classes; [], with nothing copied, where the other head has another shape.
    """
    if set(values) != set(known):
        return []
    last = "1" if "1.weight" in values else "0"
    first_fits = last == "0" or values["0.weight"].shape == known["0.weight"].shape
    if not first_fits or values[f"{last}.weight"].shape[1] != known[f"{last}.weight"].shape[1]:
        return []
    if last == "1":
        values |= {name: np.array(known[name]) for name in ("0.weight", "0.bias")}
    index = {name: row for row, name in enumerate(known_classes)}
    kept = [name for name in classes if name in index]
    for row, name in enumerate(classes):
        if name in index:
            values[f"{last}.weight"][row] = known[f"{last}.weight"][index[name]]
            values[f"{last}.bias"][row] = known[f"{last}.bias"][index[name]]
    return kept
