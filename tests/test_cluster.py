"""The pipeline on a Ray cluster of two and three nodes on this machine: the same bytes, also when a node is killed."""

import csv
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from darkroom import files, runtime
from darkroom.cluster import connect
from darkroom.data import tasks
from darkroom.data.trees import Extent
from darkroom.data.workers import Died
from darkroom.errors import DarkroomError
from darkroom.files import read_json
from tests.conftest import ROOT
from tests.training.small import images, write_data, write_params

# Read when Ray is imported: it listens on every interface, and talks to nobody without the token.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
ray = pytest.importorskip("ray", reason="needs the extra `ray`")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings are not ours to mend
ONE_CPU = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 200_000_000}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one processor each; this machine's is the first."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args=ONE_CPU)
    started.second = started.add_node(num_cpus=1, object_store_memory=200_000_000)
    yield started
    ray.shutdown()
    started.shutdown()


@pytest.fixture
def on_cluster(cluster, monkeypatch):
    monkeypatch.setenv("DARKROOM_RAY", cluster.address)


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder."""
    return {str(path.relative_to(folder)): files.sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder of 90 pictures and two broken files, with the project's params."""
    from PIL import Image

    pictures, labels = images()
    for place in range(90):
        path = tmp_path / f"photos/{labels[place]}/{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(pictures[place])).save(path)
    whole = (tmp_path / "photos/1/1.png").read_bytes()
    (tmp_path / "photos/1/cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "photos/2/text.png").write_bytes(b"no picture")
    text = (ROOT / "params.yaml").read_text()
    for key, value in {"source": "photos", "weights": "none", "max_rejects": 0.1, "image_size": 16}.items():
        text = re.sub(rf"^{key}: *\S+", f"{key}: {value}", text, flags=re.MULTILINE)
    (tmp_path / "params.yaml").write_text(text)
    shutil.copy(ROOT / "params.schema.json", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_THREADS", "1")
    return tmp_path


def develop(out: Path) -> dict[str, str]:
    """Run fetch, split, preprocess and embed into `out`; returns the digests of all they wrote."""
    from stages import embed, fetch, preprocess, split

    source, raw, index, parts = Path("photos"), out / "raw", out / "index.csv", out / "split.csv"
    fetch.main(source, raw, index)
    split.main(index, parts)
    preprocess.main(source, raw, index, parts, out / "shards", out / "rejects.csv", out / "data.json",
                    out / "samples.png", out / "duplicates.png")  # fmt: skip
    embed.main(out / "shards", out / "features", out / "body")
    return digests(out)


def test_fetch_preprocess_and_embed_write_the_same_bytes_on_two_nodes(project, cluster, monkeypatch):
    alone = develop(project / "alone")
    monkeypatch.setenv("DARKROOM_RAY", cluster.address)
    assert develop(project / "on nodes") == alone
    assert len(list(files.read_csv(project / "alone/rejects.csv"))) == 2


def test_a_file_that_kills_its_process_costs_itself_alone(on_cluster, tmp_path):
    names = [tmp_path / f"{number}.bin" for number in range(40)]
    for number, name in enumerate(names):
        name.write_bytes(bytes([number]))

    def first_byte(task):  # pickled by value: the nodes do not have this module
        byte = task[1].read()[0]
        if byte == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return byte

    results = tasks.run(first_byte, [(str(name), Extent(str(name))) for name in names], runtime.from_environment())
    found = {task[0]: said for task, said in results}
    assert isinstance(found.pop(str(names[7])), Died)
    assert found == {str(name): number for number, name in enumerate(names) if number != 7}


def test_what_cannot_be_read_is_found_out_on_this_machine(on_cluster, tmp_path):
    task = ("a", Extent(str(tmp_path / "absent")))
    with pytest.raises(FileNotFoundError):
        list(tasks.run(partial(_read), [task], runtime.from_environment()))


def _read(task):
    return task[1].read()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A network that two processes of this machine trained together, without a cluster."""
    folder = tmp_path_factory.mktemp("train")
    # 101 validation samples and batches of 29: nothing divides by two
    write_data(folder, train=400, val=101, test=10)
    write_params(folder, freeze="none", epochs=8, batch_size=29, augment="light")
    assert train(folder, "alone", DARKROOM_PROCESSES="2", DARKROOM_THREADS="2").wait() == 0
    return folder


def train(folder: Path, out: str, **environment: str) -> subprocess.Popen:
    """Start the train stage; it writes into folder/out."""
    inputs = ("data/shards", "data/features", "models/body")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train", *inputs, f"{out}/classifier", f"{out}/history.csv", f"{out}/train.json"],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(ROOT), "DARKROOM_CHECKPOINTS": f"{out}/checkpoints"} | environment,
    )


def test_a_cluster_trains_the_same_network_as_processes_of_one_machine(cluster, undisturbed):
    assert train(undisturbed, "cluster", DARKROOM_RAY=cluster.address).wait() == 0
    assert written(undisturbed / "cluster") == written(undisturbed / "alone")
    noted = read_json(undisturbed / "metrics/run.json")["stages"]["train"]
    assert (noted["processes"], noted["runtime"]["ray"]) == (2, cluster.address)


def test_a_killed_node_costs_steps_and_no_bit(cluster, undisturbed):
    process = train(undisturbed, "killed", DARKROOM_RAY=cluster.address, DARKROOM_PROCESSES="2",
                    DARKROOM_CHECKPOINT_SECONDS="0")  # fmt: skip
    until(lambda: epochs(undisturbed / "killed/history.csv") >= 1)
    cluster.add_node(num_cpus=1, object_store_memory=200_000_000)
    assert epochs(undisturbed / "killed/history.csv") < 8
    cluster.remove_node(cluster.second, allow_graceful=False)
    assert process.wait() == 0
    noted = read_json(undisturbed / "metrics/run.json")["stages"]["train"]
    assert re.match(r"epoch \d, step \d+", noted["resumed"])
    assert written(undisturbed / "killed") == written(undisturbed / "alone")
    assert not list((undisturbed / "killed/checkpoints").glob("*"))


def test_a_node_that_does_not_see_the_shards_copies_them_once(cluster, tmp_path, monkeypatch):
    from darkroom.training.on_cluster import Home, _here

    write_data(tmp_path / "driver", train=40, val=20, test=10)
    shards = tmp_path / "driver/data/shards/train"

    class Elsewhere(Home):
        def _known(self, folder):  # the driver's machine has at this path what this one has not
            assert folder == "/nowhere/shards/train"
            return shards

    connect(cluster.address)
    home = ray.remote(num_cpus=0)(Elsewhere).remote([], "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    copy = _here(home, Path("/nowhere/shards/train"))
    assert digests(copy) == digests(shards)
    made = copy.stat().st_ctime_ns
    assert _here(home, Path("/nowhere/shards/train")) == copy
    assert copy.stat().st_ctime_ns == made


def test_what_a_user_caused_is_said_in_one_line(cluster, undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "project", ignore=shutil.ignore_patterns("killed", "cluster"))
    write_params(tmp_path / "project", freeze="none", epochs=2, lr=1e9, optimizer="sgd")
    process = subprocess.run(
        [sys.executable, "-m", "stages.train", "data/shards", "data/features", "models/body", "c", "h.csv", "m.json"],
        cwd=tmp_path / "project", env=os.environ | {"PYTHONPATH": str(ROOT), "DARKROOM_RAY": cluster.address},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 1
    assert "training has run away" in process.stderr
    assert "Traceback" not in process.stderr


def test_an_address_where_no_cluster_answers_is_said():
    ray.shutdown()
    for address, reason in (
        ("127.0.0.1:1", "Connection refused"),
        ("ray://head:10001", "Ray Client addresses are not supported"),
        ("somewhere", "expected auto, local or host:port"),
    ):
        with pytest.raises(DarkroomError, match=rf"DARKROOM_RAY={address}: no Ray cluster answers .*{reason}"):
            connect(address)


def written(out: Path) -> dict[str, str]:
    """The digests of what train wrote."""
    return {name: digest for name, digest in digests(out).items() if not name.startswith("checkpoints")}


def epochs(history: Path) -> int:
    """How many epochs a history holds so far."""
    if not history.exists():
        return 0
    with history.open(newline="") as file:
        return len(list(csv.DictReader(file)))


def until(condition, seconds: float = 120) -> None:
    """Wait for a condition; fail when it does not come about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
