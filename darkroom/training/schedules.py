"""Compute schedules: the factor of `lr` at each step, and the decay of the running mean of the weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from darkroom.core import exactmath

PLATEAU_PATIENCE = 2  # epochs without a better monitor, before the rate is cut
PLATEAU_FACTOR = 0.3
STEPS = 3  # times that `step` divides the rate by ten, at equal distances


def constant(done: float) -> float:
    """Return 1 throughout."""
    del done
    return 1.0


def step(done: float) -> float:
    """Drop to a tenth at each third of the way: 1, 0.1, 0.01."""
    return exactmath.power(0.1, min(STEPS - 1, math.floor(done * STEPS + 1e-9)))


def cosine(done: float) -> float:
    """Fall from 1 to 0 along half a cosine (Loshchilov and Hutter, 2017)."""
    return 0.5 * (1 + _cos_pi(done))


def onecycle(done: float) -> float:
    """Rise from 1/25 to 1 in the first 30 %, then fall to nearly 0 (Smith and Topin, 2018)."""
    up = 0.3
    if done < up:
        return 1 / 25 + (1 - 1 / 25) * 0.5 * (1 - _cos_pi(done / up))
    return 1e-4 + (1 - 1e-4) * 0.5 * (1 + _cos_pi((done - up) / (1 - up)))


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "onecycle": onecycle,
    "plateau": constant,  # cut by Plateau, at the end of an epoch
}
SETTLING = ("step", "cosine", "onecycle")  # the rate falls to next to nothing, and the weights hardly move at the end


def factor(schedule: str, at: float, epochs: float, warmup: float) -> float:
    """Return the factor of `lr` after `at` epochs, 0 <= at < epochs: a rise in `warmup` epochs, then the schedule."""
    if at < warmup:
        return (at + 1e-3) / (warmup + 1e-3)
    return SCHEDULES[schedule]((at - warmup) / (epochs - warmup))


def ema_decay(decay: float, update: int) -> float:
    """Return the decay at update number `update` (from 1), lower at first, to forget the initial weights sooner."""
    return min(decay, (1 + update) / (10 + update))


def _cos_pi(x: float) -> float:
    return float(exactmath.cos_pi(x))


@dataclass
class Plateau:
    """Cut the rate when the monitor has not improved for PLATEAU_PATIENCE epochs. Kept in checkpoints."""

    factor: float = 1.0
    waited: int = 0

    def epoch_ended(self, better: bool) -> None:
        """Count an epoch; `better`: it is the best so far."""
        self.waited = 0 if better else self.waited + 1
        if self.waited > PLATEAU_PATIENCE:
            self.factor *= PLATEAU_FACTOR
            self.waited = 0
