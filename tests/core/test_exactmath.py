"""Functions and sums with the same bits everywhere: close to the true values, exact where they say so."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from operator import mul

import numpy as np
import pytest
from scipy.stats import kstest

from darkroom.core import exactmath
from tests.core.processors import PROCESSORS, hash_on

HASHED = """
import hashlib, numpy as np
from darkroom.core import exactmath as e
r = np.random.default_rng(0)
x = r.random((200, 64)) * 40 - 20
parts = [e.exp(x), e.log(np.abs(x) + 1e-9), e.cos_pi(x), e.sin_pi(x), e.softmax(x, 1.3), e.log_softmax(x, 0.7),
         e.total(x, 0), e.product(x, r.random((64, 33)) - 0.5), [e.beta(r, a) for a in (0.2, 0.2, 1, 3, 3)]]
print(hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest())
"""


def test_one_hash_on_every_processor_that_can_be_imitated():
    assert len({hash_on(changes, ["-c", HASHED]) for changes in PROCESSORS.values()}) == 1


def ulps(found: np.ndarray, expected: list[Decimal]) -> float:
    return max(
        float(abs(Decimal(float(value)) - true) / Decimal(math.ulp(float(true))))
        for value, true in zip(found, expected, strict=True)
    )


def test_exp_and_log_are_within_an_ulp_of_the_true_value():
    random = np.random.default_rng(0)
    x = np.concatenate([random.uniform(-708, 709, 300), random.uniform(-1, 1, 300), [0.0, 1e-300, -1e-17]])
    positive = np.concatenate(
        [np.exp(x[:300]), random.uniform(0.5, 2, 300), [1.0, 5e-324, 1.7e308, math.nextafter(1, 0)]]
    )
    with localcontext() as context:
        context.prec = 50
        assert ulps(exactmath.exp(x), [Decimal(float(value)).exp() for value in x]) < 1.5
        expected = [Decimal(float(value)).ln() for value in positive if value != 1]
        assert ulps(exactmath.log(positive[positive != 1]), expected) < 1
    assert exactmath.exp(0.0) == 1
    assert exactmath.log(1.0) == 0


def test_constants_are_ln_2():
    with localcontext() as context:
        context.prec = 60
        true = Decimal(2).ln()
        for high, low, parts in (
            (exactmath._LN2_HIGH, exactmath._LN2_LOW, 1),
            (exactmath._LN2_STEP_HIGH, exactmath._LN2_STEP_LOW, 64),
        ):
            assert abs((Decimal(high) + Decimal(low)) * parts / true - 1) < Decimal("1e-27")
        for j in range(64):
            assert float(exactmath._ROOTS[j]) == float((true * j / 64).exp())


def test_special_values_are_as_numpys():
    x = np.array([-np.inf, np.inf, np.nan, -1000.0, 1000.0])
    np.testing.assert_array_equal(exactmath.exp(x), [0, np.inf, np.nan, 0, np.inf])
    np.testing.assert_array_equal(exactmath.log([0.0, np.inf, np.nan, -1.0]), [-np.inf, np.inf, np.nan, np.nan])
    assert exactmath.exp(np.empty((0, 3))).shape == (0, 3)


def test_cos_and_sin_are_exact_at_half_turns_and_close_between():
    x = np.random.default_rng(0).uniform(-5, 5, 1000)
    np.testing.assert_allclose(exactmath.cos_pi(x), np.cos(np.pi * x), atol=4e-15)
    np.testing.assert_allclose(exactmath.sin_pi(x), np.sin(np.pi * x), atol=4e-15)
    np.testing.assert_array_equal(exactmath.cos_pi([0, 0.5, 1, 1.5, 2, -1]), [1, 0, -1, 0, 1, -1])
    np.testing.assert_array_equal(exactmath.sin_pi([0, 0.5, 1, 1.5, 2, -0.5]), [0, 1, 0, -1, 0, -1])


def test_power_is_what_multiplying_gives():
    assert exactmath.power(0.9, 0) == 1
    assert exactmath.power(0.999, 1000) == pytest.approx(0.999**1000, rel=1e-13)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 1000, 1025])
def test_total_is_the_sum_along_any_axis(count):
    values = np.random.default_rng(0).normal(size=(count, 3))
    np.testing.assert_allclose(exactmath.total(values, 0), values.sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(exactmath.total(values.T), values.sum(axis=0), atol=1e-12)


def test_softmax_sums_to_one_and_log_softmax_is_its_logarithm():
    logits = np.random.default_rng(0).normal(size=(50, 7)) * 30
    found = exactmath.softmax(logits, 2.0)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-15)
    np.testing.assert_allclose(np.log(found), exactmath.log_softmax(logits, 2.0), atol=1e-12)


def test_a_product_of_factors_on_their_grids_is_the_true_one():
    random = np.random.default_rng(0)
    left, right = random.integers(0, 2**18, (20, 300)), random.integers(-(2**22), 2**22, (300, 4))
    expected = np.array([[sum(map(int.__mul__, row, column)) for column in right.T.tolist()] for row in left.tolist()])
    assert np.abs(expected).max() < 2**53
    np.testing.assert_array_equal(exactmath.product(left / 2.0**9, right / 2.0**20), expected / 2.0**29)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_a_product_is_near_to_the_true_one_and_no_order_changes_it(kind):
    random = np.random.default_rng(0)
    left, right = getattr(random, kind)(size=(20, 1300)), random.normal(size=(1300, 4))
    found = exactmath.product(left, right)
    true = [[float(sum(map(mul, map(Fraction, row), map(Fraction, column)))) for column in right.T] for row in left]
    largest = np.abs(left).max() * np.abs(right).max()
    np.testing.assert_allclose(found, true, rtol=0, atol=2.0**-36 * 1300**0.5 * largest)
    order = random.permutation(1300)
    np.testing.assert_array_equal(exactmath.product(left[:, order], right[order]), found)


@pytest.mark.parametrize(("size", "weights"), [(1e-6, 1e4), (1e5, 1e-7), (1e-30, 1.0), (1.0, 1e-30)])
def test_a_product_is_as_precise_whatever_the_size_of_its_factors(size, weights):
    random = np.random.default_rng(1)
    left, right = random.normal(size=(20, 300)) * size, random.normal(size=(300, 4)) * weights
    np.testing.assert_allclose(exactmath.product(left, right), left @ right, rtol=0, atol=1e-8 * size * weights)


def test_a_row_of_a_product_does_not_depend_on_the_others():
    random = np.random.default_rng(2)
    left, right = random.normal(size=(20, 300)) * 10.0 ** np.arange(-10, 10)[:, None], random.normal(size=(300, 4))
    alone = [exactmath.product(row[None], right)[0] for row in left[:10]]
    np.testing.assert_array_equal(exactmath.product(left[:10], right), alone)


def test_a_product_of_large_numbers_gives_up_bits_before_exactness():
    random = np.random.default_rng(0)
    left, right = np.rint(random.normal(size=(5, 2000)) * 2.0**22), random.normal(size=(2000, 3)) * 20
    found = exactmath.multiply(left, right)
    np.testing.assert_allclose(found, left @ right, rtol=1e-3, atol=2.0**14)
    order = random.permutation(2000)
    np.testing.assert_array_equal(exactmath.multiply(left[:, order], right[order]), found)


def test_a_product_that_cannot_be_exact_is_an_error():
    with pytest.raises(OverflowError, match=r"keeps -?\d+ bits, expected at least 8"):
        exactmath.multiply(np.full((1, 10), 2.0**45), np.ones((10, 1)))
    for largest in (np.inf, np.nan):
        with pytest.raises(OverflowError, match="cannot be computed exactly"):
            exactmath.product(np.ones((1, 10)), np.full((10, 1), largest))


@pytest.mark.parametrize("strength", [0.1, 0.4, 1.0, 2.5])
def test_beta_draws_from_the_beta_distribution(strength):
    random = np.random.default_rng(0)
    draws = [exactmath.beta(random, strength) for _ in range(3000)]
    assert kstest(draws, "beta", args=(strength, strength)).pvalue > 0.01
