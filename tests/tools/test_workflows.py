import subprocess
from pathlib import Path

import pytest

from darkroom.core import yaml12

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
HEX = set("0123456789abcdef")


def load(path: Path) -> dict:
    return yaml12.read(path)


def is_target(word: str) -> bool:
    """Whether make knows how to make `word` here: it prints what it would run, and runs nothing."""
    return subprocess.run(["make", "-n", word], cwd=ROOT, capture_output=True).returncode == 0


def steps(workflow: dict) -> list[dict]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_command_is_a_make_target_of_this_project(path):
    for step in steps(load(path)):
        if "run" in step:
            words = step["run"].split()
            assert words[0] == "make"
            assert all(is_target(word) for word in words[1:]), step["run"]
            assert "${{" not in step["run"], "what others write must come by the environment"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_githubs_own_and_pinned_to_a_commit(path):
    used = [step["uses"] for step in steps(load(path)) if "uses" in step]
    assert used
    for action in used:
        name, _, commit = action.partition("@")
        assert name.startswith("actions/")
        assert len(commit) == 40
        assert set(commit) <= HEX


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_rights_are_the_least_and_stated(path):
    workflow = load(path)
    writes = {
        key
        for job in workflow["jobs"].values()
        for key, value in job.get("permissions", {}).items()
        if value == "write"
    }
    assert workflow["permissions"] in ({}, {"contents": "read"})
    assert writes == ({"pull-requests"} if path.stem == "comment" else set())
    assert "pull_request_target" not in workflow["on"]
    for step in steps(workflow):
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


def test_the_workflow_that_writes_never_checks_out_the_pull_request():
    comment = load(ROOT / ".github/workflows/comment.yml")
    assert all("ref" not in step.get("with", {}) for step in steps(comment))
    assert list(comment["on"]) == ["workflow_run"]


def test_the_report_is_uploaded_also_when_its_gate_closes_and_knows_the_whole_history():
    checkout, *_, upload = steps(load(ROOT / ".github/workflows/report.yml"))
    assert checkout["with"]["fetch-depth"] == 0
    assert upload["if"] == "always()"
    assert {"pr-report.md", "pr-number.txt"} <= set(upload["with"]["path"].split())
