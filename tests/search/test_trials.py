"""What a sweep knows of a trial before it runs: whether its params contradict each other, and its epochs."""

import re
import shutil
from pathlib import Path

import pytest

from darkroom.core.errors import ParamsError
from darkroom.core.params import read_yaml
from darkroom.search import project as projects
from darkroom.search import sweep
from darkroom.search.experiment import Experiment
from darkroom.search.journal import COMPLETE, FAILED, Journal, Trial
from darkroom.search.space import Params, Space
from tests.conftest import ROOT


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """Return a folder with this project's params and pipeline, in which no trial may run."""
    for name in ("params.yaml", "params.schema.json", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(projects, "copies", lambda *_: [])
    return tmp_path


def begun(root: Path, fixed: Params, trials: int = 0) -> sweep.Sweep:
    """Return a sweep over lr with so many complete trials."""
    space = Space(name="a", method="grid", fixed=fixed, params={"lr": [0.1, 0.01]})
    journal = Journal(root / sweep.FOLDER / "a", space, {})
    for number in range(trials):
        journal.add(Trial(number, {"lr": 0.1}, COMPLETE, 0.5, commit="c"))
    return sweep.Sweep(space, journal, root, 1, read_yaml(root / "params.yaml"), {})


def test_a_trial_whose_params_contradict_each_other_fails_before_dvc_runs(root, monkeypatch):
    monkeypatch.setattr(Experiment, "run", lambda *_: pytest.fail("it ran"))
    trial = begun(root, {"cutmix": 1.0})._trial(0, {"lr": 0.1})
    assert trial.state == FAILED
    reason = Experiment(root, "", {}, None, root / trial.log).reason()
    assert reason.startswith("params.yaml: cutmix pastes images, and with freeze: backbone none are seen")


def test_a_params_file_that_no_trial_could_run_with_stops_a_sweep_before_the_first(root, monkeypatch):
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(re.sub("^epochs: .*", "epochs: many", text, flags=re.MULTILINE))
    (root / "lr.yaml").write_text("method: grid\nparams: {lr: [0.1, 0.01]}\n")
    monkeypatch.chdir(root)
    with pytest.raises(ParamsError, match="epochs is 'many', expected a whole number"):
        sweep.main(["lr.yaml"])


@pytest.mark.parametrize(
    ("fixed", "epochs"),
    [
        ({"epochs": 10}, 25),  # 500 steps of 20 an epoch
        ({"epochs": 30}, 30),
        ({"epochs": 10, "min_steps": 0}, 10),
        ({"epochs": 10, "schedule": "plateau"}, 10),
        ({"epochs": 10, "recipe": "finetune"}, 35),  # of the head, then of every layer
        ({"epochs": 10, "freeze": "none"}, 10),
    ],
)
def test_pruning_counts_the_epochs_that_min_steps_makes(root, monkeypatch, fixed, epochs):
    monkeypatch.setattr(Experiment, "training", lambda *_: {"train": {"n": 1259}})
    assert begun(root, fixed, trials=5).epochs({"lr": 0.1}) == epochs
