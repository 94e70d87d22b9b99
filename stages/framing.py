"""Resolve how a picture becomes the input of the backbone: image_size, resize, backbone, weights -> data/framing.json.

This is a separate stage, so that another backbone with the same input decodes nothing again. It runs first, so that
missing weights, params that contradict each other, and a source that DVC cannot read are reported before DVC hashes the
source.
"""

from dataclasses import dataclass
from pathlib import Path

from darkroom.core import files
from darkroom.core.params import load, param
from darkroom.core.stage import run
from darkroom.model.backbones import BACKBONES, TIMM
from darkroom.model.preprocessing import CHOICES, framing
from darkroom.model.published import weights_file
from darkroom.model.timm_models import check_licence
from darkroom.reproduction.preflight import check_source
from darkroom.training.recipe import declared


@dataclass(frozen=True)
class FramingParams:
    """The params of framing, and the source, which is checked before fetch reads it."""

    source: str = param("A card, a folder of class folders, a .csv, a .zip or a .tar of any of these")
    image_size: int | str = param("Side of the square that the model sees, in pixels; auto: what the backbone wants",
                                  also=("auto",), at_least=8, at_most=2048)  # fmt: skip
    resize: str = param("How a picture becomes a square; auto: as the weights want it, mostly crop", choices=CHOICES)
    backbone: str = param("The network that turns a picture into features", choices=BACKBONES, prefix=TIMM)
    weights: str = param("none, imagenet, package, a name of torchvision's, a file, or another run's models/classifier")
    accept_license: str = param("Licence of published weights that you accept though it limits their use")


def main(out: Path) -> str:
    """Write the fields of a Framing (darkroom/images/framing.py) to OUT."""
    params = load(FramingParams)
    if recipe := declared(Path()):
        recipe.check()  # train would find a contradiction too, when everything is decoded and embedded
    if params.weights == "imagenet" and params.backbone.startswith(TIMM):
        check_licence(params.backbone.removeprefix(TIMM), params.accept_license)
    check_source(params.source)
    chosen = framing(params.image_size, params.resize, params.backbone, params.weights)
    weights_file(params.backbone, params.weights)
    files.write_json(out, chosen.facts())
    return f"{chosen.size} px, {chosen.resize}, {chosen.interpolation}"


if __name__ == "__main__":
    run(main)
