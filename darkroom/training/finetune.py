"""Fine-tune: train the head first, then every layer, and keep the mixture of both that is best on validation images.

The head comes first, since an untrained one sends large gradients through a pretrained network (Kumar et al., ICLR
2022). Weights on the straight line from the frozen network with its trained head (the probe) to the tuned network are
often better than either end (Wortsman et al., CVPR 2022). Where none is better than the probe beyond noise, the probe
is the result, to the bit: so fine-tuning costs time, and hardly ever accuracy.
"""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from darkroom.core import files
from darkroom.core.progress import say
from darkroom.core.runtime import Runtime, torch_device
from darkroom.core.text import counted
from darkroom.images.batches import Table
from darkroom.model import classifier, freezing, tensors
from darkroom.model.network import Network, load_body
from darkroom.model.tensors import Tensors
from darkroom.training import losses
from darkroom.training.calibrate import fit_temperature
from darkroom.training.data import Data, ImageInputs
from darkroom.training.distributed import Worker
from darkroom.training.history import NOISE, Reporter, continued, mean_and_error, scores
from darkroom.training.recipe import CUSTOM, Recipe
from darkroom.training.result import Trained
from darkroom.training.torch_training import train_in_torch

WARMUP = 0.5  # epochs
FEW = 1000  # images: of fewer, the statistics of BatchNorm are worse than those of the weights
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the way from the probe to the tuned weights
BATCH = 64  # images that are classified together


def finetune(
    data: Data,
    body: Path,
    probe: Trained,
    recipe: Recipe,
    worker: Worker,
) -> Trained:
    """Return the best mixture of `probe`, a trained head on the frozen `body`, and the network tuned from there.

    Raises DarkroomError.
    """
    weights = files.read_json(body / "body.json")["weights"]
    reporter = Reporter(worker.reporter.after_epoch, worker.reporter.watchers, probe.history)
    settled = tuning(recipe, len(data.train_images), weights != "none")
    if worker.group.leads:
        say(f"train: now every layer learns, for at most {counted(settled.epochs, 'epoch')}, which the curves show "
            f"after {counted(len(probe.history), 'epoch')} of the head")  # fmt: skip
    try:
        tuned = train_in_torch(data, body, probe.head, settled, dataclasses.replace(worker, reporter=reporter))
    except losses.RanAway as error:
        return alone(probe, error, recipe, worker)
    tuned.history = continued(probe.history, tuned.history)
    tuned.best_epoch += len(probe.history)
    return mixed(data, body, probe, tuned, recipe, worker.runtime) if worker.group.leads else tuned


def alone(probe: Trained, error: losses.RanAway, recipe: Recipe, worker: Worker) -> Trained:
    """Return `probe` where the second part has run away with `error`, and report why and the epochs before it."""
    history = continued(probe.history, list(error.history))
    if worker.group.leads:
        worker.reporter.after_epoch(history)  # those before a resumption, too
        say(f"train: the head alone is kept: when every layer learnt, {error.where}; set a thaw_lr_factor below "
            f"{recipe.thaw_lr_factor:g}, or grad_clip: 1")  # fmt: skip
    ran = probe.ran | {"tuned_share": 0.0}
    return dataclasses.replace(probe, history=history, ran=ran, checkpoint=error.checkpoint)


def tuning(recipe: Recipe, samples: int, pretrained: bool) -> Recipe:
    """Return the recipe of the second part, in which every layer learns from `samples` images."""
    batch_norm = recipe.batch_norm
    if batch_norm == "auto":
        batch_norm = "frozen" if pretrained and samples < FEW else "batch"
    schedule = "cosine" if recipe.schedule in ("plateau", "onecycle") else recipe.schedule
    return dataclasses.replace(
        recipe, recipe=CUSTOM, freeze=freezing.NOTHING, lr=recipe.lr * recipe.thaw_lr_factor,
        warmup_epochs=max(recipe.warmup_epochs, WARMUP), schedule=schedule, batch_norm=batch_norm,
    )  # fmt: skip


def mixed(data: Data, body: Path, probe: Trained, tuned: Trained, recipe: Recipe, runtime: Runtime) -> Trained:
    """Return `tuned` with the weights of the mixture of least log loss on the validation images, or `probe`.

    A mixture is better where its mean gain in log loss over the probe is beyond noise.
    """
    labels = data.val_images.labels
    kept, best, known = (0.0, probe.logits), 0.0, _calibrated_losses(probe.logits, labels)
    start = tensors.load(body / "body.safetensors")
    network = Network(load_body(body)[0], classifier.build(recipe.head_facts, probe.head), freezing.EVERYTHING)
    network = network.to(torch_device(runtime)).to(memory_format=torch.channels_last)
    for share in SHARES:
        _fill(network, mixture(start, tuned.body, share), mixture(probe.head, tuned.head, share))
        logits = _answers(network, data.val_images, runtime)
        gain = beyond_noise(known - _calibrated_losses(logits, labels))
        if gain > best:
            kept, best = (share, logits), gain
    share, logits = kept
    tuned.ran["tuned_share"] = share
    if not share:
        say("train: the head alone is kept: no mixture with the tuned network is better beyond noise on the "
            "validation images")  # fmt: skip
        return dataclasses.replace(probe, history=tuned.history, ran=tuned.ran, checkpoint=tuned.checkpoint)
    say(f"train: {share:.0%} of the way from the head alone to the tuned network is best on the validation images, "
        f"log loss {known.mean() - best:.4f} against {known.mean():.4f}")  # fmt: skip
    row = tuned.history[tuned.best_epoch] | scores(losses.of_samples(logits, labels), logits.argmax(axis=1) == labels)
    return dataclasses.replace(
        tuned, head=mixture(probe.head, tuned.head, share), body=mixture(start, tuned.body, share), logits=logits,
        kept=row,
    )  # fmt: skip


def beyond_noise(gains: np.ndarray) -> float:
    """Return the mean of `gains` (n,) where it is more than NOISE standard errors, else 0."""
    gain, error = mean_and_error(gains)
    return gain if gain > NOISE * error else 0.0


def mixture(start: Tensors, end: Tensors, share: float) -> Tensors:
    """Return tensors at `share`, 0..1, of the way from `start` to `end`; whole numbers are those of `end`."""
    if share == 1:
        return end
    return {
        name: start[name] + np.float32(share) * (value - start[name]) if value.dtype.kind == "f" else value
        for name, value in end.items()
    }


def _calibrated_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return losses.of_samples(logits, labels, fit_temperature(logits.astype(np.float64), labels))


def _fill(network: Network, body: Tensors, head: Tensors) -> None:
    tensors.fill(network.body.net, body)
    tensors.fill(network.head, head)


def _answers(network: Network, images: Table, runtime: Runtime) -> np.ndarray:
    """Return the logits of `images`, float32 (n, K)."""
    inputs = ImageInputs(images, torch_device(runtime), 0, None, False)
    with torch.inference_mode():
        parts = [network.eval()(part).float().cpu() for part in inputs.evaluation(BATCH, np.arange(len(images)))]
    return torch.cat(parts).numpy()
