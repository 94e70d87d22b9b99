"""A head learnt from cached features is the head learnt through the network; a run can go on from another."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from darkroom.core import files
from darkroom.core.params import read_yaml
from darkroom.images.batches import Table
from darkroom.images.shards import Shards
from darkroom.model.classifier import SavedClassifier
from darkroom.model.network import load_network, pixels
from darkroom.training.recipe import rate_factor
from stages import embed, train
from tests.model.samples import digit_images, write_splits

ROOT = Path(__file__).resolve().parents[2]
MNIST = str(ROOT / "weights/small_cnn-mnist.safetensors")


def learn(freeze: str, backbone: str, weights: str, folder: Path, **changes: object) -> Path:
    wanted = {"backbone": backbone, "weights": weights, "freeze": freeze, "arithmetic": "float32", "augment": "none",
              "epochs": 30, "patience": 0, "batch_size": 16, "lr": 0.01, "precision": "float32", "head": "mlp",
              "dropout": 0.0}  # fmt: skip
    params = read_yaml(ROOT / "params.yaml") | wanted | changes
    Path("params.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in params.items()))
    shutil.copyfile(ROOT / "params.schema.json", "params.schema.json")
    embed.main(Path("shards"), folder / "features", folder / "body", folder / "samples.png")
    train.main(*(Path("shards"), folder / "features", folder / "body", folder / "classifier"),
               folder / "history.csv")  # fmt: skip
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
    cached = learn("backbone", backbone, weights, tmp_path / "cached", min_steps=1)
    factor = rate_factor(Table([Shards(cached / "features/train")]), "adamw")  # that cached features get of themselves
    through = learn(block, backbone, weights, tmp_path / "through", min_steps=1, lr=0.01 * factor)
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


def test_more_classes_are_learnt_on_top_of_those_that_an_earlier_run_knew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_THREADS", "1")
    images, labels = digit_images(400)
    few = labels < 5
    write_splits(Path("shards"), images[few], labels[few], [str(digit) for digit in range(5)])
    learn("backbone", "small_cnn", MNIST, Path("earlier"), head="linear")
    shutil.rmtree("shards")
    write_splits(Path("shards"), images, labels, [str(digit) for digit in range(10)])
    later = learn("backbone", "small_cnn", "earlier/classifier", Path("later"), head="linear", epochs=1, lr=1e-9)

    before, after = (SavedClassifier.load(Path(run) / "classifier") for run in ("earlier", "later"))
    np.testing.assert_allclose(after.head["0.weight"][:5], before.head["0.weight"], atol=1e-4)
    assert files.sha256(later / "classifier/body.safetensors") == files.sha256(
        Path("earlier/classifier/body.safetensors")
    )
