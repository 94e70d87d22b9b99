"""stages/run: a stage finds the Python that has its packages, or says in one line what to do."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

RUN = Path(__file__).resolve().parents[2] / "stages/run"


def environment(folder: Path) -> Path:
    """Return a virtual environment with Darkroom's packages, whose python only names itself and its arguments."""
    (folder / "lib/python3.11/site-packages/simplejpeg").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin/python").write_text('#!/bin/sh\necho "$0 $*"\n')
    (folder / "bin/python").chmod(0o755)
    return folder


def run(folder: Path, path: str = "/usr/bin:/bin", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUN, "train", "a b", "c"], cwd=folder, env={"PATH": path} | variables, capture_output=True, text=True
    )


def test_the_nearest_environment_above_is_used_also_from_an_experiments_folder(tmp_path):
    environment(tmp_path / ".venv")
    below = tmp_path / ".dvc/tmp/exps/tmp1"
    below.mkdir(parents=True)
    for folder in (tmp_path, below):
        assert run(folder).stdout == f"{tmp_path}/.venv/bin/python -m stages.train a b c\n"


def test_an_activated_environment_comes_first_if_it_has_the_packages(tmp_path):
    environment(tmp_path / ".venv")
    other = environment(tmp_path / "other")
    assert run(tmp_path, VIRTUAL_ENV=str(other)).stdout.startswith(f"{other}/bin/python ")
    shutil.rmtree(other / "lib")
    assert run(tmp_path, VIRTUAL_ENV=str(other)).stdout.startswith(f"{tmp_path}/.venv/bin/python ")


@pytest.mark.skipif(bool(shutil.which("python", path="/usr/bin:/bin")), reason="the system has a python of its own")
def test_without_any_the_line_says_what_to_run(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "train: no Python with Darkroom's packages; run `make setup`, or activate an environment that has them\n"
    )


def test_the_python_on_the_path_does_where_no_environment_is_near(tmp_path):
    done = run(tmp_path, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode != 0
    assert "stages.train" in done.stderr or "No module named 'stages'" in done.stderr


def test_git_sees_params_that_were_written_in_the_second_of_its_index(tmp_path):
    environment(tmp_path / ".venv")
    params = tmp_path / "params.yaml"
    params.write_text("lr: 0.01\n")
    written = int(params.stat().st_mtime)
    assert run(tmp_path).returncode == 0
    assert written < int(params.stat().st_mtime) < written + 30
    assert params.read_text() == "lr: 0.01\n"


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv, of util-linux, binds a stage before Python runs")
def test_a_stage_that_still_imports_ends_with_the_dvc_that_is_killed(tmp_path):
    python = environment(tmp_path / ".venv") / "bin/python"
    python.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/new && mv {tmp_path}/new {tmp_path}/pid\nexec sleep 120\n")
    code = f"import subprocess; subprocess.run([{str(RUN)!r}, 'train'], env={{'PATH': '/usr/bin:/bin'}})"
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) as dvc:
        while not (tmp_path / "pid").exists():
            time.sleep(0.02)
        stage = psutil.Process(int((tmp_path / "pid").read_text()))
        dvc.kill()
    assert not psutil.wait_procs([stage], timeout=30)[1]
