"""Elementary functions, sums and products of matrices that have the same bits on every processor.

numpy's exp, log, cos and matmul differ between SIMD levels, C libraries and BLAS kernels. Two things do not: a single
IEEE 754 operation (+, -, *, /, sqrt, rint), and a sum in which no partial sum rounds. So the functions here are
polynomials of single operations, each a numpy call of its own that no compiler can contract, and a product of matrices
rounds its operands to multiples of a power of two first, so that all partial sums are whole multiples of a unit below
2**53 units: any order, SIMD width or number of threads gives the same sum. (The idea of sums that cannot round: Ozaki
et al., Numerical Algorithms 59, 2012.)

All functions take and return float64. exp is within 1.5 ulp, log within 1 ulp, cos_pi and sin_pi within 2**-50.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray[Any, np.dtype[np.float64]]

EXACT = 53  # float64 holds every whole number of up to this many bits
INPUT_BITS, WEIGHT_BITS = 15, 22  # fractional bits of features, and of weights and probabilities, in a product
ROW_BITS = 18  # of the first slice of a row of the left factor: exact features have no more
FEWEST_BITS = 8  # that must be left of the largest weight

# ln 2 in two parts: the first has so few bits that a whole number of 17 bits times it is exact.
_STEPS = 64  # table entries between two powers of two
_LN2_STEP_HIGH, _LN2_STEP_LOW = float.fromhex("0x1.62e42fefa0000p-7"), float.fromhex("0x1.cf79abc9e3b3ap-46")
_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42fefa3800p-1"), float.fromhex("0x1.ef35793c76730p-45")
_LARGEST, _SMALLEST = 709.78, -708.0  # arguments of exp whose result is a normal number


def _roots_of_two(count: int) -> Array:
    """Return 2**(j / count) for each j below `count`, which is a power of two: correctly rounded."""
    bits = 64
    powers = [1 << (bits * count + j) for j in range(count)]
    for _ in range(count.bit_length() - 1):
        powers = [math.isqrt(power) for power in powers]
    return np.array([power / (1 << bits) for power in powers])


_ROOTS = _roots_of_two(_STEPS)


def exp(x: ArrayLike) -> Array:
    """Return e**x, elementwise; 0 below -708, where numpy gives numbers down to 5e-324.

    x = (64 k + j + t) ln(2)/64 with |t| <= 1/2 gives 2**k * 2**(j/64) * e**r: a shift, a table, a polynomial in r.
    """
    values = np.asarray(x, np.float64)
    inside = np.minimum(np.maximum(values, _SMALLEST), _LARGEST)  # NaN stays NaN
    inside = np.where(np.isnan(inside), 0.0, inside)
    steps = np.rint(inside * (1 / (_LN2_STEP_HIGH + _LN2_STEP_LOW)))
    rest = (inside - steps * _LN2_STEP_HIGH) - steps * _LN2_STEP_LOW
    whole = steps.astype(np.int64)
    root = _ROOTS[whole & (_STEPS - 1)]
    tail = rest * (1 / 24 + rest * (1 / 120))
    tail = 0.5 + rest * (1 / 6 + tail)
    result = root + root * (rest + rest * rest * tail)
    result *= (((whole >> 6) + 1023) << 52).view(np.float64)
    if values.size and not (values.min() >= _SMALLEST and values.max() <= _LARGEST):
        result = np.where(values < _SMALLEST, 0.0, np.where(values > _LARGEST, np.inf, result))
        result = np.where(np.isnan(values), np.nan, result)
    return result


def log(x: ArrayLike) -> Array:
    """Return the natural logarithm, elementwise; -inf of 0, NaN of negative numbers.

    x = 2**k * (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), and log(1 + f) = 2 artanh(s), s = f / (2 + f).
    """
    values = np.asarray(x, np.float64)
    regular = (values > 0) & (values < np.inf)
    mantissa, exponent = np.frexp(np.where(regular, values, 1.0))
    low = mantissa < math.sqrt(0.5)
    fraction = np.where(low, 2.0 * mantissa, mantissa) - 1.0
    power = (exponent - low).astype(np.float64)
    s = fraction / (2.0 + fraction)
    square = s * s
    series = np.full_like(s, 2 / 23)
    for odd in range(21, 1, -2):
        series = 2 / odd + square * series
    result = power * _LN2_HIGH + (fraction - (s * (fraction - square * series) - power * _LN2_LOW))
    if not regular.all():
        special = np.where(values == 0, -np.inf, np.where(values == np.inf, np.inf, np.nan))
        result = np.where(regular, result, special)
    return result


def cos_pi(x: ArrayLike) -> Array:
    """Return cos(pi x), elementwise, for |x| below 2**52: exact at multiples of 1/2."""
    return sin_pi(np.asarray(x, np.float64) % 2.0 + 0.5)


def sin_pi(x: ArrayLike) -> Array:
    """Return sin(pi x), elementwise, for |x| below 2**52: exact at multiples of 1/2."""
    turns = np.asarray(x, np.float64) % 2.0  # exact, as is the rest of the reduction
    quarter = np.rint(turns * 2.0)
    angle = (turns - quarter * 0.5) * math.pi  # within pi/4
    square = angle * angle
    sine, cosine = np.full_like(square, 1.0), np.full_like(square, 1.0)
    for n in range(8, 0, -1):
        sine = 1.0 - square * sine / (2 * n * (2 * n + 1))
        cosine = 1.0 - square * cosine / ((2 * n - 1) * 2 * n)
    quadrant = quarter.astype(np.int64) & 3
    return np.where(quadrant & 1, cosine, angle * sine) * np.where(quadrant & 2, -1.0, 1.0)


def power(base: float, exponent: int) -> float:
    """Return `base` to a whole power of at least 0, by squaring: the C library's pow differs between systems."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def total(values: ArrayLike, axis: int = -1) -> Array:
    """Return the sum over `axis`, in a fixed order: the second half is added to the first until one row is left."""
    rest = np.asarray(values, np.float64)
    if axis not in (0, -rest.ndim):
        rest = rest.T if rest.ndim == 2 else np.moveaxis(rest, axis, 0)
    if not len(rest):
        return np.zeros(rest.shape[1:])
    while (count := len(rest)) > 1:
        half = count // 2
        folded = rest[:half] + rest[half : 2 * half]
        if count % 2:
            folded[0] += rest[-1]
        rest = folded
    return rest[0]


def softmax(logits: ArrayLike, temperature: float = 1.0) -> Array:
    """Return probabilities (…, K) of logits (…, K) divided by the temperature; each row sums to 1."""
    scaled = np.asarray(logits, np.float64) / temperature
    exponentials = exp(scaled - scaled.max(axis=-1, keepdims=True))
    return exponentials / total(exponentials)[..., None]


def log_softmax(logits: ArrayLike, temperature: float = 1.0) -> Array:
    """Return logarithms (…, K) of the probabilities of logits (…, K) divided by the temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    shifted = scaled - scaled.max(axis=-1, keepdims=True)
    return shifted - log(total(exp(shifted)))[..., None]


def round_to(values: ArrayLike, bits: int) -> Array:
    """Return the nearest multiples of 2**-bits: the grid on which sums are exact."""
    return np.rint(np.asarray(values, np.float64) * 2.0**bits) * 2.0**-bits


def product(left: ArrayLike, right: ArrayLike) -> Array:
    """Return left (n, d) @ right (d, m), to some 40 bits of the largest numbers, the same on every processor.

    Each row of `left`, and `right` as a whole, is written as a sum of two slices (Ozaki et al., 2012): the first holds
    as many leading bits as sums of products can have without rounding, the second as many of the remainder. No row
    depends on another. Raises OverflowError where a value is not finite.
    """
    values, other = np.asarray(left, np.float64), np.asarray(right, np.float64)
    rows = _power_above(np.abs(values).max(axis=1, initial=0.0))[:, None]
    whole = _power_above(np.abs(other).max(initial=0.0))
    bits = EXACT - 1 - ROW_BITS - values.shape[1].bit_length()
    high, low = _slices(values / rows, ROW_BITS)
    first, second = _slices(other / whole, bits)
    result = high @ first
    if low.any() or second.any():
        result += (high @ second) * 2.0**-bits + (low @ first) * 2.0**-ROW_BITS
    return result * 2.0 ** -(ROW_BITS + bits) * rows * whole


def _power_above(value: Array) -> Array:
    """Return a power of two above each finite magnitude, one that float64 can divide by. Raises OverflowError."""
    if not np.isfinite(value).all():
        raise OverflowError("a product of matrices that are not finite cannot be computed exactly")
    return np.ldexp(1.0, np.frexp(value)[1].clip(-1000, 1023))


def _slices(values: Array, bits: int) -> tuple[Array, Array]:
    """Return whole numbers h and l such that h + l / 2**bits is nearest to values * 2**bits, for values within 1."""
    scaled = values * 2.0**bits
    high = np.rint(scaled)
    return high, np.rint((scaled - high) * 2.0**bits)


def units(values: ArrayLike) -> Array:
    """Return the whole numbers of units of 2**-INPUT_BITS that are nearest to `values`."""
    found = np.asarray(values)
    # Float32 may be scaled by a power of two and rounded as it is: both are exact in it.
    found = found if found.dtype == np.float32 else found.astype(np.float64)
    return np.rint(found * found.dtype.type(2.0**INPUT_BITS)).astype(np.float64, copy=False)


def multiply(whole: Array, right: ArrayLike) -> Array:
    """Return whole (n, d) @ right (d, m), where `right` is rounded to multiples of 2**-WEIGHT_BITS, or more coarsely.

    `whole` holds whole numbers. `right` is rounded as coarsely as it takes for every sum of magnitudes to stay below
    2**53 units, so that no partial sum rounds. Raises OverflowError where that leaves the largest value of `right`
    fewer than FEWEST_BITS, and where a value is not finite.
    """
    other = np.asarray(right, np.float64)
    widest = float(np.abs(whole).sum(axis=1).max(initial=0.0))  # exact below 2**53; rounded above, it stays too large
    largest = float(np.abs(other).max(initial=0.0))
    bits = WEIGHT_BITS
    if not math.isfinite(widest * largest):
        raise OverflowError(f"a product of matrices up to {widest:g} and {largest:g} cannot be computed exactly")
    if widest and largest:
        magnitude = math.frexp(largest)[1]
        bits = min(bits, EXACT - 1 - math.frexp(widest)[1] - magnitude)
        if bits + magnitude < FEWEST_BITS and bits < WEIGHT_BITS:
            raise OverflowError(
                f"the right factor of a product, with values up to {largest:g}, keeps {bits + magnitude} bits, "
                f"expected at least {FEWEST_BITS}; rows of the left factor sum to {widest:g}"
            )
    others = np.rint(other * 2.0**bits)
    assert widest * float(np.abs(others).max(initial=0.0)) < 2.0**EXACT
    return (whole @ others) * 2.0**-bits


def beta(random: np.random.Generator, strength: float) -> float:
    """Return a draw from Beta(strength, strength): Jöhnk's method (1964) up to 1, Cheng's BB (1978) above."""
    a = strength
    while True:
        first, second = (1.0 - float(u) for u in random.random(2))  # in (0, 1]
        if a <= 1:
            x, y = float(log(first)) / a, float(log(second)) / a
            most = max(x, y)
            x, y = float(exp(x - most)), float(exp(y - most))
            if float(log(x + y)) + most <= 0:
                return x / (x + y)
        elif first < 1:
            v = math.sqrt(1 / a) * float(log(first / (1 - first)))
            w = a * float(exp(v))
            r = (a + math.sqrt(a)) * v - math.log(4)
            if r + 2 * a * float(log(2 * a / (a + w))) >= float(log(first * first * second)):
                return w / (a + w)
