"""timm's self-supervised transformers: the class token as the feature, at a sensible size, from weights of another."""

import pytest
import torch

from darkroom.model import backbones, timm_models, weights

timm = pytest.importorskip("timm", reason="the extra `timm` is not installed")


@pytest.mark.parametrize(("name", "size"), [
    ("vit_small_patch14_dinov2.lvd142m", 224), ("vit_small_patch14_reg4_dinov2", 224),  # made at 518 px
    ("vit_small_patch16_dinov3", 256), ("vit_base_patch16_siglip_512", 512), ("vit_tiny_patch16_224", 224),
    ("tf_efficientnet_b5", 456), ("resnet18", 224),
])  # fmt: skip
def test_image_size_auto_is_that_of_the_weights_unless_they_take_any(name, size):
    assert backbones.preprocessing(f"timm/{name}", "imagenet").size == size


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch16_dinov3"])
def test_the_feature_of_a_self_supervised_transformer_is_its_class_token(name):
    torch.manual_seed(0)
    net = timm_models.build(name, 56 if "14" in name else 64).eval()
    pictures = torch.rand(2, 3, *[56 if "14" in name else 64] * 2)
    with torch.no_grad():
        assert torch.equal(net(pictures), net.forward_features(pictures)[:, 0])


def test_position_embeddings_of_another_size_are_interpolated_as_timm_does(tmp_path):
    name = "vit_tiny_patch16_224"
    torch.manual_seed(0)
    large = timm.create_model(name, num_classes=0, img_size=128)
    torch.save(large.state_dict(), tmp_path / "large.pth")
    body = weights.resolve(f"timm/{name}", str(tmp_path / "large.pth"), 64, 0, (0.5,) * 3, (0.2,) * 3).body
    expected = timm.layers.resample_abs_pos_embed(large.pos_embed, [4, 4], num_prefix_tokens=1)
    assert torch.allclose(body.net.pos_embed, expected, atol=1e-6)


def test_weights_of_another_network_are_still_named(tmp_path):
    torch.save(timm.create_model("vit_small_patch16_224", num_classes=0, img_size=64).state_dict(), tmp_path / "x.pth")
    with pytest.raises(weights.WeightsError, match=r"has shape .*use the weights of this backbone and size"):
        weights.resolve("timm/vit_tiny_patch16_224", str(tmp_path / "x.pth"), 64, 0, (0.5,) * 3, (0.2,) * 3)


@pytest.mark.parametrize(("name", "licence"), [
    ("vit_small_patch14_dinov2", None), ("resnet18", None), ("vit_small_patch16_dinov3", "dinov3-license"),
    ("convnext_tiny.dinov3_lvd1689m", "dinov3-license"),
])  # fmt: skip
def test_licences_that_limit_the_use_are_asked_for(name, licence):
    if licence is None:
        return timm_models.check_licence(name, "")
    with pytest.raises(weights.WeightsError, match=f"set `accept_license: {licence}` if it allows yours"):
        timm_models.check_licence(name, "")
    return timm_models.check_licence(name, licence)
