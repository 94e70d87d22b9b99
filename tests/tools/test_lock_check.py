import shutil
import subprocess
from pathlib import Path

import pytest

from tests.reporting.project import make_project, run
from tools import lock_check

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Return a clone without any data."""
    folder = tmp_path_factory.mktemp("lock")
    project = make_project(folder / "project")
    run(folder, "git", "clone", "-q", str(project), str(folder / "clone"))
    return folder / "clone"


@pytest.fixture
def fresh(clone, tmp_path):
    return shutil.copytree(clone, tmp_path / "clone")


def test_a_clone_without_data_passes_when_the_lock_fits(fresh):
    assert lock_check.check(fresh) == (True, "lock-check: dvc.lock fits the code, the params and the data")


def test_a_changed_param_fails_with_the_stages_that_would_run(fresh):
    (fresh / "params.yaml").write_text("seed: 1\nskill: 7.0\n")
    fits, said = lock_check.check(fresh)
    assert not fits
    assert "evaluate would run; run `dvc repro` and commit dvc.lock" in said


def test_changed_code_fails_also_where_the_data_is_there(fresh):
    run(fresh, "dvc", "repro", "-q")
    assert lock_check.check(fresh)[0]
    with (fresh / "stage.py").open("a") as file:
        file.write("# another line\n")
    assert "evaluate would run" in lock_check.check(fresh)[1]


def test_a_broken_pipeline_is_said(fresh):
    (fresh / "dvc.yaml").write_text("stages: [")
    fits, said = lock_check.check(fresh)
    assert not fits
    assert said.startswith("lock-check: ")


def test_repro_check_sees_a_changed_lock_that_dvc_has_staged(fresh):
    """DVC's autostage adds dvc.lock to Git's index, and a plain `git diff` would find nothing."""
    asked = subprocess.run(["make", "-n", "-o", "setup", "repro-check"], cwd=ROOT, capture_output=True, text=True)
    command = next(line for line in asked.stdout.splitlines() if line.startswith("git diff")).partition(" ||")[0]
    run(fresh, *command.split())
    (fresh / "params.yaml").write_text("seed: 1\nskill: 7.0\n")
    run(fresh, "dvc", "repro", "-q")
    assert "M  dvc.lock" in run(fresh, "git", "status", "--short")
    with pytest.raises(AssertionError, match=r"dvc.lock \|"):
        run(fresh, *command.split())
