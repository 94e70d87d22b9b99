"""A trained classifier as it lies in models/classifier. Reading it, and answering from features, needs no torch.

- `model.json`: backbone, classes, image_size, framing, mean, std, head {kind, hidden, dropout}, features, frozen,
  freeze, temperature, parameters {total, trainable, frozen}, flips, weights, and what else train notes.
- `head.safetensors`: the head's tensors (darkroom.model.heads).
- `body.safetensors`: the body's tensors, with the facts that make the file good as another run's `weights`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.exactmath import softmax
from darkroom.model import heads, tensors

BODY_FACTS = ("backbone", "image_size", "mean", "std")


@dataclass(frozen=True)
class SavedClassifier:
    """The facts of model.json, the head's tensors, and the folder they came from."""

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
        """What the logits are divided by, so that probabilities are calibrated."""
        return self.facts["temperature"]

    @property
    def frozen(self) -> bool:
        """Whether the body is as embed wrote it, so that features and body.onnx are the classifier's own."""
        return self.facts["frozen"]

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """(n, D) features -> (n, K) float64 calibrated probabilities; rows sum to one."""
        return softmax(heads.logits(features, self.head), self.temperature)


def save(folder: Path, facts: dict[str, Any], head: tensors.Tensors, body: tensors.Tensors) -> None:
    """Write models/classifier whole, or leave what is there as it is."""
    kept = ("short_side", "interpolation", "resize")  # what belongs to the weights; levels and fill follow the data
    framing = {name: facts["framing"][name] for name in kept if facts["framing"].get(name, "crop") != "crop"}
    own = {name: facts[name] for name in BODY_FACTS} | framing
    with files.fresh_folder(folder) as temporary:
        files.write_json(temporary / "model.json", facts)
        tensors.save(temporary / "head.safetensors", head)
        tensors.save(temporary / "body.safetensors", body, own)
