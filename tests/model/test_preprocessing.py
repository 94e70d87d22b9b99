"""What the decoder gives a backbone is what torchvision's and timm's own transforms give it, on real photos."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images
from torchvision import models

from darkroom.core.errors import WeightsError
from darkroom.images.colour import to_srgb
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.model import timm_models
from darkroom.model.preprocessing import framing

CLOSE = 1.0  # of 255, the mean over a picture: at most 0.92 over 396 photos
TORCHVISION = ["mobilenet_v2", "resnet18", "efficientnet_b0", "efficientnet_b3", "swin_t", "swin_v2_t", "vit_b_16"]
TIMM = [
    "tf_efficientnet_lite0",  # bicubic, mean and std 0.5
    "tf_efficientnet_lite2",  # 260 px, a crop of 0.89
    "resnet50.a1_in1k",  # a crop of 0.95: 235.8 px, which is rounded down
    "vit_base_patch16_siglip_224.webli",  # squash
    "vit_base_patch16_clip_224.openai",  # a mean and std of its own
]


@pytest.fixture(scope="module")
def files(request):
    """Return the bytes of real photos of many sizes: those of ../shared, or parts of scikit-learn's two in other
    shapes."""
    try:
        folder = request.getfixturevalue("shared") / "data/hymenoptera"
    except pytest.skip.Exception:
        return [_jpeg(Image.fromarray(image).crop(box)) for image in load_sample_images().images
                for box in ((0, 0, 640, 427), (100, 0, 421, 427), (0, 101, 640, 354))]  # fmt: skip
    fine_texture = "desert_ant.jpg"  # shows a shift of a quarter of a pixel
    return [path.read_bytes() for number, path in enumerate(sorted(folder.rglob("*.jpg")))
            if number % 16 == 0 or path.name == fine_texture]  # fmt: skip


def _jpeg(image, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """Return the picture as a person opens it for a library: upright, in sRGB."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return to_srgb(picture.convert("RGB"), picture.info.get("icc_profile", b""))


def differences(files, transform, mean, std, chosen: Framing) -> list[float]:
    """Return the mean difference of each picture in 255ths between a library's transform and the decoder."""
    mean, std = (torch.tensor(value).reshape(3, 1, 1) for value in (mean, std))
    theirs = [((transform(opened(data)) * std + mean) * 255).permute(1, 2, 0).numpy() for data in files]
    return [float(np.abs(decode(data, chosen) - other).mean()) for data, other in zip(files, theirs, strict=True)]


@pytest.mark.parametrize("backbone", TORCHVISION)
def test_photos_are_those_of_torchvisions_transforms(files, backbone):
    transform = models.get_model_weights(backbone).DEFAULT.transforms()
    chosen = framing("auto", "auto", backbone, "imagenet")
    apart = differences(files, transform, transform.mean, transform.std, chosen)
    assert max(apart) < CLOSE, apart
    assert np.mean(apart) < 0.3


@pytest.mark.parametrize("name", TIMM)
def test_photos_are_those_of_timms_create_transform(files, name):
    timm = pytest.importorskip("timm")
    config = timm.data.resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    transform = timm.data.create_transform(**config)
    chosen = framing("auto", "auto", f"timm/{name}", "imagenet")
    apart = differences(files, transform, config["mean"], config["std"], chosen)
    assert max(apart) < CLOSE, apart
    assert np.mean(apart) < 0.3


@pytest.mark.parametrize("crop_pct", [1.0, 0.9])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
def test_each_crop_mode_of_timm_is_known_with_a_margin_too(files, mode, crop_pct):
    timm = pytest.importorskip("timm")
    transform = timm.data.create_transform(
        (3, 224, 224), crop_pct=crop_pct, crop_mode=mode, interpolation="bicubic", mean=(0.0,) * 3, std=(1.0,) * 3
    )
    chosen = Framing(224, timm_models.CROP_MODES[mode], int(224 / crop_pct), "bicubic")
    assert max(differences(files, transform, (0.0,) * 3, (1.0,) * 3, chosen)) < CLOSE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_cut_where_the_upright_one_is(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(load_sample_images().images[0]).crop((0, 0, 601, 387))
    data = _jpeg(picture, exif=exif, subsampling=0)
    transform = models.get_model_weights("resnet18").DEFAULT.transforms()
    chosen = framing("auto", "auto", "resnet18", "imagenet")
    assert max(differences([data], transform, transform.mean, transform.std, chosen)) < 0.3


def test_the_network_gives_the_same_answers_as_on_timms_own_pixels(shared, files):
    timm = pytest.importorskip("timm")
    from safetensors.torch import load_file

    name = "tf_efficientnet_lite0"
    network = timm.create_model(name).eval()
    network.load_state_dict(load_file(shared / f"weights/{name}.safetensors"))
    config = timm.data.resolve_data_config({}, model=network)
    transform = timm.data.create_transform(**config)
    chosen = framing("auto", "auto", f"timm/{name}", str(shared / f"weights/{name}.safetensors"))
    ours = np.stack([decode(data, chosen) for data in files]).astype(np.float32) / 255
    mean, std = np.float32(config["mean"]), np.float32(config["std"])
    with torch.no_grad():
        theirs = network(torch.stack([transform(opened(data)) for data in files])).argmax(1)
        found = network(torch.from_numpy((ours - mean) / std).permute(0, 3, 1, 2)).argmax(1)
    assert (found == theirs).all()
    assert len(set(theirs.tolist())) > 3


def test_the_interpolation_belongs_to_the_weights_whatever_the_size():
    assert framing(160, "crop", "efficientnet_b0", "imagenet") == Framing(160, "crop", 183, "bicubic")
    assert framing(160, "pad", "mobilenet_v2", "imagenet") == Framing(160, "pad", 183, "bilinear")


def test_a_framing_of_defaults_is_written_as_it_always_was():
    assert framing("auto", "auto", "small_cnn", "none").facts() == {"size": 28, "resize": "crop", "short_side": 28}
    bicubic = framing("auto", "auto", "efficientnet_b0", "imagenet")
    assert bicubic.facts() == {"size": 224, "resize": "crop", "short_side": 256, "interpolation": "bicubic"}
    assert Framing(**bicubic.facts()) == bicubic


def test_a_border_has_the_colour_that_the_weights_call_the_mean(tmp_path):
    chosen = Framing(64, "border", 64, fill=(124, 116, 104))
    assert Framing(**chosen.facts()) == chosen
    pixels = decode(_jpeg(Image.new("RGB", (64, 32), "white")), chosen)
    assert pixels[0, 0].tolist() == [124, 116, 104]
    assert pixels[32, 32].min() > 250


def test_weights_that_are_not_there_are_found_before_anything_is_decoded():
    with pytest.raises(WeightsError, match=r"nowhere.pth does not exist; expected none, imagenet"):
        framing(64, "crop", "resnet18", "nowhere.pth")
