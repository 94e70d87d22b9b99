"""A head learnt from cached features is the head learnt through the network: frozen means that much."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from darkroom.data.shards import Shards
from darkroom.model.classifier import SavedClassifier
from darkroom.model.network import load_network, pixels
from darkroom.params import read_yaml
from stages import embed, train
from tests.model.samples import digit_images, write_splits

ROOT = Path(__file__).resolve().parents[2]
MNIST = str(ROOT / "weights/small_cnn-mnist.safetensors")


def learn(freeze: str, backbone: str, weights: str, folder: Path) -> Path:
    wanted = {"backbone": backbone, "weights": weights, "freeze": freeze, "augment": "none", "epochs": 8, "patience": 0,
              "batch_size": 16, "lr": 0.01, "precision": "float32", "head": "mlp", "dropout": 0.0}  # fmt: skip
    params = read_yaml(ROOT / "params.yaml") | wanted
    Path("params.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in params.items()))
    shutil.copyfile(ROOT / "params.schema.json", "params.schema.json")
    embed.main(Path("shards"), folder / "features", folder / "body")
    train.main(*(Path("shards"), folder / "features", folder / "body", folder / "classifier"),
               folder / "history.csv", folder / "train.json")  # fmt: skip
    return folder


# The block is the last one: all of the body is frozen, but the images go through it in every step.
@pytest.mark.parametrize(
    ("backbone", "weights", "block"),
    [
        pytest.param("small_cnn", MNIST, "block3", id="with BatchNorm"),
        pytest.param("simple_cnn", "none", "dense", id="with dropout"),
    ],
)
def test_features_and_network_teach_the_same_head(backbone, weights, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_THREADS", "1")
    write_splits(Path("shards"), *digit_images(160), [str(digit) for digit in range(10)])
    cached, through = (learn(freeze, backbone, weights, tmp_path / freeze) for freeze in ("backbone", block))
    assert len(Shards(through / "features/train")) == 0

    features = Shards(cached / "features/test")
    from_features = SavedClassifier.load(cached / "classifier").probabilities(features.rows(np.arange(40))[:, 0])
    with torch.no_grad():
        logits = load_network(through / "classifier")(pixels(Shards(Path("shards/test")).rows(np.arange(40))))
    temperature = SavedClassifier.load(through / "classifier").temperature
    through_network = torch.softmax(logits.double() / temperature, 1).numpy()
    np.testing.assert_allclose(from_features, through_network, atol=1e-3)
    assert np.array_equal(from_features.argmax(1), through_network.argmax(1))
    assert (from_features.argmax(1) == features.labels).mean() > 0.3  # it has learnt something to agree on
