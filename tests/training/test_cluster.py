"""Training on a Ray cluster of two and three nodes on this machine: the same bytes, also when a node is killed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.cluster.nodes import connect
from darkroom.core.files import read_json
from tests.cluster.two_nodes import MARKS, ON_CPUS, ONE_CPU, digests, epochs, until
from tests.conftest import ROOT
from tests.training.small import write_data, write_params

pytestmark = MARKS


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Digits to learn from: neither the batches of 29 nor the 101 validation samples can be divided by two or three."""
    folder = tmp_path_factory.mktemp("train")
    write_data(folder, train=200, val=101, test=10)
    write_params(folder, freeze="none", epochs=6, batch_size=29, augment="light")
    return folder


def without_cluster(project: Path, processes: int) -> dict[str, str]:
    """Return what as many processes of this machine write."""
    count = str(processes)
    assert train(project, f"alone {count}", DARKROOM_PROCESSES=count, DARKROOM_THREADS=count).wait() == 0
    return written(project / f"alone {count}")


def train(folder: Path, out: str, **environment: str) -> subprocess.Popen:
    """Start the train stage; it writes into folder/out."""
    inputs = ("data/shards", "data/features", "models/body")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train", *inputs, f"{out}/classifier", f"{out}/history.csv"],
        cwd=folder,
        env=kept | ON_CPUS | {"PYTHONPATH": str(ROOT), "DARKROOM_CHECKPOINTS": f"{out}/checkpoints"} | environment,
    )


def test_two_nodes_train_the_same_network_as_two_processes_of_one_machine(cluster, project):
    assert train(project, "cluster", DARKROOM_RAY=cluster.address).wait() == 0
    noted = read_json(project / "metrics/run.json")["stages"]["train"]
    assert (noted["processes"], noted["runtime"]["ray"]) == (2, cluster.address)
    assert written(project / "cluster") == without_cluster(project, 2)


def test_one_of_three_nodes_that_is_killed_costs_steps_and_no_bit(cluster, project):
    cluster.add_node(**ONE_CPU)
    process = train(project, "killed", DARKROOM_RAY=cluster.address, DARKROOM_CHECKPOINT_SECONDS="0")
    until(lambda: epochs(project / "killed/history.csv") >= 1)
    cluster.remove_node(cluster.second, allow_graceful=False)
    cluster.second = cluster.add_node(**ONE_CPU)
    assert epochs(project / "killed/history.csv") < 6
    assert process.wait() == 0
    noted = read_json(project / "metrics/run.json")["stages"]["train"]
    assert noted["processes"] == 3
    assert re.match(r"epoch \d, step \d+", noted["resumed"])
    assert written(project / "killed") == without_cluster(project, 3)
    assert read_json(project / "killed/classifier/train.json")["val"]["n"] == 101
    assert not list((project / "killed/checkpoints").glob("*"))


def test_a_node_that_does_not_see_the_shards_copies_them_once(cluster, tmp_path, monkeypatch):
    from darkroom.cluster.driver import DriverActor, on_this_node

    write_data(tmp_path / "driver", train=40, val=20, test=10)
    (there := tmp_path / "there").symlink_to(tmp_path / "driver")

    class Elsewhere(DriverActor):
        def _known(self, folder):  # the driver's machine has at these paths what this one has not
            return there / Path(folder).relative_to("/nowhere").relative_to(Path(folder).parts[2])

    def paths(trial):
        return tuple(Path("/nowhere") / trial / name for name in ("data/shards", "data/features", "models/body"))

    ray = connect(cluster.address)
    driver = ray.remote(num_cpus=0)(Elsewhere).remote([], "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    shards, features, body = on_this_node(driver, paths("trial 1"))
    assert {part.name: digests(part) for part in shards.iterdir() if part.is_dir()} == {
        split: digests(tmp_path / "driver/data/shards" / split) for split in ("train", "val")
    }
    assert digests(features / "val") == digests(tmp_path / "driver/data/features/val")
    made = (shards / "train").stat().st_ctime_ns
    assert on_this_node(driver, paths("trial 2")) == (shards, features, body)
    assert (shards / "train").stat().st_ctime_ns == made
    # Another seed's body has the same facts and sizes, and other numbers.
    weights = tmp_path / "driver/models/body/body.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert on_this_node(driver, paths("trial 3"))[2] != body


def test_what_a_user_caused_is_said_in_one_line(cluster, project, tmp_path):
    for name in ("data", "models"):
        shutil.copytree(project / name, tmp_path / "project" / name)
    write_params(tmp_path / "project", freeze="none", epochs=2, lr=1e9, optimizer="sgd")
    process = subprocess.run(
        [sys.executable, "-m", "stages.train", "data/shards", "data/features", "models/body", "c", "h.csv"],
        cwd=tmp_path / "project", capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "DARKROOM_RAY": cluster.address, "DARKROOM_PROCESSES": "2"},
    )  # fmt: skip
    assert process.returncode == 1
    assert "training has run away" in process.stderr
    assert "Traceback" not in process.stderr


def test_all_processes_are_started_again_for_a_lost_one_and_not_once_there_is_a_result(cluster, tmp_path):
    from darkroom.cluster import driver
    from darkroom.training.cluster import _end_when_finished

    started = driver.start(connect(cluster.address), (tmp_path, tmp_path, tmp_path), tmp_path)
    ends = _end_when_finished(started)
    ends.after_exception(None, {0: ConnectionError("a node is gone")})
    started.finish.remote(b"what a user caused")
    with pytest.raises(RuntimeError, match="there is a result already"):
        ends.after_exception(None, {0: ConnectionError("a node is gone")})


def written(out: Path) -> dict[str, str]:
    """Return the digests of what train wrote."""
    return {name: digest for name, digest in digests(out).items() if not name.startswith("checkpoints")}
