"""The body in use: from pixels to features (and maps), by ONNX Runtime where embed exported it, otherwise by torch."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from darkroom.data.shards import Shards

if TYPE_CHECKING:
    import torch

    from darkroom.model.network import Body

BATCH = 32


class Looker(Protocol):
    """Anything that turns images (n, S, S, 3) uint8 into features (n, D) float32."""

    def features(self, images: np.ndarray) -> np.ndarray:
        """(n, D) float32."""

    def with_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Features, and the maps (n, D, h, w) whose average they are, or None where there are none."""


class OnnxBody:
    """models/body/body.onnx: what embed ran, so its answers are the cached features."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def features(self, images: np.ndarray) -> np.ndarray:
        """(n, D) float32."""
        return self.session.run(["features"], {"images": images})[0]

    def with_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Features and maps; the export has a `maps` output only where the features are its average."""
        if "maps" not in self.outputs:
            return self.features(images), None
        features, maps = self.session.run(["features", "maps"], {"images": images})
        return features, maps


class TorchBody:
    """A torch body in eval mode, in float32, whatever precision it was trained in."""

    def __init__(self, body: "Body", device: "torch.device") -> None:
        self.body, self.device = body.eval().to(device), device

    def features(self, images: np.ndarray) -> np.ndarray:
        """(n, D) float32."""
        import torch

        from darkroom.model.network import pixels

        with torch.inference_mode():
            return self.body(pixels(images, self.device)).float().cpu().numpy()

    def with_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Features and maps, None where the features are no average of a map."""
        import torch

        from darkroom.model.network import pixels

        with torch.inference_mode():
            features, maps = self.body.with_maps(pixels(images, self.device))
        return features.cpu().numpy(), None if maps is None else maps.cpu().numpy()


def in_batches(items: np.ndarray, size: int = BATCH) -> Iterator[np.ndarray]:
    """Slices of at most `size` rows."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def features_of(body: Looker, batches: Iterable[np.ndarray]) -> np.ndarray:
    """The features (n, D) of images that come in batches; (0, 0) without a batch."""
    parts = [body.features(images) for images in batches]
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def cached_features(folder: Path) -> tuple[np.ndarray, Shards] | None:
    """View 0 of the features in a folder of shards, (n, D), and the shards; None where embed wrote none."""
    shards = Shards(folder)
    if not len(shards):
        return None
    return shards.rows(np.arange(len(shards)))[:, 0], shards
