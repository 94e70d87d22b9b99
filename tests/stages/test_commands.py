"""The command of fetch in dvc.yaml, run by DVC: whatever a source is called, that very folder is read."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.core import files
from darkroom.core.params import read_yaml
from stages import fetch
from tests.images.pictures import class_folders
from tests.stages.pipeline import write_params

ROOT = Path(__file__).parents[2]
NAMES = [
    "my photos", "photos [old] (1)", "Anna's photos & scans", "photos $5", "q`touch ran`", "q$(touch ran)",
    'say "cheese"; touch ran', "日本 photos", "-n",
]  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Return a DVC project that has the first stage of this one."""
    monkeypatch.chdir(tmp_path)
    stage = read_yaml(ROOT / "dvc.yaml")["stages"]["fetch"]
    stage["deps"] = [dep for dep in stage["deps"] if not dep.startswith("stages/")]
    Path("dvc.yaml").write_text(json.dumps({"stages": {"fetch": stage}}))
    Path("stages").mkdir()
    shutil.copy(ROOT / "stages/run", "stages/run")
    shutil.copy(ROOT / "added/photos.csv", "added.csv")
    dvc("init", "--no-scm", "-q")
    return tmp_path


def dvc(*arguments: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_source_is_that_folder_whatever_it_is_called(project, name):
    source = f"./{name}"
    class_folders(Path(source), each=3)
    write_params(fetch, source=source)
    dvc("repro")
    assert len(list(files.read_csv(Path("data/index.csv")))) == 6
    assert not list(project.rglob("ran"))
