"""From a body, data and a recipe to a trained classifier: which phases there are, and what is to be saved."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from darkroom import files, runtime
from darkroom.data.augment import STRENGTHS
from darkroom.data.batches import Table
from darkroom.data.shards import Shards
from darkroom.errors import DarkroomError
from darkroom.evaluation.calibration import fit_temperature
from darkroom.model import freezing, heads, tensors
from darkroom.model.network import Body, Network, load_body
from darkroom.progress import say
from darkroom.runtime import Runtime
from darkroom.training import history, precision
from darkroom.training.checkpoint import Checkpoint, code_digest
from darkroom.training.fit import Fit
from darkroom.training.group import Group
from darkroom.training.history import Row
from darkroom.training.inputs import FeatureInputs, ImageInputs
from darkroom.training.phase import Fitted, Phase
from darkroom.training.recipe import Recipe

# Products of a step of a head that one thread does sooner than several can agree on; other programs disturb it less.
ONE_THREAD = 4_000_000


@dataclass(frozen=True)
class Data:
    """What to learn from. `train_images`, `val_images` and, where the body is frozen, `train_features` and
    `val_features`: tables of the same samples in the same order. `facts`: index.json of the training images.
    `chosen`: what tells this choice of samples from another of the same shards (a fold's number).
    """

    train_images: Table
    val_images: Table
    train_features: Table
    val_features: Table
    facts: dict[str, Any]
    chosen: str = ""

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the labels."""
        return self.train_images.classes


def open_data(shards: Path, features: Path) -> Data:
    """The training and validation samples, as images and as features; the test split is never opened."""
    images = {split: Shards(shards / split) for split in ("train", "val")}
    cached = {split: Shards(features / split) for split in ("train", "val")}
    return Data(
        Table([images["train"]]),
        Table([images["val"]]),
        Table([cached["train"]]),
        Table([cached["val"]]),
        facts=images["train"].index,
    )


@dataclass
class Trained:
    """A classifier that is ready to be saved. `facts`: of model.json; `head`, `body`: tensors by name;
    `metrics`: of metrics/train.json; `ran`: how it went, for metrics/run.json."""

    facts: dict[str, Any]
    head: tensors.Tensors
    body: tensors.Tensors
    metrics: dict[str, Any]
    ran: dict[str, Any] = field(default_factory=dict)


def train(
    data: Data,
    body: Path,
    recipe: Recipe,
    environment: Runtime,
    after_epoch: Callable[[list[Row]], None],
    group: Group | None = None,
    make_checkpoint: Callable[[Path, str, float], Checkpoint] = Checkpoint,
) -> tuple[Trained, Checkpoint]:
    """The best classifier that `recipe` gives, going on from a checkpoint where one was left.

    With a `group`, together with its other processes. Returns it with the checkpoint, to be removed when the classifier
    is saved. Raises DarkroomError.
    """
    recipe.check()
    device = runtime.torch_device(environment)
    facts = files.read_json(body / "body.json")
    head = new_head(recipe, facts, data.classes, body).to(device)
    dtype = precision.choose(recipe.precision, device)
    phases, network = make_phases(data, body, recipe, head, device, dtype, environment.threads)
    group = group or Group()
    key = _key(data, body, recipe, environment, device, dtype, group.size)
    checkpoint = make_checkpoint(environment.checkpoints, key, environment.checkpoint_seconds)
    watchers = [
        make(folder)
        for make, folder in ((history.tensorboard, environment.tensorboard), (history.dvclive, environment.dvclive))
        if folder and group.leads
    ]
    fitted = Fit(phases, recipe, device, checkpoint, after_epoch, watchers, group).run()
    trained = _trained(fitted, data, body, recipe, head, network, facts, str(device), str(dtype))
    trained.ran["processes"] = group.size
    return trained, checkpoint


def new_head(recipe: Recipe, facts: dict[str, Any], classes: list[str], body: Path) -> Any:
    """The head to start from: of the seed, with the rows of the classes that the weights already know."""
    head = heads.build(
        heads.Head(recipe.head, recipe.hidden, recipe.dropout), facts["features"], len(classes), recipe.seed
    )
    if (body / "head.safetensors").exists():  # the weights came with a head, from another run of this pipeline
        known = tensors.facts(body / "head.safetensors") or {}
        kept = heads.keep_known_rows(head, classes, tensors.load(body / "head.safetensors"), known.get("classes", []))
        if kept:
            say(f"train: the head goes on with what it knows of {len(kept)} of {len(classes)} classes")
    return head


def make_phases(
    data: Data, body: Path, recipe: Recipe, head: Any, device: Any, dtype: Any, threads: int
) -> tuple[list[Phase], Network | None]:
    """The head on cached features, the network on images, or one after the other."""
    import torch

    seed, on_images = recipe.seed, recipe.epochs
    phases = []
    if recipe.freeze == freezing.EVERYTHING:
        if len(data.train_features) != len(data.train_images):
            raise DarkroomError("data/features does not hold the training images' features; run `dvc repro embed`")
        train, val = (FeatureInputs(table, device, seed) for table in (data.train_features, data.val_features))
        until = recipe.thaw_epoch or recipe.epochs
        size = sum(parameter.numel() for parameter in head.parameters()) * recipe.batch_size
        alone = partial(torch.set_num_threads, 1 if size <= ONE_THREAD else threads)
        phases.append(Phase(head, [list(head.parameters())], train, val, 0, until, recipe.lr, prepare=alone))
        on_images -= until
    if not on_images:
        return phases, None
    network = _network(body, head, recipe, device)
    groups = [*freezing.groups(network.body.net), list(head.parameters())]
    strength, flips = STRENGTHS[recipe.augment], bool(data.facts["flips"])
    images = ImageInputs(data.train_images, device, seed, strength, flips)
    val_images = ImageInputs(data.val_images, device, seed, None, flips)
    first = recipe.epochs - on_images
    if first == 0 and recipe.thaw_epoch:  # some blocks are frozen until the thaw
        phases.append(
            _part(network, recipe.freeze, groups, images, val_images, 0, recipe.thaw_epoch, recipe.lr, dtype, threads)
        )
        first = recipe.thaw_epoch
    freeze, lr = (
        (freezing.NOTHING, recipe.lr * recipe.thaw_lr_factor) if recipe.thaw_epoch else (recipe.freeze, recipe.lr)
    )
    phases.append(_part(network, freeze, groups, images, val_images, first, recipe.epochs, lr, dtype, threads))
    steps = (recipe.epochs - first) * -(-len(data.train_images) // recipe.batch_size)
    phases[-1].compile = precision.compiles(recipe.compile, device, steps)
    return phases, network


def _part(
    network: Network, freeze: str, groups: Any, train: ImageInputs, val: ImageInputs, first: int, last: int, lr: float,
    dtype: Any, threads: int,
) -> Phase:  # fmt: skip
    def begin() -> None:
        import torch

        torch.set_num_threads(threads)
        network.freeze(freeze)

    return Phase(network, groups, train, val, first, last, lr, dtype, prepare=begin)


def _network(body: Path, head: Any, recipe: Recipe, device: Any) -> Network:
    import torch

    loaded: Body = load_body(body)[0]
    return Network(loaded, head, recipe.freeze).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _key(data: Data, body: Path, recipe: Recipe, environment: Runtime, device: Any, dtype: Any, processes: int) -> str:
    """The digest of everything that shapes the result: code, params, data, weights, libraries and hardware."""
    import torch

    tables = (data.train_images, data.val_images, data.train_features, data.val_features)
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else runtime.machine()["cpu"]
    weights = sorted(path for path in body.glob("*.safetensors"))
    return files.digest({
        "code": code_digest(),
        "params": dataclasses.asdict(recipe),
        "data": [[part.index for part in table.parts] for table in tables],
        "chosen": data.chosen,
        "body": files.read_json(body / "body.json"),
        "weights": {path.name: files.sha256(path) for path in weights},
        "versions": runtime.versions(),
        "machine": [hardware, torch.backends.cpu.get_cpu_capability(), environment.threads, device.type, str(dtype)],
        "processes": processes,
    })  # fmt: skip


def _trained(
    fitted: Fitted, data: Data, body: Path, recipe: Recipe, head: Any, network: Network | None, facts: dict[str, Any],
    device: str, dtype: str,
) -> Trained:  # fmt: skip
    whole = network is not None and any(name.startswith("body.") for name in fitted.best)
    if whole:
        assert network is not None
        network.load_state_dict(fitted.best)
        body_tensors = network.body.arrays()
    else:
        head.load_state_dict(fitted.best)
        body_tensors = tensors.load(body / "body.safetensors")
    head_tensors = heads.tensors(head)
    total = facts["parameters"] + sum(parameter.numel() for parameter in head.parameters())
    learning = sum(parameter.numel() for parameter in (network or head).parameters() if parameter.requires_grad)
    counts = {"total": total, "trainable": learning, "frozen": total - learning}
    # Without validation samples there is nothing to calibrate against.
    labels = data.val_images.labels if len(data.val_images) else np.empty(0, np.int64)
    temperature = fit_temperature(fitted.logits.numpy().astype(np.float64), labels) if len(labels) else 1.0
    own = ("backbone", "mean", "std", "image_size", "features")
    model = {name: facts[name] for name in own} | {
        "classes": data.classes,
        "framing": data.facts["framing"],
        "flips": data.facts["flips"],
        "head": {"kind": recipe.head, "hidden": recipe.hidden, "dropout": recipe.dropout},
        "frozen": not whole,
        "freeze": recipe.freeze,
        "temperature": temperature,
        "parameters": counts,
        "weights": facts["weights"],
        "weights_sha256": facts.get("weights_sha256"),
        "trained_on": files.digest(data.facts["shards"]),
        "params": dataclasses.asdict(recipe),
    }
    best = fitted.history[fitted.best_epoch]
    metrics = {
        "parameters": counts,
        "best_epoch": fitted.best_epoch + 1,
        "epochs": len(fitted.history),
        "temperature": temperature,
        "train": {"n": len(data.train_images), "loss": best["train_loss"], "accuracy": best["train_accuracy"]},
        "val": {"n": len(data.val_images), "loss": best["val_loss"], "accuracy": best["val_accuracy"]},
    }
    ran = {
        "device": device,
        "precision": dtype.removeprefix("torch."),
        "epoch_seconds": [round(seconds, 3) for seconds in fitted.seconds],
        "micro_batch": fitted.micro_batch,
        "resumed": fitted.resumed,
    }
    return Trained(model, head_tensors, body_tensors, metrics, ran)
