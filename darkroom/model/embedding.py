"""The features of images by a frozen body: in this process, or batch by batch on the nodes of a Ray cluster.

Batches are cut in the same way and each goes through the body as a whole with the same number of threads, so where they
are computed does not change a bit, as long as the processors are of one kind.
"""

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darkroom import cluster, runtime
from darkroom.data.augment import STRENGTHS, augmented
from darkroom.data.shards import Shards
from darkroom.errors import DarkroomError
from darkroom.model import engine
from darkroom.model.network import features_on, load_body
from darkroom.runtime import Runtime

Features = Callable[[np.ndarray], np.ndarray]  # (n, S, S, 3) uint8 -> (n, D) float32
Batch = tuple[int, np.ndarray, np.ndarray]  # number, images (b, S, S, 3) uint8, their places in the shards (b,)


@dataclass(frozen=True)
class Copies:
    """`count` augmented copies of each image, drawn from `seed` with the strength called `augment`."""

    count: int
    augment: str
    flips: bool
    seed: int


@dataclass(frozen=True)
class Carried:
    """What a node needs: the files of models/body by name, the copies, and how to compute."""

    files: tuple[tuple[str, bytes], ...]
    copies: Copies
    environment: Runtime


def extractor(body: Path, environment: Runtime) -> Features:
    """How images become features.

    On a CPU onnxruntime runs the very body.onnx that is handed over: cached features are what it will answer. The
    choice follows from the device alone, since each engine has other bits.
    """
    if environment.device == "cpu" or runtime.torch_device(environment).type == "cpu":
        return engine.Engine(body / "body.onnx", environment.threads).features
    return features_on(load_body(body)[0], runtime.torch_device(environment))


def engine_name(environment: Runtime) -> str:
    """What computes the features: engine.ONNX, or the device on which torch does."""
    device = cluster.device(environment) if environment.ray else str(runtime.torch_device(environment))
    return engine.ONNX if device == "cpu" else device.partition(":")[0]  # which of several GPUs changes nothing


def embedded(shards: Shards, body: Path, copies: Copies, environment: Runtime) -> Iterator[np.ndarray]:
    """Features float32 (b, 1 + copies, D) of all images, batch by batch: of each image, then of its copies."""
    numbered = ((number, *batch) for number, batch in enumerate(engine.batches(shards)))
    if environment.ray is None:
        extract = extractor(body, environment)
        yield from (views(extract, batch, copies) for batch in numbered)
        return
    device = cluster.device(environment)
    on_gpu = device == "cuda"
    names = ("body.json", "body.safetensors") if on_gpu else ("body.onnx",)
    carried = Carried(
        tuple((name, (body / name).read_bytes()) for name in names),
        copies,
        dataclasses.replace(environment, device=device),
    )
    results = cluster.map_chunks(_on_node, carried, numbered, environment.ray, environment.threads, int(on_gpu))
    for result in cluster.in_order(results):
        if isinstance(result, cluster.Lost):
            raise DarkroomError(
                f"embed: the cluster cannot compute a batch: {result.reason}; give its nodes more memory"
            )
        yield result


def views(extract: Features, batch: Batch, copies: Copies) -> np.ndarray:
    """Features (b, 1 + copies, D) of one batch."""
    _, images, places = batch
    shown = [extract(images)]
    for copy in range(1, copies.count + 1):
        strength = STRENGTHS[copies.augment]
        assert strength is not None
        shown.append(extract(augmented(images, strength, copies.flips, places, copies.seed, copy)))
    return np.stack(shown, axis=1)


def _on_node(carried: Carried, batch: Batch) -> np.ndarray:
    return views(_opened(carried.files, carried.environment), batch, carried.copies)


@functools.lru_cache(maxsize=1)
def _opened(files: tuple[tuple[str, bytes], ...], environment: Runtime) -> Features:
    """The extractor in this process of a node, opened once: batches come one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files:
            (Path(folder) / name).write_bytes(data)
        return extractor(Path(folder), environment)
