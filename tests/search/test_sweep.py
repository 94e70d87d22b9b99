import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from dvc.utils.hydra import to_hydra_overrides
from ruamel.yaml import YAML

from darkroom.core.params import read_yaml
from darkroom.search import project as projects
from darkroom.search import sweep
from darkroom.search.experiment import FOLDERS, setting
from darkroom.search.journal import COMPLETE, FAILED, Journal, Trial
from darkroom.search.space import Space, SweepError, read_space
from tests.reporting.project import run
from tests.search.small_project import PARAMS, make_project

# DVC's own, when it works out its graph in this process.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon:DeprecationWarning")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Made once: Git's and DVC's commands take seconds."""
    return make_project(tmp_path_factory.mktemp("template") / "project")


@pytest.fixture
def project(template, tmp_path, monkeypatch):
    folder = shutil.copytree(template, tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", "")
    counter = tmp_path / "embedded"
    counter.write_text("")
    monkeypatch.setenv("EMBED_COUNTER", str(counter))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "a")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@b.c")
    return folder


def write_space(folder: Path, text: str) -> str:
    path = folder / "sweeps.yaml"
    path.write_text(text)
    return str(path)


def trials(folder: Path) -> list[dict]:
    lines = (folder / ".darkroom/sweeps/sweeps/trials.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_grid_with_a_failing_trial_two_at_a_time(project, capsys, tmp_path):
    status = sweep.main([write_space(project, "method: grid\nparams: {lr: [0.1, 0.01, 0.5]}\n"), "--jobs", "2"])
    out = capsys.readouterr().out
    assert status == 0
    assert {trial["number"]: trial["state"] for trial in trials(project)} == {0: COMPLETE, 1: COMPLETE, 2: FAILED}
    assert "2 complete, 0 pruned, 1 failed" in out
    assert "failed: trial 2  lr=0.5: train: the loss is not a number in epoch 1; use a smaller lr" in out
    assert ".darkroom/sweeps/sweeps/logs/0002.log" in out
    assert "dvc exp run -S lr=0.01" in out
    assert "validation accuracy 0.9500 on 200 images: the best of 2 trials may look up to 1.0 points better" in out
    assert "test: accuracy 0.9000 (95 % interval 0.8000 to 0.9500) on 50 images, 5.0 points below the validation" in out
    assert (project / ".darkroom/sweeps/sweeps/sweep.png").stat().st_size > 5000
    assert (tmp_path / "embedded").read_text() == "x"
    # Every trial is an experiment that DVC can show, and the workspace is as it was.
    shown = run(project, "dvc", "exp", "show", "--csv")
    assert all(name in shown for name in ("sweeps-0000", "sweeps-0001", "sweeps-best"))
    assert (project / "params.yaml").read_text() == PARAMS
    assert run(project, "git", "status", "--porcelain") == "?? sweeps.yaml\n"
    # Again: nothing is run twice.
    before = (run(project, "git", "for-each-ref", "refs/exps"), trials(project))
    assert sweep.main([str(project / "sweeps.yaml")]) == 0
    assert (run(project, "git", "for-each-ref", "refs/exps"), trials(project)) == before


def test_a_grid_cannot_be_cut_short(project):
    space = write_space(project, "method: grid\nparams: {lr: [0.1, 0.01, 0.5]}\n")
    with pytest.raises(SweepError, match=r"--trials is 2, and a grid tries each of its 3 combinations; leave --trials"):
        sweep.main([space, "--trials", "2"])


def test_a_metric_that_no_training_measures_stops_the_sweep_after_one_trial(project):
    space = write_space(project, "method: grid\nmetric: train.loss\nparams: {lr: [0.1, 0.01]}\n")
    with pytest.raises(SweepError, match=r"metric is train.loss, which no training here measures; it has val.loss"):
        sweep.main([space])


def test_what_trials_share_is_computed_once_however_many_run_at_once(project, tmp_path, capsys):
    space = write_space(project, "method: grid\nparams: {body: [a, b, none], lr: [0.1, 0.01]}\n")
    assert sweep.main([space, "--jobs", "4", "--no-test"]) == 0
    assert sorted((tmp_path / "embedded").read_text()) == ["a", "b"]
    out = capsys.readouterr().out
    assert "4 complete, 0 pruned, 2 failed" in out
    assert "body=none lr=0.1: embed: weights: none.pth does not exist; expected a file" in out
    assert run(project, "git", "status", "--porcelain") == "?? sweeps.yaml\n"
    assert "sweeps-shared" not in run(project, "git", "for-each-ref", "refs/exps")


def test_photos_that_git_ignores_reach_every_trial(project, capsys):
    (project / "my photos").mkdir()
    (project / "my photos/1.jpg").write_text("a photo")
    space = write_space(project, "method: grid\nfixed: {source: my photos}\nparams: {lr: [0.1, 0.01]}\n")
    with pytest.raises(SweepError, match=r"my photos is neither in Git nor ignored, .* add the line `/my photos`"):
        sweep.main([space])
    with (project / ".gitignore").open("a") as file:
        file.write("/my photos\n")
    assert sweep.main([space, "--jobs", "2", "--no-test"]) == 0
    assert "2 complete, 0 pruned, 0 failed" in capsys.readouterr().out
    assert "my photos" not in run(project, "git", "ls-tree", "-r", "--name-only", trials(project)[0]["commit"])


def test_what_git_lacks_is_copied_unless_it_is_too_large(project, monkeypatch):
    (project / "photos").mkdir()
    (project / "photos/1.jpg").write_text("a photo")
    (project / ".gitignore").write_text("photos/\n")
    params = {"source": "photos", "weights": "photos.csv", "other": "/tmp", "lr": 1, "none": ""}
    assert projects.copies(project, params) == ["photos"]
    monkeypatch.setattr(projects, "MOST_COPIED", 3)
    with pytest.raises(SweepError, match=r"photos is not in Git, and its .* would be copied .* `dvc add photos`"):
        projects.copies(project, params)


def test_a_source_that_no_trial_could_find_stops_the_sweep_before_its_first_trial(project):
    (project.parent / "photos").mkdir()
    space = write_space(project, "method: grid\nfixed: {source: ../photos}\nparams: {lr: [0.1]}\n")
    with pytest.raises(SweepError, match=rf"^\.\./photos cannot be found .* absolute path, {project.parent}/photos$"):
        sweep.main([space])


def test_a_killed_sweep_goes_on_where_it_was(project, tmp_path):
    space = write_space(project, "method: random\ntrials: 3\nparams: {lr: {low: 0.001, high: 0.1, log: true}}\n")
    command = [sys.executable, "-c", "import sys; from darkroom.cli import main; sys.exit(main(sys.argv[1:]))"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = subprocess.Popen([*command, "sweep", space], cwd=project, env=environment, stderr=subprocess.PIPE)
    assert first.stderr is not None
    for line in first.stderr:
        if line.startswith(b"1/3"):
            break
    while not (trial := psutil.Process(first.pid).children()) or not list((project / FOLDERS).glob("tmp*/dvc.yaml")):
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    first.stderr.close()
    assert not psutil.wait_procs(trial, timeout=60)[1]
    if sys.platform == "linux":
        assert "sweeps-0001" not in run(project, "git", "for-each-ref"), "DVC went on without the sweep"
    done = trials(project)
    assert [trial["number"] for trial in done] == [0]
    (project / "dvc.lock").touch()  # as a kill leaves it that hits DVC while it writes
    assert list((project / FOLDERS).glob("tmp*")), "DVC keeps the folder of a killed trial"
    assert sweep.main([space, "--no-test"]) == 0
    assert not list((project / FOLDERS).glob("tmp*"))
    assert trials(project)[0] == done[0]
    assert sorted(trial["number"] for trial in trials(project)) == [0, 1, 2]
    assert (tmp_path / "embedded").read_text() == "x"


def test_a_hopeless_trial_is_stopped_and_leaves_nothing_behind(project, capsys):
    path = write_space(
        project, "method: grid\npruning: median\nfixed: {nap: 1.0, epochs: 12}\nparams: {lr: [1, 2, 3, 4, 5, 0.3]}"
    )
    space = read_space(Path(path), {"lr": 1, "nap": 0, "epochs": 1})
    state = projects.state(project, space, read_yaml(project / "params.yaml"), "train")
    journal = Journal(project / ".darkroom/sweeps/sweeps", space, state)
    for number in range(5):
        journal.add(Trial(number, {"lr": number + 1}, COMPLETE, 0.5, [1.0 / epoch for epoch in range(1, 13)]))
    assert sweep.main([path, "--no-test"]) == 0
    last = trials(project)[-1]
    assert (last["number"], last["state"]) == (5, "pruned")
    assert 3 <= len(last["curve"]) < 12
    assert "5 complete, 1 pruned, 0 failed" in capsys.readouterr().out
    assert not list((project / FOLDERS).glob("tmp*"))
    assert "sweeps-0005" not in run(project, "dvc", "exp", "list", "--name-only")


CHANGES = [
    ("params.yaml", "nap: 0.0", "nap: 0.1", "param nap"),
    ("stages/train.py", "1 / epoch", "2 / epoch", "stages/train.py"),
    ("stages/embed.py", '"features of', '"other features of', "stages/embed.py"),
    ("dvc.yaml", "-m stages.train", "-m  stages.train", "command of train"),
]


def test_a_sweep_of_another_state_of_the_project_is_not_taken_for_this_ones(project, capsys):
    with (project / "params.yaml").open("a") as file:
        file.write("exclude: []\n")
    run(project, "git", "commit", "-q", "-a", "-m", "a list")
    space = write_space(project, "method: grid\nfixed: {epochs: 3, exclude: [a, 'b c/*']}\nparams: {lr: [0.1]}\n")
    assert sweep.main([space]) == 0
    before = trials(project)
    text = run(project, "git", "show", f"{before[0]['commit']}:params.yaml")
    assert YAML(typ="safe").load(text)["exclude"] == ["a", "b c/*"], "a fixed list reaches the trial as a list"
    for path, old, new, changed in CHANGES:
        file = project / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        message = (
            rf"of another state of the project \({changed} changed since\); give this one another name with --name"
        )
        with pytest.raises(SweepError, match=message):
            sweep.main([space])
        file.write_text(text)
    # What the space sets itself may change, and what no trial runs; but the test is taken again then.
    (project / "params.yaml").write_text(PARAMS.replace("0.1", "0.2").replace("4", "9") + "exclude: []\n")
    evaluate = project / "stages/evaluate.py"
    evaluate.write_text(evaluate.read_text().replace('"accuracy": 0.9,', '"accuracy": 0.85,'))
    capsys.readouterr()
    assert sweep.main([space]) == 0
    assert "test: accuracy 0.8500" in capsys.readouterr().out
    assert trials(project) == before


def test_experiments_of_the_same_name_on_another_commit_are_neither_taken_nor_removed(project):
    space = write_space(project, "method: grid\nparams: {lr: [0.1, 0.5]}\n")
    assert sweep.main([space, "--no-test"]) == 0
    run(project, "dvc", "exp", "run", "-q", "--temp", "-n", "sweeps-0001", "-S", "lr=0.01", "train")
    before = run(project, "git", "for-each-ref", "refs/exps").splitlines()
    path = project / "stages/train.py"
    path.write_text(path.read_text().replace("1 / epoch", "2 / epoch"))
    run(project, "git", "commit", "-q", "-a", "-m", "another way to train")
    (project / ".darkroom/sweeps/sweeps").rename(project / ".darkroom/sweeps/earlier")
    assert sweep.main([space, "--no-test"]) == 0
    assert [trial["state"] for trial in trials(project)] == [COMPLETE, FAILED]
    after = run(project, "git", "for-each-ref", "refs/exps").splitlines()
    assert {ref for ref in before if "sweeps-" in ref} <= set(after)
    assert trials(project)[0]["value"] == pytest.approx(1.5)  # the new way's
    # What this commit's own earlier run has left is replaced.
    (project / ".darkroom/sweeps/sweeps").rename(project / ".darkroom/sweeps/second")
    assert sweep.main([space, "--no-test"]) == 0
    names = [line.split("refs/exps/")[1] for line in run(project, "git", "for-each-ref", "refs/exps").splitlines()]
    assert sum(name.endswith("/sweeps-0000") for name in names) == 2


def test_a_sweep_whose_trials_all_failed_goes_on_once_the_code_is_mended(project, capsys):
    space = write_space(project, "method: grid\nparams: {lr: [0.5]}\n")
    assert sweep.main([space]) == 1
    train = project / "stages/train.py"
    train.write_text(train.read_text().replace("== 0.5", "== 0.6"))
    with pytest.raises(SweepError, match=r"stages/train\.py changed since\); run its trials, .* again with --retry"):
        sweep.main([space])
    assert sweep.main([space, "--retry", "--no-test"]) == 0
    assert trials(project)[-1]["state"] == COMPLETE


def test_the_state_of_a_sweep_is_what_its_trials_use(project):
    (project / "photos").mkdir()
    (project / "photos/1.jpg").write_text("one")
    space = Space(name="a", method="grid", fixed={"source": "photos"}, params={"lr": [1]})
    params = read_yaml(project / "params.yaml") | {"source": "elsewhere"}
    before = projects.state(project, space, params, "train")
    assert {name for name in before if name.startswith("param")} == {"param epochs", "param nap", "param body"}
    # Neither a param that no stage up to train reads, nor a value that the space replaces.
    assert projects.state(project, space, params | {"tta": "flip", "source": "nowhere"}, "train") == before
    (project / "photos/1.jpg").write_text("two")
    after = projects.state(project, space, params, "train")
    assert {name for name in before if before[name] != after[name]} == {"source photos"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-5, "1e-05"), (True, "true"), (None, "null"), ("a b", "'a b'"), ("w/x.pth", "w/x.pth"), (3, "3"),
        (["a", "b"], "[a,b]"), (["cats/*", "it's", "a,b"], "['cats/*','it\\'s','a,b']"), ([], "[]"), ("1", "'1'"),
        ("true", "'true'"), ("end\\", "'end\\\\'"), (["1", 1, None], "['1',1,null]"), ("^(\\w+)", "'^(\\w+)'"),
    ],
)  # fmt: skip
def test_settings_are_written_as_dvc_reads_them(value, text):
    assert setting(value) == text
    assert to_hydra_overrides([f"key={text}"])[0].value() == value
