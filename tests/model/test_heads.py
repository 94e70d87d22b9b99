"""A head answers the same in torch and in numpy, and goes on with the classes that another head knew."""

import numpy as np
import pytest
import torch

from darkroom.model import classifier

LINEAR, MLP = classifier.Head("linear", 16, 0.5), classifier.Head("mlp", 16, 0.5)


@pytest.mark.parametrize("head", [LINEAR, MLP], ids=["linear", "mlp"])
def test_numpy_gives_the_logits_of_torch(head):
    values = classifier.initial(head, features=8, classes=3, seed=0)
    network = classifier.build(head, values).eval()
    features = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(classifier.logits(features, values), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", [LINEAR, MLP], ids=["linear", "mlp"])
def test_torch_gives_back_the_tensors_it_was_built_from(head):
    values = classifier.initial(head, 8, 3, seed=0)
    back = classifier.arrays(classifier.build(head, values))
    assert set(back) == set(values)
    assert all(np.array_equal(back[name], values[name]) for name in values)


def test_the_tensors_have_the_names_and_shapes_that_readers_rely_on():
    shapes = {name: value.shape for name, value in classifier.initial(LINEAR, 8, 3, 0).items()}
    assert shapes == {"0.weight": (3, 8), "0.bias": (3,)}
    shapes = {name: value.shape for name, value in classifier.initial(MLP, 8, 3, 0).items()}
    assert shapes == {"0.weight": (16, 8), "0.bias": (16,), "1.weight": (3, 16), "1.bias": (3,)}


def test_the_first_weights_follow_from_the_seed_alone():
    one, again, other = (classifier.initial(MLP, 8, 3, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert not np.array_equal(one["0.weight"], other["0.weight"])
    assert np.abs(one["0.weight"]).max() <= 8**-0.5


@pytest.mark.parametrize("head", [LINEAR, MLP], ids=["linear", "mlp"])
def test_a_head_of_more_classes_answers_as_before_for_those_it_knew(head):
    old, new = classifier.initial(head, 8, 2, seed=1), classifier.initial(head, 8, 3, seed=2)
    kept = classifier.keep_known_rows(new, ["ant", "bee", "wasp"], old, ["bee", "ant"])
    features = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    assert kept == ["ant", "bee"]
    np.testing.assert_allclose(classifier.logits(features, new)[:, [1, 0]], classifier.logits(features, old), rtol=1e-6)


def test_a_head_of_another_shape_starts_afresh():
    head, classes = classifier.initial(LINEAR, 8, 2, seed=0), ["ant", "bee"]
    before = head["0.weight"].copy()
    assert classifier.keep_known_rows(head, classes, classifier.initial(MLP, 8, 2, 1), classes) == []
    assert classifier.keep_known_rows(head, classes, classifier.initial(LINEAR, 9, 2, 1), classes) == []
    assert np.array_equal(head["0.weight"], before)
