"""stages/train.py on real digits: what it writes, and that it never looks at the test set."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from darkroom.core import files
from darkroom.core.errors import DarkroomError, ParamsError
from darkroom.images.shards import Shards
from darkroom.model.classifier import SavedClassifier
from stages.train import main
from tests.training.small import write_data, write_params

ARGUMENTS = ("shards", "features", "body", "classifier", "history.csv")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, train=300, val=100, test=10)
    for split in ("data/shards/test", "data/features/test"):
        shutil.rmtree(folder / split)
    return folder


@pytest.fixture
def run(data, tmp_path, monkeypatch):
    """Run the stage in a folder of its own with changed params; returns the folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_THREADS", "1")

    def train(body: Path = data / "models/body", images: Path = data / "data", **changes) -> Path:
        write_params(tmp_path, **changes)
        outputs = (tmp_path / name for name in ("classifier", "history.csv"))
        main(images / "shards", images / "features", body, *outputs)
        return tmp_path

    return train


def test_a_frozen_run_learns_the_head_and_copies_the_body(run, data):
    folder = run(lr=0.3, epochs=30)
    saved = SavedClassifier.load(folder / "classifier")
    assert saved.frozen
    assert saved.facts["parameters"] == {"total": 178026, "trainable": 1290, "frozen": 176736}
    assert files.sha256(folder / "classifier/head.safetensors") != files.sha256(data / "models/body/body.safetensors")
    features = Shards(data / "data/features/val")
    answers = saved.probabilities(features.rows(np.arange(len(features)))[:, 0]).argmax(1)
    metrics = json.loads((folder / "classifier/train.json").read_text())
    assert metrics["val"]["accuracy"] == pytest.approx((answers == features.labels).mean())
    assert metrics["val"]["n"] == 100
    assert saved.temperature == metrics["temperature"]


def test_the_history_has_a_row_an_epoch_and_no_seconds(run):
    folder = run(epochs=3)
    rows = list(files.read_csv(folder / "history.csv"))
    assert list(rows[0]) == ["epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "lr"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]


def test_a_fine_tuned_body_is_the_networks_own(run, data):
    from darkroom.model.network import load_network, pixels

    folder = run(freeze="none", epochs=3, lr=0.003)
    saved = SavedClassifier.load(folder / "classifier")
    assert not saved.frozen
    assert saved.facts["parameters"]["frozen"] == 0
    network = load_network(folder / "classifier")
    images = Shards(data / "data/shards/val")
    answers = network(pixels(images.rows(np.arange(len(images))))).argmax(1).numpy()
    metrics = json.loads((folder / "classifier/train.json").read_text())
    assert metrics["val"]["accuracy"] == pytest.approx((answers == images.labels).mean(), abs=0.011)
    assert metrics["val"]["accuracy"] > 0.5


def test_a_block_stays_as_it_was(run, data):
    from darkroom.model import tensors
    from darkroom.model.network import load_body

    body, _ = load_body(data / "models/body")
    first = next(iter(dict(body.net.named_children())))
    folder = run(freeze=first, epochs=2, lr=0.003)
    before, after = (
        tensors.load(data / "models/body/body.safetensors"),
        tensors.load(folder / "classifier/body.safetensors"),
    )
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed
    assert not {name for name in changed if name.startswith(f"{first}.")}


def test_frozen_statistics_are_those_of_the_weights(run, data, tmp_path):
    from darkroom.model import tensors

    with pytest.raises(ParamsError, match="batch_norm: frozen keeps the statistics of the weights"):
        run(freeze="none", epochs=1, batch_norm="frozen")  # the body that the tests learn from has no weights' name
    body = tmp_path / "body"
    shutil.copytree(data / "models/body", body)
    files.write_json(body / "body.json", files.read_json(body / "body.json") | {"weights": "mnist.safetensors"})
    folder = run(body=body, freeze="none", epochs=2, lr=0.003, batch_norm="frozen")
    before, after = (tensors.load(place / "body.safetensors") for place in (body, folder / "classifier"))
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert same == {name for name in before if "running" in name or "num_batches" in name}
    assert same


def test_the_head_first_and_then_everything(run):
    folder = run(thaw_epoch=2, epochs=5, lr=0.02, thaw_lr_factor=0.1, schedule="constant")
    rates = [float(row["lr"]) for row in files.read_csv(folder / "history.csv")]
    assert rates[2:] == pytest.approx([0.002, 0.002, 0.002])
    assert rates[:2] == pytest.approx([0.08, 0.08])  # the head's rate fits its features, the network's is lr's own
    saved = SavedClassifier.load(folder / "classifier")
    assert not saved.frozen
    assert saved.facts["parameters"]["frozen"] == 0


def test_fine_tuning_goes_on_from_the_head_and_keeps_the_best_mixture(run, data, capsys):
    from darkroom.model import tensors
    from darkroom.model.network import load_network, pixels

    head = run(epochs=10)  # the body knows nothing: there is much to gain
    alone = SavedClassifier.load(head / "classifier")
    before = json.loads((head / "classifier/train.json").read_text())["val"]
    folder = run(epochs=10, recipe="finetune", thaw_lr_factor=0.5)
    assert "for at most 10 epochs, which the curves show after 10 epochs of the head" in capsys.readouterr().err
    saved = SavedClassifier.load(folder / "classifier")
    rows = list(files.read_csv(folder / "history.csv"))
    assert [row["epoch"] for row in rows] == [str(number) for number in range(1, 21)]  # ten of the head, ten of all
    assert float(rows[10]["lr"]) < 0.01  # it begins with a warm-up
    assert not saved.frozen
    metrics = json.loads((folder / "classifier/train.json").read_text())
    assert metrics["val"]["loss"] < before["loss"] - 0.1
    assert metrics["tuned_share"] > 0
    images = Shards(data / "data/shards/val")
    network = load_network(folder / "classifier")
    answers = network(pixels(images.rows(np.arange(len(images))))).argmax(1).numpy()
    assert metrics["val"]["accuracy"] == pytest.approx((answers == images.labels).mean())
    assert not np.array_equal(alone.head["0.weight"], saved.head["0.weight"])
    assert (
        tensors.load(folder / "classifier/body.safetensors").keys()
        == tensors.load(data / "models/body/body.safetensors").keys()
    )


def test_fine_tuning_that_brings_nothing_gives_the_head_alone_to_the_bit(run, capsys):
    head = run(epochs=10)
    before = {name: files.sha256(head / f"classifier/{name}.safetensors") for name in ("head", "body")}
    folder = run(epochs=10, recipe="finetune", thaw_lr_factor=1e-9)
    assert {name: files.sha256(folder / f"classifier/{name}.safetensors") for name in before} == before
    assert SavedClassifier.load(folder / "classifier").frozen
    assert "the head alone is kept: no mixture with the tuned network is better beyond noise" in capsys.readouterr().err


@pytest.mark.parametrize("factor", [1e4, 1e30])  # in the fourth step, and in the first
def test_fine_tuning_that_runs_away_keeps_the_head_alone(run, capsys, factor):
    head = run(epochs=10, optimizer="sgd")
    before = {name: files.sha256(head / f"classifier/{name}.safetensors") for name in ("head", "body")}
    folder = run(epochs=10, recipe="finetune", thaw_lr_factor=factor, optimizer="sgd")
    said = capsys.readouterr().err
    assert "the head alone is kept: when every layer learnt, the loss is" in said
    assert f"set a thaw_lr_factor below {factor:g}" in said
    assert {name: files.sha256(folder / f"classifier/{name}.safetensors") for name in before} == before
    assert json.loads((folder / "classifier/train.json").read_text())["tuned_share"] == 0
    assert not list((folder / ".darkroom").rglob("*.ckpt"))


@pytest.mark.parametrize("changes", [{"freeze": "none"}, {"thaw_epoch": 2}])
def test_fine_tuning_rejects_what_it_decides_itself(run, changes):
    with pytest.raises(ParamsError, match="set freeze: backbone and thaw_epoch: 0, or recipe: custom"):
        run(recipe="finetune", **changes)


@pytest.mark.parametrize(("changes", "said"), [({"recipe": "finetune"}, "there are 0; set val_fraction"),
                                               ({"schedule": "plateau", "patience": 0}, "there are none")])  # fmt: skip
def test_what_validation_images_decide_is_rejected_without_any(run, tmp_path, changes, said):
    write_data(tmp_path / "alone", train=20, val=0, test=10)
    with pytest.raises(ParamsError, match=said):
        run(images=tmp_path / "alone/data", **changes)


def test_features_and_network_give_the_same_answers(run, data):
    """A head that is trained from cached features answers as the whole network does, BatchNorm and all."""
    from darkroom.model.network import load_network, pixels

    folder = run(lr=0.3, epochs=10, head="mlp", dropout=0.5)
    saved, network = SavedClassifier.load(folder / "classifier"), load_network(folder / "classifier")
    images, features = Shards(data / "data/shards/val"), Shards(data / "data/features/val")
    places = np.arange(len(images))
    logits = network(pixels(images.rows(places))).detach().numpy() / saved.temperature
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    np.testing.assert_allclose(saved.probabilities(features.rows(places)[:, 0]), probabilities, atol=1e-4)


def test_a_run_from_a_classifier_keeps_what_its_head_knows(run, data, tmp_path):
    from darkroom.model import tensors

    folder = run(lr=0.3, epochs=20)
    known = tensors.load(folder / "classifier/head.safetensors")
    body = tmp_path / "body"
    shutil.copytree(data / "models/body", body)
    tensors.save(body / "head.safetensors", known, {"classes": [str(digit) for digit in range(10)]})
    before = json.loads((folder / "classifier/train.json").read_text())["val"]["accuracy"]
    again = run(body=body, lr=1e-6, epochs=1)
    after = json.loads((again / "classifier/train.json").read_text())["val"]["accuracy"]
    assert after == pytest.approx(before, abs=0.02)


def test_a_block_that_is_not_there_is_refused_with_the_nearest_name(run):
    with pytest.raises(DarkroomError, match="freeze is 'blok1'"):
        run(freeze="blok1")


@pytest.mark.parametrize(
    "changes", [{"optimizer": "sdg"}, {"lr": 0}, {"epochs": 0}, {"schedule": "onecyle"}, {"ema": 1.0}]
)
def test_wrong_values_are_refused_before_any_work(run, changes, tmp_path):
    with pytest.raises(ParamsError, match=next(iter(changes))):
        run(**changes)
    assert not (tmp_path / "classifier").exists()


def test_tensorboard_and_dvclive_see_every_epoch(run, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    pytest.importorskip("dvclive")
    monkeypatch.setenv("DARKROOM_TENSORBOARD", str(tmp_path / "board"))
    monkeypatch.setenv("DARKROOM_DVCLIVE", str(tmp_path / "live"))
    run(epochs=3)
    assert list((tmp_path / "board").glob("events.out.tfevents.*"))
    steps = (tmp_path / "live/plots/metrics/val_loss.tsv").read_text().splitlines()
    assert len(steps) == 4
    assert not (tmp_path / "dvc.yaml").exists()
