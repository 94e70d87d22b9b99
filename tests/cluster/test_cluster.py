"""The pipeline on a Ray cluster of two nodes on this machine: the same bytes as without one."""

import os
import re
import shutil
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from darkroom.cluster import tasks
from darkroom.cluster.nodes import Shape, connect, shape
from darkroom.core import files, runtime
from darkroom.core.errors import DarkroomError
from darkroom.images.workers import Died
from darkroom.sources.extents import Extent
from tests.cluster.two_nodes import MARKS, digests
from tests.conftest import ROOT
from tests.training.small import images

pytestmark = MARKS


@pytest.fixture
def on_cluster(cluster, monkeypatch):
    monkeypatch.setenv("DARKROOM_RAY", cluster.address)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a folder of 90 pictures and two broken files, with the project's params."""
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
    from stages import embed, fetch, framing, preprocess, split

    raw, index, parts = out / "raw", out / "index.csv", out / "split.csv"
    fetch.main(raw, index)
    split.main(index, parts)
    framing.main(out / "framing.json")
    preprocess.main(raw, index, parts, out / "framing.json", out / "shards", out / "rejects.csv",
                    out / "duplicates.png")  # fmt: skip
    embed.main(out / "shards", out / "features", out / "body", out / "samples.png")
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


CPU, GPU = {"CPU": 4.0}, {"CPU": 8.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("nodes", "settings", "wanted"),
    [
        ([CPU, CPU], {"threads": 2}, Shape(2, 2, False, 4)),
        ([CPU, {"CPU": 1.0}], {"threads": 8}, Shape(2, 1, False, 5)),
        ([CPU, CPU], {"threads": 4, "processes": 3}, Shape(3, 4, False, 2)),
        ([CPU, GPU, GPU], {"threads": 4}, Shape(4, 4, True, 4)),
        ([CPU, GPU], {"threads": 4, "device": "cuda:1"}, Shape(2, 4, True, 2)),  # Ray counts a process's own from 0
        ([CPU, GPU], {"threads": 4, "device": "cpu"}, Shape(2, 4, False, 3)),
        # The processes of one node share its processors: one that asked for all would keep the others waiting.
        ([{"CPU": 16.0, "GPU": 8.0}], {"threads": 16}, Shape(8, 2, True, 8)),
        ([{"CPU": 4.0, "GPU": 8.0}], {"threads": 16}, Shape(8, 1, True, 4)),
    ],
)
def test_the_shape_follows_from_the_nodes(monkeypatch, nodes, settings, wanted):
    monkeypatch.setattr("darkroom.cluster.nodes.nodes", lambda _: nodes)
    assert shape(replace(runtime.from_environment(), ray="auto", **settings)) == wanted


def test_gpus_that_no_node_has_are_not_waited_for(monkeypatch):
    monkeypatch.setattr("darkroom.cluster.nodes.nodes", lambda _: [CPU])
    with pytest.raises(DarkroomError, match="DARKROOM_DEVICE=cuda: the nodes of the Ray cluster have CPUs alone"):
        shape(replace(runtime.from_environment(), ray="auto", device="cuda"))


def test_an_address_where_no_cluster_answers_is_said():
    ray = pytest.importorskip("ray")
    ray.shutdown()
    for address, reason in (
        ("127.0.0.1:1", "Connection refused"),
        ("ray://head:10001", "Ray Client addresses are not supported"),
        ("somewhere", "expected auto, local or host:port"),
    ):
        with pytest.raises(DarkroomError, match=rf"DARKROOM_RAY={address}: no Ray cluster answers .*{reason}"):
            connect(address)
