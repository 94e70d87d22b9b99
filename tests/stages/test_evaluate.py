import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.core import files
from darkroom.core.errors import ParamsError
from darkroom.core.params import read_yaml
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.model import builders, classifier, tensors
from darkroom.model.network import Body, load_body, load_network, pixels
from darkroom.model.runner import TorchBody
from stages import evaluate
from tests.reporting.run import PARAMS, Run, make_run

ROOT = Path(__file__).resolve().parents[2]
FIGURES = {"confusion", "worst_errors", "least_certain", "confused_pairs", "label_errors", "where_it_looks"}


def outputs(root: Path) -> dict[str, bytes]:
    paths = [*(root / "plots").rglob("*"), *(root / "metrics").rglob("*")]
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(paths) if path.is_file()}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Run:
    run = make_run(tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.root)
        evaluate.main(*run.arguments)
    return run


def test_metrics_say_how_good_how_sure_and_against_what(done):
    table = files.read_json(done.root / "metrics/test.json")
    assert table["accuracy_low"] < table["accuracy"] < table["accuracy_high"]
    assert table["baseline"]["majority"]["accuracy"] < table["baseline"]["nearest_class_mean"]["accuracy"]
    assert table["baseline"]["nearest_class_mean"]["accuracy"] == table["accuracy"]  # this head is the nearest mean
    assert set(table["before_calibration"]) == {"ece", "log_loss", "brier"}
    assert sum(row["support"] for row in table["per_class"].values()) == table["n"] == 200


def test_the_few_numbers_that_dvc_shows_are_those_of_the_whole_table(done):
    few = files.read_json(done.root / "metrics/summary.json")
    assert sorted(few) == ["accuracy", "accuracy_high", "accuracy_low", "log_loss", "macro_f1", "n"]
    assert few.items() <= files.read_json(done.root / "metrics/test.json").items()


def test_a_training_that_bought_nothing_is_said(done, capsys, monkeypatch):
    monkeypatch.chdir(done.root)  # this head is the nearest mean
    evaluate.main(*done.arguments)
    said = capsys.readouterr().out
    assert said.startswith("evaluate: Training bought nothing: the network before training")


def test_every_test_image_has_one_row_under_its_own_id(done):
    rows = list(files.read_csv(done.root / "plots/predictions.csv"))
    assert [row["id"] for row in rows] == [f"{number:064x}" for number in range(520, 720)]
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert right == files.read_json(done.root / "metrics/test.json")["accuracy"]


def test_the_figures_and_data_files_are_the_outputs_that_dvc_yaml_lists(done):
    made = {path.relative_to(done.root).as_posix() for path in (done.root / "plots/test").iterdir()}
    outs = read_yaml(ROOT / "dvc.yaml")["stages"]["evaluate"]["outs"]
    names = {out if isinstance(out, str) else next(iter(out)) for out in outs}
    assert made == {name for name in names if name.startswith("plots/test/")}
    assert {path.stem for path in (done.root / "plots/test/sheets").iterdir()} == FIGURES


def test_running_again_in_another_folder_gives_the_same_bytes(done, tmp_path, monkeypatch):
    again = make_run(tmp_path / "elsewhere")
    monkeypatch.chdir(again.root)
    evaluate.main(*again.arguments)
    assert outputs(again.root) == outputs(done.root)


def test_a_frozen_classifier_is_measured_without_torch_sklearn_or_pandas(done):
    code = (
        "import sys; from pathlib import Path; from stages import evaluate;"
        f"evaluate.main(*map(Path, {[str(path) for path in done.arguments]}));"
        "print(*sorted({'torch', 'sklearn', 'pandas', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=done.root, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, ""), ran.stderr


def test_tta_is_reported_beside_the_plain_numbers(tmp_path, monkeypatch):
    run = make_run(tmp_path, counts=(300, 60, 80))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS.replace("tta: none", "tta: crops"), encoding="utf-8")
    evaluate.main(*run.arguments)
    table = files.read_json(tmp_path / "metrics/test.json")
    assert table["tta"]["views"] == "crops"
    assert table["tta"]["n"] == 80
    assert table["tta"]["log_loss"] != table["log_loss"]
    assert table["tta"]["temperature"] != 1  # of its own, fitted to the views of the validation images
    (tmp_path / "params.yaml").write_text(PARAMS.replace("tta: none", "tta: flip"), encoding="utf-8")
    with pytest.raises(ParamsError, match="tta is 'flip', but the images of this source must not be mirrored"):
        evaluate.main(*run.arguments)


@pytest.mark.parametrize(
    ("case", "names", "counts"),
    [
        ("two classes", ["cat", "dog"], (200, 40, 40)),
        ("fifty classes, most absent from the test set", [f"class {n}" for n in range(50)], (800, 40, 30)),
        ("a single test image", ["cat", "dog"], (200, 40, 1)),
        ("no validation", ["cat", "dog"], (200, 0, 20)),
    ],
)
def test_odd_test_sets_are_measured_and_drawn(case, names, counts, tmp_path, monkeypatch):
    run = make_run(tmp_path, names, counts)
    monkeypatch.chdir(tmp_path)
    said = evaluate.main(*run.arguments)
    assert said.startswith("accuracy"), case
    json.dumps(files.read_json(tmp_path / "metrics/test.json"), allow_nan=False)
    assert (tmp_path / "plots/test/sheets/confusion.png").stat().st_size > 1000


def test_nan_in_the_head_gives_null_and_no_crash(tmp_path, monkeypatch):
    run = make_run(tmp_path, ["cat", "dog"], (200, 40, 40))
    path = tmp_path / "data/features/test"
    from safetensors.numpy import load_file, save_file

    shard = path / "shard-00000.safetensors"
    tensors = load_file(shard)
    tensors["features"][:3] = np.nan
    save_file(tensors, shard)
    monkeypatch.chdir(tmp_path)
    evaluate.main(*run.arguments)
    table = files.read_json(tmp_path / "metrics/test.json")
    assert (table["unanswered"], table["log_loss"], table["roc_auc"]) == (3, None, None)
    assert table["accuracy"] is not None


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Run:
    """Return a fine-tuned run: no features, and a network whose body is not that of models/body."""
    run = make_run(tmp_path_factory.mktemp("tuned"), counts=(100, 30, 40))
    shutil.rmtree(run.root / "data/features")
    for split in ("train", "val", "test"):
        with write_shards(run.root / "data/features" / split, "features", [str(n) for n in range(10)]) as writer:
            writer.close()
    shutil.rmtree(run.root / "models/body")
    mean, std = [0.1] * 3, [0.3] * 3
    bodies = [Body(builders.build("lenet", 24, seed), mean, std).eval() for seed in (0, 1)]
    size = TorchBody(bodies[0], torch.device("cpu")).features(np.zeros((1, 24, 24, 3), np.uint8)).shape[1]
    (run.root / "models/body").mkdir()
    tensors.save(run.root / "models/body/body.safetensors", bodies[0].arrays())
    facts = files.read_json(run.root / "models/classifier/model.json")
    facts |= {"backbone": "lenet", "frozen": False, "freeze": "none", "mean": mean, "std": std, "features": size}
    files.write_json(
        run.root / "models/body/body.json", {k: facts[k] for k in ("backbone", "image_size", "mean", "std")}
    )
    head = classifier.initial(classifier.Head("linear", 0, 0.0), size, 10, seed=0)
    facts["head"] = {"kind": "linear", "hidden": 0, "dropout": 0.0}
    classifier.save(run.root / "models/classifier", facts, head, bodies[1].arrays())
    files.write_json(run.root / "models/classifier" / classifier.TRAINING, {"best_epoch": 2})
    (run.root / "params.yaml").write_text(PARAMS.replace("tta: none", "tta: crops"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.root)
        evaluate.main(*run.arguments)
    return run


def test_a_fine_tuned_network_is_measured_with_its_own_body(tuned):
    table = files.read_json(tuned.root / "metrics/test.json")
    network = load_network(tuned.root / "models/classifier")
    shards = Shards(tuned.root / "data/shards/test")
    with torch.inference_mode():
        answers = network(pixels(shards.rows(np.arange(40)))).argmax(dim=1).numpy()
    assert table["accuracy"] == np.mean(answers == shards.labels)
    assert table["tta"]["n"] == 40


def test_before_training_means_the_untouched_body(tuned):
    table = files.read_json(tuned.root / "metrics/test.json")
    untouched = TorchBody(load_body(tuned.root / "models/body")[0], torch.device("cpu"))
    train, test = (Shards(tuned.root / "data/shards" / split) for split in ("train", "test"))
    features = untouched.features(train.rows(np.arange(100)))
    means = np.stack([features[train.labels == place].mean(axis=0) for place in range(10)])
    away = np.linalg.norm(untouched.features(test.rows(np.arange(40)))[:, None] - means, axis=2)
    expected = np.mean(away.argmin(axis=1) == test.labels)
    assert table["baseline"]["nearest_class_mean"]["accuracy"] == expected
    assert table["baseline"]["nearest_class_mean"]["images"] == 100


def test_the_fine_tuned_figures_are_there(tuned):
    assert {f"{name}.png" for name in FIGURES} <= {path.name for path in (tuned.root / "plots/test/sheets").iterdir()}


def test_a_body_without_a_map_is_looked_into_by_hiding_patches(tuned):
    body = TorchBody(load_network(tuned.root / "models/classifier").body, torch.device("cpu"))
    image = Shards(tuned.root / "data/shards/test").rows(np.arange(1))
    assert body.features_and_maps(image)[1] is None
    with Image.open(tuned.root / "plots/test/sheets/where_it_looks.png") as picture:
        drawn = np.asarray(picture.convert("RGB")).astype(int)
    glow = (drawn[..., 0] - drawn[..., 2] > 60) & (drawn[..., 1] > 100)  # orange and yellow: the scans are grey
    assert glow.sum() > 500
