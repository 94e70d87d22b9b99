"""Folds trained by stages/fold.py, and stages/crossval.py over them, on real digits."""

import json
from pathlib import Path

import pytest

from darkroom.core import files
from darkroom.core.errors import ParamsError
from darkroom.images.shards import Shards
from stages import crossval, fold
from tests.training.small import write_data, write_params


@pytest.fixture
def project(tmp_path, monkeypatch):
    write_data(tmp_path, train=320, val=80, test=10)
    rows = []
    for split in ("train", "val"):
        names = Shards(tmp_path / "data/shards" / split).ids()
        rows += [[name, split, place // 10 % 2] for place, name in enumerate(names)]
    files.write_csv(tmp_path / "data/split.csv", ("id", "split", "fold"), rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_THREADS", "1")
    return tmp_path


def train_folds(numbers, **changes) -> None:
    write_params(Path(), **changes)
    inputs = [Path(name) for name in ("data/split.csv", "data/shards", "data/features", "models/body")]
    for number in numbers:
        fold.main(*(Path(str(number)), *inputs, Path(f"data/crossval/fold-{number}")))


def summarise(**changes) -> None:
    write_params(Path(), **changes)
    Path("params.yaml").write_text("folds: 2\n")
    outputs = [Path(name) for name in ("metrics/crossval.json", "plots/crossval.csv", "plots/crossval.png")]
    crossval.main(Path("data/crossval"), *outputs)


@pytest.mark.parametrize("changes", [{"lr": 0.3, "epochs": 20}, {"freeze": "none", "lr": 0.003, "epochs": 6}])
def test_folds_and_their_summary(project, changes):
    train_folds((0, 1), **changes)
    summarise()
    found = json.loads((project / "metrics/crossval.json").read_text())
    assert found["n"] == 400
    assert found["accuracy"] > 0.6
    assert [result["fold"] for result in found["folds"]] == [0, 1]
    predicted = [
        row for number in (0, 1) for row in files.read_csv(project / f"data/crossval/fold-{number}/predictions.csv")
    ]
    assert len({row["id"] for row in predicted}) == 400
    right = sum(row["label"] == row["predicted"] for row in predicted) / 400
    assert right == pytest.approx(found["accuracy"])
    assert (project / "plots/crossval.png").read_bytes().startswith(b"\x89PNG")


def test_a_fold_that_was_not_trained_is_missed(project):
    train_folds((0,))
    with pytest.raises(ParamsError, match=r"folds is 2, but folds \[0\] were trained; write `fold: \[0, 1\]`"):
        summarise()
    assert project
