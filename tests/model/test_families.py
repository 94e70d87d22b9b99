"""One model of every family: built, trained for a step, exported, and run as embed runs it, at a size it can take."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from darkroom.core.errors import DarkroomError
from darkroom.core.exactmath import softmax
from darkroom.export import answers
from darkroom.export.graph import join, parse, write
from darkroom.model import backbones, builders, classifier, onnx_export
from darkroom.model.network import Body, pixels
from darkroom.model.runner import OnnxBody
from darkroom.model.session import open_session
from tests.model.families import FAMILIES
from tests.model.samples import empty_backbone, network, photo_images


def test_every_family_is_here():
    def family(name):
        if name.startswith(("resnext", "wide_resnet")):
            return "resnet"  # the same code with other widths
        return name.rstrip("0123456789").split("_")[0].rstrip("0123456789")

    missing = {family(name): name for name in backbones.BACKBONES}
    for name in FAMILIES:
        missing.pop(family(name), None)
    assert missing == {}, "add one of each, and a size to test it at, to FAMILIES"


@pytest.mark.parametrize("backbone", FAMILIES)
def test_builds_trains_exports_embeds_and_is_handed_over(backbone, tmp_path):
    size, averaged = FAMILIES[backbone]
    if backbone.startswith("timm/"):
        pytest.importorskip("timm", reason="needs the extra `timm`")
    images, labels = photo_images(3, size)
    whole = network(backbone, size).train()
    body = whole.body

    optimizer = torch.optim.SGD(whole.parameters(), lr=1e-3)
    functional.cross_entropy(whole(pixels(images)), torch.from_numpy(labels)).backward()
    assert all(value.grad is not None and torch.isfinite(value.grad).all() for value in whole.parameters())
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)

    whole.eval()
    model = onnx_export.export(body, size)
    assert not [path for path in (Path(torch.__file__).parents[1], Path.cwd()) if str(path).encode() in model]
    answered, maps = OnnxBody(model, threads=1).features_and_maps(images)
    with torch.no_grad():
        expected = body(pixels(images)).numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(answered, expected, rtol=1e-3, atol=1e-4 * scale)
    assert (maps is not None) is averaged
    if maps is not None:
        np.testing.assert_allclose(maps.mean((2, 3)), answered, rtol=1e-3, atol=1e-4 * scale)

    # The whole exported model agrees too. Random weights give features of any scale: this head makes logits of them.
    weight = np.random.default_rng(0).normal(0, 2 / np.linalg.norm(expected, axis=1).mean(), (4, expected.shape[1]))
    head = {"0.weight": weight.astype(np.float32), "0.bias": np.arange(4, dtype=np.float32)}
    trained = softmax(classifier.logits(expected, head), 0.8)
    write(join(parse(model, "body"), head, 0.8), tmp_path / "model.onnx")
    exported = open_session(tmp_path / "model.onnx", 1).run(["probabilities"], {"images": images})[0]
    answers.require(trained, exported, ["a", "b", "c"])


def test_a_network_that_no_onnx_file_holds_is_refused_before_any_work():
    body = Body(empty_backbone("vit_h_14", 518), backbones.IMAGENET_MEAN, backbones.IMAGENET_STD)
    with pytest.raises(DarkroomError, match=r"its 2\.5 GB of weights do not fit into one ONNX file"):
        onnx_export.export(body, 518)


@pytest.mark.parametrize("size", [1, 2, 5, 7, 13, 14])
def test_pooling_by_products_is_torch_s_adaptive_pooling(size):
    maps = torch.rand(2, 3, size, size + 1)
    torch.testing.assert_close(builders.FixedPool(7)(maps), functional.adaptive_avg_pool2d(maps, 7))
