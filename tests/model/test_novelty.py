"""Similarity to the training images: what it says of features, and that the exported graph says it bit by bit."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

from darkroom.core.errors import WeightsError
from darkroom.export.graph import add_similarity
from darkroom.model import novelty, weights
from darkroom.model.novelty import References, references, similarity
from darkroom.model.runner import TorchBody
from darkroom.model.session import open_session


def features(count: int, width: int = 64, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Return features of a few directions with noise, as a network with a ReLU gives them."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(size=(4, width))
    found = directions[rng.integers(0, 4, count)] + 0.3 * rng.normal(size=(count, width))
    return (np.maximum(found, 0) * scale).astype(np.float32)


def test_similar_features_are_near_one_and_others_are_not():
    known = references(features(200), 4)
    assert similarity(features(50, seed=1), known).min() > 0.8
    strangers = np.abs(np.random.default_rng(5).normal(size=(50, 64))).astype(np.float32)
    assert similarity(strangers, known).max() < similarity(features(50, seed=1), known).min()


def test_it_is_the_mean_cosine_to_the_nearest_five():
    known, asked = features(100), features(20, seed=1)
    units = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (asked, known)]
    expected = np.sort(units[0] @ units[1].T, axis=1)[:, -5:].mean(axis=1)
    np.testing.assert_allclose(similarity(asked, references(known, 4)), expected, atol=2e-3)


def test_the_length_of_features_does_not_count():
    known = references(features(100), 4)
    np.testing.assert_array_equal(
        similarity(features(20, seed=1), known), similarity(features(20, seed=1, scale=2.0**-20), known)
    )


def test_features_without_length_are_like_nothing_and_those_that_are_no_numbers_have_none():
    known = references(features(100), 4)
    odd = np.zeros((3, 64), np.float32)
    odd[1, 0], odd[2, 0] = np.nan, np.inf
    found = similarity(odd, known)
    assert found[0] == 0
    assert np.isnan(found[1:]).all()


def test_rare_classes_count_fewer_neighbours():
    assert references(features(500), 100).neighbours == 5
    assert references(features(500), 200).neighbours == 2
    assert references(features(3), 1000).neighbours == 1
    assert references(features(3), 1).neighbours == 3
    assert references(np.full((3, 8), np.nan, np.float32), 2) is None
    assert references(np.empty((0, 8), np.float32), 2) is None


def test_references_stay_within_their_bytes():
    for width, classes in ((128, 10), (1280, 2), (1280, 1000), (4096, 1000), (2048, 21_000)):
        assert novelty.most(width, classes) * width * 2 <= 2_500_000
    assert novelty.most(128, 10) == novelty.most(1280, 2) == 500
    assert novelty.most(128, 1000) == 5000


@pytest.mark.parametrize("width", [3, 64, 1280, 4096])
@pytest.mark.parametrize("count", [2, 300])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_exported_graph_gives_the_same_bits(width, count, threads):
    known = references(features(count, width), 4)
    asked = np.concatenate(
        [features(40, width, seed=1), features(5, width, seed=2, scale=1e-3), np.zeros((1, width), np.float32)]
    )
    graph = helper.make_graph(
        [], "features", [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", width])], [], []
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = open_session(add_similarity(model, known).SerializeToString(), threads)
    expected = similarity(asked, known)
    np.testing.assert_array_equal(session.run(["similarity"], {"features": asked})[0], expected)
    for row in range(0, len(asked), 9):
        alone = session.run(["similarity"], {"features": asked[row : row + 1]})[0]
        np.testing.assert_array_equal(alone, expected[row : row + 1])


def test_no_partial_sum_can_round():
    """Whatever the features, squares and products stay below 2**24: also where all of a row's roundings go up."""
    width = 4096
    rows = [np.full(width, 1.0), np.r_[1.0, np.full(width - 1, 0.5001 * width**-0.5)], np.eye(1, width)[0]]
    whole = novelty.whole(np.array(rows, np.float32))
    squares = np.square(whole.astype(np.float64)).sum(axis=1)
    assert (np.sqrt(squares) <= np.sqrt(novelty.SQUARES) + np.sqrt(width) / 2).all()
    assert novelty.NEIGHBOURS * (np.sqrt(novelty.SQUARES) + np.sqrt(width) / 2) ** 2 < 2**24


def test_references_are_read_back_and_a_damaged_file_is_named(tmp_path):
    assert novelty.load(tmp_path) is None
    known = references(features(20), 4)
    novelty.save(tmp_path, known)
    again = novelty.load(tmp_path)
    np.testing.assert_array_equal(again.whole, known.whole)
    assert again.neighbours == known.neighbours
    (tmp_path / novelty.FILE).write_bytes(b"cut")
    with pytest.raises(WeightsError, match=novelty.FILE):
        novelty.load(tmp_path)


def test_the_graph_is_valid_on_its_own(tmp_path):
    graph = helper.make_graph(
        [], "features", [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 8])], [], []
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    made = add_similarity(model, References(np.ones((1, 8), np.int16), 1))
    onnx.checker.check_model(made, full_check=True)


def test_parts_of_photos_are_told_from_digits_by_the_default_network():
    images = (load_digits().images * 15.9375).astype(np.uint8)
    digits = np.stack([np.asarray(Image.fromarray(image).resize((28, 28))) for image in images[:900]])
    photos = np.concatenate([load_sample_image(name)[:420, :630] for name in ("china.jpg", "flower.jpg")])
    parts = photos.reshape(12, 70, 9, 70, 3).swapaxes(1, 2).reshape(-1, 70, 70, 3)
    strangers = np.stack([np.asarray(Image.fromarray(part).resize((28, 28))) for part in parts])
    body = weights.resolve("small_cnn", "weights/small_cnn-mnist.safetensors", 28, 0, [0.13] * 3, [0.31] * 3).body
    computes = TorchBody(body, torch.device("cpu"))
    found = computes.features(np.repeat(digits[..., None], 3, axis=3))
    known = references(found[:500], 10)
    own, others = similarity(found[500:], known), similarity(computes.features(strangers), known)
    assert (others[:, None] < own).mean() > 0.95
    assert (others < np.quantile(own, 0.05)).mean() > 0.8
