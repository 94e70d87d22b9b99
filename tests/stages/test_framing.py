"""The framing is resolved before anything is decoded: what does not change it decodes nothing again."""

from pathlib import Path

import pytest
import yaml

from darkroom.core import files
from darkroom.core.errors import WeightsError
from darkroom.images.framing import Framing
from stages import framing
from tests.stages.pipeline import write_params

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def resolved(**params) -> Framing:
    write_params(framing, **params)
    framing.main(Path("framing.json"))
    return Framing(**files.read_json(Path("framing.json")))


def test_backbones_of_one_input_have_one_framing():
    one = resolved(image_size="auto", resize="auto", backbone="resnet50", weights="imagenet")
    digest = files.sha256(Path("framing.json"))
    assert one == Framing(224, "crop", 232)
    assert resolved(image_size="auto", resize="auto", backbone="mobilenet_v2", weights="imagenet") == one
    assert files.sha256(Path("framing.json")) == digest
    assert resolved(image_size="auto", resize="auto", backbone="efficientnet_b0", weights="imagenet") != one


def test_weights_whose_licence_limits_their_use_stop_before_they_are_fetched():
    pytest.importorskip("timm", reason="needs the extra `timm`")
    params = {"backbone": "timm/vit_small_patch16_dinov3", "weights": "imagenet", "image_size": "auto"}
    params |= {"resize": "auto"}
    message = (
        r"those of timm/vit_small_patch16_dinov3 are published under dinov3-license, which limits their use; "
        r"read it at https://huggingface.co/timm/.*`accept_license: dinov3-license`"
    )
    with pytest.raises(WeightsError, match=message):
        resolved(**params)
    with pytest.raises(WeightsError, match="dinov3-license"):
        resolved(**params, accept_license="mit")
    assert resolved(**params, accept_license="dinov3-license").size == 256
    assert resolved(**params | {"weights": "none"}).size == 256
    assert resolved(**params | {"backbone": "timm/resnet18"}).size == 224


def test_what_is_decoded_depends_on_no_param_of_the_model_or_of_augmentation():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert stages["preprocess"]["params"] == ["source", "max_rejects"]
    links = {path.name for path in (ROOT / "stages/code/preprocess").iterdir()}
    assert "darkroom.images.augment" not in links
    assert not {name for name in links if name.startswith("darkroom.model.")}
    assert "plots/samples.png" in stages["embed"]["outs"]
