"""Choose units in which sums never round, so that every processor, library and number of threads gives the same bits.

A float32 holds every whole number up to 2^24. Where each operand of a sum of products is a whole multiple of a power
of two (its unit) and no partial sum reaches 2^24 products of units, no addition rounds: any order, any SIMD width and
any fused multiply-add give the same result. This module chooses the units and checks the bound; exact_graph.py writes
the network. The idea of error-free slices is that of Ozaki et al., Numerical Algorithms 59 (2012). Needs numpy alone.

Every decision here uses whole numbers or single IEEE operations, so it too is the same on every processor.
"""

import math
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import numpy as np

from darkroom.core.errors import DarkroomError

LIMIT = 2**24  # a float32 holds every whole number below it
FINEST, COARSEST = 14, 6  # bits of an activation, at most and at least
SMALLEST, LARGEST = 2.0**-126, 2.0**127  # magnitudes at which products are normal numbers, and sums are finite
SIGMOID_ERROR = 2.0**-20  # error allowed to a library's float32 sigmoid; the worst one measured has a quarter of it
FRACTION_BITS = 30  # of the fixed-point numbers in which magnitudes are added up


class NotExact(DarkroomError):
    """Report, in a few words, why a network cannot be written with exact sums."""


@dataclass(frozen=True)
class Weights:
    """Weights (O, …) and bias (O,), float32, on grids: output o's are multiples of step[o] and unit * step[o]."""

    weights: np.ndarray
    bias: np.ndarray
    step: np.ndarray


def on_grids(weights: np.ndarray, bias: np.ndarray, low: float, high: float, unit: float) -> Weights:
    """Round `weights` (O, …) and `bias` (O,) so that their sums over inputs in [low, high] on `unit` are exact.

    Each output has the finest step, a power of two, for which no partial sum can reach LIMIT products of units.
    """
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise NotExact("its weights are not finite numbers")
    parts = [_on_grids(weights[rows], bias[rows], low, high, unit) for rows in _blocks(weights)]
    return Weights(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _on_grids(
    weights: np.ndarray, bias: np.ndarray, low: float, high: float, unit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    step = ceil_power(_reach(flat, low, high) + np.abs(bias)) / (LIMIT * unit)
    step = np.maximum(step, max(2.0**-100, SMALLEST / unit))  # of an output without weights, or of nearly none
    while True:
        n, b = np.rint(flat / step[:, None]), np.rint(bias / (unit * step))
        over = largest_sum(n, b, low / unit, high / unit) >= LIMIT  # what rounding added
        if not over.any():
            break
        step = np.where(over, step * 2, step)
    check(n, b, low / unit, high / unit)
    if (step * unit).max(initial=0) * LIMIT > LARGEST:
        raise NotExact("its values leave the range of float32")
    rounded = (n * step[:, None]).reshape(weights.shape)
    return rounded.astype(np.float32), (b * step * unit).astype(np.float32), step


def largest_sum(weights: np.ndarray, bias: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the largest magnitude (O,) of any partial sum of whole weights (O, I) times inputs in [low, high].

    In whatever order the terms are added, what has been added is a subset of them: at most all that are positive.
    """
    products = weights * high, weights * low
    most = np.maximum(np.maximum(*products), 0).sum(1) + np.maximum(bias, 0)
    least = np.minimum(np.minimum(*products), 0).sum(1) + np.minimum(bias, 0)
    return np.maximum(most, -least)


def check(weights: np.ndarray, bias: np.ndarray, low: float, high: float) -> None:
    """Raise NotExact unless every operand is a whole number and no partial sum can reach LIMIT."""
    whole = all((value == np.rint(value)).all() for value in (weights, bias, np.array([low, high])))
    most = float(largest_sum(weights, bias, low, high).max(initial=0))
    if not whole or most >= LIMIT:
        raise NotExact(f"a sum could reach {most:.0f} units, and a float32 holds whole numbers below {LIMIT}")


def choose_unit(squares: float, low: float, high: float, consumers: list[tuple[np.ndarray, int]]) -> float:
    """Choose the unit of an activation in [low, high] with the mean square `squares` that makes the error least.

    `consumers`: the weights (O, …) that it is multiplied by, and the number of input values of each sum. With a unit u,
    rounding activations adds u²/12 Σw² to an output's variance; the step of the weights, reach / (2^24 u), adds
    step²/12 Σx². Their sum is least where u⁴ = Σx² Σreach² / (2^48 Σw²).
    """
    finest = ceil_power(max(-low, high)) / 2.0**FINEST
    coarsest = ceil_power(max(-low, high)) / 2.0**COARSEST
    error_weights = error_steps = 0.0
    for weights, fan_in in consumers:
        for rows in _blocks(weights):
            flat = weights[rows].reshape(len(weights[rows]), -1).astype(np.float64)
            error_weights += _sum(flat**2)
            error_steps += fan_in * squares * _sum(_reach(flat, low, high) ** 2)
    if not error_weights or not error_steps:
        return float(finest)
    _, exponent = math.frexp(error_steps / error_weights / LIMIT**2)
    return float(min(max(2.0 ** ((exponent + 1) // 4), finest), coarsest))


def mean_square(values: np.ndarray, low: float, high: float) -> float:
    """Return the mean of values² in [low, high], to 10 bits: a sum of whole numbers, the same in any order."""
    scale = np.float32(2.0**10 / ceil_power(max(-low, high, 2.0**-60)))
    whole = np.rint(np.clip(values, np.float32(low), np.float32(high)) * scale).astype(np.int32)
    return float(np.sum(whole * whole, dtype=np.int64)) / float(scale) ** 2 / max(1, values.size)


def bounds(values: np.ndarray, margin: float) -> tuple[float, float]:
    """Return a range around `values`, wider by `margin` (1.25: a quarter), whose ends have 4 bits. Raises NotExact."""
    if not np.isfinite(values).all():
        raise NotExact("its values on the calibration pictures are not finite numbers")
    low, high = min(0.0, float(values.min(initial=0))), max(0.0, float(values.max(initial=0)))
    return -_few_bits(-low * margin), _few_bits(high * margin)


def ceil_power(value: Any) -> Any:
    """Return the smallest power of two that is at least each `value`, none of which is negative; 1 for 0."""
    mantissa, exponent = np.frexp(value)
    powers = np.ldexp(1.0, np.where(mantissa == 0.5, exponent - 1, exponent))
    return powers if np.ndim(value) else float(powers)


def sigmoid_table(unit: float, low: float, high: float, bits: int) -> np.ndarray:
    """Return the sigmoid of each multiple of `unit` in [low, high], rounded to `bits` bits after the point: float32."""
    indices = np.arange(round(low / unit), round(high / unit) + 1)
    return np.array([np.rint(float(_sigmoid(int(n), unit)) * 2.0**bits) / 2.0**bits for n in indices], np.float32)


def silu_table(unit: float, low: float, high: float, out_unit: float) -> np.ndarray:
    """Return x sigmoid(x) of each multiple x of `unit` in [low, high], rounded to multiples of `out_unit`: float32."""
    indices = range(round(low / unit), round(high / unit) + 1)
    return np.array([np.rint(_silu(n, unit) / out_unit) * out_unit for n in indices], np.float32)


def silu_is_safe(unit: float, low: float, high: float, out_unit: float) -> bool:
    """Return whether x sigmoid(x), rounded to `out_unit`, is the same in any library for each multiple x of `unit`.

    It is unless a value lies so near to the middle between two multiples that SIGMOID_ERROR could move it across.
    """
    for n in range(round(low / unit), round(high / unit) + 1):
        exact = _silu(n, unit) / out_unit
        error = abs(n * unit) / out_unit * SIGMOID_ERROR + abs(exact) * 2.0**-23
        if abs(exact - math.floor(exact) - 0.5) <= error:
            return False
    return True


def _silu(n: int, unit: float) -> float:
    return float(Decimal(n * unit) * _sigmoid(n, unit))


def _sigmoid(n: int, unit: float) -> Decimal:
    context = Context(prec=25)  # decimal's exp is correctly rounded: the same everywhere
    return context.divide(1, 1 + context.exp(context.multiply(Decimal(-n), Decimal(unit))))


def _reach(flat: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the largest magnitude (O,) of sums of the weights (O, I) times inputs in [low, high], by whole numbers."""
    scale = ceil_power(np.abs(flat).max(1, initial=0)) / 2.0**FRACTION_BITS
    whole = np.rint(flat / scale[:, None]).astype(np.int64)
    positive, negative = (np.maximum(part, 0).sum(1) * scale for part in (whole, -whole))
    return np.maximum(positive * high - negative * low, negative * high - positive * low)


def _sum(values: np.ndarray) -> float:
    """Add up positive numbers to FRACTION_BITS bits, by whole numbers."""
    scale = ceil_power(float(values.max(initial=0))) / 2.0**FRACTION_BITS
    return float(np.rint(values / scale).astype(np.int64).sum()) * float(scale)


def _blocks(weights: np.ndarray) -> list[slice]:
    """Return slices of the outputs with some 4 million weights each, which bounds the memory."""
    count = max(1, 4_000_000 // max(1, weights[0].size))
    return [slice(start, start + count) for start in range(0, len(weights), count)]


def _few_bits(value: float) -> float:
    if value <= 0:
        return 0.0
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.ceil(mantissa * 16) / 16, exponent)
