"""Published ImageNet weights as a verified local file."""

import os
from pathlib import Path

from darkroom import runtime
from darkroom.errors import WeightsError
from darkroom.model import catalog, timm_models


def fetch(backbone: str, weights: str) -> Path:
    """The path of the published `weights` (imagenet, or a name) of `backbone`. Raises WeightsError when offline."""
    if backbone.startswith(catalog.TIMM):
        if weights != "imagenet":
            raise WeightsError(
                f"weights is {weights!r}; for a timm backbone expected none, imagenet, or an existing file"
            )
        return Path(timm_models.published_file(backbone.removeprefix(catalog.TIMM)))
    entry = catalog.published(backbone, weights)
    for folder in _folders():
        if (folder / entry.file).exists():
            return folder / entry.file
    raise WeightsError(
        f"weights: {weights}: {entry.file} is not in {_folders()[-1]}; fetch {entry.url} into that folder, or set "
        "weights to the file"
    )


def _folders() -> list[Path]:
    """Where the file may lie: the folder of downloads, then the one that torch itself uses."""
    downloads = runtime.from_environment().downloads
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    hub = Path(os.environ.get("TORCH_HOME", cache / "torch")) / "hub" / "checkpoints"
    return [*([downloads] if downloads else []), hub]
