"""Where a training runs: in this process, in several of this machine, under torchrun, or on a Ray cluster.

Whatever it is, the stage's own process (under torchrun: the first) alone writes outputs. Cached features are learnt
from in one process always, and in the stage's own: a head takes seconds there, and starting others takes longer. On a
Ray cluster DARKROOM_PROCESSES=1 sends it to a node all the same, which is what the trials of a sweep ask for.
"""

import dataclasses
import multiprocessing
import os
import pickle
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darkroom.core import runtime
from darkroom.core.errors import DarkroomError
from darkroom.core.runtime import Runtime
from darkroom.training.data import open_data
from darkroom.training.distributed import Group, backend
from darkroom.training.history import Row
from darkroom.training.recipe import Recipe
from darkroom.training.train import Trained, train

AfterEpoch = Callable[[list[Row]], None]


def launch(
    shards: Path, features: Path, body: Path, recipe: Recipe, environment: Runtime, after_epoch: AfterEpoch
) -> Trained:
    """Train where `environment` says.

    Under torchrun it returns in the first process alone; the others end here.
    """
    paths = (shards, features, body)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return _in_torchrun(paths, recipe, environment, after_epoch)
    if environment.ray is not None and (environment.processes == 1 or not recipe.only_head):
        from darkroom.training.cluster import train_on_cluster

        return train_on_cluster(paths, recipe, environment, after_epoch)
    if (environment.processes or 1) > 1 and not recipe.only_head:
        return _in_processes(paths, recipe, environment, after_epoch)
    return train(open_data(shards, features), body, recipe, environment, after_epoch)


def in_group(
    paths: tuple[Path, Path, Path], recipe: Recipe, environment: Runtime, after_epoch: AfterEpoch, group: Group,
    local_rank: int, **options: Any,
) -> Trained:  # fmt: skip
    """Train in this process of `group`, whose torch.distributed is up; on a GPU of its own where there are GPUs."""
    import torch

    device = environment.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        # Where there is none, torch_device says so. Ray may show a process its own GPU alone, or those of its node.
        device = f"cuda:{local_rank % max(1, torch.cuda.device_count())}"
    shards, features, body = paths
    environment = dataclasses.replace(environment, device=device)
    return train(open_data(shards, features), body, recipe, environment, after_epoch, group, **options)


def check_gpus(device: str, processes: int) -> None:
    """Raise DarkroomError unless each of the `processes` of this machine that compute on GPUs can have its own: NCCL
    refuses two on one."""
    import torch

    if processes == 1 or not device.startswith(("auto", "cuda")) or not torch.cuda.is_available():
        return
    if device.startswith("cuda:"):
        raise DarkroomError(
            f"DARKROOM_DEVICE={device} is one GPU, and {processes} processes need one each; use DARKROOM_DEVICE=cuda"
        )
    if processes > (count := torch.cuda.device_count()):
        raise DarkroomError(
            f"{processes} processes need a GPU each, and this machine has {count}; "
            f"use DARKROOM_PROCESSES={count}, or DARKROOM_DEVICE=cpu"
        )


def _in_torchrun(
    paths: tuple[Path, Path, Path], recipe: Recipe, environment: Runtime, after_epoch: AfterEpoch
) -> Trained:
    import torch

    check_gpus(environment.device, int(os.environ["LOCAL_WORLD_SIZE"]))
    torch.distributed.init_process_group(backend(environment.device))
    group = Group(torch.distributed.get_rank(), torch.distributed.get_world_size())
    environment = dataclasses.replace(
        environment, threads=max(1, environment.threads // int(os.environ["LOCAL_WORLD_SIZE"]))
    )
    done = in_group(paths, recipe, environment, after_epoch, group, int(os.environ["LOCAL_RANK"]))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    if not group.leads:
        sys.exit(0)
    return done


def _in_processes(
    paths: tuple[Path, Path, Path], recipe: Recipe, environment: Runtime, after_epoch: AfterEpoch
) -> Trained:
    """Several processes on this machine, which share its processor cores."""
    size = environment.processes or 1
    runtime.torch_device(environment)  # a device that cannot be used is told before processes start
    check_gpus(environment.device, size)
    environment = dataclasses.replace(environment, threads=max(1, environment.threads // size))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # it warns that unused parameters are looked for
    context = runtime.processes_with("darkroom.training.torch_training")
    with tempfile.TemporaryDirectory(prefix="darkroom-train-") as folder:
        processes = [
            context.Process(
                target=_work,
                args=(Path(folder), Group(rank, size), paths, recipe, environment, after_epoch),
                daemon=True,
            )
            for rank in range(size)
        ]
        for process in processes:
            process.start()
        try:
            _wait(processes)
        finally:
            for process in processes:
                process.kill()
        trained, rows = _answer(Path(folder))
    after_epoch(rows)
    return trained


def _end_with_parent() -> None:
    """End this process when the one that asked for it is gone: an orphan would go on writing beside the next run.

    The system cannot be asked for that here: this process is the child of a server of processes.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


def _wait(processes: list[Any]) -> None:
    """Until all have ended, or one has failed: the others would wait for it."""
    from multiprocessing.connection import wait

    left = {process.sentinel: process for process in processes}
    while left:
        for sentinel in wait(list(left)):
            if left.pop(sentinel).exitcode:
                return


def _answer(folder: Path) -> Any:
    errors = sorted(folder.glob("error-*"))
    if errors:
        raise pickle.loads(errors[0].read_bytes())  # noqa: S301 -- written by this program's own processes
    if not (folder / "done").exists():
        raise DarkroomError(
            "one of the processes that train together was killed, perhaps for want of memory; "
            "the same command goes on from the last checkpoint"
        )
    return pickle.loads((folder / "done").read_bytes())  # noqa: S301


def _work(
    folder: Path, group: Group, paths: tuple[Path, Path, Path], recipe: Recipe, environment: Runtime,
    after_epoch: AfterEpoch,
) -> None:  # fmt: skip
    import torch

    _end_with_parent()
    store = f"file://{(folder / 'store').as_posix()}"
    torch.distributed.init_process_group(
        backend(environment.device), init_method=store, rank=group.rank, world_size=group.size
    )
    rows: list[Row] = []

    def reported(so_far: list[Row]) -> None:
        rows[:] = so_far
        after_epoch(so_far)

    try:
        trained = in_group(paths, recipe, environment, reported, group, group.rank)
    except DarkroomError as error:
        (folder / f"error-{group.rank}").write_bytes(pickle.dumps(error))
        sys.exit(1)
    if group.leads:
        (folder / "done.tmp").write_bytes(pickle.dumps((trained, rows)))
        (folder / "done.tmp").replace(folder / "done")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
