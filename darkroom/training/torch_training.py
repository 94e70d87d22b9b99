"""Train in torch: the phases of a recipe, the dtype and compiler that suit the hardware, the checkpoint's key."""

import dataclasses
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch

from darkroom.core import files
from darkroom.core.errors import ParamsError
from darkroom.core.runtime import machine, torch_device, versions
from darkroom.images.augment import STRENGTHS
from darkroom.model import classifier, freezing
from darkroom.model.network import Network, load_body
from darkroom.model.tensors import Tensors
from darkroom.training.checkpoint import code_digest
from darkroom.training.data import Data, FeatureInputs, ImageInputs
from darkroom.training.distributed import Worker
from darkroom.training.fit import Fit
from darkroom.training.losses import RanAway
from darkroom.training.recipe import Recipe, rate_factor
from darkroom.training.result import Trained
from darkroom.training.step import Phase

# Products in a step of a head up to which one thread is faster than several, and less disturbed by other programs.
ONE_THREAD = 4_000_000
COMPILE_REPAYS = 20_000  # steps in which 3 ms saved in each repay a minute of compiling; not measured on a GPU


def train_in_torch(
    data: Data,
    body: Path,
    head: Tensors,
    recipe: Recipe,
    worker: Worker,
) -> Trained:
    """Train `head` and the part of the body that is not frozen, together with the group's other processes.

    Continues from a checkpoint where there is one. Raises DarkroomError.
    """
    runtime, group = worker.runtime, worker.group
    device = torch_device(runtime)
    dtype = choose_dtype(recipe.precision, device)
    module = classifier.build(recipe.head_facts, head).to(device)
    phases, network = make_phases(data, body, recipe, module, device, dtype, runtime.threads)
    key = _checkpoint_key(data, body, recipe, worker, device, dtype)
    checkpoint = worker.make_checkpoint(runtime.checkpoints, key, runtime.checkpoint_seconds)
    fit = Fit(phases, recipe, device, checkpoint, worker.reporter, group)
    try:
        fit.run()
    except RanAway as error:
        error.history, error.checkpoint = fit.history, key
        raise
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
    thaw, seed = recipe.thaw_epoch, recipe.training_seed
    phases = []
    if recipe.freeze == freezing.EVERYTHING:
        phases.append(_head_phase(data, recipe, head, device, threads))
        if not thaw:
            return phases, None
    network = _network(body, head, recipe, device)
    layers = [*freezing.groups(network.body.net), list(head.parameters())]
    strength, flips = STRENGTHS[recipe.augment], bool(data.facts["flips"])
    train = ImageInputs(data.train_images, device, seed, strength, flips)
    val = ImageInputs(data.val_images, device, seed, None, flips)

    def add(freeze: str, first: int, last: int, lr: float) -> None:
        def prepare() -> None:
            torch.set_num_threads(threads)
            network.freeze(freeze)

        phases.append(Phase(network, layers, train, val, first, last, lr, dtype, prepare=prepare))

    if not thaw:
        add(recipe.freeze, 0, recipe.epochs, recipe.lr)
    else:
        if not phases:
            add(recipe.freeze, 0, thaw, recipe.lr)  # some blocks are frozen until the thaw
        add(freezing.NOTHING, thaw, recipe.epochs, recipe.lr * recipe.thaw_lr_factor)
    steps = (recipe.epochs - thaw) * -(-len(data.train_images) // recipe.batch_size)
    phases[-1].compile = compiles(recipe.compile, device, steps)
    return phases, network


def _head_phase(data: Data, recipe: Recipe, head: Any, device: Any, threads: int) -> Phase:
    """Return the phase of the head on cached features, which ends where the body thaws. Raises DarkroomError."""
    data.require_features()
    train, val = (FeatureInputs(table, device) for table in (data.train_features, data.val_features))
    lr = recipe.lr * rate_factor(data.train_features, recipe.optimizer)
    products = sum(parameter.numel() for parameter in head.parameters()) * recipe.batch_size
    prepare = partial(torch.set_num_threads, 1 if products <= ONE_THREAD else threads)
    last = recipe.thaw_epoch or recipe.epochs
    return Phase(head, [list(head.parameters())], train, val, 0, last, lr, prepare=prepare)


def _network(body: Path, head: Any, recipe: Recipe, device: Any) -> Network:
    loaded, facts = load_body(body)
    frozen = recipe.batch_norm == "frozen"
    if frozen and facts["weights"] == "none":
        raise ParamsError("params.yaml: batch_norm: frozen keeps the statistics of the weights, and weights: none has "
                          "none; set batch_norm: batch, or start from weights")  # fmt: skip
    return Network(loaded, head, recipe.freeze, frozen).to(device).to(memory_format=torch.channels_last)


def _checkpoint_key(data: Data, body: Path, recipe: Recipe, worker: Worker, device: Any, dtype: Any) -> str:
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
        "machine": [hardware, torch.backends.cpu.get_cpu_capability(), worker.runtime.threads, device.type, str(dtype)],
        "processes": worker.group.size,
    })  # fmt: skip


def fast_bfloat16(device: torch.device) -> bool:
    """Return whether the hardware multiplies bfloat16 faster than float32.

    CPUs with AMX or AVX512-BF16 do (resnet18 trains 2.1 times as fast with the latter); others emulate it and are
    several times slower.
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
    """Return whether to compile a network for `steps` more steps. Raises ParamsError where it must be and cannot.

    On CPUs compiling cost 35 to 135 s and did not pay back. Counts alone decide: by a measured time, two runs could
    differ in their bits.
    """
    if setting == "auto":
        return device.type == "cuda" and steps >= COMPILE_REPAYS and _has_compiler()
    if setting == "always" and not _has_compiler():
        raise ParamsError("params.yaml: compile: always needs a C++ compiler, and none is installed; set compile: auto")
    return setting == "always"


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in ("g++", "clang++", "cl"))
