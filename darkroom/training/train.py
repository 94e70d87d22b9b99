"""From a body, data and a recipe to a trained classifier: where its training is computed, and what is to be saved."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import files
from darkroom.core.errors import ParamsError
from darkroom.core.progress import say
from darkroom.core.runtime import Runtime
from darkroom.model import heads, tensors
from darkroom.training import history, linear
from darkroom.training.calibrate import fit_temperature
from darkroom.training.checkpoint import Checkpoint
from darkroom.training.data import Data
from darkroom.training.distributed import Group
from darkroom.training.history import Row
from darkroom.training.recipe import Recipe
from darkroom.training.result import Learnt

DIGITS = 6  # of the numbers in metrics/train.json: beyond them the processor decides


@dataclass
class Trained:
    """A classifier that is ready to be saved. `facts`: of model.json; `head`, `body`: tensors by name;
    `metrics`: of metrics/train.json; `ran`: how it went, for metrics/run.json; `checkpoint`: the key of the checkpoint
    that is to be discarded when it is saved, "" without one."""

    facts: dict[str, Any]
    head: tensors.Tensors
    body: tensors.Tensors
    metrics: dict[str, Any]
    ran: dict[str, Any] = field(default_factory=dict)
    checkpoint: str = ""


def train(
    data: Data,
    body: Path,
    recipe: Recipe,
    environment: Runtime,
    after_epoch: Callable[[list[Row]], None],
    group: Group | None = None,
    make_checkpoint: Callable[[Path, str, float], Checkpoint] = Checkpoint,
) -> Trained:
    """The best classifier that `recipe` gives, from the features or the body that embed left in `body`.

    With a `group`, together with its other processes. Raises DarkroomError.
    """
    recipe.check()
    if recipe.schedule == "plateau" and not len(data.val_images):
        raise ParamsError("params.yaml: schedule: plateau looks at the validation images, and there are none; "
                          "use another schedule, or set val_fraction")  # fmt: skip
    group = group or Group()
    facts = files.read_json(body / "body.json")
    head = first_head(recipe, facts["features"], data.classes, body)
    watchers = [
        make(folder)
        for make, folder in ((history.tensorboard, environment.tensorboard), (history.dvclive, environment.dvclive))
        if folder and group.leads
    ]
    if linear.suits(recipe, len(data.train_images), facts["features"], len(data.classes)):
        data.require_features()
        report = after_epoch if group.leads else lambda _rows: None
        learnt = linear.learn(data.train_features, data.val_features, head, recipe, report, watchers)
    else:
        from darkroom.training import torch_training

        learnt = torch_training.learn(
            data, body, head, recipe, environment, after_epoch, watchers, group, make_checkpoint
        )  # fmt: skip
    return _trained(learnt, data, body, recipe, facts)


def first_head(recipe: Recipe, features: int, classes: list[str], body: Path) -> tensors.Tensors:
    """The head to start from: of the seed, with the rows of the classes that the weights already know."""
    head = heads.initial(recipe.head_facts, features, len(classes), recipe.seed)
    if (body / "head.safetensors").exists():  # the weights came with a head, from another run of this pipeline
        known = tensors.facts(body / "head.safetensors") or {}
        kept = heads.keep_known_rows(head, classes, tensors.load(body / "head.safetensors"), known.get("classes", []))
        if kept:
            say(f"train: the head goes on with what it knows of {len(kept)} of {len(classes)} classes")
    return head


def _trained(learnt: Learnt, data: Data, body: Path, recipe: Recipe, facts: dict[str, Any]) -> Trained:
    total = facts["parameters"] + sum(value.size for value in learnt.head.values())
    counts = {"total": total, "trainable": learnt.learning, "frozen": total - learnt.learning}
    # Without validation samples there is nothing to calibrate against.
    labels = data.val_images.labels if len(data.val_images) else np.empty(0, np.int64)
    temperature = fit_temperature(learnt.logits.astype(np.float64), labels) if len(labels) else 1.0
    own = ("backbone", "mean", "std", "image_size", "features")
    model = {name: facts[name] for name in own} | {
        "classes": data.classes,
        "framing": data.facts["framing"],
        "flips": data.facts["flips"],
        "head": recipe.head_facts.facts(),
        "frozen": learnt.body is None,
        "freeze": recipe.freeze,
        "temperature": temperature,
        "parameters": counts,
        "weights": facts["weights"],
        "weights_sha256": facts.get("weights_sha256"),
        "trained_on": files.digest(data.facts["shards"]),
        "params": dataclasses.asdict(recipe),
    }
    best = learnt.history[learnt.best_epoch]
    metrics = {
        "parameters": counts,
        "best_epoch": learnt.best_epoch + 1,
        "epochs": len(learnt.history),
        "temperature": temperature,
        "train": _scores(len(data.train_images), best["train_loss"], best["train_accuracy"]),
        "val": _scores(len(data.val_images), best["val_loss"], best["val_accuracy"]),
    }
    learnt_body = tensors.load(body / "body.safetensors") if learnt.body is None else learnt.body
    return Trained(model, learnt.head, learnt_body, metrics, learnt.ran, learnt.checkpoint)


def _scores(n: int, loss: float | None, accuracy: float | None) -> dict[str, Any]:
    found = {"loss": loss, "accuracy": accuracy}
    return {"n": n} | {name: None if value is None else round(value, DIGITS) for name, value in found.items()}
