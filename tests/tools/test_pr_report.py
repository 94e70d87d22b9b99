import pytest

from tests.reporting.project import make_project, run
from tools import pr_report


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """On a branch with a better run than main's."""
    folder = make_project(tmp_path_factory.mktemp("pr") / "project")
    run(folder, "git", "checkout", "-q", "-b", "change")
    run(folder, "dvc", "exp", "apply", "bold")
    run(folder, "git", "commit", "-q", "-a", "-m", "bold")
    run(folder, "git", "checkout", "-q", "-b", "back")
    run(folder, "git", "revert", "--no-edit", "HEAD")
    run(folder, "git", "checkout", "-q", "change")
    return folder


def test_the_report_has_verdict_params_metrics_and_where_the_figures_are(project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.delenv("GITHUB_RUN_ID", raising=False)
    text, passes = pr_report.report(project, "main", False, "worse", 0.0)
    assert passes
    assert text.startswith("### 🟢 Better\n\nmain (")
    assert "|`skill`|`2.0`|`3.0`|" in text
    assert "worse ◂│▸ better" in text
    assert "dvc metrics diff" in text
    assert "_low" not in text
    assert "per_class" not in text
    assert "All figures: `make report`." in text


def test_an_experiment_by_its_commit_is_compared_itself(project):
    commit = run(project, "git", "for-each-ref", "--format=%(objectname)", "refs/exps").split()[-1]
    assert pr_report.fork(project, commit) == (commit, "")


def test_a_gate_closes_on_a_worse_run_and_the_text_is_still_written(project, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(project)
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run(project, "git", "checkout", "-q", "back")
    run(project, "dvc", "checkout", "-q")
    try:
        monkeypatch.setattr("sys.argv", ["pr-report", "change", "--fail-on", "worse", "--out", str(tmp_path / "r.md")])
        assert pr_report.main() == 1
    finally:
        run(project, "git", "checkout", "-q", "change")
        run(project, "dvc", "checkout", "-q")
    assert (tmp_path / "r.md").read_text(encoding="utf-8").startswith("### 🔴 Worse")
    assert summary.read_text(encoding="utf-8") == (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "🔴 Worse" in capsys.readouterr().out


def test_what_cannot_be_compared_is_said_and_closes_a_gate(project, monkeypatch):
    monkeypatch.chdir(project)
    text, passes = pr_report.report(project, "before", False, "never", 0.0)
    assert passes
    assert text.startswith("### ⚪ Not compared\n\nbefore (")
    assert "holds no finished run of this pipeline" in text
    assert not pr_report.report(project, "before", False, "worse", 0.0)[1]


def test_a_base_whose_predictions_are_lost_is_run_again(project, monkeypatch, tmp_path):
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", "-b", "change", str(project), str(clone))
    run(clone, "git", "branch", "main", "origin/main")
    run(clone, "dvc", "repro", "-q")
    monkeypatch.chdir(clone)
    monkeypatch.setenv("PYTHONPATH", str(pr_report.Path(__file__).resolve().parents[2]))
    assert pr_report.report(clone, "main", False, "never", 0.0)[0].startswith("### ⚪ Not compared")
    text, _ = pr_report.report(clone, "main", True, "never", 0.0)
    assert text.startswith("### 🟢 Better")
    assert "The base was run again on this machine" in text


def test_a_sparkline_goes_from_the_lowest_to_the_highest():
    assert pr_report.sparkline([3.0, 2.0, 1.0]) == "█▅▁"
    assert pr_report.sparkline([1.0]) == "▁"
    assert len(pr_report.sparkline([float(n) for n in range(1000)])) <= 60


def test_what_came_to_the_base_since_is_not_the_changes_doing(project, tmp_path, monkeypatch):
    """main goes back to other answers after the change has left it: the change is compared with where it began."""
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", "-b", "change", str(project), str(clone))
    run(clone, "dvc", "config", "--local", "cache.dir", str(project / ".dvc/cache"))
    run(clone, "dvc", "checkout", "-q")
    run(clone, "git", "checkout", "-q", "-b", "main", "origin/main")
    (clone / "params.yaml").write_text("seed: 1\nskill: 9.0\n")
    run(clone, "dvc", "repro", "-q")
    run(clone, "git", "commit", "-q", "-a", "-m", "better still")
    run(clone, "git", "checkout", "-q", "change")
    run(clone, "dvc", "checkout", "-q")
    monkeypatch.chdir(clone)
    text, passes = pr_report.report(clone, "main", False, "worse", 0.0)
    start = run(clone, "git", "rev-parse", "--short=7", "origin/main").strip()
    assert passes
    assert text.startswith(f"### 🟢 Better\n\n{start}, where the change left main → workspace")
    assert "|`skill`|`2.0`|`3.0`|" in text
    sha = run(clone, "git", "rev-parse", "main").strip()
    assert f"where the change left {sha[:12]} → workspace" in pr_report.report(clone, sha, False, "never", 0.0)[0]


def test_a_shallow_clone_says_that_it_compares_with_the_bases_tip(project, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", "--depth", "1", "-b", "change", f"file://{project}", str(clone))
    run(clone, "git", "fetch", "-q", "--depth", "1", "origin", "main:main")
    run(clone, "dvc", "config", "--local", "cache.dir", str(project / ".dvc/cache"))
    run(clone, "dvc", "checkout", "-q")
    monkeypatch.chdir(clone)
    text, _ = pr_report.report(clone, "main", False, "never", 0.0)
    assert text.startswith("### 🟢 Better\n\nmain (")
    assert "main has no commit in common with this change in this shallow clone (`git fetch --unshallow`" in text


def test_an_unknown_base_is_one_good_line_also_when_it_would_be_run(project, monkeypatch):
    monkeypatch.chdir(project)
    text, _ = pr_report.report(project, "nowhere", True, "never", 0.0)
    assert text.startswith("### ⚪ Not compared\n\nnowhere is not a branch, tag, commit or experiment here")
    assert "fatal" not in text


def test_a_base_whose_remote_cannot_be_asked_is_run_again(project, monkeypatch, tmp_path):
    """Without a key, as a pull request from a fork: whatever the remote's plugin raises."""
    pytest.importorskip("dvc_s3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", "-b", "change", str(project), str(clone))
    run(clone, "git", "branch", "main", "origin/main")
    run(clone, "dvc", "repro", "-q")
    run(clone, "dvc", "remote", "add", "-q", "--local", "-d", "store", "s3://photos/darkroom")
    monkeypatch.chdir(clone)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(pr_report.Path(__file__).resolve().parents[2]))
    assert "Unable to locate credentials" in pr_report.report(clone, "main", False, "never", 0.0)[0]
    assert pr_report.report(clone, "main", True, "never", 0.0)[0].startswith("### 🟢 Better")
