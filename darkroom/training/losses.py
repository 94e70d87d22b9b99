"""Compute cross entropy with class weights, label smoothing, mixup and cutmix; stop where the loss diverges."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core import exactmath
from darkroom.core.errors import TrainingError
from darkroom.core.randomness import generator

if TYPE_CHECKING:
    from torch import Tensor

EXPLODED = 1000.0  # times the loss of a guess
Loss = Callable[["Tensor", "Tensor"], "Tensor"]


class RanAway(TrainingError):
    """A loss that is no number, or far above that of a guess.

    `where`: the loss, its epoch and step, in words; `history`: the epochs before it; `checkpoint`: the training's key.
    """

    where: str = ""
    history: Sequence[dict[str, float | None]] = ()
    checkpoint: str = ""


def of_samples(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the log loss of each sample, float64 (n,), from logits (n, K) and labels (n,)."""
    return -exactmath.log_softmax(logits, temperature)[np.arange(len(labels)), labels]


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return weights (K,) float32 that make every class count the same: n / (classes present * its count), or 0."""
    counts = np.bincount(labels, minlength=classes)
    present = counts > 0
    weights = np.zeros(classes, np.float32)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights


def cross_entropy(label_smoothing: float, weights: "Tensor | None") -> Loss:
    """Return the loss: the mean cross entropy of logits (b, K) and labels (b,), with class `weights` (K,) if given.

    A weighted sample counts `weight / b`, not `weight / (sum of the batch's weights)`, so that the gradients of a
    batch's parts add up to that of the batch.
    """
    from torch.nn import functional

    def loss(logits: "Tensor", labels: "Tensor") -> "Tensor":
        if weights is None:
            return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        each = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
        return (each * weights[labels]).mean()

    return loss


def targets(labels: np.ndarray, classes: int, smoothing: float = 0.0, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the targets of labels (b,), float64 (b, K): smoothed one-hot rows, times class weights (K,)."""
    rows = np.full((len(labels), classes), smoothing / classes)
    rows[np.arange(len(labels)), labels] += 1 - smoothing
    return rows if weights is None else rows * weights[labels, None]


def require_sensible(
    loss: float, classes: int, epoch: int, step: int, lr: float, also: str = "", heaviest: float = 1.0
) -> None:
    """Raise RanAway where the loss of step `step` of `epoch` (both from 0) shows that training has run away.

    `also`: one more thing to try. `heaviest`: the largest class weight.
    """
    if not math.isfinite(loss) or loss > EXPLODED * max(1.0, heaviest) * math.log(max(2, classes)):
        where = f"the loss is {loss:.4g} in epoch {epoch + 1}, step {step + 1}"
        error = RanAway(
            f"{where}: training has run away. Try a lower lr "
            f"(it is {lr:g}; `darkroom lr-find` suggests one), grad_clip: 1, or an epoch of warm-up{also}"
        )
        error.where = where
        raise error


def partners(random: np.random.Generator, strength: float, count: int) -> tuple[float, np.ndarray]:
    """Draw the share (0..1) that each sample of a batch of `count` keeps, and its partner's index (count,)."""
    return exactmath.beta(random, strength), random.permutation(count)


@dataclass(frozen=True)
class Mixed:
    """A batch after mixing: the loss is `share` of that against `first`, the rest of that against `second`."""

    inputs: "Tensor"
    first: "Tensor"
    second: "Tensor | None" = None
    share: float = 1.0


def mix(inputs: "Tensor", labels: "Tensor", mixup: float, cutmix: float, *path: int | str) -> Mixed:
    """Mix each sample with another of the batch, by mixup (Zhang et al., 2018) or cutmix (Yun et al., 2019).

    With both on, a coin decides for the batch; features (b, D) are never cut. All draws belong to `path`.
    """
    import torch

    cutmix = cutmix if inputs.ndim == 4 else 0.0
    if not mixup and not cutmix:
        return Mixed(inputs, labels)
    random = generator(*path, "mix")
    cut = bool(cutmix) and (not mixup or random.random() < 0.5)
    strength = cutmix if cut else mixup
    share, drawn = partners(random, strength, len(labels))
    other = torch.from_numpy(drawn).to(labels.device)
    if not cut:
        return Mixed(torch.lerp(inputs[other], inputs, share), labels, labels[other], share)
    side = inputs.shape[-1]
    half = (1 - share) ** 0.5 * side / 2
    x, y = random.random(2) * side
    left, right = (int(np.clip(round(edge), 0, side)) for edge in (x - half, x + half))
    top, bottom = (int(np.clip(round(edge), 0, side)) for edge in (y - half, y + half))
    inputs = inputs.clone()
    inputs[:, :, top:bottom, left:right] = inputs[other][:, :, top:bottom, left:right]
    share = 1 - (right - left) * (bottom - top) / side**2
    return Mixed(inputs, labels, labels[other], share)
