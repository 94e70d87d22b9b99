"""A race's file, the lists without one, and the command that takes the body it advises."""

import re
import shutil
from dataclasses import replace

import pytest

from darkroom.core.errors import SourceError
from darkroom.core.params import load
from darkroom.search import entrants, race
from darkroom.search.entrants import Entry, read_race
from darkroom.search.space import SweepError
from darkroom.training.recipe import Recipe
from tests.conftest import ROOT
from tests.reporting.project import begin


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backbones: []", r"backbones is \[\], expected at least one$"),
        ("backbones: [a, b]\naccept_licences: MIT", "accept_licences is 'MIT', expected a list$"),
        ("bodies: [resnet18]", "there is no key `bodies`; the keys are accept_licences, backbones, limit"),
        ("backbones: [resnet18]\nlimit: 1", "limit is 1, expected greater than or equal to 10"),
        ("backbones: [resnet18, resnet18]", "resnet18 stands twice"),
        ("backbones: [resnet18]\nlimit: '500'", "limit is '500', expected a valid integer$"),
        ("", "race.yaml is empty; .*; a race's file has a line such as backbones: "),
        ("backbones: [{resnet18: a.pth}]", r"no key `backbones.0.resnet18`; the keys are backbone, weights$"),
        ("backbones: [{backbone: resnet18}]", "the key `backbones.0.weights` is missing"),
    ],
)
def test_a_race_file_with_a_fault_is_rejected(tmp_path, text, message):
    (tmp_path / "race.yaml").write_text(text)
    with pytest.raises(SweepError, match=message):
        read_race(tmp_path / "race.yaml", gpu=False)


def test_a_race_without_its_file_names_those_that_are_there(tmp_path):
    for name in ("mine", "params", "dvc", ".hidden"):
        (tmp_path / f"{name}.yaml").write_text("")
    with pytest.raises(SweepError, match=r"my.yaml does not exist; the YAML files here are \S*mine.yaml$"):
        read_race(tmp_path / "my.yaml", gpu=False)
    with pytest.raises(SweepError, match=r" is a folder; the YAML files in it are .*mine.yaml$"):
        read_race(tmp_path, gpu=False)


def test_the_default_lists_are_for_a_cpu_and_a_gpu():
    cpu, gpu = (read_race(None, gpu=gpu).backbones for gpu in (False, True))
    assert cpu[0] == Entry(backbone="timm/tf_efficientnet_lite0", weights="package")
    assert len(cpu) == 5
    assert {entry.name for entry in cpu} < {entry.name for entry in gpu}


def test_a_licence_that_the_file_accepts_is_accepted_in_the_command_too():
    chosen = Entry(backbone="timm/vit_small_patch16_dinov3", weights="imagenet")
    assert "-S accept_license=dinov3-license" in race._command(race._settings(chosen, ROOT))


def test_the_command_takes_back_what_a_frozen_body_contradicts(tmp_path):
    shutil.copy(ROOT / "params.schema.json", tmp_path)

    def set_to(changes: dict[str, str]) -> dict:
        text = (ROOT / "params.yaml").read_text()
        for key, value in changes.items():
            text = re.sub(rf"^{key}: *\S+", f"{key}: {value}", text, flags=re.MULTILINE)
        (tmp_path / "params.yaml").write_text(text)
        settings = race._settings(Entry(backbone="lenet", weights="none"), tmp_path)
        replace(
            load(Recipe, tmp_path / "params.yaml"), **{key: settings[key] for key in settings if key in changes}
        ).check()
        return {key: value for key, value in settings.items() if key not in ("backbone", "weights", "freeze")}

    assert set_to({}) == {}
    assert set_to({"freeze": "none", "cutmix": "1.0", "lr_decay": "0.8"}) == {"cutmix": 0.0, "lr_decay": 1.0}
    assert set_to({"cutmix": "1.0", "recipe": "finetune"}) == {}  # which thaws


def test_a_lock_that_a_kill_cut_short_is_mended_before_dvc_runs(tmp_path, capsys):
    begin(tmp_path)
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages:\n  fet")
    for name in ("params.yaml", "params.schema.json"):
        shutil.copy(ROOT / name, tmp_path)
    with pytest.raises(SourceError, match=r"corrections is corrections\.csv, which is not a file"):
        race.prepare(tmp_path)
    assert "race: dvc.lock was half written" in capsys.readouterr().err
    assert not (tmp_path / "dvc.lock").exists()


def test_a_lock_that_the_first_stages_have_changed_is_reported(tmp_path, monkeypatch, capsys):
    begin(tmp_path)
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    monkeypatch.setattr(race, "dvc", lambda: ["sh", "-c", "echo \"schema: '2.0'\" > dvc.lock"])
    race.require_split(tmp_path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(race, "dvc", lambda: ["sh", "-c", "echo 'stages: {}' >> dvc.lock"])
    race.require_split(tmp_path)
    assert "race: dvc.lock now holds the split of the data and params as they are" in capsys.readouterr().err


def test_the_speed_of_a_body_is_that_of_its_fastest_call(monkeypatch):
    class Body:
        def __init__(self, *_): ...

        def features(self, picture):
            assert picture.shape == (1, 8, 8, 3)

    seconds = iter([0.0, 0.09, 1.0, 1.06, 2.0, 2.01, 3.0, 3.09, 4.0, 4.06])  # of five calls, one of them undisturbed
    monkeypatch.setattr(entrants, "OnnxBody", Body)
    monkeypatch.setattr(entrants.time, "perf_counter", lambda: next(seconds))
    assert entrants.measure(ROOT, 8, 1) == pytest.approx(10)
