"""Loaders on a few real photos, and Darkroom's own turns."""

import json

import pytest

from benchmarks.side_by_side import experiments
from benchmarks.side_by_side.darkroom import Project
from benchmarks.side_by_side.rivals import LOADERS
from benchmarks.side_by_side.settings import Settings


@pytest.mark.parametrize("module", sorted({rival.module for rival in LOADERS} | {"darkroom"}))
def test_a_loader_keeps_the_contract(module, photos, tmp_path, run):
    variant = next((rival.variant for rival in LOADERS if rival.module == module), "")
    run(
        f"benchmarks.loaders.{module}", "--photos", photos / "train", "--work", "data", "--variant", variant,
        "--result", "result.json", "--workers", 0,
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
