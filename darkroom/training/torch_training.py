"""Training in torch: which phases there are, where an interrupted one goes on, and what comes of them as arrays."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from darkroom.core import files, runtime
from darkroom.core.errors import ParamsError
from darkroom.core.runtime import Runtime
from darkroom.images.augment import STRENGTHS
from darkroom.model import freezing, heads
from darkroom.model.network import Network, load_body
from darkroom.model.tensors import Tensors
from darkroom.training import precision
from darkroom.training.checkpoint import Checkpoint, code_digest
from darkroom.training.data import Data
from darkroom.training.distributed import Group
from darkroom.training.fit import Fit
from darkroom.training.history import Row, Watcher
from darkroom.training.inputs import FeatureInputs, ImageInputs
from darkroom.training.phases import Phase
from darkroom.training.recipe import Recipe
from darkroom.training.result import Learnt

# Products of a step of a head that one thread does sooner than several can agree on; other programs disturb it less.
ONE_THREAD = 4_000_000


def learn(
    data: Data,
    body: Path,
    head: Tensors,
    recipe: Recipe,
    environment: Runtime,
    after_epoch: Callable[[list[Row]], None],
    watchers: Sequence[Watcher],
    group: Group,
    make_checkpoint: Callable[[Path, str, float], Checkpoint] = Checkpoint,
) -> Learnt:
    """Train `head` and what of the body is not frozen, together with the group's other processes.

    Goes on from a checkpoint where one was left. Raises DarkroomError.
    """
    device = runtime.torch_device(environment)
    dtype = precision.choose(recipe.precision, device)
    module = heads.build(recipe.head_facts, head).to(device)
    phases, network = make_phases(data, body, recipe, module, device, dtype, environment.threads)
    key = _key(data, body, recipe, environment, device, dtype, group.size)
    checkpoint = make_checkpoint(environment.checkpoints, key, environment.checkpoint_seconds)
    fitted = Fit(phases, recipe, device, checkpoint, after_epoch, watchers, group).run()
    if network is not None and any(name.startswith("body.") for name in fitted.best):
        network.load_state_dict(fitted.best)
        learnt_body = network.body.arrays()
    else:
        module.load_state_dict(fitted.best)
        learnt_body = None
    learning = sum(each.numel() for each in (network or module).parameters() if each.requires_grad)
    ran = {
        "device": str(device),
        "precision": str(dtype).removeprefix("torch."),
        "epoch_seconds": [round(seconds, 3) for seconds in fitted.seconds],
        "micro_batch": fitted.micro_batch,
        "resumed": fitted.resumed,
        "processes": group.size,
    }
    return Learnt(
        heads.arrays(module), learnt_body, learning, fitted.logits.numpy(), fitted.best_epoch, fitted.history, ran, key
    )


def make_phases(
    data: Data, body: Path, recipe: Recipe, head: Any, device: Any, dtype: Any, threads: int
) -> tuple[list[Phase], Network | None]:
    """The head on cached features, the network on images, or one after the other."""
    seed, on_images = recipe.seed, recipe.epochs
    phases = []
    if recipe.freeze == freezing.EVERYTHING:
        data.require_features()
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
        torch.set_num_threads(threads)
        network.freeze(freeze)

    return Phase(network, groups, train, val, first, last, lr, dtype, prepare=begin)


def _network(body: Path, head: Any, recipe: Recipe, device: Any) -> Network:
    loaded, facts = load_body(body)
    frozen = recipe.batch_norm == "frozen"
    if frozen and facts["weights"] == "none":
        raise ParamsError("params.yaml: batch_norm: frozen keeps the statistics of the weights, and weights: none has "
                          "none; set batch_norm: batch, or start from weights")  # fmt: skip
    return Network(loaded, head, recipe.freeze, frozen).to(device).to(memory_format=torch.channels_last)


def _key(data: Data, body: Path, recipe: Recipe, environment: Runtime, device: Any, dtype: Any, processes: int) -> str:
    """The digest of everything that shapes the result: code, params, data, weights, libraries and hardware."""
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
