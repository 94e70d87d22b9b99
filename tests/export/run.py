"""What the stages before export leave of a small real run: a convolution of fixed weights, digits, a linear head."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from darkroom.core import files
from darkroom.export.graph import write
from darkroom.images.shard_writer import write_shards
from darkroom.model import classifier
from darkroom.model.runner import ONNX
from darkroom.model.session import open_session
from stages import export as stage
from tests.export import small

SIZE = 16
CLASSES = [str(digit) for digit in range(10)]
ARGUMENTS = (
    "models/classifier", "models/body", "data/shards", "data/features", "metrics/test.json",
    "models/export", "metrics/export.json",
)  # fmt: skip
SPLITS = ("train", "val", "test")
CARD = {"name": "digits", "homepage": "https://example.org", "licence": "CC BY 4.0", "citation": "Alpaydin 1998"}


def pictures() -> tuple[np.ndarray, np.ndarray]:
    digits = load_digits()
    grey = np.repeat(np.repeat(digits.images * 15.9, 2, axis=1), 2, axis=2).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3)[:600], digits.target[:600]


def features_of(body: Path, images: np.ndarray) -> np.ndarray:
    return open_session(body, 1).run(["features"], {"images": images})[0]


def make_run(root: Path, maps: bool = True) -> Path:
    """Return what the stages before export leave in a project's folder."""
    (root / "models/body").mkdir(parents=True)
    body = root / "models/body/body.onnx"
    write(small.body(SIZE, maps=maps), body)
    images, labels = pictures()
    facts = {"image_size": SIZE, "framing": {"size": SIZE, "resize": "stretch", "short_side": SIZE}, "card": CARD}
    cut = {"train": slice(0, 300), "val": slice(300, 400), "test": slice(400, 600)}
    for split, rows in cut.items():
        with write_shards(root / "data/shards" / split, "images", CLASSES) as shards:
            for place in range(*rows.indices(600)):
                shards.add(images[place], int(labels[place]), f"{place:064x}")
            shards.close(**facts)
        with write_shards(root / "data/features" / split, "features", CLASSES) as shards:
            for place, row in zip(range(*rows.indices(600)), features_of(body, images[rows]), strict=True):
                shards.add(row[None], int(labels[place]), f"{place:064x}")
            shards.close(engine=ONNX)
    fitted = LogisticRegression(max_iter=2000).fit(features_of(body, images[:300]), labels[:300])
    head = {"0.weight": fitted.coef_.astype(np.float32), "0.bias": fitted.intercept_.astype(np.float32)}
    model = {
        "backbone": "small", "classes": CLASSES, "frozen": True, "freeze": "backbone", "features": 8,
        "image_size": SIZE, "framing": facts["framing"], "mean": [0.0] * 3, "std": [1.0] * 3, "temperature": 1.25,
        "head": {"kind": "linear", "hidden": 0, "dropout": 0.0}, "weights": "none", "params": {"lr": 0.01},
        "parameters": {"total": 306, "trainable": 90, "frozen": 216},
    }  # fmt: skip
    classifier.save(root / "models/classifier", model, head, {"weight": np.zeros((8, 3, 3, 3), np.float32)})
    scores: dict[str, Any] = {"n": 200, "accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.93, "ece": 0.02}
    scores["per_class"] = {
        "0": {"support": 20, "precision": 1.0, "recall": 0.9, "recall_low": 0.7, "recall_high": 0.97}
    }
    files.write_json(root / "metrics/test.json", scores)
    files.write_text(root / "params.yaml", "quantize: none\n")
    return root


def run(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(root)
    return stage.main(*map(Path, ARGUMENTS))
