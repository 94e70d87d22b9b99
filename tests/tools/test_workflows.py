import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def load(path: Path) -> dict:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def steps(workflow: dict) -> list[dict]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_command_is_a_make_target_of_this_project(path):
    for step in steps(load(path)):
        if "run" in step:
            words = step["run"].split()
            assert words[0] == "make"
            assert set(words[1:]) <= TARGETS, step["run"]
            assert "${{" not in step["run"], "what others write must come by the environment"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_commit_and_names_its_version(path):
    used = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))
    assert used
    for action, comment in used:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment)


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
    assert "pull_request_target" not in workflow[True if True in workflow else "on"]
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
