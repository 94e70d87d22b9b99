"""The optimizers of torch_optimizers in numpy, for a head that needs no torch: the same rules, in place.

Each is torch.optim's of that name with its defaults; `momentum` is the params' own. A new one is one entry in RULES.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam and AdamW (Kingma and Ba, 2015; Loshchilov and Hutter, 2019)
ALPHA = 0.99  # of RMSprop (Hinton, 2012)


class Rule(Protocol):
    """How weights follow gradients; keeps what it needs of earlier steps by the weights' name."""

    def step(self, name: str, weights: np.ndarray, gradient: np.ndarray, lr: float, decay: float) -> None:
        """Change `weights` float32 in place."""
        ...


class Sgd:
    """Descent with momentum; decay is a part of the gradient."""

    def __init__(self, momentum: float) -> None:
        self.momentum = np.float32(momentum)
        self._velocity: dict[str, np.ndarray] = {}

    def step(self, name: str, weights: np.ndarray, gradient: np.ndarray, lr: float, decay: float) -> None:
        """Change `weights` float32 in place."""
        gradient = gradient + np.float32(decay) * weights
        if self.momentum:
            old = self._velocity.get(name)
            gradient = self._velocity[name] = gradient if old is None else self.momentum * old + gradient
        weights -= np.float32(lr) * gradient


class Adam:
    """Adam; with `decoupled`, AdamW: the decay is no part of the gradient."""

    def __init__(self, decoupled: bool) -> None:
        self.decoupled = decoupled
        self._moments: dict[str, tuple[int, np.ndarray, np.ndarray]] = {}

    def step(self, name: str, weights: np.ndarray, gradient: np.ndarray, lr: float, decay: float) -> None:
        """Change `weights` float32 in place."""
        if self.decoupled:
            weights *= np.float32(1 - lr * decay)
        else:
            gradient = gradient + np.float32(decay) * weights
        zero = np.zeros_like(weights)
        steps, mean, square = self._moments.get(name, (0, zero, zero))
        steps += 1
        mean = mean + np.float32(1 - BETAS[0]) * (gradient - mean)
        square = np.float32(BETAS[1]) * square + np.float32(1 - BETAS[1]) * gradient * gradient
        self._moments[name] = steps, mean, square
        width = np.sqrt(square) / np.float32((1 - BETAS[1] ** steps) ** 0.5) + np.float32(EPSILON)
        weights -= np.float32(lr / (1 - BETAS[0] ** steps)) * mean / width


class RmsProp:
    """RMSprop with momentum; decay is a part of the gradient."""

    def __init__(self, momentum: float) -> None:
        self.momentum = np.float32(momentum)
        self._kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def step(self, name: str, weights: np.ndarray, gradient: np.ndarray, lr: float, decay: float) -> None:
        """Change `weights` float32 in place."""
        gradient = gradient + np.float32(decay) * weights
        zero = np.zeros_like(weights)
        square, velocity = self._kept.get(name, (zero, zero))
        square = np.float32(ALPHA) * square + np.float32(1 - ALPHA) * gradient * gradient
        velocity = self.momentum * velocity + gradient / (np.sqrt(square) + np.float32(EPSILON))
        self._kept[name] = square, velocity
        weights -= np.float32(lr) * velocity


RULES: dict[str, Callable[[float], Rule]] = {
    "sgd": Sgd,
    "adam": lambda _: Adam(decoupled=False),
    "adamw": lambda _: Adam(decoupled=True),
    "rmsprop": RmsProp,
}
