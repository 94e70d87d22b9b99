"""A head answers the same in torch and in numpy, and goes on with the classes that another head knew."""

import numpy as np
import pytest
import torch

from darkroom.model import heads

LINEAR, MLP = heads.Head("linear", 16, 0.5), heads.Head("mlp", 16, 0.5)


@pytest.mark.parametrize("head", [LINEAR, MLP], ids=["linear", "mlp"])
def test_numpy_gives_the_logits_of_torch(head):
    network = heads.build(head, features=8, classes=3, seed=0).eval()
    features = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(heads.logits(features, heads.tensors(network)), expected, rtol=1e-5, atol=1e-6)


def test_the_tensors_have_the_names_that_readers_rely_on():
    assert set(heads.tensors(heads.build(LINEAR, 8, 3, 0))) == {"0.weight", "0.bias"}
    shapes = {name: value.shape for name, value in heads.tensors(heads.build(MLP, 8, 3, 0)).items()}
    assert shapes == {"0.weight": (16, 8), "0.bias": (16,), "1.weight": (3, 16), "1.bias": (3,)}


def test_the_first_weights_follow_from_the_seed_alone():
    torch.manual_seed(7)
    one = heads.tensors(heads.build(MLP, 8, 3, seed=1))
    torch.manual_seed(8)
    again, other = heads.tensors(heads.build(MLP, 8, 3, seed=1)), heads.tensors(heads.build(MLP, 8, 3, seed=2))
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert not np.array_equal(one["0.weight"], other["0.weight"])


@pytest.mark.parametrize("head", [LINEAR, MLP], ids=["linear", "mlp"])
def test_a_head_of_more_classes_answers_as_before_for_those_it_knew(head):
    old = heads.tensors(heads.build(head, 8, 2, seed=1))
    network = heads.build(head, 8, 3, seed=2).eval()
    kept = heads.keep_known_rows(network, ["ant", "bee", "wasp"], old, ["bee", "ant"])
    features = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    new = heads.logits(features, heads.tensors(network))
    assert kept == ["ant", "bee"]
    np.testing.assert_allclose(new[:, [1, 0]], heads.logits(features, old), rtol=1e-6)


def test_a_head_of_another_shape_starts_afresh():
    network = heads.build(LINEAR, 8, 2, seed=0)
    before = heads.tensors(network)
    assert (
        heads.keep_known_rows(network, ["ant", "bee"], heads.tensors(heads.build(MLP, 8, 2, 1)), ["ant", "bee"]) == []
    )
    assert heads.keep_known_rows(network, ["ant"], heads.tensors(heads.build(LINEAR, 9, 1, 1)), ["ant"]) == []
    assert np.array_equal(heads.tensors(network)["0.weight"], before["0.weight"])
