"""Compute features of images with a frozen body: in this process, or batch by batch on the nodes of a Ray cluster.

An exact body gives the same bits on every machine. In float32 the bits are the same on processors of one kind: batches
are cut in the same way, whatever the number of threads.
"""

import dataclasses
import functools
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darkroom.cluster import nodes
from darkroom.core import runtime
from darkroom.core.errors import DarkroomError
from darkroom.core.files import read_json
from darkroom.core.runtime import Runtime
from darkroom.images.augment import STRENGTHS, Draws, apply, as_bytes, augmented, draw
from darkroom.images.batches import ready
from darkroom.images.shards import Shards
from darkroom.model import runner
from darkroom.model.runner import ExactTorchBody, OnnxBody, TorchBody

if TYPE_CHECKING:
    from torch import Tensor

GPU_PIXELS, GPU_IMAGES = 128 * 224 * 224, 4096  # of a batch, at most: a GPU works on all of it at once
Batch = tuple[np.ndarray, np.ndarray]  # images (b, S, S, 3) uint8, their indices into the shards (b,)


@dataclass(frozen=True)
class Copies:
    """`count` augmented copies of each image, drawn from `seed` with the strength called `augment`."""

    count: int
    augment: str
    flips: bool
    seed: int

    def draws(self, indices: np.ndarray) -> Iterator[Draws]:
        """Yield the random draws of each copy of the images at `indices`."""
        for copy in range(1, self.count + 1):
            strength = STRENGTHS[self.augment]
            assert strength is not None
            yield draw(strength, self.flips, indices, self.seed, copy)


@dataclass(frozen=True)
class Carried:
    """What a node needs: the files of models/body by name, the copies, and the runtime."""

    files: tuple[tuple[str, bytes], ...]
    copies: Copies
    environment: Runtime


def engine_name(environment: Runtime) -> str:
    """Return the name of what computes the features: runner.ONNX, or the device of torch."""
    device = nodes.device(environment) if environment.ray else str(runtime.torch_device(environment))
    return runner.ONNX if device == "cpu" else device.partition(":")[0]  # all GPUs of a machine count as one


def batch_size(shards: Shards, environment: Runtime) -> int:
    """Return how many images go through the body together."""
    if engine_name(environment) == runner.ONNX:
        return runner.batch_size(shards)
    return runner.batch_size(shards, GPU_PIXELS, GPU_IMAGES)


def embedded(shards: Shards, body: Path, copies: Copies, environment: Runtime) -> Iterator[np.ndarray]:
    """Return features float32 (b, 1 + copies, D) of all images, batch by batch: of each image, then of its copies."""
    size = batch_size(shards, environment)
    if environment.ray is None:
        computes = opened(body, environment)
        if isinstance(computes, TorchBody):
            return _on_gpu(computes, shards, size, copies)
        return (views(computes, batch, copies) for batch in runner.batches(shards, size))
    return _on_cluster(shards, size, body, copies, environment, environment.ray)


def is_exact(body: Path) -> bool:
    """Return whether the body in the folder models/body is exact."""
    return bool(read_json(body / "body.json").get("arithmetic", {}).get("kind") == "exact")


def opened(body: Path, environment: Runtime) -> OnnxBody | TorchBody | ExactTorchBody:
    """Open the body in the folder models/body.

    On a CPU onnxruntime runs the same body.onnx that is exported, so cached features are those of the export. A GPU
    runs an exact body.onnx too, with the same bits; any other body runs in torch there, with its own bits.
    """
    device = None if environment.device == "cpu" else runtime.torch_device(environment)
    if device is None or device.type == "cpu":
        return OnnxBody(body / "body.onnx", environment.threads)
    if is_exact(body):
        return ExactTorchBody(body / "body.onnx", device)
    from darkroom.model.network import load_body

    return TorchBody(load_body(body)[0], device)


def views(computes: OnnxBody | TorchBody | ExactTorchBody, batch: Batch, copies: Copies) -> np.ndarray:
    """Return features (b, 1 + copies, D) of one batch."""
    images, indices = batch
    if isinstance(computes, TorchBody):
        return _features(computes, _shown(computes, images, copies.draws(indices))).cpu().numpy()
    shown = [images, *(augmented(images, draws) for draws in copies.draws(indices))]
    return np.stack([computes.features(each) for each in shown], axis=1)


def _shown(body: TorchBody, images: np.ndarray, copies: Iterable[Draws]) -> "tuple[Tensor, ...]":
    """Return `images`, then each of their augmented copies, on the body's device.

    `images`: uint8 (b, S, S, 3); the result: float32 (b, 3, S, S), 0..1.
    """
    from darkroom.model.network import pixels

    plain = pixels(images, body.device)
    return plain, *(as_bytes(apply(plain, draws)) / 255 for draws in copies)


def _features(body: TorchBody, shown: "tuple[Tensor, ...]") -> "Tensor":
    """Return (b, len(shown), D) float32 on the device."""
    import torch

    return torch.stack([body.tensor(images) for images in shown], dim=1)


def _on_gpu(body: TorchBody, shards: Shards, size: int, copies: Copies) -> Iterator[np.ndarray]:
    """Yield the features of all images, copying the next batch and the last features while one is computed."""
    parts = [np.arange(start, min(start + size, len(shards))) for start in range(0, len(shards), size)]
    waiting = None
    for shown in ready(parts, shards.rows, lambda at, rows: _shown(body, rows, copies.draws(at)), body.device):
        features = _features(body, shown)
        if waiting is not None:
            yield waiting.cpu().numpy()
        waiting = features
    if waiting is not None:
        yield waiting.cpu().numpy()


def _on_cluster(
    shards: Shards, size: int, body: Path, copies: Copies, environment: Runtime, address: str
) -> Iterator[np.ndarray]:
    device = nodes.device(environment)
    gpu = device == "cuda"
    names = ("body.json", "body.onnx" if is_exact(body) else "body.safetensors") if gpu else ("body.onnx",)
    carried = Carried(
        tuple((name, (body / name).read_bytes()) for name in names),
        copies,
        dataclasses.replace(environment, device=device),
    )
    numbered = ((number, *batch) for number, batch in enumerate(runner.batches(shards, size)))
    results = nodes.map_chunks(_on_node, carried, numbered, address, environment.threads, int(gpu))
    for result in nodes.in_order(results):
        if isinstance(result, nodes.Lost):
            raise DarkroomError(
                f"embed: the cluster cannot compute a batch: {result.reason}; give its nodes more memory"
            )
        yield result


def _on_node(carried: Carried, numbered: tuple[int, np.ndarray, np.ndarray]) -> np.ndarray:
    _, images, indices = numbered
    return views(_kept(carried.files, carried.environment), (images, indices), carried.copies)


@functools.lru_cache(maxsize=1)
def _kept(files: tuple[tuple[str, bytes], ...], environment: Runtime) -> OnnxBody | TorchBody | ExactTorchBody:
    """Return the body in this process of a node, opened once: batches come one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files:
            (Path(folder) / name).write_bytes(data)
        return opened(Path(folder), environment)
