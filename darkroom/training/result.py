"""Hold the result of a training: its arrays and numbers, and the facts and metrics to save with them."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from darkroom.core import files
from darkroom.model.tensors import Tensors
from darkroom.training.data import Data
from darkroom.training.history import Row
from darkroom.training.recipe import Recipe

DIGITS = 6  # of the numbers in train.json; further ones depend on the processor


@dataclass
class Trained:
    """The weights of the best epoch, and how they were found.

    `head`: tensors by name; `body`: likewise, {} where it stayed as embed wrote it. `trainable`: the number of trained
    parameters. `logits`: float32 (n, K) of the validation samples at `best_epoch` (from 0). `kept`: a row of the
    history for these weights, where they are not those of an epoch. `ran`: for metrics/run.json. `checkpoint`: the key
    of the checkpoint to discard when all is saved, "" without one. `train` adds `temperature`, `facts` (model.json) and
    `metrics` (train.json).
    """

    head: Tensors
    body: Tensors
    trainable: int
    logits: np.ndarray
    best_epoch: int
    history: list[Row]
    ran: dict[str, Any] = field(default_factory=dict)
    checkpoint: str = ""
    kept: Row | None = None
    temperature: float = 1.0
    facts: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def describe(self, data: Data, recipe: Recipe, body_facts: dict[str, Any]) -> None:
        """Set `facts` and `metrics`. `body_facts`: body.json of the body that the training began with."""
        total = body_facts["parameters"] + sum(value.size for value in self.head.values())
        counts = {"total": total, "trainable": self.trainable, "frozen": total - self.trainable}
        kept = ("backbone", "mean", "std", "image_size", "features")
        self.facts = {name: body_facts[name] for name in kept} | {
            "classes": data.classes,
            "framing": data.facts["framing"],
            "flips": data.facts["flips"],
            "head": recipe.head_facts.facts(),
            "frozen": not self.body,
            "freeze": recipe.freeze,
            "temperature": self.temperature,
            "parameters": counts,
            "weights": body_facts["weights"],
            "weights_sha256": body_facts.get("weights_sha256"),
            **{name: body_facts[name] for name in ("weights_licence",) if name in body_facts},
            "trained_on": files.digest(data.facts["shards"]),
            "params": dataclasses.asdict(recipe),
        }
        best = self.kept or self.history[self.best_epoch]
        self.metrics = {
            "parameters": counts,
            "best_epoch": self.best_epoch + 1,
            "epochs": len(self.history),
            **{name: self.ran[name] for name in ("tuned_share",) if name in self.ran},
            "temperature": self.temperature,
            "train": _scores(len(data.train_images), best["train_loss"], best["train_accuracy"]),
            "val": _scores(len(data.val_images), best["val_loss"], best["val_accuracy"]),
        }


def _scores(n: int, loss: float | None, accuracy: float | None) -> dict[str, Any]:
    found = {"loss": loss, "accuracy": accuracy}
    return {"n": n} | {name: None if value is None else round(value, DIGITS) for name, value in found.items()}
