"""Published ImageNet weights as a verified local file."""

import os
from pathlib import Path

from darkroom.core import runtime
from darkroom.core.errors import SourceError, WeightsError
from darkroom.model import backbones, timm_models
from darkroom.sources.download import FIRST_WAIT, Remote, obtain


def fetch(backbone: str, weights: str, first_wait: float = FIRST_WAIT) -> Path:
    """The path of the published `weights` (imagenet, or a name) of `backbone`, downloaded where it is not here yet.

    The hash in a file's name is checked. Raises WeightsError, which says how to get the file, when offline.
    """
    if backbone.startswith(backbones.TIMM):
        if weights != "imagenet":
            raise WeightsError(f"weights is {weights!r}; a timm backbone takes none, imagenet, or an existing file")
        return Path(timm_models.published_file(backbone.removeprefix(backbones.TIMM)))
    entry = backbones.published(backbone, weights)
    prefix = Path(entry.file).stem.rpartition("-")[2]
    try:
        remote = Remote(entry.file, (entry.url,), "sha256", prefix, says="its name")
        return obtain(remote, runtime.from_environment().downloads, _cache(), first_wait)
    except SourceError as error:
        raise WeightsError(f"weights: {weights}: {error}; or set weights to the file") from error


def _cache() -> Path:
    """The folder in which torch itself keeps downloaded weights: what is there already is not fetched again."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("TORCH_HOME", cache / "torch")) / "hub" / "checkpoints"
