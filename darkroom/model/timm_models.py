"""Offer the backbones of the optional `timm` package, as `timm/<name>`."""

import difflib
import math
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from darkroom.core.errors import DarkroomError, WeightsError
from darkroom.core.text import quoted

if TYPE_CHECKING:
    from torch import Tensor, nn


USUAL, LARGE = 224, 256  # pixels
TOKENS = ("dinov2", "dinov3")
FREE = ("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "bsd", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0")
CROP_MODES = {"center": "crop", "squash": "squash", "border": "border"}  # timm's name: ours


def preprocessing(name: str) -> dict[str, Any]:
    """Return the input of a timm model's default weights, as the fields of `backbones.Preprocessing`."""
    timm = _timm(name)
    config = timm.data.resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    wanted = config["input_size"][-1]
    size = _sensible_size(name, wanted, timm.get_pretrained_cfg(name).num_classes)
    config["crop_pct"] = 1.0 if size < wanted else config["crop_pct"]
    return {
        "size": size,
        "short_side": math.floor(size / config["crop_pct"]),
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
        "interpolation": config["interpolation"],
        "resize": CROP_MODES[config["crop_mode"]],
    }


def _sensible_size(name: str, size: int, classes: int) -> int:
    """Return the side for `image_size: auto`: that of the weights, but USUAL for those that take any size.

    Self-supervised transformers (DINOv2: 518 px) have features at any size and no classifier trained at one; at 224 px
    they need an eighth of the time. A size in the model's name is kept.
    """
    return USUAL if classes == 0 and size > LARGE and str(size) not in name else size


def build(name: str, image_size: int) -> "nn.Module":
    """Return the network without its classifier: images in, features out.

    The features are those that the weights were made for: the class token of DINOv2 and DINOv3, otherwise timm's.
    """
    timm = _timm(name)
    pooling = {"global_pool": "token"} if name.startswith("vit_") and any(kind in name for kind in TOKENS) else {}
    try:
        return timm.create_model(name, pretrained=False, num_classes=0, img_size=image_size, **pooling)
    except TypeError:  # most convolutional networks take any size and have no such argument
        return timm.create_model(name, pretrained=False, num_classes=0)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise DarkroomError(f"backbone: timm/{name} cannot take image_size {image_size} ({error})") from error


def published_file(name: str) -> str:
    """Download the published weights and return the path of the file. Raises WeightsError where that fails."""
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


def check_licence(name: str, accepted: str) -> None:
    """Raise WeightsError where the licence of the published weights limits their use and is not `accepted`."""
    stated = licence(name)
    if stated and stated.lower() not in FREE and stated != accepted:
        hub = _timm(name).get_pretrained_cfg(name).hf_hub_id or f"timm/{name}"
        raise WeightsError(
            f"weights: those of timm/{name} are published under {stated}, which limits their use; read it at "
            f"https://huggingface.co/{hub}, and set `accept_license: {stated}` if it allows yours"
        )


def resized(net: "nn.Module", state: "OrderedDict[str, Tensor]") -> "OrderedDict[str, Tensor]":
    """Return weights of a transformer with its position embeddings interpolated to the size of `net`, by timm."""
    convert = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    wanted = net.state_dict()
    differ = [name for name in state if name in wanted and wanted[name].shape != state[name].shape]
    if not differ or convert is None or not all("pos_embed" in name for name in differ):
        return state
    return OrderedDict(convert(dict(state), net))


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
        raise DarkroomError(f"backbone: timm has no model {quoted(name)}{hint}")
    return timm
