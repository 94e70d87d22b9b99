"""The whole pipeline, as a user runs it: the same bytes anywhere, also after a kill; and only what changed."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from darkroom.core.text import percent
from tests.project import STAGES, Project, stages_run

pytestmark = pytest.mark.slow
MEND = (sys.executable, "-m", "darkroom.reproduction.preflight")  # what `make repro` does before `dvc repro`


@pytest.fixture(scope="module")
def developed(tmp_path_factory):
    """Return a project that was reproduced once, from nothing, and committed. Tests leave it as they found it."""
    project = Project(tmp_path_factory.mktemp("first") / "darkroom")
    done = project.dvc("repro")
    assert stages_run(done.stdout) == list(STAGES)
    project.said = done.stdout
    project.commit("Reproduce")
    return project


def test_the_default_reaches_its_accuracy_with_an_interval(developed):
    metrics = json.loads((developed.folder / "metrics/test.json").read_text())
    assert metrics["accuracy"] >= 0.98
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"] <= 1
    with (developed.folder / "plots/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:3] == ["id", "label", "predicted"]
    assert len(rows) == metrics["n"]
    right = sum(row["label"] == row["predicted"] for row in rows) / len(rows)
    assert right == pytest.approx(metrics["accuracy"], abs=1e-6)


def test_every_stage_ends_with_one_line_that_says_what_it_made(developed):
    metrics = json.loads((developed.folder / "metrics/test.json").read_text())
    said = {line.partition(":")[0]: line for line in developed.said.splitlines() if line.endswith(" s")}
    made = {
        "fetch": "1,797 images of 10 classes",
        "split": f"{metrics['n']:,} test",
        "framing": "28 px, crop, bilinear",
        "preprocess": f"{metrics['n']:,} test images of 28 px",
        "labels": "0 labels corrected, 0 images excluded, 10 classes",
        "embed": "features of each of",
        "train": "validation images right",
        "evaluate": f"accuracy {percent(metrics['accuracy'])}",
        "export": f"agrees on {metrics['n']:,} test images",
    }
    assert list(said) == list(STAGES)
    assert {stage: line for stage, line in said.items() if made[stage] not in line} == {}


def test_predicting_the_original_files_of_the_test_set_gives_the_predictions_back(developed, tmp_path):
    with (developed.folder / "data/index.csv").open(newline="") as file:
        places = {row["id"]: row["location"].removeprefix("raw:").split("::") for row in csv.DictReader(file)}
    with (developed.folder / "plots/predictions.csv").open(newline="") as file:
        expected = {row["id"]: row for row in csv.DictReader(file)}
    for name in expected:
        archive, member = places[name]
        with zipfile.ZipFile(developed.folder / "data/raw" / archive) as opened:
            (tmp_path / f"{name}.png").write_bytes(opened.read(member))
    done = developed.run(sys.executable, "-m", "darkroom.cli", "predict", str(tmp_path), "--csv", check=False)
    assert done.returncode in (0, 3), done.stderr  # 3: some are unlike anything seen
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert len(rows) == len(expected)
    for row in rows:
        wanted = expected[Path(row["file"]).stem]
        assert row["predicted"] == wanted["predicted"]
        for digit in "0123456789":
            assert float(row[digit]) == pytest.approx(float(wanted[digit]), abs=1e-3)


def test_the_export_is_handed_out_by_name(developed, tmp_path):
    developed.git("tag", "-a", "classifier@v1.0.0", "-m", "The first one")
    try:
        developed.dvc("artifacts", "get", str(developed.folder), "classifier", "-o", str(tmp_path / "model"))
    finally:
        developed.git("tag", "-d", "classifier@v1.0.0")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md",
        "config.json",
        "labels.txt",
        "model.onnx",
        "model.safetensors",
        "predict.py",
    ]


def test_running_again_finds_nothing_to_do(developed):
    before = developed.hashes()
    done = developed.dvc("repro")
    assert "Data and pipelines are up to date." in done.stdout + done.stderr
    assert developed.hashes() == before
    assert developed.git("status", "--porcelain") == ""


def test_another_folder_gives_the_same_bytes_though_it_is_killed_again_and_again(developed, tmp_path):
    project = Project(tmp_path / "another place" / "with a much longer name" / "darkroom")
    project.one_thread = False
    rng = random.Random(0)
    for _ in range(6):
        project.run(*MEND)
        # SIGKILL of DVC and all its children, or an interrupt as Ctrl-C sends it, after a moment drawn at random.
        process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=project.folder,
            env=project.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(rng.uniform(2, 6))
        os.killpg(process.pid, rng.choice([signal.SIGKILL, signal.SIGINT]))
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:  # DVC can lose an interrupt that comes at an odd moment, and go on
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    project.run(*MEND)
    project.dvc("repro")
    assert project.hashes() == developed.hashes()


def test_a_kill_while_dvc_writes_its_lock_costs_nothing(restored):
    os.truncate(restored.folder / "dvc.lock", 0)
    assert "dvc.lock' validation failed" in restored.dvc("repro", check=False).stderr
    recipe = restored.run("make", "--no-print-directory", "-n", "-o", "setup", "repro").stdout.splitlines()
    assert recipe[-2:] == [f".venv/bin/python -m {MEND[-1]}", "dvc repro"]
    assert "dvc.lock was half written" in restored.run(*MEND).stderr
    assert stages_run(restored.dvc("repro").stdout) == []
    assert restored.git("status", "--porcelain") == ""


def experiment(project, *overrides, check=True):
    settings = [argument for override in overrides for argument in ("-S", override)]
    return project.dvc("exp", "run", *settings, check=check)


@pytest.fixture
def restored(developed):
    """Yield the developed project, put back as it was after the test."""
    yield developed
    developed.git("checkout", "-q", "--", ".")
    developed.dvc("checkout", "--force")


def test_another_lr_runs_the_head_alone(restored):
    done = experiment(restored, "lr=1e-5")  # DVC writes 1e-05, which YAML 1.1 reads as text
    assert stages_run(done.stdout) == ["train", "evaluate", "export"]
    assert json.loads((restored.folder / "models/classifier/model.json").read_text())["params"]["lr"] == 1e-5
    done = experiment(restored, "lr=0.01")  # trained before
    assert stages_run(done.stdout) == ["evaluate", "export"]


def test_a_wrong_value_stops_before_any_work(restored):
    # image_size makes framing the first stage to run: it must already reject a key of train.
    failed = experiment(restored, "lr=fast", "image_size=30", check=False)
    assert failed.returncode != 0
    assert "params.yaml: lr is 'fast', expected a number above 0" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert len(stages_run(failed.stdout)) == 1


def test_a_misspelt_key_names_the_nearest(restored):
    path = restored.folder / "params.yaml"
    path.write_text(path.read_text().replace("\nlr:", "\nlrr:"))
    failed = restored.dvc("repro", check=False)
    assert failed.returncode != 0
    assert "lr" in failed.stderr
    assert "Traceback" not in failed.stderr
