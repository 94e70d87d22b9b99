"""Train a classifier: a body, data and a recipe -> the weights, facts and metrics to save."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import files
from darkroom.core.errors import ParamsError
from darkroom.core.progress import say
from darkroom.core.runtime import Runtime
from darkroom.model import classifier, tensors
from darkroom.training import history, linear
from darkroom.training.calibrate import fit_temperature
from darkroom.training.checkpoint import Checkpoint, discard
from darkroom.training.data import Data, open_data
from darkroom.training.distributed import Group, Worker
from darkroom.training.history import AfterEpoch, Reporter
from darkroom.training.recipe import FINETUNE, Recipe, enough_epochs, rate_factor
from darkroom.training.result import Trained

Paths = tuple[Path, Path, Path]  # shards, features, body


def train(
    data: Data,
    body: Path,
    recipe: Recipe,
    runtime: Runtime,
    after_epoch: AfterEpoch,
    group: Group | None = None,
    make_checkpoint: Callable[[Path, str, float], Checkpoint] = Checkpoint,
) -> Trained:
    """Return the classifier that `recipe` makes of `data` and the folder `body` that embed wrote.

    With a `group`, train together with its other processes. Raises DarkroomError.
    """
    recipe.check()
    if recipe.schedule == "plateau" and not len(data.val_images):
        raise ParamsError("params.yaml: schedule: plateau looks at the validation images, and there are none; "
                          "use another schedule, or set val_fraction")  # fmt: skip
    if recipe.recipe == FINETUNE and len(data.val_images) < 2:
        # A class of one or two images has none to spare, whatever val_fraction says.
        raise ParamsError("params.yaml: recipe: finetune chooses how far to tune by the validation images, and there "
                          f"are {len(data.val_images)}; set val_fraction, and give each class three images or more, "
                          "or set recipe: custom")  # fmt: skip
    group = group or Group()
    body_facts = files.read_json(body / "body.json")
    settled = recipe.first
    head = initial_head(settled, body_facts["features"], data.classes, body)
    reporter = Reporter(after_epoch, history.watchers(runtime)) if group.leads else Reporter()
    worker = Worker(runtime, group, reporter, make_checkpoint)

    if settled.only_head:
        data.require_features()
        settled = enough_epochs(settled, len(data.train_images))
    if linear.suits(settled, len(data.train_images), body_facts["features"], len(data.classes)):
        rate = rate_factor(data.train_features, recipe.optimizer)
        trained = linear.train_head(data.train_features, data.val_features, head, settled, rate, reporter)
    else:
        from darkroom.training.torch_training import train_in_torch

        trained = train_in_torch(data, body, head, settled, worker)
    if recipe.recipe == FINETUNE:
        from darkroom.training.finetune import finetune

        if group.leads:
            discard(runtime.checkpoints, trained.checkpoint)
        trained = finetune(data, body, trained, recipe, worker)

    if len(data.val_images):  # without validation samples there is nothing to calibrate against
        trained.temperature = fit_temperature(trained.logits.astype(np.float64), data.val_images.labels)
    trained.describe(data, recipe, body_facts)
    trained.body = trained.body or tensors.load(body / "body.safetensors")
    return trained


def train_in_group(
    paths: Paths, recipe: Recipe, runtime: Runtime, after_epoch: AfterEpoch, group: Group, local_rank: int,
    **options: Any,
) -> Trained:  # fmt: skip
    """Train in this process of `group`, whose torch.distributed is up; on a GPU of its own where there are GPUs."""
    import torch

    device = runtime.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        # torch_device reports a missing GPU. Ray may show a process its own GPU alone, or all of its node.
        device = f"cuda:{local_rank % max(1, torch.cuda.device_count())}"
    shards, features, body = paths
    runtime = dataclasses.replace(runtime, device=device)
    return train(open_data(shards, features), body, recipe, runtime, after_epoch, group, **options)


def fresh_head(recipe: Recipe, features: int, classes: int) -> tensors.Tensors:
    """Return the tensors of an untrained head, drawn from the seed.

    A linear head alone starts from zero: its loss is convex, and random weights would only make two seeds differ.
    """
    head = classifier.initial(recipe.head_facts, features, classes, recipe.training_seed)
    if recipe.only_head and recipe.head == "linear":
        head["0.weight"] = np.zeros_like(head["0.weight"])
    return head


def initial_head(recipe: Recipe, features: int, classes: list[str], body: Path) -> tensors.Tensors:
    """Return the head to start from: a fresh one, with the rows of the classes that the weights were trained on."""
    head = fresh_head(recipe, features, len(classes))
    if (body / "head.safetensors").exists():  # the weights came with a head, from another run of this pipeline
        known = tensors.facts(body / "head.safetensors") or {}
        kept = classifier.keep_known_rows(
            head, classes, tensors.load(body / "head.safetensors"), known.get("classes", [])
        )
        if kept:
            say(f"train: the head keeps the weights of {len(kept)} of {len(classes)} classes")
    return head
