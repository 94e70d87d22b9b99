"""Run a body: from pixels to features (and maps), with onnxruntime where embed exported it, otherwise with torch."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from darkroom.core.errors import DarkroomError, is_out_of_memory
from darkroom.core.progress import say
from darkroom.core.runtime import Runtime, torch_device
from darkroom.images.shards import Shards
from darkroom.model.classifier import SavedClassifier
from darkroom.model.session import open_session

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from darkroom.model.network import Body

ONNX, EXACT = "onnxruntime", "exact"  # the engine in data/features; exact: the same bits in torch
PIXELS_A_BATCH = 32 * 224 * 224  # read, and sent to a node, at once
PIXELS_A_RUN = 2 * 224 * 224  # through the network at once: its activations stay in the processor's cache
MOST_RUNS = PIXELS_A_BATCH // PIXELS_A_RUN  # at the same time: those of a batch


class BodyRunner(Protocol):
    """A body that maps images (n, S, S, 3) uint8 to features (n, D) float32."""

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return (n, D) float32."""

    def features_and_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return features, and the maps (n, D, h, w) whose average they are, or None where there are none."""


class OnnxBody:
    """A body's ONNX file in an onnxruntime session on the CPU, in float32.

    Parts of a batch run side by side, each on one thread: several threads would hardly speed up the many short
    operations of an exact body.
    """

    def __init__(self, model: Path | bytes, threads: int) -> None:
        if isinstance(model, Path) and not model.exists():
            raise DarkroomError(f"{model} does not exist; run `dvc repro embed` with freeze: backbone")
        runs = min(threads, MOST_RUNS)
        # Threads that spin while they wait would take the processor from other programs, such as another experiment.
        self.session = open_session(model, threads // runs, spin=False)
        self._pool = ThreadPoolExecutor(runs)
        self.has_maps = "maps" in [output.name for output in self.session.get_outputs()]

    def features(self, images: np.ndarray) -> np.ndarray:
        """Map (n, S, S, 3) uint8 to (n, D) float32."""
        return np.concatenate([features for (features,) in self._run(["features"], images)])

    def features_and_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Map (n, S, S, 3) uint8 to (n, D) features and (n, D, h, w) maps whose average they are, or None."""
        if not self.has_maps:
            return self.features(images), None
        features, maps = zip(*self._run(["features", "maps"], images), strict=True)
        return np.concatenate(features), np.concatenate(maps)

    def _run(self, outputs: list[str], images: np.ndarray) -> Iterator[list[np.ndarray]]:
        count = max(1, PIXELS_A_RUN // (images.shape[1] * images.shape[2]))
        parts = [images[start : start + count] for start in range(0, max(1, len(images)), count)]
        return self._pool.map(lambda part: self.session.run(outputs, {"images": part}), parts)


class TorchBody:
    """A torch body in eval mode on `device`, in float32, whatever precision it was trained in."""

    def __init__(self, body: "Body", device: "torch.device") -> None:
        import torch

        self.body, self.device = body.eval().to(device), device
        if device.type == "cuda":
            self.body = self.body.to(memory_format=torch.channels_last)
        self._parts = _Parts()

    def features(self, images: np.ndarray) -> np.ndarray:
        """Map (n, S, S, 3) uint8 to (n, D) float32."""
        return self.tensor(self._pixels(images)).float().cpu().numpy()

    def features_and_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return features and maps, None where the features are not an average of a map."""
        import torch

        with torch.inference_mode():
            features, maps = self.body.with_maps(self._pixels(images))
        return features.cpu().numpy(), None if maps is None else maps.cpu().numpy()

    def tensor(self, images: "Tensor") -> "Tensor":
        """Map (n, 3, S, S) float32 in 0..1 on the device to (n, D) float32 there."""
        import torch

        with torch.inference_mode():
            return torch.cat(self._parts.run(self.body, images))

    def _pixels(self, images: np.ndarray) -> "Tensor":
        from darkroom.model.network import pixels

        return pixels(images, self.device)


def trained_body(saved: SavedClassifier, runtime: Runtime) -> TorchBody:
    """Return the body of a network that was trained together with its head."""
    from darkroom.model.network import load_network

    return TorchBody(load_network(saved.folder).body, torch_device(runtime))


class ExactTorchBody:
    """A body's exact ONNX file on a GPU, with the bits that onnxruntime gives on a CPU."""

    def __init__(self, model: Path, device: "torch.device") -> None:
        import onnx

        from darkroom.model.exact_torch import ExactModule

        self.body, self.device, self._parts = ExactModule(onnx.load(model)).to(device), device, _Parts()

    def features(self, images: np.ndarray) -> np.ndarray:
        """Map (n, S, S, 3) uint8 to (n, D) float32."""
        return np.concatenate([outputs[0].cpu().numpy() for outputs in self._run(images)])

    def features_and_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return features, and the maps whose average they are, or None."""
        columns = [
            np.concatenate([part.cpu().numpy() for part in each]) for each in zip(*self._run(images), strict=True)
        ]
        return columns[0], columns[1] if len(columns) > 1 else None

    def _run(self, images: np.ndarray) -> "list[tuple[Tensor, ...]]":
        from darkroom.images.batches import on_device

        return self._parts.run(self.body, on_device(images, self.device))


class _Parts:
    """Run a body on a batch, in smaller parts once a GPU's memory did not hold a whole one."""

    def __init__(self) -> None:
        self._together: int | None = None

    def run(self, body: "Callable[[Tensor], Any]", images: "Tensor") -> list[Any]:
        """Return the outputs of `body`, part by part. Raises DarkroomError when one image needs too much memory."""
        import torch

        while True:
            size = max(1, min(self._together or len(images), len(images)))
            try:
                return [body(part) for part in images.split(size)]
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise DarkroomError("embed: out of memory on the GPU with a single image; use a smaller image_size "
                                        "or backbone, or DARKROOM_DEVICE=cpu") from error  # fmt: skip
            # Outside of `except`: the exception holds on to the tensors of what failed.
            self._together = -(-size // 2)
            say(f"embed: out of memory; continues with {self._together} images at a time instead of {size}")
            torch.cuda.empty_cache()


def batches(shards: Shards, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the images of `shards` in order, in batches of `count`: ((b, S, S, 3), (b,) row numbers)."""
    for start in range(0, len(shards), count):
        rows = np.arange(start, min(start + count, len(shards)))
        yield shards.rows(rows), rows


def batch_size(shards: Shards, pixels: int = PIXELS_A_BATCH, images: int = 256) -> int:
    """Return how many images are read at once, `pixels` and `images` at most: a function of their size alone."""
    size = shards.row_shape[0] if len(shards) else 1
    return max(1, min(images, pixels // (size * size)))


def in_batches(items: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield slices of at most `size` rows."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def features_of(body: BodyRunner, images: Iterable[np.ndarray]) -> np.ndarray:
    """Return the features (n, D) of images that come in batches; (0, 0) without a batch."""
    parts = [body.features(batch) for batch in images]
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def cached_features(shards: Shards) -> tuple[np.ndarray, Shards] | None:
    """Return view 0 of the features in `shards`, (n, D), and the shards; None where embed wrote none."""
    if not len(shards):
        return None
    return shards.rows(np.arange(len(shards)))[:, 0], shards
