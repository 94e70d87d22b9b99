"""The framing is resolved before anything is decoded: what does not change it decodes nothing again."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from darkroom.core import files
from darkroom.core.errors import ParamsError, SourceError, WeightsError
from darkroom.images.framing import Framing
from darkroom.model import preprocessing
from darkroom.model.timm_models import check_licence
from stages import framing
from tests.stages.pipeline import write_params

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def resolved(**params) -> Framing:
    Path("pictures").mkdir(exist_ok=True)
    write_params(framing, **params)
    framing.main(Path("framing.json"))
    return Framing(**files.read_json(Path("framing.json")))


def test_backbones_of_one_input_have_one_framing():
    one = preprocessing.framing("auto", "auto", "resnet50", "imagenet")
    assert one == Framing(224, "crop", 232)
    assert preprocessing.framing("auto", "auto", "mobilenet_v2", "imagenet") == one
    assert preprocessing.framing("auto", "auto", "efficientnet_b0", "imagenet") != one
    resolved(image_size="auto", resize="auto", backbone="resnet50")
    digest = files.sha256(Path("framing.json"))
    resolved(image_size="auto", resize="auto", backbone="mobilenet_v2")
    assert files.sha256(Path("framing.json")) == digest


def test_it_is_the_first_stage_and_stops_at_a_source_that_is_not_there_before_dvc_opens_it():
    assert next(iter(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])) == "framing"
    with pytest.raises(SourceError, match=r"^source is fotos, which does not exist; expected a folder, archive, table"):
        resolved(source="fotos")
    os.mkfifo("pictures/1.jpg")
    with pytest.raises(SourceError, match=r"pictures/1\.jpg is a pipe between programs"):
        resolved()


@pytest.mark.parametrize(("weights", "reason"), [
    ("nowhere.pth", "weights: nowhere.pth does not exist"),
    ("package", "weights: package: there is none for small_cnn"),
    ("net-0a1b2c3d.pth", "its sha256 begins with e3b0c442, its name says 0a1b2c3d"),
    ("earlier", r"weights: earlier/body.safetensors does not exist"),
])  # fmt: skip
def test_weights_that_cannot_be_had_stop_the_first_stage(weights, reason):
    Path("net-0a1b2c3d.pth").touch()
    Path("earlier").mkdir()
    facts = {"image_size": 28, "short_side": 28, "mean": [0.5] * 3, "std": [0.5] * 3}
    files.write_json(Path("earlier/model.json"), facts | {"framing": {"short_side": 28}})
    with pytest.raises(WeightsError, match=reason):
        resolved(weights=weights)


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
    check_licence("vit_small_patch16_dinov3", "dinov3-license")
    check_licence("resnet18", "")
    assert preprocessing.framing("auto", "auto", params["backbone"], "imagenet").size == 256
    assert resolved(**params | {"weights": "none"}).size == 256


def test_what_is_decoded_depends_on_no_param_of_the_model_or_of_augmentation():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert stages["preprocess"]["params"] == ["source", "max_rejects"]
    links = {path.name for path in (ROOT / "stages/code/preprocess").iterdir()}
    assert "darkroom.images.augment" not in links
    assert not {name for name in links if name.startswith("darkroom.model.")}
    assert "plots/samples.png" in stages["embed"]["outs"]


def test_params_that_contradict_each_other_are_found_before_anything_is_decoded():
    shutil.copy(ROOT / "params.schema.json", "params.schema.json")
    text = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("freeze: backbone", "freeze: none").replace("epoch: 0", "epoch: 2"))
    with pytest.raises(ParamsError, match="thaw_epoch has nothing to thaw with freeze: none"):
        framing.main(Path("framing.json"))
    assert not Path("framing.json").exists()
