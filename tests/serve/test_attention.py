import io

import numpy as np
import pytest
from PIL import Image

from darkroom.app import Predictor
from darkroom.model import classifier, heatmaps
from darkroom.serve.service import Service
from darkroom.serve.settings import Settings
from tests.export import small


@pytest.mark.parametrize("hidden", [0, 6])
def test_class_activation_is_the_gradient_of_the_logit_by_each_place_of_the_map(hidden):
    generator = np.random.default_rng(0)
    maps = generator.random((8, 4, 4)).astype(np.float64)
    head = small.head(3, hidden=hidden)

    def logit(of: np.ndarray) -> float:
        features = of.mean((1, 2))[None]
        out = features @ head["0.weight"].T + head["0.bias"]
        if hidden:
            out = np.maximum(out, 0) @ head["1.weight"].T + head["1.bias"]
        return float(out[0, 1])

    assert logit(maps) == pytest.approx(float(classifier.logits(maps.mean((1, 2))[None], head)[0, 1]), abs=1e-4)
    gradient = np.empty(8)
    for channel in range(8):
        moved = maps.copy()
        moved[channel] += 1e-5  # every place of the channel: the mean moves by as much
        gradient[channel] = (logit(moved) - logit(maps)) / 1e-5
    expected = np.maximum(np.tensordot(gradient, maps, axes=1), 0)
    heat = heatmaps.class_activation(maps.astype(np.float32), head, 1)
    np.testing.assert_allclose(heat, expected / max(expected.max(), 1e-12), atol=1e-3)


def test_occlusion_finds_the_patch_that_counts():
    def predict(images: np.ndarray) -> np.ndarray:
        right = images[:, 8:16, 24:32].mean((1, 2, 3)) / 255
        return np.stack([1 - right, right], axis=1)

    image = np.zeros((64, 64, 3), np.uint8)
    image[8:16, 24:32] = 255
    heat = heatmaps.occlusion(image, 1, predict)
    assert heat.shape == (8, 8)
    assert np.unravel_index(heat.argmax(), heat.shape) == (1, 3)
    assert heat.sum() == pytest.approx(1, abs=1e-6)


def test_a_model_without_a_map_is_explained_by_occlusion(tmp_path):
    folder = small.export(tmp_path, ["a", "b"], maps=False)
    predictor = Predictor(folder, threads=1)
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    assert predictor.heat(image).shape == (8, 8)
    assert Service(predictor, Settings()).explain_cost == 65
    assert Service(predictor, Settings(queue=8)).explain_cost == 8


def test_the_picture_is_bright_where_the_heat_is():
    heat = np.zeros((7, 7), np.float32)
    heat[1, 5] = 1
    drawn = Image.open(io.BytesIO(heatmaps.picture(np.full((64, 64, 3), 90, np.uint8), heat))).convert("L")
    assert drawn.size == (448, 448)
    pixels = np.asarray(drawn)
    assert np.unravel_index(pixels.argmax(), pixels.shape) == pytest.approx((96, 352), abs=20)
    assert pixels[440, 10] < 90
