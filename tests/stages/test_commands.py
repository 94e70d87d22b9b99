"""The commands in dvc.yaml, run by DVC: whatever a source is called, a stage gets it as one argument."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.core.params import read_yaml

ROOT = Path(__file__).parents[2]
NOTE = (
    "import json, pathlib, sys\npathlib.Path(sys.argv[0]).with_suffix('.json').write_text(json.dumps(sys.argv[1:]))\n"
)


@pytest.fixture
def project(tmp_path) -> Path:
    """A DVC project with the commands of this one, for stages that only note how they were called."""
    known = read_yaml(ROOT / "dvc.yaml")["stages"]
    stages = {name: {"cmd": known[name]["cmd"], "deps": ["${source}"]} for name in ("fetch", "preprocess")}
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    (tmp_path / "stages").mkdir()
    for name in stages:
        (tmp_path / f"stages/{name}.py").write_text(NOTE)
    dvc(tmp_path, "init", "--no-scm", "-q")
    return tmp_path


def dvc(folder: Path, *arguments: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("source", ["my photos/", "photos [old] (1)", "Anna's photos & scans"])
def test_a_source_is_one_argument_whatever_it_is_called(project, source):
    (project / source).mkdir()
    (project / "params.yaml").write_text(json.dumps({"source": source}))
    dvc(project, "repro", "-q")
    fetch, preprocess = (json.loads((project / f"stages/{name}.json").read_text()) for name in ("fetch", "preprocess"))
    assert fetch == [source, "data/raw", "data/index.csv"]
    assert preprocess[:2] == [source, "data/raw"]
    assert len(preprocess) == 9
