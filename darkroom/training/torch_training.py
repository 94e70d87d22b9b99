"""Train in torch: the phases of a recipe, what number format and compiler suit the hardware, the checkpoint's key."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from darkroom.core import files
from darkroom.core.errors import ParamsError
from darkroom.core.runtime import Runtime, machine, torch_device, versions
from darkroom.images.augment import STRENGTHS
from darkroom.model import classifier, freezing
from darkroom.model.network import Network, load_body
from darkroom.model.tensors import Tensors
from darkroom.training.checkpoint import Checkpoint, code_digest
from darkroom.training.data import Data, FeatureInputs, ImageInputs
from darkroom.training.distributed import Group
from darkroom.training.fit import Fit, Phase
from darkroom.training.history import AfterEpoch, Watcher
from darkroom.training.recipe import Recipe, rate_factor
from darkroom.training.result import Trained

# Products of a step of a head that one thread does sooner than several can agree on; other programs disturb it less.
ONE_THREAD = 4_000_000
COMPILE_REPAYS = 20_000  # steps: what saves 3 ms in each has repaid a minute of compiling; not measured on a GPU


def train_in_torch(
    data: Data,
    body: Path,
    head: Tensors,
    recipe: Recipe,
    runtime: Runtime,
    after_epoch: AfterEpoch,
    watchers: Sequence[Watcher],
    group: Group,
    make_checkpoint: Callable[[Path, str, float], Checkpoint] = Checkpoint,
) -> Trained:
    """Train `head` and the part of the body that is not frozen, together with the group's other processes.

    Continue from a checkpoint where one was left. Raises DarkroomError.
    """
    device = torch_device(runtime)
    dtype = choose_dtype(recipe.precision, device)
    module = classifier.build(recipe.head_facts, head).to(device)
    phases, network = make_phases(data, body, recipe, module, device, dtype, runtime.threads)
    key = _checkpoint_key(data, body, recipe, runtime, device, dtype, group.size)
    checkpoint = make_checkpoint(runtime.checkpoints, key, runtime.checkpoint_seconds)
    fit = Fit(phases, recipe, device, checkpoint, after_epoch, watchers, group).run()
    trained_body: Tensors = {}
    if network is not None and any(name.startswith("body.") for name in fit.best):
        network.load_state_dict(fit.best)
        trained_body = network.body.arrays()
    else:
        module.load_state_dict(fit.best)
    ran = {
        "device": str(device),
        "precision": str(dtype).removeprefix("torch."),
        "epoch_seconds": [round(seconds, 3) for seconds in fit.seconds],
        "micro_batch": fit.micro.size,
        "resumed": fit.resumed,
        "processes": group.size,
    }
    return Trained(
        head=classifier.arrays(module),
        body=trained_body,
        trainable=sum(each.numel() for each in (network or module).parameters() if each.requires_grad),
        logits=fit.logits.numpy(),
        best_epoch=fit.best_epoch,
        history=fit.history,
        ran=ran,
        checkpoint=key,
    )


def make_phases(
    data: Data, body: Path, recipe: Recipe, head: Any, device: Any, dtype: Any, threads: int
) -> tuple[list[Phase], Network | None]:
    """Return the phases: the head on cached features, the network on images, or one after the other."""
    seed, on_images = recipe.training_seed, recipe.epochs
    phases = []
    if recipe.freeze == freezing.EVERYTHING:
        data.require_features()
        train, val = (FeatureInputs(table, device, seed) for table in (data.train_features, data.val_features))
        until = recipe.thaw_epoch or recipe.epochs
        lr = recipe.lr * rate_factor(data.train_features, recipe.optimizer)
        size = sum(parameter.numel() for parameter in head.parameters()) * recipe.batch_size
        alone = partial(torch.set_num_threads, 1 if size <= ONE_THREAD else threads)
        phases.append(Phase(head, [list(head.parameters())], train, val, 0, until, lr, prepare=alone))
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
            _network_phase(
                network, recipe.freeze, groups, images, val_images, 0, recipe.thaw_epoch, recipe.lr, dtype, threads
            )
        )
        first = recipe.thaw_epoch
    freeze, lr = (
        (freezing.NOTHING, recipe.lr * recipe.thaw_lr_factor) if recipe.thaw_epoch else (recipe.freeze, recipe.lr)
    )
    phases.append(_network_phase(network, freeze, groups, images, val_images, first, recipe.epochs, lr, dtype, threads))
    steps = (recipe.epochs - first) * -(-len(data.train_images) // recipe.batch_size)
    phases[-1].compile = compiles(recipe.compile, device, steps)
    return phases, network


def _network_phase(
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


def _checkpoint_key(
    data: Data, body: Path, recipe: Recipe, runtime: Runtime, device: Any, dtype: Any, processes: int
) -> str:
    """Digest everything that shapes the result: code, params, data, weights, libraries and hardware."""
    tables = (data.train_images, data.val_images, data.train_features, data.val_features)
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else machine()["cpu"]
    weights = sorted(path for path in body.glob("*.safetensors"))
    return files.digest({
        "code": code_digest(),
        "params": dataclasses.asdict(recipe),
        "data": [[part.index for part in table.parts] for table in tables],
        "chosen": data.chosen,
        "body": files.read_json(body / "body.json"),
        "weights": {path.name: files.sha256(path) for path in weights},
        "versions": versions(),
        "machine": [hardware, torch.backends.cpu.get_cpu_capability(), runtime.threads, device.type, str(dtype)],
        "processes": processes,
    })  # fmt: skip


def fast_bfloat16(device: torch.device) -> bool:
    """Tell whether the hardware multiplies bfloat16 faster than float32.

    CPUs do with AMX or AVX512-BF16 (measured: resnet18 learns 2.1 times as fast with the latter), and are several times
    slower without, where it is emulated.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        asks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(getattr(torch.cpu, ask, lambda: False)() for ask in asks)
    return False


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of the network's arithmetic. Weights and the head's loss stay float32 either way."""
    if precision == "auto":
        return torch.bfloat16 if fast_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def compiles(setting: str, device: torch.device, steps: int) -> bool:
    """Tell whether to compile a network for `steps` more steps. Raises ParamsError where it must be and cannot.

    On CPUs compiling cost 35 to 135 s and did not pay back. A rule by counts alone: a measured time would give other
    bits on another run.
    """
    if setting == "auto":
        return device.type == "cuda" and steps >= COMPILE_REPAYS and _has_compiler()
    if setting == "always" and not _has_compiler():
        raise ParamsError("params.yaml: compile: always needs a C++ compiler, and none is installed; set compile: auto")
    return setting == "always"


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in ("g++", "clang++", "cl"))
