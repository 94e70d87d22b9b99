"""An exact body gives the same bits in every engine and is near to the float body."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from darkroom.model import backbones, builders, exact_body, tensors, weights
from darkroom.model.exact import NotExact
from darkroom.model.network import Body, pixels
from tests.model.engines import assert_same_bits
from tests.model.families import FAMILIES
from tests.model.samples import digit_images, photo_images

MNIST = Path(__file__).resolve().parents[2] / "weights/small_cnn-mnist.safetensors"
NOT_EXACT = {
    "convnext_tiny": "LayerNormalization", "maxvit_t": "LayerNormalization", "swin_t": "LayerNormalization",
    "swin_v2_t": "LayerNormalization", "vit_b_32": "LayerNormalization",
    "timm/vit_tiny_patch16_224": "LayerNormalization",
}  # fmt: skip
AS_OTHERS = ("efficientnet_v2_s", "vgg11_bn")  # the operators of efficientnet_b0 and of alexnet, and slow
EXACT = [name for name in FAMILIES if name not in NOT_EXACT and name not in AS_OTHERS]
CLOSE = {"alexnet": 0.05, "inception_v3": 0.12}  # relative, with random weights; others 0.07


@pytest.mark.parametrize("backbone", EXACT)
def test_every_engine_gives_the_same_bits_near_to_the_float_body(backbone):
    if backbone.startswith("timm/"):
        pytest.importorskip("timm", reason="needs the extra `timm`")
    size, _ = FAMILIES[backbone]
    images, _ = photo_images(10, size)
    body = Body(builders.build(backbone, size, seed=0), backbones.IMAGENET_MEAN, backbones.IMAGENET_STD).eval()
    made = exact_body.exact_body(body, images[:8])
    features = assert_same_bits(made.model, np.ascontiguousarray(images[8:, ::-1]))
    with torch.no_grad():
        expected = body(pixels(np.ascontiguousarray(images[8:, ::-1]))).numpy()
    assert np.linalg.norm(features - expected) < CLOSE.get(backbone, 0.08) * np.linalg.norm(expected)
    assert np.array_equal(features, np.rint(features.astype(np.float64) / made.unit) * made.unit)
    assert np.abs(features).max() <= made.largest


@pytest.mark.parametrize("backbone", ["convnext_tiny", "vit_b_32"])
def test_a_body_without_an_exact_form_says_why(backbone):
    size, _ = FAMILIES[backbone]
    body = Body(builders.build(backbone, size, seed=0), backbones.IMAGENET_MEAN, backbones.IMAGENET_STD).eval()
    with pytest.raises(NotExact, match=NOT_EXACT[backbone]):
        exact_body.exact_body(body, photo_images(2, size)[0])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "its weights are not finite numbers"),
        (1e38, "its values leave the range of float32"),
        (1e30, "its values leave the range of float32"),
        (1e4, r"its exact features are \d+% off those in float32"),
    ],
)
def test_weights_that_no_grid_holds_are_a_reason(value, why):
    network = builders.build("resnet18", 32, seed=0)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.data.view(-1)[0] = value
    body = Body(network, backbones.IMAGENET_MEAN, backbones.IMAGENET_STD).eval()
    with pytest.raises(NotExact, match=why):
        exact_body.exact_body(body, photo_images(4, 32)[0])


@pytest.mark.parametrize("spread", [3e-8, 1e-8])
def test_products_too_small_for_normal_numbers_are_a_reason(spread):
    """An engine that fuses or widens what it adds would give them other bits."""
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.Conv2d(wide, 8, 3, bias=False) for wide in (3, 8, 8, 8, 8)), nn.AdaptiveAvgPool2d(1))
    for parameter in network.parameters():
        parameter.data *= spread
    body = Body(nn.Sequential(network, nn.Flatten()), [0.45] * 3, [0.22] * 3).eval()
    with pytest.raises(NotExact, match=r"its exact features are \d+% off"):
        exact_body.exact_body(body, photo_images(4, 24)[0])


def test_a_variance_below_zero_is_a_reason_without_a_warning():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network[1].running_var.fill_(-1.0)
    with warnings.catch_warnings(), pytest.raises(NotExact, match="its weights are not finite numbers"):
        warnings.simplefilter("error", RuntimeWarning)
        exact_body.exact_body(Body(network, [0.45] * 3, [0.22] * 3).eval(), photo_images(4, 24)[0])


@pytest.mark.parametrize("spread", [0.0, 1e-12])
def test_a_body_of_nearly_no_weights_is_exact(spread):
    network = builders.build("small_cnn", 28, seed=0)
    for parameter in network.parameters():
        parameter.data *= spread
    body = Body(network, [0.3] * 3, [0.3] * 3).eval()
    images, _ = digit_images(6)
    assert_same_bits(exact_body.exact_body(body, images[:1]).model, images)


def test_trained_features_keep_their_direction(shared):
    images, _ = photo_images(12, 224)
    made = weights.resolve("mobilenet_v2", str(shared / "weights/mobilenet_v2.pth"), 224, 0, [], [])
    body = made.body.eval()
    features = assert_same_bits(exact_body.exact_body(body, images[:8]).model, images[8:])
    with torch.no_grad():
        expected = body(pixels(images[8:])).numpy()
    cosine = (features * expected).sum(1) / np.linalg.norm(features, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.998


def test_the_default_body_keeps_the_direction_of_its_features():
    images, _ = digit_images(96)
    body = Body(builders.build("small_cnn", 28, seed=0), [0.3] * 3, [0.3] * 3).eval()
    tensors.fill(body.net, tensors.load(MNIST))
    features = assert_same_bits(exact_body.exact_body(body, images[:64]).model, images[64:])
    with torch.no_grad():
        expected = body(pixels(images[64:])).numpy()
    cosine = (features * expected).sum(1) / np.linalg.norm(features, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.999


def test_the_same_pictures_give_the_same_file():
    images, _ = photo_images(6, 32)
    body = Body(builders.build("resnet18", 32, seed=0), backbones.IMAGENET_MEAN, backbones.IMAGENET_STD).eval()
    first, second = (exact_body.exact_body(body, images).model.SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
