"""The trials of a sweep on a Ray cluster: side by side, the same bytes as here, also when a node is killed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from darkroom.core.files import dvc_md5
from tests.cluster.two_nodes import MARKS, ONE_CPU, epochs, until
from tests.conftest import ROOT
from tests.reporting.project import begin, run
from tests.training.small import RECIPE, write_params

pytestmark = MARKS
MAKE = """
from pathlib import Path
from tests.training.small import write_data
write_data(Path(), train=200, val=101, test=10)
"""
OUTPUTS = ("models/classifier", "plots/history.csv")
TRAIN = f"-m stages.train data/shards data/features models/body {' '.join(OUTPUTS)}"
# lr = 1e9 cannot be trained
SPACE = "method: grid\nfixed: {freeze: none, epochs: 20, optimizer: sgd}\nparams: {lr: [0.01, 0.003, 1e+9]}\n"


def make_project(folder: Path) -> Path:
    """Return the real train stage on digits, in a project of its own."""
    folder.mkdir()
    (folder / "make.py").write_text(MAKE)
    (folder / "sweep.yaml").write_text(SPACE)
    (folder / ".gitignore").write_text("__pycache__\n.darkroom\n")
    write_params(folder)
    stages = {
        "embed": {"cmd": f"{sys.executable} make.py", "deps": ["make.py"], "outs": ["data", "models/body"]},
        "train": {
            "cmd": f"{sys.executable} {TRAIN}",
            "deps": ["data", "models/body"],
            "params": list(RECIPE),
            "outs": ["models/classifier", "plots/history.csv", {"metrics/run.json": {"cache": False}}],
        },
    }
    YAML().dump({"stages": stages}, folder / "dvc.yaml")
    begin(folder)
    return folder


def sweep(project: Path, **environment: str) -> subprocess.Popen:
    """Start the sweep of a project."""
    who = {f"GIT_{role}_{key}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    return subprocess.Popen(
        [sys.executable, "-m", "darkroom.cli", "sweep", "sweep.yaml", "--no-test"],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=kept | who | {"PYTHONPATH": str(ROOT), "DARKROOM_THREADS": "1"} | environment,
    )  # fmt: skip


def trials(project: Path) -> dict[int, dict]:
    lines = (project / ".darkroom/sweeps/sweep/trials.jsonl").read_text().splitlines()
    return {trial["number"]: trial for trial in map(json.loads, lines)}


def written(project: Path, trial: dict) -> dict[str, str]:
    """DVC's digests of a trial's classifier, curve and metrics."""
    lock = YAML(typ="safe", pure=True).load(run(project, "git", "show", f"{trial['commit']}:dvc.lock"))
    return {out["path"]: out["md5"] for out in lock["stages"]["train"]["outs"] if out["path"] in OUTPUTS}


def without_cluster(project: Path, lr: float) -> dict[str, str]:
    """Return the same of the train stage with the same params, run by hand."""
    write_params(project, freeze="none", epochs=20, optimizer="sgd", lr=lr)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DARKROOM_THREADS": "1"}
    subprocess.run([sys.executable, *TRAIN.split()], cwd=project, env=environment, check=True)
    return {name: dvc_md5(project / name) for name in OUTPUTS}


def ran(project: Path, trial: dict) -> dict:
    """Return what metrics/run.json says of a trial's training."""
    return json.loads(run(project, "git", "show", f"{trial['commit']}:metrics/run.json"))["stages"]["train"]


def test_a_sweep_on_a_cluster_gives_the_same_trials_and_a_killed_node_costs_a_retry(cluster, tmp_path):
    project = make_project(tmp_path / "on nodes")
    started = sweep(project, DARKROOM_RAY=cluster.address, DARKROOM_CHECKPOINT_SECONDS="0")

    def both_under_way() -> bool:
        curves = list((project / ".dvc/tmp/exps/standalone").glob("tmp*/plots/history.csv"))
        return len(curves) == 2 and all(map(epochs, curves))

    until(both_under_way)
    cluster.remove_node(cluster.second, allow_graceful=False)
    cluster.second = cluster.add_node(**ONE_CPU)
    said = started.communicate()[0]
    assert "room for 2 trials at a time" in said, said
    assert "2 complete, 0 pruned, 1 failed" in said, said
    assert re.search(r"failed: trial 2  lr=1000000000: train: the loss is .*training has run away", said), said
    done = trials(project)
    noted = [ran(project, done[number]) for number in (0, 1)]
    assert {(facts["processes"], facts["runtime"]["ray"]) for facts in noted} == {(1, cluster.address)}
    assert [facts["resumed"] is None for facts in noted].count(False) == 1  # the trial on the killed node alone
    run(project, "dvc", "repro", "-q", "embed")  # the sweep has left the workspace as it was
    for number, lr in enumerate((0.01, 0.003)):
        assert written(project, done[number]) == without_cluster(project, lr)
