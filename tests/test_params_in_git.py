"""Every experiment is visible to Git and undone by Git: DVC rewrites params.yaml, and `git checkout` restores it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT

PIPELINE = """
stages:
  train:
    cmd: cp params.yaml model.txt
    deps:
      - ${source}
    params: [lr, seed]
    outs: [model.txt]
"""


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Make a pipeline of one stage with the project's own params.yaml, committed."""
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("a photo")
    Path("params.yaml").write_text(
        (ROOT / "params.yaml").read_text().replace("source: sources/digits.yaml", "source: a.txt")
    )
    Path("dvc.yaml").write_text(PIPELINE)
    git("init", "-q")
    for name, value in {"user.name": "A user", "user.email": "user@example.com"}.items():
        git("config", name, value)
    for command in (["init", "-q"], ["config", "core.autostage", "true"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], check=True)
    git("add", "-A")
    git("commit", "-qm", "Start")


@pytest.mark.parametrize(
    ("key", "was", "values", "fails"),
    [
        ("lr", "0.01", ["0.02", "0.5"], False),
        ("source", "a.txt", ["b.txt"], True),
    ],
)
def test_git_sees_what_an_experiment_wrote_and_takes_it_back(project, key, was, values, fails):
    for value in values:
        done = subprocess.run([sys.executable, "-m", "dvc", "exp", "run", "-q", "-S", f"{key}={value}"])
        assert (done.returncode != 0) == fails
        assert f"\n{key}: {value}\n" in Path("params.yaml").read_text()
        assert "params.yaml" in git("status", "--short", "params.yaml")
        git("checkout", "-q", "HEAD", "--", "params.yaml")
        assert f"\n{key}: {was}\n" in Path("params.yaml").read_text()
