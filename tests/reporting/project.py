"""A small DVC project with two runs: a branch, and an experiment that answers better. Its stage is a real one."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Answers are right with a probability that grows with `skill`; the images of another `seed` are other images.
STAGE = """
import json, hashlib, pathlib, numpy as np
from ruamel.yaml import YAML
from darkroom.metrics.predictions import Predictions, write_predictions
from darkroom.metrics.summary import summarise

params = YAML(typ="safe", pure=True).load(open("params.yaml"))
rng = np.random.default_rng(params["seed"])
n, classes = 400, ["cat", "dog", "owl"]
labels = rng.integers(0, 3, n)
noise = rng.normal(size=(n, 3))
logits = params["skill"] * np.eye(3)[labels] + noise
p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
ids = [hashlib.sha256(f"{params['seed']} {i}".encode()).hexdigest() for i in range(n)]
found = Predictions.of(ids, classes, labels, p)
write_predictions(pathlib.Path("plots/predictions.csv"), found)
pathlib.Path("metrics").mkdir(exist_ok=True)
json.dump(summarise(found, 0, count=100), open("metrics/test.json", "w"))
"""
PIPELINE = """
stages:
  evaluate:
    cmd: {python} stage.py
    deps: [stage.py]
    params: [seed, skill]
    outs: [plots/predictions.csv]
    metrics: [{{metrics/test.json: {{cache: false}}}}]
"""


def run(folder: Path, *command: str) -> str:
    """Run a command in the project; its output. A failure shows it."""
    who = {f"GIT_{role}_{key}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, **who, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def begin(folder: Path) -> None:
    """Make a Git and DVC repository of the folder, with what lies there as its first commit."""
    for command in (
        "git init -q -b main",
        "dvc init -q",
        "git config -f .dvc/config core.autostage true",
        "git add -A",
        "git commit -q -m start",
    ):
        run(folder, *command.split())


def make_project(folder: Path) -> Path:
    """Branch main with skill 2; tag `other-images` with another seed; experiment `bold` with skill 3."""
    common = Path(os.environ["TESTS_IN_COMMON"])
    with (common / "project.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (common / "project").exists():  # made once for all tests of all processes: it takes seconds
            shutil.rmtree(common / "unfinished", ignore_errors=True)
            _make(common / "unfinished")
            (common / "unfinished").rename(common / "project")
    shutil.copytree(common / "project", folder)
    return folder


def _make(folder: Path) -> None:
    folder.mkdir()
    (folder / "stage.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(PIPELINE.format(python=sys.executable))
    (folder / "params.yaml").write_text("seed: 1\nskill: 2.0\n")
    (folder / ".gitignore").write_text("__pycache__\n")
    begin(folder)
    for command in (
        "git tag before",
        "dvc repro -q",
        "git add -A",
        "git commit -q -m main",
        "dvc exp run -q -n bold -S skill=3.0",
    ):
        run(folder, *command.split())
    _go_back(folder, "main")
    run(folder, "dvc", "repro", "-q", "-s", "evaluate")
    (folder / "params.yaml").write_text("seed: 2\nskill: 2.0\n")
    for command in ("dvc repro -q", "git commit -q -a -m other", "git tag other-images"):
        run(folder, *command.split())
    _go_back(folder, "HEAD~1")


def _go_back(folder: Path, commit: str) -> None:
    """Make the folder what it was at a commit; Git may take a file of the same size and second for unchanged."""
    for name in ("params.yaml", "dvc.lock", "metrics/test.json"):
        (folder / name).unlink()
    run(folder, "git", "reset", "-q", "--hard", commit)
    run(folder, "dvc", "checkout", "-q")
