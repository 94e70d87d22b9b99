import importlib.util
import json
import shutil

import pytest

from darkroom.reporting import compare
from tests.reporting.project import make_project, run


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("compare") / "project")


@pytest.fixture
def inside(project, monkeypatch):
    monkeypatch.chdir(project)
    return project


def asked(capsys, *arguments: str) -> tuple[int, str, str]:
    status = compare.main(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err


def test_a_run_against_itself_shows_no_difference(inside, capsys):
    status, out, _ = asked(capsys, "main")
    assert status == 0
    assert "no evidence of a difference: accuracy +0.00 points" in out
    assert "No param differs." in out
    assert "0 fixed, 0 broken" in out


def test_params_that_were_changed_and_not_run_are_named(inside, capsys):
    params = inside / "params.yaml"
    ran = params.read_text()
    params.write_text(ran.replace("skill: 2.0", "skill: 9.0"))
    try:
        status, out, err = asked(capsys, "main")
    finally:
        params.write_text(ran)
    assert (status, "No param differs." in out) == (0, True)
    assert "note: params.yaml was changed after this run (skill: 2.0 to 9.0); `dvc repro` runs it" in err


def test_a_better_experiment_is_called_better_with_its_param(inside, capsys):
    status, out, _ = asked(capsys, "main", "bold", "--fail-on", "worse")
    assert status == 0
    assert "better: accuracy +" in out
    assert "skill  2.0  3.0" in out
    assert "exact McNemar p = " in out


def test_the_other_way_round_is_worse_and_fails_the_gate(inside, capsys):
    status, out, _ = asked(capsys, "bold", "main", "--fail-on", "regression")
    assert (status, "worse: accuracy −" in out) == (1, True)
    assert asked(capsys, "bold", "main")[0] == 0
    assert asked(capsys, "bold", "main", "--fail-on", "worse", "--margin", "0.9")[0] == 0
    assert asked(capsys, "main", "main", "--fail-on", "not-better")[0] == 1
    assert asked(capsys, "main", "main", "--fail-on", "maybe-worse", "--margin", "0.1")[0] == 0


def test_json_holds_everything_and_markdown_starts_with_the_verdict(inside, capsys):
    found = json.loads(asked(capsys, "main", "bold", "--json")[1])
    assert found["verdict"] == "better"
    assert found["n"] == 400
    assert len(found["flips"]) == found["fixed"] + found["broken"]
    assert {row["name"] for row in found["rows"]} >= {"accuracy", "macro_f1", "log_loss", "roc_auc", "ece"}
    old, new = (next(row for row in found["rows"] if row["name"] == "accuracy")[key] for key in ("old", "new"))
    assert new - old == pytest.approx((found["fixed"] - found["broken"]) / 400)
    text = asked(capsys, "main", "bold", "--md")[1]
    assert text.startswith("### 🟢 Better")
    assert "<details><summary>Images that flipped" in text


def test_an_edited_params_file_is_not_taken_for_the_run_that_was_made(inside, capsys):
    (inside / "params.yaml").write_text("seed: 1\nskill: 9.0\n")
    try:
        assert "No param differs." in asked(capsys, "main")[1]
    finally:
        run(inside, "git", "checkout", "-q", "params.yaml")


@pytest.mark.parametrize(
    ("revs", "message"),
    [
        (["nowhere"], "nowhere is not a branch, tag, commit or experiment here"),
        (["before"], "has no plots/predictions.csv: it holds no finished run of this pipeline"),
        (["main^{tree}"], "main^{tree} is not a branch, tag, commit or experiment here"),
        (["main:params.yaml"], "main:params.yaml is not a branch, tag, commit or experiment here"),
        (["main", "other-images"], "not tested on the same images: 0 in both, 400 only in main"),
    ],
)
def test_what_cannot_be_compared_is_said_with_status_2(inside, capsys, revs, message):
    status, out, err = asked(capsys, *revs)
    assert (status, out) == (2, "")
    assert message in err


def test_predictions_come_from_the_remote_and_their_absence_is_said(inside, tmp_path, monkeypatch, capsys):
    clone = tmp_path / "clone"
    run(inside, "git", "clone", "-q", str(inside), str(clone))
    monkeypatch.chdir(clone)
    status, _, err = asked(capsys, "HEAD", "HEAD")
    assert status == 2
    assert "is not in the DVC cache and there is no remote" in err
    status, _, err = asked(capsys, "HEAD")
    assert (status, "run `dvc repro`, or `dvc pull`" in err or "no remote" in err) == (2, True)
    remote = tmp_path / "remote"
    run(clone, "dvc", "remote", "add", "-q", "-d", "store", str(remote))
    assert "the remote does not hold it" in asked(capsys, "HEAD", "HEAD")[2]
    run(inside, "dvc", "push", "-q", "-r", _remote(inside, remote))
    shutil.rmtree(clone / ".dvc/tmp", ignore_errors=True)
    assert "no evidence of a difference" in asked(capsys, "HEAD", "HEAD")[1]


def _remote(project, folder):
    run(project, "dvc", "remote", "add", "-q", "--local", "-f", "store", str(folder))
    return "store"


def test_predictions_that_are_kept_in_git_are_read_from_git(inside, tmp_path, monkeypatch, capsys):
    clone = tmp_path / "clone"
    run(inside, "git", "clone", "-q", str(inside), str(clone))
    pipeline = (clone / "dvc.yaml").read_text()
    (clone / "dvc.yaml").write_text(
        pipeline.replace("outs: [plots/predictions.csv]", "outs: [{plots/predictions.csv: {cache: false}}]")
    )
    run(clone, "git", "rm", "-q", "--cached", "plots/.gitignore")
    (clone / "plots/.gitignore").unlink()
    run(clone, "dvc", "repro", "-q")
    run(clone, "git", "add", "-A", "-f")
    run(clone, "git", "commit", "-q", "-m", "predictions in Git")
    (clone / "plots/predictions.csv").unlink()
    monkeypatch.chdir(clone)
    assert "0 fixed, 0 broken" in asked(capsys, "HEAD", "HEAD")[1]


def test_outside_a_project_it_says_where_to_go(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, _, err = asked(capsys, "main")
    assert (status, "is not a DVC project; run from the project's root" in err) == (2, True)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a project that a test may change."""
    monkeypatch.chdir(make_project(tmp_path / "own"))
    return tmp_path / "own"


def test_answers_that_are_another_commits_are_not_taken_for_this_ones(own, capsys):
    run(own, "git", "checkout", "-q", "other-images")
    status, out, err = asked(capsys, "main")
    assert (status, out) == (2, "")
    assert "plots/predictions.csv is not what dvc.lock says (its md5 is " in err
    assert "run `dvc checkout` or `dvc repro`" in err
    run(own, "dvc", "checkout", "-q")
    assert "not tested on the same images" in asked(capsys, "main")[2]
    assert "0 fixed, 0 broken" in asked(capsys, "other-images")[1]
    # What a killed `dvc exp run` leaves behind: DVC then takes the commit before it for HEAD.
    run(own, "git", "update-ref", "refs/exps/exec/EXEC_HEAD", "main")
    assert "0 fixed, 0 broken" in asked(capsys, "HEAD")[1]


@pytest.mark.parametrize(
    ("url", "plugin", "reason"),
    [
        ("s3://photos/darkroom", True, "cannot be read: Unable to locate credentials"),
        ("ssh://user@127.0.0.1/darkroom", False, "cannot be read: ssh is supported, but requires 'dvc-ssh'"),
    ],
)
def test_a_remote_that_cannot_be_asked_is_one_line(inside, tmp_path, monkeypatch, capsys, url, plugin, reason):
    if (importlib.util.find_spec(f"dvc_{url[: url.index(':')]}") is not None) != plugin:
        pytest.skip(f"needs dvc_{url[: url.index(':')]} to be {'there' if plugin else 'absent'}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    run(inside, "git", "clone", "-q", str(inside), str(tmp_path / "clone"))
    run(tmp_path / "clone", "dvc", "remote", "add", "-q", "-d", "store", url)
    monkeypatch.chdir(tmp_path / "clone")
    status, _, err = asked(capsys, "HEAD", "HEAD")
    assert (status, err.count("\n")) == (2, 1)
    assert reason in err
    assert "make `dvc fetch plots/predictions.csv` work first" in err


def test_a_conflict_in_the_metrics_is_said(own, capsys):
    path = own / "metrics/test.json"
    path.write_text(f"<<<<<<< HEAD\n{path.read_text()}\n=======\n")
    status, _, err = asked(capsys, "main")
    assert (status, "metrics/test.json of workspace is not valid JSON" in err) == (2, True)


def test_a_folder_inside_a_project_is_not_its_root(inside, monkeypatch, capsys):
    monkeypatch.chdir(inside / "plots")
    status, _, err = asked(capsys, "main")
    assert (status, f"run from the project's root, {inside}" in err) == (2, True)


@pytest.mark.parametrize(
    ("settings", "reason"), [("", "is not a git repository"), ("[core]\nno_scm = true\n", "main is")]
)
def test_a_project_without_git_has_nothing_to_compare_with(own, capsys, settings, reason):
    shutil.rmtree(own / ".git")
    (own / ".dvc/config").write_text(settings)
    status, _, err = asked(capsys, "main")
    assert (status, reason in err) == (2, True)


@pytest.mark.parametrize("option", ["--seed", "--show"])
def test_numbers_below_zero_are_refused(inside, capsys, option):
    with pytest.raises(SystemExit) as stopped:
        compare.main(["main", option, "-1"])
    assert stopped.value.code == 2
    assert f"argument {option}: -1 is below 0" in capsys.readouterr().err
