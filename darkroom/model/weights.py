"""Load the weights of a body: random, from a published file, another file, or an earlier run; checked before use.

What a training script saved is searched for one network: nested, under prefixes, beside other networks.
"""

import re
import struct
import warnings
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from darkroom.core import files
from darkroom.core.errors import WeightsError
from darkroom.core.progress import say
from darkroom.model import backbones, builders, published, tensors, timm_models
from darkroom.model.classifier import SavedClassifier
from darkroom.model.network import Body

# What zipfile and the unpickler raise for damaged files.
DAMAGED = (
    AssertionError, AttributeError, EOFError, LookupError, OSError, OverflowError, RuntimeError, TypeError, ValueError,
    struct.error, zipfile.BadZipFile,
)  # fmt: skip
PICKLED = (".pth", ".pt", ".bin", ".tar", ".ckpt")
# Classifiers of other label sets, and auxiliary ones for training from scratch: never part of a body.
NOT_BODY = re.compile(r"^(fc|classifier|head|heads|head\.fc|heads\.head|aux1|aux2|AuxLogits)\.")
DENSE_LAYER = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")
DEPTH = 4  # of nested dictionaries
AVERAGE = "ema"  # in the names of a moving average of the weights, which timm and others prefer, too
State = OrderedDict[str, Tensor]


@dataclass(frozen=True)
class Resolved:
    """A body with its weights, the facts for body.json, and the classifier of the run that made the weights, if any."""

    body: Body
    facts: dict[str, Any]
    earlier: SavedClassifier | None


def resolve(
    backbone: str, weights: str, image_size: int, seed: int, train_mean: Iterable[float], train_std: Iterable[float]
) -> Resolved:
    """Return the body of `backbone` with `weights`; from scratch, mean and std are those of the training split."""
    source = published.weights_file(backbone, weights)
    sha256 = None if source is None else files.sha256(source)
    preprocessing = backbones.preprocessing(backbone, weights)
    net = builders.build(backbone, image_size, seed)
    features = builders.features_of(net, image_size)
    if source is not None:
        _check_backbone(backbone, weights)
        _load(net, source, backbone, image_size)
    mean = preprocessing.mean or tuple(train_mean)
    std = preprocessing.std or tuple(train_std)
    facts = {
        "backbone": backbone,
        "weights": Path(weights).name if backbones.is_file(weights) else weights,
        "weights_sha256": sha256,
        "mean": [float(value) for value in mean],
        "std": [float(value) for value in std],
        "image_size": image_size,
        "features": features,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
    }
    if weights == "imagenet" and backbone.startswith(backbones.TIMM):
        facts["weights_licence"] = timm_models.licence(backbone.removeprefix(backbones.TIMM)) or "not stated"
    earlier = SavedClassifier.load(Path(weights)) if backbones.is_file(weights) and Path(weights).is_dir() else None
    return Resolved(Body(net, mean, std), facts, earlier)


def read(path: Path, wanted: Iterable[str] = ()) -> "OrderedDict[str, Tensor]":
    """Return the tensors of a .safetensors file or of a pickled state_dict, by name: those that fit the names `wanted`.

    Raises WeightsError.
    Pickles are read with `weights_only`, which never runs code from the file.
    """
    if path.suffix == ".safetensors":
        return state_of(_safetensors(path), frozenset(wanted), path)
    if path.suffix not in PICKLED:
        raise WeightsError(f"weights: {path} is not a file of weights; expected .safetensors or {', '.join(PICKLED)}")
    try:
        _reject_torchscript(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise WeightsError(
            f"weights: {path} holds more than tensors, or is not a state_dict; it is not read, because such a file can "
            "run code; where it was made, save `model.state_dict()` and use that"
        ) from error
    except DAMAGED as error:
        raise WeightsError(f"weights: {path} is damaged or cut short; fetch it again") from error
    return state_of(state, frozenset(wanted), path)


def _safetensors(path: Path) -> "OrderedDict[str, Tensor]":
    try:
        return OrderedDict(load_file(path))
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"weights: {path} is damaged or cut short ({error}); fetch or make it again") from error


def _check_backbone(backbone: str, weights: str) -> None:
    own = backbones.facts_of(Path(weights)) if backbones.is_file(weights) else None
    if own is not None and own["backbone"] != backbone:
        raise WeightsError(f"weights: {weights} holds a {own['backbone']}, backbone is {backbone}; make the two agree")


def _reject_torchscript(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("constants.pkl") for name in archive.namelist()):
            raise WeightsError(
                f"weights: {path} is a TorchScript archive (a program), expected a state_dict; where it was made, save "
                "`model.state_dict()` and use that"
            )


def _load(net: nn.Module, path: Path, backbone: str, image_size: int) -> None:
    wanted = net.state_dict()
    state = read(path, wanted)
    if not hasattr(state, "_metadata") and (tensors_are_own(path) or backbone.startswith("mnasnet")):
        state._metadata = wanted._metadata  # type: ignore[attr-defined]
    state = published.renamed(backbone, state)
    if backbone.startswith("densenet"):  # the names that older versions of torchvision saved
        state = _renamed(state)
    if backbone.startswith(backbones.TIMM):
        state = timm_models.resized(net, state)
    if backbone.startswith("vit_"):
        state = _resized_positions(state, wanted, image_size)
    for name in [name for name in state if name not in wanted and NOT_BODY.match(name)]:
        del state[name]
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, value)
        elif name in state and state[name].shape != value.shape:
            raise WeightsError(
                f"weights: {path}: {name} has shape {tuple(state[name].shape)}, {backbone} at {image_size} px wants "
                f"{tuple(value.shape)}; use the weights of this backbone and size"
            )
    try:
        missing, surplus = net.load_state_dict(state, strict=False)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"weights: {path} does not fit {backbone} ({reason}); is it of another model?") from error
    if missing or surplus:
        faults = " and ".join(filter(None, [_some("lacks", missing), _some("has the surplus", surplus)]))
        raise WeightsError(f"weights: {path} does not fit {backbone}: it {faults}; is it of another model?")
    for name, value in net.state_dict().items():
        if not torch.isfinite(value).all():
            raise WeightsError(f"weights: {path}: {name} holds numbers that are not finite; fetch or make it again")


def tensors_are_own(path: Path) -> bool:
    """Return whether a run of this pipeline wrote the file."""
    return path.suffix == ".safetensors" and tensors.facts(path) is not None


def _some(verb: str, names: list[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{verb} {', '.join(names[:2])}{more}" if names else ""


def _renamed(state: "OrderedDict[str, Tensor]") -> "OrderedDict[str, Tensor]":
    for name in list(state):
        old = DENSE_LAYER.match(name)
        if old:
            state[old[1] + old[2]] = state.pop(name)
    return state


def _resized_positions(
    state: "OrderedDict[str, Tensor]", wanted: Mapping[str, Tensor], image_size: int
) -> "OrderedDict[str, Tensor]":
    """Return a ViT's position embeddings, interpolated to another image size as torchvision does it."""
    name = "encoder.pos_embedding"
    if name not in state or state[name].shape == wanted[name].shape:
        return state
    from torchvision.models.vision_transformer import interpolate_embeddings

    return interpolate_embeddings(image_size, wanted["conv_proj.weight"].shape[-1], state)


def state_of(saved: Any, wanted: frozenset[str], path: Path) -> State:
    """Return the tensors that fit the names `wanted` best, without the prefix that they have in the file.

    A prefix is what DataParallel, Lightning, torch.compile or a class of the user's own put before the names. Of two
    networks that fit, a moving average is taken, and said. Raises WeightsError for two others, and for no tensors.
    """
    held = [(place, tensors) for place, tensors in _state_dicts(saved, "", DEPTH) if tensors]
    if not held:
        raise WeightsError(f"weights: {path} holds no state_dict (names and tensors); save `model.state_dict()`")
    fits = [(count, place, prefix, tensors) for place, tensors in held
            for prefix, count in _prefixes(tensors, wanted).items()]  # fmt: skip
    most = max((count for count, *_ in fits), default=0)
    if not most or most * 2 < len(wanted):  # of another network, or under older names: the caller sees which
        return max((tensors for _, tensors in held), key=len)
    best = {place + prefix: (prefix, tensors) for count, place, prefix, tensors in fits if count == most}
    averages = [name for name in best if AVERAGE in name.lower()]
    if len(best) > 1 and len(averages) != 1:
        names = ", ".join(name.rstrip(".") or "its top level" for name in best)
        raise WeightsError(f"weights: {path} holds {len(best)} networks that fit ({names}); save the state_dict of one")
    chosen = averages[0] if len(best) > 1 else next(iter(best))
    if len(best) > 1:
        say(f"note: {path} holds {len(best)} networks that fit; the moving average `{chosen.rstrip('.')}` is taken")
    return _without(*best[chosen])


def _state_dicts(saved: Any, place: str, depth: int) -> Iterator[tuple[str, State]]:
    """Yield (place, tensors) of each dictionary in `saved`, from the outermost one on."""
    if not isinstance(saved, Mapping) or not depth:
        return
    tensors: State = OrderedDict((str(name), value) for name, value in saved.items() if isinstance(value, Tensor))
    if hasattr(saved, "_metadata"):
        tensors._metadata = saved._metadata  # type: ignore[attr-defined]
    yield place, tensors
    for name, value in saved.items():
        yield from _state_dicts(value, f"{place}{name}.", depth - 1)


def _prefixes(names: Collection[str], wanted: frozenset[str]) -> Counter[str]:
    """Count the names of which `wanted` holds what follows a prefix, by prefix."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for depth in range(len(parts)):
            if ".".join(parts[depth:]) in wanted:
                counts["".join(f"{part}." for part in parts[:depth])] += 1
    return counts


def _without(prefix: str, tensors: State) -> State:
    state: State = OrderedDict(
        (name.removeprefix(prefix), value) for name, value in tensors.items() if name.startswith(prefix)
    )
    if hasattr(tensors, "_metadata"):  # the versions of modules by name; a prefix without its dot is the network's
        state._metadata = OrderedDict(  # type: ignore[attr-defined]
            (name.removeprefix(prefix[:-1]).removeprefix("."), value)
            for name, value in tensors._metadata.items() if f"{name}.".startswith(prefix)
        )  # fmt: skip
    return state
