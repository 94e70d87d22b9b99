"""A whole run in a temporary folder, as the earlier stages leave it: real digits, a small convolutional body, a
head."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

from darkroom.core import files
from darkroom.images.shard_writer import SAMPLE_COLUMNS, write_shards
from darkroom.model import classifier, novelty
from darkroom.model.runner import OnnxBody
from darkroom.training.calibrate import fit_temperature

SIZE, CHANNELS = 24, 48
PATHS = (
    "models/classifier",
    "models/body",
    "data/shards",
    "data/features",
    "metrics/data.json",
    "metrics/train.json",
    "metrics/test.json",
    "metrics/summary.json",
    "plots/predictions.csv",
    "plots/test",
)
PARAMS = "seed: 0\ntta: none\nset_level: auto\nunknown_share: 0.05\nanswer_share: null\nanswer_accuracy: null\n"


@dataclass(frozen=True)
class Run:
    """The folders that evaluate reads, and the arguments it is called with."""

    root: Path

    @property
    def arguments(self) -> list[Path]:
        return [self.root / path for path in PATHS]


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits as (n, SIZE, SIZE, 3) uint8 and labels."""
    images, labels = load_digits(return_X_y=True)
    grey = (images[:count].reshape(-1, 8, 8) * 15.9375).astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2)
    return np.repeat(grey[..., None], 3, axis=3), labels[:count]


def write_body(folder: Path) -> None:
    """models/body/body.onnx: random filters, a rectifier, and the average of the map."""
    rng = np.random.default_rng(0)
    filters = rng.normal(size=(CHANNELS, 3, 9, 9)).astype(np.float32) / 9
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["nchw", "scale"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "filters"], ["conv"], strides=[5, 5]),
        helper.make_node("Relu", ["conv"], ["maps"]),
        helper.make_node("ReduceMean", ["maps", "axes"], ["features"], keepdims=0),
    ]
    tensors = {"scale": np.float32(1 / 255), "filters": filters, "axes": np.array([2, 3])}
    graph = helper.make_graph(
        nodes,
        "body",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", CHANNELS]),
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", CHANNELS, 4, 4]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "body.onnx")


def make_run(
    root: Path,
    names: list[str] | None = None,
    counts: tuple[int, int, int] = (400, 120, 200),
    wrong: Sequence[int] = (),
) -> Run:
    """Shards, features, body and a trained frozen classifier below `root`, and params.yaml.

    `names`: the classes; `wrong`: images that get the label of the next class.
    """
    names = names or [str(digit) for digit in range(10)]
    images, digits = pictures(sum(counts))
    labels = (digits + 10 * np.arange(len(digits))) % len(names)
    labels[list(wrong)] = (labels[list(wrong)] + 1) % len(names)
    write_body(root / "models/body")
    features = OnnxBody(root / "models/body/body.onnx", threads=2).features(images)
    bounds = np.cumsum([0, *counts])
    for number, split in enumerate(("train", "val", "test")):
        rows = range(bounds[number], bounds[number + 1])
        for tensor, folder, values in (("images", "shards", images), ("features", "features", features[:, None])):
            with write_shards(root / "data" / folder / split, tensor, names) as writer:
                for row in rows:
                    writer.add(values[row], int(labels[row]), f"{row:064x}")
                writer.close(flips=False)
                if tensor == "images":
                    samples = [(f"{r:064x}", names[labels[r]], f"{names[labels[r]]}/{r}.png", SIZE, SIZE) for r in rows]
                    files.write_csv(writer.folder / "samples.csv", SAMPLE_COLUMNS, samples)
    train, val = features[: counts[0]], features[counts[0] : bounds[2]]
    means = np.stack([train[labels[: counts[0]] == place].sum(axis=0) for place in range(len(names))])
    means /= np.maximum(np.bincount(labels[: counts[0]], minlength=len(names)), 1)[:, None]
    weight, bias = means * 2, -(means * means).sum(axis=1)  # the nearest mean, as a linear head
    head = {"0.weight": 50 * weight.astype(np.float32), "0.bias": 50 * bias.astype(np.float32)}
    facts = {
        "backbone": "conv", "classes": names, "image_size": SIZE, "mean": [0.0] * 3, "std": [1.0] * 3,
        "framing": {"size": SIZE, "resize": "crop", "short_side": SIZE},
        "head": {"kind": "linear", "hidden": 0, "dropout": 0.0}, "features": CHANNELS, "frozen": True,
        "freeze": "backbone",
        "temperature": fit_temperature(classifier.logits(val, head), labels[counts[0] : bounds[2]]),
        "parameters": {"total": 1, "trainable": 1, "frozen": 0}, "flips": False, "weights": "none",
    }  # fmt: skip
    classifier.save(root / "models/classifier", facts, head, {"filters": np.zeros(1, np.float32)})
    files.write_json(root / "models/classifier/train.json", {"best_epoch": 2})
    files.write_json(root / "data/shards/data.json", {"images": sum(counts)})
    known = novelty.references(train, len(names))
    assert known is not None
    novelty.save(root / "models/classifier", known)
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    return Run(root)
