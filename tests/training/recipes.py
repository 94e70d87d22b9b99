"""A recipe of a head, and changes of it that reach every setting of a head's training."""

import dataclasses
from pathlib import Path
from typing import Any

from darkroom.core.params import load
from darkroom.training.recipe import Recipe

# A param that is newer than these settings has the project's value.
RECIPE: dict[str, Any] = dataclasses.asdict(load(Recipe, Path(__file__).parents[2] / "params.yaml")) | {
    "seed": 0, "train_seed": None, "min_steps": 0, "recipe": "custom",
    "freeze": "backbone", "head": "linear", "hidden": 32, "dropout": 0.2, "epochs": 4, "batch_size": 32,
    "optimizer": "adamw", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.01, "l1": 0.0, "schedule": "cosine",
    "warmup_epochs": 0.0, "grad_clip": 0.0, "label_smoothing": 0.0, "mixup": 0.0, "cutmix": 0.0, "ema": 0.0,
    "balance": "none", "patience": 0, "monitor": "val_loss", "augment": "none", "thaw_epoch": 0, "thaw_lr_factor": 0.1,
    "batch_norm": "batch", "lr_decay": 1.0, "precision": "float32", "compile": "never",
}  # fmt: skip

SETTINGS: dict[str, dict[str, Any]] = {
    "adamw, cosine": {},
    "adam, step": {"optimizer": "adam", "schedule": "step", "weight_decay": 0.1},
    "sgd, onecycle": {"optimizer": "sgd", "schedule": "onecycle", "lr": 0.1},
    "sgd, cosine, warm-up": {"optimizer": "sgd", "lr": 0.1, "warmup_epochs": 1.5},
    "sgd without momentum, constant": {"optimizer": "sgd", "momentum": 0.0, "schedule": "constant", "lr": 0.1},
    "rmsprop, decay": {"optimizer": "rmsprop", "weight_decay": 0.1},
    "rmsprop without momentum": {"optimizer": "rmsprop", "momentum": 0.0},
    "plateau": {"schedule": "plateau", "lr": 0.3, "epochs": 15},
    "l1": {"l1": 0.05},
    "clipped": {"grad_clip": 0.3, "optimizer": "sgd", "lr": 0.1},
    "smoothed": {"label_smoothing": 0.3},
    "mixup, smoothed, weighed": {"mixup": 0.4, "label_smoothing": 0.1, "balance": "loss"},
    "sampler": {"balance": "sampler"},
    "ema": {"ema": 0.9},
    "patience, by accuracy": {"patience": 2, "monitor": "val_accuracy", "epochs": 30, "lr": 0.1},
}


def recipe(**changes: Any) -> Recipe:
    """Return that recipe with changes."""
    return Recipe(**(RECIPE | changes))
