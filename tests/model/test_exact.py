"""An exact body gives the same bits in every engine, is near to the float body, and no sum in it can round."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from darkroom.model import backbones, builders, exact, exact_body, tensors, weights
from darkroom.model.exact import NotExact
from darkroom.model.exact_torch import ExactModule
from darkroom.model.network import Body, pixels
from tests.model import numpy_body
from tests.model.samples import digit_images, photo_images
from tests.model.test_families import FAMILIES

MNIST = Path(__file__).resolve().parents[2] / "weights/small_cnn-mnist.safetensors"
NOT_EXACT = {
    "convnext_tiny": "LayerNormalization", "maxvit_t": "LayerNormalization", "swin_t": "LayerNormalization",
    "swin_v2_t": "LayerNormalization", "vit_b_32": "LayerNormalization",
    "timm/vit_tiny_patch16_224": "LayerNormalization",
}  # fmt: skip
AS_OTHERS = ("efficientnet_v2_s", "vgg11_bn")  # the operators of efficientnet_b0 and of alexnet, and slow
EXACT = [name for name in FAMILIES if name not in NOT_EXACT and name not in AS_OTHERS]
CLOSE = {"alexnet": 0.05, "inception_v3": 0.12}  # relative, with random weights; others 0.07


def answers(model: onnx.ModelProto, images: np.ndarray) -> dict[str, list[np.ndarray]]:
    """The outputs by every engine: onnxruntime with and without optimisation and 1 to 3 threads, torch, numpy."""
    found = {}
    levels, written = onnxruntime.GraphOptimizationLevel, model.SerializeToString()
    for level, threads in ((levels.ORT_DISABLE_ALL, 2), (levels.ORT_ENABLE_ALL, 1), (levels.ORT_ENABLE_ALL, 3)):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level, options.intra_op_num_threads = level, threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the processor
        session = onnxruntime.InferenceSession(written, options, ["CPUExecutionProvider"])
        found[f"onnxruntime {level} with {threads} threads"] = session.run(None, {"images": images})
    for dtype in (torch.float32, torch.float64):
        found[f"torch {dtype}"] = [each.numpy() for each in ExactModule(model, dtype)(torch.from_numpy(images))]
    return found | {"numpy": numpy_body.run(model, images)}


def assert_same_bits(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """Returns the features that all engines agree on."""
    found = answers(model, images)
    first = next(iter(found.values()))
    for engine, outputs in found.items():
        for one, other in zip(first, outputs, strict=True):
            assert one.tobytes() == np.ascontiguousarray(other).tobytes(), engine
    return first[0]


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


class Steps(nn.Module):
    """A convolution to eight channels, and `step` of its ReLU, or of the pixels and the convolution."""

    def __init__(self, step, reads_pixels=False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.step, self.reads_pixels = step, reads_pixels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.reads_pixels:
            return self.step(images, self.first).mean((2, 3))
        return self.second(self.step(self.first(images).relu(), self.second)).relu().mean((2, 3))


def strange(x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """Grouped, strided and dilated, with padding that differs from side to side."""
    return functional.conv2d(functional.pad(x, (1, 0, 2, 1)), conv.weight[:, :2], conv.bias, (2, 1), 3, 2, 4)


def standardised(x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    weights = conv.weight - conv.weight.mean((1, 2, 3), keepdim=True)
    return functional.conv2d(x, weights, conv.bias)


@pytest.mark.parametrize(
    "step",
    [
        strange,
        lambda x, _: functional.max_pool2d(x, 3, 2, 1, dilation=2),
        lambda x, _: x[:, :, ::2, 1::3],
        lambda x, conv: conv(x).sigmoid(),
    ],
    ids=["odd convolution", "dilated max pool", "slice with steps", "sigmoid"],
)
def test_steps_of_a_network_give_the_same_bits_in_every_engine(step):
    images, _ = photo_images(6, 23)
    body = Body(Steps(step), [0.45] * 3, [0.22] * 3).eval()
    made = exact_body.exact_body(body, images[:4])
    features = assert_same_bits(made.model, images[4:])
    with torch.no_grad():
        expected = body(pixels(images[4:])).numpy()
    assert np.linalg.norm(features - expected) < 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("step", "reads_pixels", "why"),
    [
        (lambda x, conv: x + conv(x)[:, :3], True, "Add reads pixels, which no convolution has yet read"),
        (lambda x, conv: torch.cat([x, conv(x)], 1), True, "Concat reads pixels"),
        (lambda x, _: x.flatten(2)[:, :, :4, None], True, "reads pixels"),
        (standardised, False, "its weights are computed by ReduceMean, which differs between processors"),
        (lambda x, _: x * torch.matmul(x, x.transpose(2, 3)), False, "a weight of it depends on the pictures"),
        (lambda x, conv: x * functional.conv1d(x.mean((2, 3)).reshape(-1, 1, 8), conv.weight[:, :1, 0],
                                               padding=1).reshape(-1, 8, 8, 1)[:, :, :1], False,
         "a convolution is not over rows and columns"),
    ],
)  # fmt: skip
def test_a_step_that_no_rule_knows_is_a_reason(step, reads_pixels, why):
    body = Body(Steps(step, reads_pixels), [0.45] * 3, [0.22] * 3).eval()
    with pytest.raises(NotExact, match=why):
        exact_body.exact_body(body, photo_images(4, 23)[0])


def test_a_sigmoid_may_be_the_last_step():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Sigmoid())
    images, _ = photo_images(6, 23)
    assert_same_bits(exact_body.exact_body(Body(network, [0.45] * 3, [0.22] * 3).eval(), images[:4]).model, images[4:])


def test_x_sigmoid_x_is_a_table_where_every_unit_is_too_near_to_a_tie(monkeypatch):
    images, _ = photo_images(6, 24)
    body = Body(Random(["silu"], 0, 1.0), [0.45] * 3, [0.22] * 3).eval()
    by_the_library = exact_body.exact_body(body, images[:4]).features
    monkeypatch.setattr(exact, "silu_is_safe", lambda *_: False)
    made = exact_body.exact_body(body, images[:4])
    assert "Gather" in {node.op_type for node in made.model.graph.node}
    assert_same_bits(made.model, images[4:])
    np.testing.assert_allclose(made.features, by_the_library, atol=2e-3)


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


def test_sums_that_could_leave_float32_are_a_reason():
    with pytest.raises(NotExact, match="its values leave the range of float32"):
        exact.on_grids(np.full((1, 4), 3e37), np.zeros(1), 0.0, 8.0, 2.0**-7)


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


class Random(nn.Module):
    """A network with the steps that `plan` names, one after the other."""

    def __init__(self, plan: list[str], seed: int, spread: float) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.plan, channels = plan, 3
        self.steps = nn.ModuleList()
        for name in ["conv", *plan]:
            made, channels = self._step(name, channels)
            self.steps.append(made)
        for parameter in self.parameters():
            parameter.data *= spread

    def _step(self, name: str, channels: int) -> tuple[nn.Module, int]:
        wide = 8
        match name:
            case "conv":
                return nn.Conv2d(channels, wide, 3, padding=1), wide
            case "strided":
                return nn.Conv2d(channels, wide, 3, stride=2, padding=1, bias=False), wide
            case "grouped":
                return nn.Conv2d(channels, channels, 3, padding=2, groups=channels), channels
            case "norm":
                norm = nn.BatchNorm2d(channels)
                statistics = {"running_mean": torch.rand(channels) - 0.5, "running_var": torch.rand(channels) + 0.1}
                norm.load_state_dict(statistics, strict=False)
                return norm, channels
            case "max":
                return nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), channels
            case "average":
                return nn.AvgPool2d(2, 1), channels
            case "border":
                return nn.AvgPool2d(3, 1, padding=1, count_include_pad=False), channels
        activations = {"relu": nn.ReLU(), "relu6": nn.ReLU6(), "silu": nn.SiLU(), "swish": nn.Hardswish()}
        return activations.get(name, nn.Identity()), channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images
        for name, step in zip(["conv", *self.plan], self.steps, strict=True):
            made = step(x)
            if name == "gate":
                made = x * x.mean((2, 3), keepdim=True).sigmoid()
            if name == "residual":
                made = x + x.relu()
            if name == "joined":
                made = torch.cat([x.relu(), x], 1)[:, :8]
            x = made
        return x.mean((2, 3))


STEPS = ("conv", "strided", "grouped", "norm", "max", "average", "border", "relu", "relu6", "silu", "swish", "gate",
         "residual", "joined")  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(STEPS), max_size=6), st.integers(0, 99), st.sampled_from([0.01, 1.0, 30.0]))
def test_random_networks_give_the_same_bits_in_every_engine(plan, seed, spread):
    images, _ = photo_images(6, 24)
    body = Body(Random(plan, seed, spread), [0.45] * 3, [0.22] * 3).eval()
    try:
        made = exact_body.exact_body(body, images[:4])
    except NotExact as reason:  # channels whose sizes are too far apart for one grid
        assume("% off those in float32" not in str(reason))
        raise
    assert_same_bits(made.model, images[4:])


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


def test_the_same_pictures_give_the_same_file():
    images, _ = photo_images(6, 32)
    body = Body(builders.build("resnet18", 32, seed=0), backbones.IMAGENET_MEAN, backbones.IMAGENET_STD).eval()
    first, second = (exact_body.exact_body(body, images).model.SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
