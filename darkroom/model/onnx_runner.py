"""Run models/body/body.onnx with onnxruntime: uint8 images in, features (and maps) out. No torch."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from darkroom.core.errors import DarkroomError
from darkroom.images.shards import Shards

ONNX = "onnxruntime"  # what data/features says of what made them
PIXELS_A_BATCH = 32 * 224 * 224  # what is read, and sent to a node, at once
PIXELS_A_RUN = 4 * 224 * 224  # what goes through the network at once: its activations stay in the processor's cache


class Engine:
    """An onnxruntime session on the CPU; float32, and the same bits for the same number of threads."""

    def __init__(self, model: Path | bytes, threads: int) -> None:
        import onnxruntime

        if isinstance(model, Path) and not model.exists():
            raise DarkroomError(f"{model} does not exist; run `dvc repro embed` with freeze: backbone")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Threads that wait by spinning take the processor from whatever else runs, such as another queued experiment.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            str(model) if isinstance(model, Path) else model, options, providers=["CPUExecutionProvider"]
        )
        self.has_maps = "maps" in [output.name for output in self.session.get_outputs()]

    def features(self, images: np.ndarray) -> np.ndarray:
        """(n, S, S, 3) uint8 -> (n, D) float32."""
        return np.concatenate([features for (features,) in self._run(["features"], images)])

    def features_and_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(n, S, S, 3) uint8 -> (n, D) features and (n, D, h, w) maps whose average they are, or None."""
        if not self.has_maps:
            return self.features(images), None
        features, maps = zip(*self._run(["features", "maps"], images), strict=True)
        return np.concatenate(features), np.concatenate(maps)

    def _run(self, outputs: list[str], images: np.ndarray) -> Iterator[list[np.ndarray]]:
        count = max(1, PIXELS_A_RUN // (images.shape[1] * images.shape[2]))
        for start in range(0, max(1, len(images)), count):
            yield self.session.run(outputs, {"images": images[start : start + count]})


def batches(shards: Shards, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The images of `shards` in order, in batches of `count`: ((b, S, S, 3), (b,) places)."""
    for start in range(0, len(shards), count):
        places = np.arange(start, min(start + count, len(shards)))
        yield shards.rows(places), places


def batch_size(shards: Shards, pixels: int = PIXELS_A_BATCH, images: int = 256) -> int:
    """How many images are read at once, `pixels` and `images` at most: a function of their size alone."""
    size = shards.row_shape[0] if len(shards) else 1
    return max(1, min(images, pixels // (size * size)))
