"""Exact resume: real processes killed with SIGKILL at random moments end with the same bytes as undisturbed ones."""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest

from darkroom.core import files
from tests.training.small import write_data, write_params

ARGUMENTS = (
    "data/shards", "data/features", "models/body", "models/classifier", "plots/history.csv",
)  # fmt: skip
SCENARIOS = {
    "frozen": {"epochs": 20, "head": "mlp", "batch_size": 16},
    "frozen, sgd, plateau and ema": {
        "epochs": 20, "head": "mlp", "optimizer": "sgd", "schedule": "plateau", "ema": 0.99, "batch_size": 16,
        "mixup": 0.2,
    },
    "thawing": {"epochs": 10, "thaw_epoch": 4, "thaw_lr_factor": 0.3, "augment": "strong", "lr_decay": 0.7},
    "fine-tuning, ema, plateau, early stop": {
        "epochs": 6, "freeze": "none", "lr": 0.003, "schedule": "plateau", "ema": 0.9, "augment": "light",
        "patience": 4, "mixup": 0.2, "cutmix": 1.0, "grad_clip": 1.0,
    },
    "fine-tuning, rmsprop, bfloat16": {
        "epochs": 2, "freeze": "none", "lr": 0.001, "optimizer": "rmsprop", "schedule": "onecycle",
        "precision": "bfloat16", "balance": "sampler", "l1": 1e-5,
    },
}  # fmt: skip


def train_in(folder: Path) -> None:
    """Do what `python -m stages.train` does, in a child of a process that has imported torch already."""
    from stages.train import main

    os.chdir(folder)
    os.environ["DARKROOM_CHECKPOINT_SECONDS"] = "0"
    os.environ["DARKROOM_THREADS"] = "1"
    main(*(Path(argument) for argument in ARGUMENTS))


@pytest.fixture(scope="module")
def processes():
    """Start processes from one that has imported torch and has no threads: a start takes milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "stages.train", "darkroom.training.torch_training"])
    return context


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, train=160, val=40, test=10)
    return folder


def begin(folder: Path, data: Path, changes: dict) -> Path:
    folder.mkdir()
    for name in ("data", "models"):
        (folder / name).mkdir()
    for name in ("data/shards", "data/features", "models/body"):
        (folder / name).symlink_to(data / name)
    write_params(folder, **changes)
    return folder


def digests(folder: Path) -> dict[str, str]:
    outputs = [
        *sorted((folder / "models/classifier").iterdir()),
        folder / "plots/history.csv",
        folder / "models/classifier/train.json",
    ]
    return {path.name: files.sha256(path) for path in outputs}


def checkpoint_time(folder: Path) -> float:
    """When the checkpoint was last replaced; 0 without one."""
    return max((path.stat().st_mtime for path in (folder / ".darkroom/checkpoints").glob("*.ckpt")), default=0)


def wait_for_checkpoint(process, folder: Path, after: float) -> None:
    """Return once a checkpoint is newer than `after`, or the process has ended."""
    while process.is_alive() and checkpoint_time(folder) == after:
        time.sleep(0.002)


def train_with_kills(processes, folder: Path, chance: random.Random, longest: float) -> int:
    """Train in `folder`, killed up to three times, each at most `longest` seconds after a checkpoint; how often."""
    for kills in range(4):
        before = checkpoint_time(folder)
        process = processes.Process(target=train_in, args=(folder,))
        process.start()
        if kills < 3:
            wait_for_checkpoint(process, folder, before)
            process.join(chance.uniform(0, longest))
            if process.is_alive():
                process.kill()
                process.join()
                continue
        process.join()
        assert process.exitcode == 0, f"failed after {kills} kills"
        break
    return kills


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_random_moments_ends_with_the_same_bytes(scenario, processes, data, tmp_path):
    changes = SCENARIOS[scenario]
    undisturbed = begin(tmp_path / "undisturbed", data, changes)
    process = processes.Process(target=train_in, args=(undisturbed,))
    process.start()
    wait_for_checkpoint(process, undisturbed, 0)
    began = time.monotonic()
    process.join()
    learning = time.monotonic() - began  # from the first checkpoint on: a process also has to start and import
    assert process.exitcode == 0

    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    for attempt in range(10):  # one that ends before its first kill says nothing: begin again, and be quicker
        disturbed = begin(tmp_path / f"disturbed-{attempt}", data, changes)
        kills = train_with_kills(processes, disturbed, chance, learning * 0.3 / 2**attempt)
        if kills:
            break
    assert kills >= 1, f"never killed, seed {seed}"
    assert digests(disturbed) == digests(undisturbed), f"after {kills} kills, seed {seed}"
    assert list((disturbed / ".darkroom/checkpoints").iterdir()) == [], "checkpoints are removed when training is done"
