import pytest

from darkroom.ci import pr_report
from tests.evaluation.project import make_project, run


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """On a branch with a better run than main's."""
    folder = make_project(tmp_path_factory.mktemp("pr") / "project")
    run(folder, "git", "checkout", "-q", "-b", "change")
    run(folder, "dvc", "exp", "apply", "bold")
    run(folder, "git", "commit", "-q", "-a", "-m", "bold")
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


def test_a_gate_closes_on_a_worse_run_and_the_text_is_still_written(project, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(project)
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run(project, "git", "checkout", "-q", "main")
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
