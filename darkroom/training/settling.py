"""Fit the settings of a head to its features: a rate to their size, and epochs to their number.

Adam moves every weight by about the learning rate in each step, and so a logit by the rate times the sum of a sample's
feature magnitudes. That sum is 65 for the 128 features of small_cnn on digits, and 600 for the 1,280 of mobilenet_v2 on
photos: one rate cannot suit both, but one rate per unit of that sum does (benchmarks/heads.py).
"""

import dataclasses
import math

import numpy as np

from darkroom.core import exactmath
from darkroom.core.progress import say
from darkroom.images.batches import Table
from darkroom.training.recipe import Recipe

MAGNITUDE = 64.0  # the sum of a sample's feature magnitudes for which `lr` is meant
SAMPLES = 4096  # that are looked at, at most


def rate_factor(features: Table, optimizer: str) -> float:
    """Return the power of two that `lr` is multiplied by on these features; a power of 4 for sgd.

    sgd's steps grow with the gradient, which grows with the features as the logits do: so it needs the square.
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


def enough_epochs(recipe: Recipe, samples: int) -> Recipe:
    """Return the recipe with as many epochs as `min_steps` asks for; patience and warm-up grow with them."""
    steps = max(1, -(-samples // recipe.batch_size))
    epochs = max(recipe.epochs, -(-recipe.min_steps // steps))
    if epochs == recipe.epochs or recipe.schedule == "plateau":  # which counts in epochs itself
        return recipe
    say(f"train: {epochs} epochs of {steps} steps, since min_steps is {recipe.min_steps:,}")
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        patience=-(-recipe.patience * epochs // recipe.epochs),
        warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs,
    )
