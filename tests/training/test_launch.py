"""Several processes train one network: the batches of one process, divided; every sample counted once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from darkroom.core import files
from darkroom.core.errors import DarkroomError, TrainingError
from darkroom.images.batches import order, steps
from darkroom.training.distributed import Group
from darkroom.training.fit import Fit
from darkroom.training.launch import check_gpus
from darkroom.training.recipe import Recipe
from darkroom.training.step import Phase
from tests.cluster.two_nodes import ON_CPUS, until
from tests.conftest import ROOT
from tests.training.small import RECIPE, SIZE, write_data, write_params

INPUTS = ("data/shards", "data/features", "models/body")


@pytest.mark.parametrize(("count", "size"), [(29, 2), (64, 3), (8, 8), (101, 4)])
def test_the_parts_of_a_batch_are_the_batch_each_sample_once(count, size):
    batch = order(count, 0, 0)
    groups = [Group(rank, size) for rank in range(size)]
    assert np.array_equal(np.concatenate([group.part(batch) for group in groups]), batch)
    for group in groups:
        first = group.first(count)
        assert np.array_equal(batch[first : first + len(group.part(batch))], group.part(batch))


def test_every_batch_of_an_epoch_is_divided_not_the_epoch():
    parts = steps(order(100, 0, 0), 29)
    both = [[Group(rank, 2).part(part) for rank in range(2)] for part in parts]
    assert all(np.array_equal(np.concatenate(halves), part) for halves, part in zip(both, parts, strict=True))


class Recorder:
    """Inputs that note which samples they are asked for."""

    def __init__(self, count: int) -> None:
        self.table = SimpleNamespace(labels=np.arange(count) % 10, classes=[str(name) for name in range(10)])

    def training(self, parts, epoch):
        self.parts = parts
        raise InterruptedError


@pytest.mark.parametrize("balance", ["none", "sampler"])
@pytest.mark.parametrize("first", [0, 2])  # the second: as a resumed training goes on
def test_three_processes_are_given_the_batches_of_one_in_the_same_order(balance, first):
    given = []
    for group in (Group(), *(Group(rank, 3) for rank in range(3))):
        inputs, module = Recorder(203), torch.nn.Linear(1, 1)
        phase = Phase(module, [module.parameters()], inputs, inputs, 0, 2, 0.1)
        fit = Fit([phase], Recipe(**RECIPE | {"balance": balance}), torch.device("cpu"), group=group)
        fit.phase = phase
        with pytest.raises(InterruptedError):
            fit.train_epoch(1, first, [0.0, 0, 0])
        given.append(inputs.parts)
    alone, *parts = given
    assert len(alone) == 7 - first
    for batch, *shares in zip(alone, *parts, strict=True):
        assert np.array_equal(np.concatenate(shares), batch)


def test_a_batch_that_is_too_small_is_refused():
    with pytest.raises(TrainingError, match="a batch of 3 samples cannot be divided among 4 processes"):
        Group(0, 4).first(3)


@pytest.mark.parametrize(
    ("device", "processes", "message"),
    [
        ("cuda:1", 2, "DARKROOM_DEVICE=cuda:1 is one GPU, and 2 processes need one each; use DARKROOM_DEVICE=cuda"),
        ("cuda", 3, "3 processes need a GPU each, and this machine has 2; use DARKROOM_PROCESSES=2"),
        ("auto", 3, "3 processes need a GPU each"),
    ],
)
def test_processes_that_would_share_a_gpu_are_refused(monkeypatch, device, processes, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DarkroomError, match=message):
        check_gpus(device, processes)


def test_processes_with_a_gpu_each_or_none_are_fine(monkeypatch):
    check_gpus("auto", 8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device, processes in (("cuda", 2), ("auto", 2), ("cpu", 8), ("cuda:1", 1)):
        check_gpus(device, processes)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a network without BatchNorm, so that dividing a batch changes no more than last bits."""
    from darkroom.model import builders, tensors
    from darkroom.model.network import Body

    folder = tmp_path_factory.mktemp("launch")
    write_data(folder, train=203, val=101, test=10)
    body = Body(builders.build("lenet", SIZE, seed=7), [0.3] * 3, [0.35] * 3)
    facts = files.read_json(folder / "models/body/body.json")
    files.write_json(folder / "models/body/body.json", facts | {"backbone": "lenet", "features": 84})
    tensors.save(folder / "models/body/body.safetensors", body.arrays())
    write_params(folder, freeze="none", epochs=2, batch_size=29, dropout=0.0)
    return folder


def train(project: Path, out: str, *launcher: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the train stage, which writes into project/out."""
    outputs = (f"{out}/classifier", f"{out}/history.csv")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    return subprocess.run(
        [*(launcher or [sys.executable]), "-m", "stages.train", *INPUTS, *outputs], cwd=project, capture_output=True,
        text=True, check=False,
        env=kept | ON_CPUS | {"PYTHONPATH": str(ROOT), "DARKROOM_CHECKPOINTS": out} | environment,
    )  # fmt: skip


def metrics(project: Path, out: str) -> dict:
    return json.loads((project / out / "classifier/train.json").read_text())


@pytest.mark.slow
def test_two_and_three_processes_learn_what_one_learns_and_torchrun_gives_the_same_bytes(project):
    assert train(project, "one", DARKROOM_THREADS="1").returncode == 0
    one = metrics(project, "one")
    for count, name in ((2, "two"), (3, "three")):  # neither 203 and 101 samples nor batches of 29 can be so divided
        done = train(project, name, DARKROOM_PROCESSES=str(count), DARKROOM_THREADS=str(count))
        assert done.returncode == 0, done.stderr
        several = metrics(project, name)
        assert (several["train"]["n"], several["val"]["n"]) == (203, 101)
        for split in ("train", "val"):
            assert several[split]["loss"] == pytest.approx(one[split]["loss"], rel=1e-3)
            assert several[split]["accuracy"] == pytest.approx(one[split]["accuracy"], abs=0.01)
    torchrun = (str(Path(sys.executable).parent / "torchrun"), "--nproc-per-node", "2")
    done = train(project, "torchrun", *torchrun, DARKROOM_THREADS="2")  # of all processes together, as above
    assert done.returncode == 0, done.stderr
    written = ("classifier/head.safetensors", "classifier/body.safetensors", "history.csv", "classifier/train.json")
    for name in written:
        assert files.sha256(project / "torchrun" / name) == files.sha256(project / "two" / name)


@pytest.mark.slow
def test_processes_whose_stage_is_killed_end_too(project):
    """An orphan would go on writing the history, beside the next run."""
    write_params(project, freeze="none", epochs=1000, batch_size=29)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    outputs = ("orphans/classifier", "orphans/history.csv")
    stage = subprocess.Popen(
        [sys.executable, "-m", "stages.train", *INPUTS, *outputs], cwd=project, stderr=subprocess.DEVNULL,
        env=kept | ON_CPUS | {"PYTHONPATH": str(ROOT), "DARKROOM_PROCESSES": "2", "DARKROOM_CHECKPOINTS": "orphans"},
    )  # fmt: skip
    history = project / "orphans/history.csv"
    until(lambda: history.exists() and len(history.read_text().splitlines()) > 2)
    children = psutil.Process(stage.pid).children(recursive=True)
    stage.kill()
    stage.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    for process in alive:
        process.kill()
    assert len(children) >= 2
    assert not alive


@pytest.mark.slow
def test_an_error_in_a_process_is_one_line(project):
    write_params(project, freeze="none", epochs=2, lr=1e9, optimizer="sgd")
    done = train(project, "error", DARKROOM_PROCESSES="2")
    assert done.returncode == 1
    assert "training has run away" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_head_on_features_is_trained_by_one_process(tmp_path):
    write_data(tmp_path, train=60, val=20, test=10)
    write_params(tmp_path, epochs=1)
    assert train(tmp_path, "head", DARKROOM_PROCESSES="2").returncode == 0
    assert files.read_json(tmp_path / "metrics/run.json")["stages"]["train"]["processes"] == 1
