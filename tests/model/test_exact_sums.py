"""Whole numbers on grids: no sum of them rounds, in whatever order."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.model import exact
from darkroom.model.exact import NotExact


def test_sums_that_could_leave_float32_are_a_reason():
    with pytest.raises(NotExact, match="its values leave the range of float32"):
        exact.on_grids(np.full((1, 4), 3e37), np.zeros(1), 0.0, 8.0, 2.0**-7)


@given(st.integers(1, 400), st.integers(1, 6), st.integers(0, 999), st.floats(-6, 6))
@settings(max_examples=60, deadline=None)
def test_no_order_of_a_sum_rounds(terms, outputs, seed, scale):
    random = np.random.default_rng(seed)
    drawn, bias = random.normal(0, 2.0**scale, (outputs, terms)), random.normal(0, 1, outputs)
    unit, low, high = 2.0**-7, -1.5, 6.0
    made = exact.on_grids(drawn, bias, low, high, unit)
    ends = np.where(made.weights > 0, high, low).astype(np.float32)  # every product as large as it can be
    other_ends = np.where(ends == high, np.float32(low), np.float32(high))
    between = (np.rint(random.uniform(low, high, (outputs, terms)) / unit) * unit).astype(np.float32)
    for inputs in (ends, other_ends, between):
        products = np.concatenate([made.bias[:, None], made.weights * inputs], axis=1)
        exactly = products.astype(np.float64).sum(1)
        order = random.permutation(terms + 1)
        assert np.array_equal(np.cumsum(products[:, order], axis=1, dtype=np.float32)[:, -1], exactly)
        assert np.array_equal(np.sort(products, axis=1).cumsum(1, dtype=np.float32)[:, -1], exactly)


def test_weights_use_the_bits_there_are():
    drawn = np.random.default_rng(0).normal(size=(16, 64))
    made = exact.on_grids(drawn, np.zeros(16), 0.0, 6.0, 2.0**-7)
    whole = made.weights.reshape(16, -1) / made.step[:, None]
    most = exact.largest_sum(whole, np.zeros(16), 0.0, 6.0 * 2**7)
    assert (most < exact.LIMIT).all()
    assert (most > exact.LIMIT / 2.1).all()


def test_a_sum_that_could_overflow_is_an_error():
    whole = np.full((1, 32), 2.0**12)
    exact.check(whole, np.zeros(1), 0.0, 2.0**7 - 1)
    with pytest.raises(NotExact, match="a sum could reach 16777216 units, and a float32 holds whole numbers below"):
        exact.check(whole, np.zeros(1), 0.0, 2.0**7)
    with pytest.raises(NotExact):
        exact.check(whole + 0.5, np.zeros(1), 0.0, 1.0)


def test_a_sum_beyond_the_bound_does_round():
    """What the bound is for: one unit more than a float32 holds, and the order shows."""
    terms = np.array([2.0**24, 1.0, 1.0], np.float32)
    assert np.cumsum(terms)[-1] != np.cumsum(terms[::-1])[-1]


def test_the_sigmoids_of_the_engines_are_well_within_what_is_allowed():
    x = np.arange(-(2**14), 2**14, dtype=np.float32)[:, None] / 2**10
    node = onnx.helper.make_node("Sigmoid", ["x"], ["y"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "g", [value("x", 1, ["n", 1])], [value("y", 1, ["n", 1])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    truth = 1 / (1 + np.exp(-x.astype(np.float64)))
    for found in (session.run(None, {"x": x})[0], torch.from_numpy(x).sigmoid().numpy()):
        assert np.abs(found - truth).max() < exact.SIGMOID_ERROR / 4


def test_a_table_of_the_sigmoid_is_its_rounded_value():
    table = exact.sigmoid_table(2.0**-6, -4.0, 4.0, 12)
    x = np.arange(-256, 257) / 64
    np.testing.assert_allclose(table, 1 / (1 + np.exp(-x)), atol=2.0**-13 * 1.01)
