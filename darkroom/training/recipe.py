"""Define how a classifier is trained: the params that stages/train.py and the folds share, fitted to the features.

Adam moves every weight by about the learning rate in each step, and so a logit by the rate times the sum of a sample's
feature magnitudes. That sum is 65 for the 128 features of small_cnn on digits, and 600 for the 1,280 of mobilenet_v2 on
photos: one rate cannot suit both, but one rate per unit of that sum does (benchmarks/heads.py).
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from darkroom.core import exactmath
from darkroom.core.errors import ParamsError
from darkroom.core.params import load, param
from darkroom.core.progress import say
from darkroom.core.text import counted
from darkroom.images.augment import STRENGTHS
from darkroom.images.batches import Table, balanced_order, order, steps
from darkroom.model.classifier import Head
from darkroom.training.history import MONITORS
from darkroom.training.schedules import PLATEAU_PATIENCE, SCHEDULES, SETTLING
from darkroom.training.torch_optimizers import OPTIMIZERS

MAGNITUDE = 64.0  # the sum of a sample's feature magnitudes for which `lr` is meant
SCHEMA = "params.schema.json"
CUSTOM, FINETUNE = "custom", "finetune"
SAMPLES = 4096  # whose magnitude is measured, at most


@dataclass(frozen=True)
class Recipe:
    """Every key of params.yaml that shapes training; see docs/experiments.md for what to try."""

    seed: int = param("Seed of every random choice", at_least=0, at_most=2**63 - 1)
    train_seed: int | None = param("Seed of the training alone: initial weights, order, mixing; null: seed",
                                   at_least=0, at_most=2**63 - 1)  # fmt: skip
    recipe: str = param("custom: as the other keys say; finetune: the head, then every layer, and the best mixture",
                        choices=(CUSTOM, FINETUNE))  # fmt: skip
    freeze: str = param("backbone: only the head learns; none: everything; or a block's name: all up to it is frozen")
    head: str = param("The layers after the backbone", choices=("linear", "mlp"))
    hidden: int = param("Width of the mlp head's hidden layer", at_least=1, at_most=1_000_000)
    dropout: float = param("Share of the mlp head's hidden units that are dropped in training", at_least=0, below=1)
    epochs: int = param("Times that every training sample is seen", at_least=1, at_most=1_000_000)
    min_steps: int = param("Steps of a head on cached features, at least: a small set gets more epochs",
                           at_least=0, at_most=10_000_000)  # fmt: skip
    batch_size: int = param("Samples a step, at most", at_least=1)
    optimizer: str = param("How weights follow gradients", choices=OPTIMIZERS)
    lr: float = param("Learning rate at its highest", above=0)
    momentum: float = param("Of sgd and rmsprop", at_least=0, below=1)
    weight_decay: float = param("Decay of weights, not of norms and biases", at_least=0)
    l1: float = param("Weight of the sum of the weights' magnitudes in the loss, not of norms and biases", at_least=0)
    schedule: str = param("How the learning rate goes over the epochs", choices=SCHEDULES)
    warmup_epochs: float = param("Epochs in which the learning rate rises from zero", at_least=0)
    grad_clip: float = param("Largest norm of a step's gradient; 0 means no limit", at_least=0)
    label_smoothing: float = param("Share of each label that is spread over all classes", at_least=0, below=1)
    mixup: float = param("Strength of mixing two samples into one (Beta's parameter); 0 is off", at_least=0)
    cutmix: float = param("Strength of pasting a part of one image into another; 0 is off", at_least=0)
    ema: float = param("Decay of the running mean of weights that is kept; 0 is off", at_least=0, below=1)
    balance: str = param("What rare classes get: none, a heavier loss, or more draws",
                         choices=("none", "loss", "sampler"))  # fmt: skip
    patience: int = param("Epochs worse than the best before training stops; 0 never stops", at_least=0)
    monitor: str = param("What the best epoch, whose weights are kept, is best at or level in", choices=MONITORS)
    augment: str = param("How far training images are changed", choices=STRENGTHS)
    thaw_epoch: int = param("Epochs of the head alone, before all weights learn; 0 never thaws", at_least=0)
    thaw_lr_factor: float = param("Times lr, after the thaw", above=0)
    batch_norm: str = param("What BatchNorm normalises with in training: the batch's statistics, or the weights' own",
                            choices=("auto", "batch", "frozen"))  # fmt: skip
    lr_decay: float = param("Times the learning rate, for each layer group further from the head", above=0, at_most=1)
    precision: str = param("auto: bfloat16 where the hardware is fast at it, else float32",
                           choices=("auto", "float32", "bfloat16"))  # fmt: skip
    compile: str = param("torch.compile of the network: auto where the steps repay it",
                         choices=("auto", "never", "always"))  # fmt: skip

    @property
    def training_seed(self) -> int:
        """The seed of all that is random in training."""
        return self.seed if self.train_seed is None else self.train_seed

    @property
    def head_facts(self) -> Head:
        """The head's kind and sizes."""
        return Head(self.head, self.hidden, self.dropout)

    @property
    def only_head(self) -> bool:
        """Whether the head alone learns, from cached features, in every epoch."""
        return self.freeze == "backbone" and not self.thaw_epoch and self.recipe == CUSTOM

    @property
    def settles(self) -> bool:
        """Whether the learning rate falls to next to nothing."""
        return self.schedule in SETTLING

    def batches(self, labels: np.ndarray, epoch: int) -> list[np.ndarray]:
        """Return the samples of each step of `epoch` (from 0), int64 (b,); n or more is a sample that comes again."""
        if self.balance == "sampler":
            return steps(balanced_order(labels, self.training_seed, epoch), self.batch_size)
        return steps(order(len(labels), self.training_seed, epoch), self.batch_size)

    @property
    def first(self) -> "Recipe":
        """The recipe of the first part of the training: of `finetune` the head, otherwise all."""
        if self.recipe == CUSTOM:
            return self
        return dataclasses.replace(self, recipe=CUSTOM, cutmix=0.0, lr_decay=1.0)

    def check(self) -> None:
        """Raise ParamsError for values that are each allowed but contradict each other."""
        if self.recipe == FINETUNE and (self.freeze != "backbone" or self.thaw_epoch):
            raise ParamsError(
                "params.yaml: recipe: finetune begins with the head on cached features and decides when every layer "
                "learns; set freeze: backbone and thaw_epoch: 0, or recipe: custom"
            )
        if self.thaw_epoch and self.freeze == "none":
            raise ParamsError("params.yaml: thaw_epoch has nothing to thaw with freeze: none; set one of the two")
        if self.thaw_epoch >= self.epochs and self.thaw_epoch:
            raise ParamsError(
                f"params.yaml: thaw_epoch is {self.thaw_epoch}, expected less than epochs ({self.epochs}), "
                "so that thawed epochs are left"
            )
        if self.warmup_epochs > self.epochs / 2:
            raise ParamsError(f"params.yaml: warmup_epochs is {self.warmup_epochs:g}, "
                              f"expected at most half of epochs ({self.epochs})")  # fmt: skip
        if self.warmup_epochs and self.schedule == "onecycle":
            raise ParamsError("params.yaml: schedule: onecycle rises from a low rate by itself; set warmup_epochs: 0")
        if self.schedule == "plateau" and 0 < self.patience <= PLATEAU_PATIENCE + 1:
            raise ParamsError(
                f"params.yaml: patience: {self.patience} ends the training before schedule: plateau cuts the rate, "
                f"after {PLATEAU_PATIENCE + 1} epochs without a better one; set patience to more than that, or to 0"
            )
        if self.cutmix and self.only_head:
            raise ParamsError(
                "params.yaml: cutmix pastes images, and with freeze: backbone none are seen in training; "
                "set cutmix: 0, use mixup (which mixes features), or freeze less"
            )
        if self.lr_decay != 1 and self.only_head:
            raise ParamsError(
                "params.yaml: lr_decay acts on the backbone's layers, which freeze: backbone holds still; "
                "set lr_decay: 1, or freeze less"
            )


def rate_factor(features: Table, optimizer: str) -> float:
    """Return what `lr` is multiplied by on these features: a power of two, squared for sgd.

    A step of sgd is proportional to the gradient, which grows with the features just as the logits do.
    """
    if not len(features):
        return 1.0
    chosen = np.unique(np.arange(SAMPLES) * len(features) // SAMPLES)
    values = features.features(chosen, np.zeros(len(chosen), np.int64))
    magnitude = float(exactmath.total(exactmath.total(np.abs(values)))) / len(chosen)
    if not 0 < magnitude < math.inf:
        return 1.0
    mantissa, exponent = math.frexp(MAGNITUDE / magnitude)
    nearest = 2.0 ** (exponent - (mantissa < math.sqrt(0.5)))
    return nearest * nearest if optimizer == "sgd" else nearest


def declared(root: Path, changes: Mapping[str, Any] = MappingProxyType({})) -> Recipe | None:
    """Return the recipe of the params.yaml of the project at `root`, with `changes`. Raises ParamsError.

    None in a pipeline of other params, which has no params.schema.json.
    """
    return load(Recipe, root / "params.yaml", changes) if (root / SCHEMA).exists() else None


def epochs_needed(recipe: Recipe, samples: int) -> int:
    """Return how many epochs a head on cached features learns for: `epochs`, or what `min_steps` makes of them."""
    if recipe.schedule == "plateau":  # which is a number of epochs
        return recipe.epochs
    return max(recipe.epochs, -(-recipe.min_steps // _steps(recipe, samples)))


def _steps(recipe: Recipe, samples: int) -> int:
    return max(1, -(-samples // recipe.batch_size))


def enough_epochs(recipe: Recipe, samples: int) -> Recipe:
    """Return the recipe with as many epochs as `min_steps` needs; patience and warm-up grow with them."""
    epochs = epochs_needed(recipe, samples)
    if epochs == recipe.epochs:
        return recipe
    steps = _steps(recipe, samples)
    say(f"train: {counted(epochs, 'epoch')} of {counted(steps, 'step')}, since min_steps is {recipe.min_steps:,}")
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        patience=-(-recipe.patience * epochs // recipe.epochs),
        warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs,
    )
