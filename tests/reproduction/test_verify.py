"""darkroom verify on a real repository: Git, DVC and a pipeline of one stage, whose answer depends on a setting."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.reproduction.rerun import rerun
from darkroom.reproduction.verify import main

pytestmark = pytest.mark.slow
# Like the last bits of a product of matrices, the answer depends on the number of threads; and on a param.
EVALUATE = """
import json, os, pathlib, sys
photo = pathlib.Path("photos/a.txt").read_text()
bias = float(os.environ.get("DARKROOM_THREADS", "2")) * 1e-4 + float(sys.argv[1]) + len(photo) / 10
for folder in ("metrics", "plots"):
    pathlib.Path(folder).mkdir(exist_ok=True)
metrics = {"accuracy": 0.5 + bias, "accuracy_low": 0.4, "accuracy_high": 0.6}
pathlib.Path("metrics/test.json").write_text(json.dumps(metrics))
rows = "".join(f"{i:064x},cat,cat,{0.5 + bias:.6f},{0.5 - bias:.6f}\\n" for i in range(5))
pathlib.Path("plots/predictions.csv").write_text("id,label,predicted,cat,dog\\n" + rows)
run = {"stages": {"evaluate": {"runtime": {"threads": os.environ.get("DARKROOM_THREADS", "2")}}}}
pathlib.Path("metrics/run.json").write_text(json.dumps(run))
"""
PIPELINE = """
stages:
  evaluate:
    cmd: python evaluate.py ${bias}
    deps: [evaluate.py, photos]
    outs: [plots/predictions.csv]
    metrics: [{metrics/test.json: {cache: false}}]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify") / "a project"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos/a.txt").write_text("")
    (folder / ".gitignore").write_text("/photos\n")  # data that no commit holds
    (folder / "evaluate.py").write_text(EVALUATE)
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "params.yaml").write_text("bias: 0.01\n")
    call(folder, "git", "init", "-q")
    call(folder, sys.executable, "-m", "dvc", "init", "-q")
    reproduce(folder)
    return folder


def call(folder, *command):
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def reproduce(folder):
    call(folder, sys.executable, "-m", "dvc", "repro")
    call(folder, "git", "add", "-A")
    call(folder, "git", "-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-q", "-m", "Run")


@pytest.fixture
def verify(project, monkeypatch, capfd):
    monkeypatch.chdir(project)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.delenv("DARKROOM_THREADS", raising=False)

    def verify(*arguments):
        status = main([*arguments, "--json"])
        out, err = capfd.readouterr()
        return status, json.loads(out) if out else err

    return verify


def test_the_same_settings_give_the_same_hashes_and_leave_nothing_behind(verify, project, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    status, said = verify()
    assert (status, said["verdict"], said["outputs"]) == (0, "identical", 2)
    assert list(tmp_path.iterdir()) == []


def test_paths_above_the_project_end_within_the_folder_of_the_clone(tmp_path, monkeypatch):
    """Beside it they could be another project's."""
    root = tmp_path / "work/mine/project"
    root.mkdir(parents=True)
    (tmp_path / "work/data").mkdir()
    (tmp_path / "work/data/photo.txt").write_text("mine")
    (root / "dvc.yaml").write_text("stages: {a: {cmd: cp ../../data/photo.txt out, deps: [../../data], outs: [out]}}")
    call(root, "git", "init", "-q")
    call(root, sys.executable, "-m", "dvc", "init", "-q")
    reproduce(root)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    for name in ("one", "two"):
        again = rerun(root, "HEAD", tmp_path / "again" / name / "clone")
        assert (again / "out").read_text() == "mine"
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["one", "two"]
    assert [path.name for path in (tmp_path / "again/one").iterdir()] == ["clone"]
    assert [path.name for path in (tmp_path / "work/data").iterdir()] == ["photo.txt"]


def test_a_folder_of_outputs_is_made_again_and_not_linked(tmp_path, monkeypatch):
    """A run through the link would write into the project's own folder."""
    root = tmp_path / "project"
    root.mkdir()
    (root / ".gitignore").write_text("/shards/\n/sum\n")
    (root / "dvc.yaml").write_text(
        "stages:\n  a: {cmd: mkdir -p shards/train && date +%N > shards/train/0, outs: [shards/train]}\n"
        "  b: {cmd: cat shards/train/0 > sum, deps: [shards], outs: [sum]}\n"
    )
    call(root, "git", "init", "-q")
    call(root, sys.executable, "-m", "dvc", "init", "-q")
    reproduce(root)
    before = (root / "shards/train/0").read_text()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    again = rerun(root, "HEAD", tmp_path / "again/clone")
    assert not (again / "shards").is_symlink()
    assert (again / "sum").read_text() == (again / "shards/train/0").read_text() != before
    assert (root / "shards/train/0").read_text() == before


def test_another_number_of_threads_is_the_same_within_the_tolerance_and_is_named(verify, monkeypatch):
    monkeypatch.setenv("DARKROOM_THREADS", "3")
    status, said = verify()
    assert (status, said["verdict"]) == (0, "same within tolerance")
    assert said["probabilities"] == {"n": 5, "largest": pytest.approx(1e-4), "flips": 0}
    assert [(cause["stage"], cause["name"]) for cause in said["first_difference"]] == [("evaluate", "threads")]


def test_a_smaller_tolerance_makes_it_different(verify, monkeypatch):
    monkeypatch.setenv("DARKROOM_THREADS", "3")
    assert verify("--tolerance", "1e-5")[0] == 1


def test_another_folder_and_another_revision_are_compared_without_running(verify, project, tmp_path):
    kept = tmp_path / "kept"
    assert verify("--keep", str(kept))[0] == 0
    assert verify(str(kept))[1]["verdict"] == "identical"
    try:
        (project / "params.yaml").write_text("bias: 0.05\n")
        reproduce(project)
        status, said = verify("HEAD~1")
        assert (status, said["verdict"]) == (1, "different")
        assert said["first_difference"][0] | {"stage": ""} == {
            "stage": "", "kind": "command", "name": "cmd",
            "reference": "python evaluate.py 0.05", "other": "python evaluate.py 0.01",
        }  # fmt: skip
    finally:
        call(project, "git", "reset", "-q", "--hard", "HEAD~1")


def test_data_that_changed_since_is_named(verify, project):
    (project / "photos/a.txt").write_text("x")
    try:
        status, said = verify()
    finally:
        (project / "photos/a.txt").write_text("")
    assert status == 1
    assert [(cause["kind"], cause["name"]) for cause in said["first_difference"]] == [("input", "photos")]


def test_what_cannot_be_verified_ends_with_status_2_and_the_reason(verify):
    assert verify("no-such-revision") == (
        2, "darkroom verify: no-such-revision is neither a folder nor a revision of this repository; "
           "name a project's folder, a branch, a tag or a commit\n",
    )  # fmt: skip


def test_a_clone_without_a_remote_is_told_what_it_lacks(verify, project, tmp_path, monkeypatch, capfd):
    clone = tmp_path / "clone"
    call(tmp_path, "git", "clone", "-q", str(project), str(clone))
    (clone / "photos").mkdir()
    (clone / "photos/a.txt").write_text("")
    monkeypatch.setenv("DARKROOM_THREADS", "3")
    call(clone, sys.executable, "-m", "dvc", "repro")
    monkeypatch.chdir(clone)
    assert main(["."]) == 1
    said = capfd.readouterr().out
    assert "is not in the DVC cache and there is no remote; in the clone that ran it: add one (docs/ci.md)" in said
    assert "Without them only equal hashes count as the same" in said
