"""The workspace after DVC was ended while it prepared an experiment in it."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from darkroom.core.errors import DarkroomError
from darkroom.reproduction import preflight, workspace
from darkroom.search.experiment import Experiment
from tests.conftest import ROOT
from tests.reporting.project import begin

# What DVC does in `dvc exp run --temp` before it works in a folder of its own.
PREPARING = """
git stash -q
git checkout -q --detach
git stash apply -q || true
echo 'lr: 0.5' > params.yaml
git add params.yaml
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """Return a project with a change in Git's index, one that is not, and a file that Git does not know."""
    (tmp_path / "params.yaml").write_text("lr: 0.1\n")
    (tmp_path / "notes.md").write_text("first\n")
    (tmp_path / ".gitignore").write_text(".darkroom\n")
    begin(tmp_path)
    (tmp_path / "notes.md").write_text("first\nstaged\n")
    run(tmp_path, "git add notes.md")
    (tmp_path / "params.yaml").write_text("lr: 0.2\n")
    (tmp_path / "mine.txt").write_text("mine")
    return tmp_path


def run(project: Path, command: str) -> str:
    return subprocess.run(["sh", "-c", command], cwd=project, check=True, capture_output=True, text=True).stdout


def state(project: Path) -> str:
    """Return all that a user sees: the branch, the changes, other files, the stash."""
    return run(project, "git symbolic-ref -q HEAD || git rev-parse HEAD; git status -s; git diff HEAD; git stash list")


def kill_while_preparing(project: Path) -> None:
    """Leave the workspace as a kill -9 of a search does."""
    program = f"""
import os, subprocess
from pathlib import Path
from darkroom.reproduction import workspace
with workspace.prepared(Path.cwd()):
    subprocess.run(["sh", "-ec", {PREPARING!r}], check=True, capture_output=True)
    os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=project, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 9


@pytest.mark.parametrize("command", ["exit 1", "kill -9 $$"])
def test_an_experiment_that_ends_while_dvc_prepares_it_leaves_the_workspace_as_it_was(project, command):
    before = state(project)
    (project / ".darkroom").mkdir()
    experiment = Experiment(project, "a", {}, None, project / ".darkroom/log")
    experiment.command = ["sh", "-ec", PREPARING + command]
    assert experiment.run(lambda _: False, threading.Event()) != 0
    assert state(project) == before
    assert (project / "mine.txt").read_text() == "mine"


def test_a_workspace_that_a_killed_search_has_left_is_mended_by_the_next_command(project):
    before = state(project)
    kill_while_preparing(project)
    assert state(project) != before
    (project / "params.yaml").write_text("lr: 0.7\n")  # by the user, who has wondered what is there
    (line,) = preflight.mend(project)
    assert line.startswith("DVC was ended while it prepared an experiment: branch, params and changes are as before")
    assert state(project) == before
    assert run(project, f"git show {workspace.KEPT}:params.yaml") == "lr: 0.7\n"
    assert preflight.mend(project) == []


def test_a_workspace_without_changes_gets_its_branch_and_params_back(project):
    run(project, "git add . && git commit -qm all")
    before = state(project)
    kill_while_preparing(project)
    (line,) = preflight.mend(project)
    assert "branch and params are as before" in line
    assert state(project) == before


def test_a_commit_and_a_stash_that_a_user_makes_meanwhile_stay(project):
    """DVC works in the folder of the experiment by then, for as long as that takes."""
    (project / ".darkroom").mkdir()
    experiment = Experiment(project, "a", {}, None, project / ".darkroom/log")
    experiment.command = ["sh", "-ec", "echo Reproducing experiment a; sleep 1; git stash -q; git checkout -q -b mine"]
    assert experiment.run(lambda _: False, threading.Event()) == 0
    assert "refs/heads/mine" in state(project)
    assert "stash@{0}" in state(project)


def test_a_user_who_has_gone_on_after_a_kill_keeps_the_branch_and_the_work(project):
    kill_while_preparing(project)
    run(project, "git reset -q --hard; git checkout -q -b mine; echo 'lr: 0.9' > params.yaml")
    before = state(project)
    (line,) = preflight.mend(project)
    assert "what you had changed before lies in `git stash list`" in line
    assert state(project) == before
    assert preflight.mend(project) == []


def test_a_stash_that_a_user_makes_after_a_kill_is_not_taken_for_dvcs(project, monkeypatch):
    monkeypatch.setattr(workspace, "PREPARES", -60)  # as if the kill was long ago
    kill_while_preparing(project)
    run(project, "git reset -q --hard; git checkout -q main; echo 'lr: 0.9' > params.yaml")
    before = state(project)
    assert preflight.mend(project) == []
    assert state(project) == before


def test_a_file_that_has_changed_since_dvc_stashed_it_is_not_overwritten(project):
    run(project, "git stash push -q --include-untracked")
    stash = run(project, "git rev-parse stash@{0}").strip()
    (project / "mine.txt").write_text("changed")
    with pytest.raises(DarkroomError, match=r"mine.txt has changed since .* run `git stash pop --index`"):
        workspace._remove_copies(project, stash)
    (project / "mine.txt").write_text("mine")
    workspace._remove_copies(project, stash)
    assert not (project / "mine.txt").exists()
