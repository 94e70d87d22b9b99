"""The digest of each output whose bits a processor could change, computed by the processor that runs this.

`python -m benchmarks.processor_outputs FOLDER THREADS` prints them as JSON; benchmarks/processors.py runs it on one
processor after the other. FOLDER holds the graphs and pictures that were written for all of them. What needs a library
that this Python lacks is left out.
"""

import hashlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

BODIES = ("small_cnn", "mobilenet_v2", "efficientnet_b0")
TODAY, BEFORE = "today", "before: libraries' own floats"


def main(folder: Path, threads: int) -> None:
    """Print {output: sha256}."""
    found = {}
    for name, compute in outputs(folder, threads):
        digest = hashlib.sha256()
        made = compute()
        for value in made if isinstance(made, list) else [made]:
            digest.update(value if isinstance(value, bytes) else np.ascontiguousarray(value).tobytes())
        found[name] = digest.hexdigest()
    print(json.dumps(found))


def outputs(folder: Path, threads: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each output's name, and what computes its values."""
    has = {name: importlib.util.find_spec(name) is not None for name in ("torch", "onnxruntime", "onnx")}
    yield f"{TODAY}: exp, log, cos, products, sums", _mathematics
    yield f"{TODAY}: data/split.csv", _split
    yield f"{TODAY}: augmented copies", _copies
    for body in BODIES:
        if has["torch"]:
            yield f"{TODAY}: {body}, body.onnx", partial(_written, body)
            yield f"{TODAY}: {body}, features by torch", partial(_by_torch, folder, body, threads)
        if has["onnxruntime"]:
            yield (
                f"{TODAY}: {body}, features by onnxruntime",
                partial(_run, folder, f"{body}.exact", threads),
            )
            yield f"{TODAY}: {body}, answers of model.onnx", partial(_run, folder, f"{body}.model", threads)
    if has["onnx"]:
        yield f"{TODAY}: {BODIES[0]}, features by plain numpy", partial(_by_numpy, folder, BODIES[0])
    yield f"{TODAY}: heads trained with every setting", _heads
    yield f"{TODAY}: scores, intervals, bootstrap", _scores
    yield f"{BEFORE}: numpy's exp and log", lambda: [np.exp(_numbers()), np.log(np.abs(_numbers()))]
    yield f"{BEFORE}: numpy's product of matrices", lambda: [_numbers().reshape(100, -1) @ _numbers().reshape(-1, 100)]
    for body in BODIES:
        if has["onnxruntime"]:
            yield (
                f"{BEFORE}: {body}, features by onnxruntime",
                partial(_run, folder, f"{body}.float", threads),
            )


def prepare(folder: Path) -> None:
    """Write the graphs and pictures that every processor reads: exact, float and whole, for each of BODIES."""
    from darkroom.export.graph import join, write
    from darkroom.model import classifier, exact_body, onnx_export

    for name in BODIES:
        body, images = _body(name), _images(28 if name == "small_cnn" else 64)
        made = exact_body.exact_body(body, images[:64]).model
        np.save(folder / f"{name}.npy", images[-6:])
        (folder / f"{name}.float.onnx").write_bytes(onnx_export.export(body, images.shape[1]))
        (folder / f"{name}.exact.onnx").write_bytes(made.SerializeToString(deterministic=True))
        width = made.graph.output[0].type.tensor_type.shape.dim[1].dim_value
        head = classifier.initial(classifier.Head("linear", 1, 0.0), width, 10, 0)
        write(join(made, head, 0.8), folder / f"{name}.model.onnx")


def _numbers() -> np.ndarray:
    return np.random.default_rng(0).uniform(-9, 9, 10_000)


def _mathematics() -> list[np.ndarray]:
    from darkroom.core import exactmath

    x = _numbers()
    matrix = x.reshape(100, 100)
    logits = matrix.astype(np.float32)
    return [
        exactmath.exp(x), exactmath.log(np.abs(x)), exactmath.cos_pi(x), exactmath.total(matrix),
        exactmath.product(matrix, matrix), exactmath.softmax(logits, 0.7), exactmath.log_softmax(logits),
    ]  # fmt: skip


def _split() -> list[bytes]:
    from darkroom.splits.columns import columns
    from darkroom.splits.divide import SplitOptions, divide
    from tests.splits.samples import index

    options = SplitOptions(
        seed=3, val_fraction=0.15, test_fraction=0.2, folds=5, limit=None, exclude=[], duplicates="group"
    )
    return [repr(row).encode() for row in divide(columns(index(600)), options).rows()]


def _copies() -> list[np.ndarray]:
    from darkroom.images.augment import STRENGTHS, augmented, draw

    images = _images(28)[:16]
    return [augmented(images, draw(STRENGTHS[name], True, np.arange(16), 0, 1)) for name in ("light", "strong")]  # type: ignore[arg-type]


def _heads() -> list[bytes]:
    from tests.training import exact_head

    with tempfile.TemporaryDirectory() as scratch:
        exact_head.write_features(Path(scratch))
        return [exact_head.hash_of_trainings(Path(scratch)).encode()]


def _scores() -> list[bytes]:
    from darkroom.core.exactmath import softmax
    from darkroom.metrics.predictions import Predictions
    from darkroom.metrics.summary import summarise

    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 300)
    probabilities = softmax(random.uniform(-2, 2, (300, 4)) + 2 * np.eye(4)[labels])
    predictions = Predictions.of([f"{n:064x}" for n in range(300)], list("abcd"), labels, probabilities)
    return [json.dumps(summarise(predictions, 0, 500), sort_keys=True).encode()]


def _run(folder: Path, graph: str, threads: int) -> np.ndarray:
    from darkroom.model.session import open_session

    session = open_session(folder / f"{graph}.onnx", threads)
    images = np.load(folder / f"{graph.partition('.')[0]}.npy")
    return session.run([session.get_outputs()[0].name], {"images": images})[0]


def _by_torch(folder: Path, body: str, threads: int) -> np.ndarray:
    import onnx
    import torch

    from darkroom.model.exact_torch import ExactModule

    torch.set_num_threads(threads)
    images = torch.from_numpy(np.load(folder / f"{body}.npy"))
    return ExactModule(onnx.load(folder / f"{body}.exact.onnx"))(images)[0].numpy()


def _by_numpy(folder: Path, body: str) -> np.ndarray:
    import onnx

    from tests.model import numpy_body

    return numpy_body.run(onnx.load(folder / f"{body}.exact.onnx"), np.load(folder / f"{body}.npy"))[0]


def _written(name: str) -> bytes:
    from darkroom.model import exact_body

    images = _images(28 if name == "small_cnn" else 64)
    return exact_body.exact_body(_body(name), images[:64]).model.SerializeToString(deterministic=True)


def _images(size: int) -> np.ndarray:
    """Smooth coloured pictures out of whole numbers: (80, size, size, 3) uint8."""
    coarse = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3))
    fine = np.repeat(np.repeat(coarse, -(-size // 8), axis=1), -(-size // 8), axis=2)[:, :size, :size]
    return ((fine + np.roll(fine, 1, axis=1) + np.roll(fine, 1, axis=2) + np.roll(fine, 2, axis=1)) // 4).astype(
        np.uint8
    )


def _body(name: str) -> Any:
    """Return a body in eval mode: the default's weights, or weights out of numpy's uniforms; torch's normals differ."""
    import torch

    from darkroom.model import backbones, builders, tensors
    from darkroom.model.network import Body

    if name == "small_cnn":
        body = Body(builders.build(name, 28, seed=0), [0.13] * 3, [0.3] * 3).eval()
        tensors.fill(
            body.net, tensors.load(Path(__file__).resolve().parents[1] / "weights/small_cnn-mnist.safetensors")
        )
        return body
    network = builders.build(name, 64, seed=0)
    random = np.random.default_rng(0)
    for key, value in network.state_dict().items():
        if value.dim() > 1:
            spread = (6 / value[0].numel()) ** 0.5
            drawn = random.uniform(-spread, spread, tuple(value.shape))
        else:
            drawn = random.uniform(0.5, 1.5, tuple(value.shape)) if "weight" in key or "var" in key else np.zeros(1)
        if value.is_floating_point():
            value.copy_(torch.from_numpy(np.asarray(drawn, np.float32)).expand_as(value))
    return Body(network, backbones.IMAGENET_MEAN, backbones.IMAGENET_STD).eval()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
