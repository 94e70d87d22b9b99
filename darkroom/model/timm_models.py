"""The backbones of the optional `timm` package, as `timm/<name>`."""

import difflib
import math
from typing import TYPE_CHECKING, Any

from darkroom.core.errors import DarkroomError, WeightsError

if TYPE_CHECKING:
    from torch import nn


CROP_MODES = {"center": "crop", "squash": "squash", "border": "border"}  # timm's name: ours


def preprocessing(name: str) -> dict[str, Any]:
    """Return what the default weights of a timm model want, the fields of `backbones.Preprocessing`."""
    timm = _timm(name)
    config = timm.data.resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    size = config["input_size"][-1]
    return {
        "size": size,
        "short_side": math.floor(size / config["crop_pct"]),
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
        "interpolation": config["interpolation"],
        "resize": CROP_MODES[config["crop_mode"]],
    }


def build(name: str, image_size: int) -> "nn.Module":
    """The network without its classifier: images in, features out."""
    timm = _timm(name)
    try:
        return timm.create_model(name, pretrained=False, num_classes=0, img_size=image_size)
    except TypeError:  # most convolutional networks take any size and have no such argument
        return timm.create_model(name, pretrained=False, num_classes=0)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise DarkroomError(f"backbone: timm/{name} cannot take image_size {image_size} ({error})") from error


def published_file(name: str) -> str:
    """Download the published weights and give the path of the file. Raises WeightsError when that fails."""
    timm = _timm(name)
    hub = timm.get_pretrained_cfg(name).hf_hub_id
    if not hub:
        raise WeightsError(f"weights: imagenet: timm publishes no weights of {name}; use none or a file")
    from huggingface_hub import hf_hub_download

    try:
        return hf_hub_download(hub, "model.safetensors")
    except Exception as error:
        raise WeightsError(
            f"weights: imagenet: {hub} cannot be fetched from the Hugging Face Hub ({type(error).__name__}); offline, "
            f"fetch https://huggingface.co/{hub}/resolve/main/model.safetensors elsewhere and set weights to that file"
        ) from error


def licence(name: str) -> str | None:
    """Return the licence of the published weights as timm states it (apache-2.0, …); None where it does not."""
    return getattr(_timm(name).get_pretrained_cfg(name), "license", None)


def _timm(name: str) -> Any:
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise DarkroomError(
            f"backbone: timm/{name} needs the extra `timm`; run `.venv/bin/pip install -e '.[timm]'`"
        ) from error
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1, cutoff=0.4)
        hint = f"; did you mean `timm/{near[0]}`?" if near else ""
        raise DarkroomError(f"backbone: timm has no model {name!r}{hint}")
    return timm
