"""Update a head's weights in numpy, by the same rules as torch_optimizers: importing torch is not needed.

Each follows torch.optim's of the same name, with its defaults; only `momentum` is a param. A new one
is an entry in RULES. They use +, -, *, / and sqrt in float64 alone, whose results IEEE 754 fixes: the same bits on
every processor.
"""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from darkroom.core.exactmath import power

BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam and AdamW (Kingma and Ba, 2015; Loshchilov and Hutter, 2019)
ALPHA = 0.99  # of RMSprop (Hinton, 2012)


class Rule(Protocol):
    """Update weights by gradients, with the state of earlier steps kept by the weights' name."""

    def step(self, name: str, weights: np.ndarray, gradient: np.ndarray, lr: float, decay: float) -> None:
        """Change `weights` float64 in place."""
        ...


class Sgd:
    """Descent with momentum; decay is a part of the gradient."""

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self._velocity: dict[str, np.ndarray] = {}

    def step(self, name: str, weights: np.ndarray, gradient: np.ndarray, lr: float, decay: float) -> None:
        """Change `weights` float64 in place."""
        gradient = gradient + decay * weights
        if self.momentum:
            old = self._velocity.get(name)
            gradient = self._velocity[name] = gradient if old is None else self.momentum * old + gradient
        weights -= lr * gradient


class Adam:
    """Adam; with `decoupled`, AdamW: the decay is not part of the gradient."""

    def __init__(self, decoupled: bool) -> None:
        self.decoupled = decoupled
        self._moments: dict[str, tuple[int, np.ndarray, np.ndarray]] = {}

    def step(self, name: str, weights: np.ndarray, gradient: np.ndarray, lr: float, decay: float) -> None:
        """Change `weights` float64 in place."""
        if self.decoupled:
            weights *= 1 - lr * decay
        else:
            gradient = gradient + decay * weights
        zero = np.zeros_like(weights)
        steps, mean, square = self._moments.get(name, (0, zero, zero))
        steps += 1
        mean = mean + (1 - BETAS[0]) * (gradient - mean)
        square = BETAS[1] * square + (1 - BETAS[1]) * gradient * gradient
        self._moments[name] = steps, mean, square
        width = np.sqrt(square) / math.sqrt(1 - power(BETAS[1], steps)) + EPSILON
        weights -= lr / (1 - power(BETAS[0], steps)) * mean / width


class RmsProp:
    """RMSprop with momentum; decay is a part of the gradient."""

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self._kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def step(self, name: str, weights: np.ndarray, gradient: np.ndarray, lr: float, decay: float) -> None:
        """Change `weights` float64 in place."""
        gradient = gradient + decay * weights
        zero = np.zeros_like(weights)
        square, velocity = self._kept.get(name, (zero, zero))
        square = ALPHA * square + (1 - ALPHA) * gradient * gradient
        velocity = self.momentum * velocity + gradient / (np.sqrt(square) + EPSILON)
        self._kept[name] = square, velocity
        weights -= lr * velocity


RULES: dict[str, Callable[[float], Rule]] = {
    "sgd": Sgd,
    "adam": lambda _: Adam(decoupled=False),
    "adamw": lambda _: Adam(decoupled=True),
    "rmsprop": RmsProp,
}
