"""Peers and loaders on a few real photos: those whose packages are here, and Darkroom's own turns."""

import importlib.util
import json
import shutil
import subprocess
import sys

import pytest

from benchmarks.side_by_side import experiments
from benchmarks.side_by_side.darkroom import Project
from benchmarks.side_by_side.rivals import LOADERS, PEERS
from benchmarks.side_by_side.settings import ROOT, Settings

PACKAGES = {"huggingface": "transformers", "imagefolder": "torchvision", "tutorial": "torchvision"}


@pytest.fixture(scope="module")
def photos(shared, tmp_path_factory):
    """Six photos of ants and six of bees, four of each to learn from."""
    folder = tmp_path_factory.mktemp("photos") / "few"
    for split, name, count in (("train", "train", 4), ("val", "test", 2)):
        for label in ("ants", "bees"):
            (folder / name / label).mkdir(parents=True)
            for path in sorted((shared / "data/hymenoptera" / split / label).glob("*.jpg"))[:count]:
                shutil.copy(path, folder / name / label)
    return folder


def needs(module):
    """Skip where the package that a peer is about is not installed."""
    package = PACKAGES.get(module, module)
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}, which `make bench` installs into .bench")


def run(folder, *command):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", [rival.module for rival in PEERS])
def test_a_peer_keeps_the_contract(module, photos, shared, tmp_path):
    needs(module)
    weights = shared / "weights/mobilenet_v2.pth"
    run(
        tmp_path, f"benchmarks.peers.{module}", "--task", "frozen", "--photos", str(photos), "--weights", str(weights),
        "--result", "result.json", "--epochs", "1", "--batch-size", "4", "--export",
    )  # fmt: skip
    found = json.loads((tmp_path / "result.json").read_text())
    assert set(found) == {"accuracy", "images_per_second", "n", "seconds", "seen", "setup", "versions"}
    assert found["n"] == 4
    assert found["seen"] == 8
    assert found["accuracy"] in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert {"train", "evaluate", "export"} <= set(found["seconds"])
    assert (tmp_path / "model.onnx").stat().st_size > 1e6


@pytest.mark.parametrize("module", sorted({rival.module for rival in LOADERS} | {"darkroom"}))
def test_a_loader_keeps_the_contract(module, photos, tmp_path):
    if module != "darkroom":
        needs(module)
    variant = next((rival.variant for rival in LOADERS if rival.module == module), "")
    run(
        tmp_path, f"benchmarks.loaders.{module}", "--photos", str(photos / "train"), "--work", "data",
        "--variant", variant, "--result", "result.json", "--workers", "0",
    )  # fmt: skip
    found = json.loads((tmp_path / "result.json").read_text())
    assert set(found) == {"by_workers", "bytes", "images_per_second", "versions", "workers", "writing"}
    assert found["images_per_second"] > 0


@pytest.mark.slow
def test_darkroom_s_own_turn(photos, shared, tmp_path):
    settings = Settings(photos, shared / "weights/mobilenet_v2.pth", epochs=2, batch_size=4)
    project = Project(tmp_path / "project", experiments.params(settings))
    assert project.dvc(tmp_path / "log", "repro") > 0
    assert project.scores["n"] == 4
    assert {"train", "evaluate", "export"} <= set(project.stages)
    assert project.train_alone(tmp_path / "log") > 0
    assert Project(tmp_path / "project", {}).scores == project.scores, "what is there is used"
    with pytest.raises(KeyError, match=r"params\.yaml has no speed"):
        project.set({"speed": 1})


def test_medians_over_darkroom_s_turns():
    turns = [{"wall": wall, "to_accuracy": wall / 2, "train_alone": 1.0, "accuracy": 0.9} for wall in (5.0, 9.0, 7.0)]
    rows = experiments.TABLED["second"]([*turns, {"failed": "killed"}])
    assert [row["wall"] for row in rows] == [7.0, 3.5, 1.0]
    assert rows[0]["setup"].endswith("; median of 3")
    assert experiments.TABLED["first"]([{"failed": "killed"}])[0]["failed"] == "killed"
