"""Start a training in this process, in several on this machine, under torchrun, or on a Ray cluster.

The stage's own process (under torchrun: the first) alone writes outputs. A head on cached features trains there too,
since it takes seconds and starting other processes takes longer; only on a Ray cluster with DARKROOM_PROCESSES=1, as
the trials of a sweep set it, does a node train it.
"""

import dataclasses
import multiprocessing
import os
import pickle
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from darkroom.core.errors import DarkroomError
from darkroom.core.runtime import Runtime, processes_with, torch_device
from darkroom.training.data import open_data
from darkroom.training.distributed import Group, backend
from darkroom.training.history import AfterEpoch, Row
from darkroom.training.recipe import Recipe
from darkroom.training.result import Trained
from darkroom.training.train import Paths, train, train_in_group


def launch(
    shards: Path, features: Path, body: Path, recipe: Recipe, runtime: Runtime, after_epoch: AfterEpoch
) -> Trained:
    """Train where `runtime` says, and return the result; under torchrun, all processes but the first end here."""
    paths = (shards, features, body)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return _in_torchrun(paths, recipe, runtime, after_epoch)
    if runtime.ray is not None and (runtime.processes == 1 or not recipe.only_head):
        from darkroom.training.cluster import train_on_cluster

        return train_on_cluster(paths, recipe, runtime, after_epoch)
    if (runtime.processes or 1) > 1 and not recipe.only_head:
        return _in_processes(paths, recipe, runtime, after_epoch)
    return train(open_data(shards, features), body, recipe, runtime, after_epoch)


def check_gpus(device: str, processes: int) -> None:
    """Raise DarkroomError unless each of the `processes` of this machine gets a GPU of its own, as NCCL requires."""
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


def _in_torchrun(paths: Paths, recipe: Recipe, runtime: Runtime, after_epoch: AfterEpoch) -> Trained:
    import torch

    check_gpus(runtime.device, int(os.environ["LOCAL_WORLD_SIZE"]))
    torch.distributed.init_process_group(backend(runtime.device))
    group = Group(torch.distributed.get_rank(), torch.distributed.get_world_size())
    runtime = dataclasses.replace(runtime, threads=max(1, runtime.threads // int(os.environ["LOCAL_WORLD_SIZE"])))
    done = train_in_group(paths, recipe, runtime, after_epoch, group, int(os.environ["LOCAL_RANK"]))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    if not group.leads:
        sys.exit(0)
    return done


def _in_processes(paths: Paths, recipe: Recipe, runtime: Runtime, after_epoch: AfterEpoch) -> Trained:
    """Train in several processes on this machine, which share its processor cores."""
    size = runtime.processes or 1
    torch_device(runtime)  # a device that cannot be used is reported before processes start
    check_gpus(runtime.device, size)
    runtime = dataclasses.replace(runtime, threads=max(1, runtime.threads // size))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # it warns that unused parameters are looked for
    context = processes_with("darkroom.training.torch_training")
    with tempfile.TemporaryDirectory(prefix="darkroom-train-") as folder:
        processes = [
            context.Process(
                target=_train_in_process,
                args=(Path(folder), Group(rank, size), paths, recipe, runtime, after_epoch),
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
        trained, rows = _read_result(Path(folder))
    after_epoch(rows)
    return trained


def _end_with_parent() -> None:
    """End this process when its parent is gone: an orphan would keep writing beside the next run.

    The operating system cannot do it here: this process is the child of a server of processes.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


def _wait(processes: list[Any]) -> None:
    """Wait until all processes have ended, or one has failed, for which the others would wait."""
    from multiprocessing.connection import wait

    left = {process.sentinel: process for process in processes}
    while left:
        for sentinel in wait(list(left)):
            if left.pop(sentinel).exitcode:
                return


def _read_result(folder: Path) -> Any:
    errors = sorted(folder.glob("error-*"))
    if errors:
        raise pickle.loads(errors[0].read_bytes())  # noqa: S301 -- written by this program's own processes
    if not (folder / "done").exists():
        raise DarkroomError(
            "one of the processes that train together was killed, perhaps for want of memory; "
            "the same command goes on from the last checkpoint"
        )
    return pickle.loads((folder / "done").read_bytes())  # noqa: S301


def _train_in_process(
    folder: Path, group: Group, paths: Paths, recipe: Recipe, runtime: Runtime,
    after_epoch: AfterEpoch,
) -> None:  # fmt: skip
    import torch

    _end_with_parent()
    store = f"file://{(folder / 'store').as_posix()}"
    torch.distributed.init_process_group(
        backend(runtime.device), init_method=store, rank=group.rank, world_size=group.size
    )
    rows: list[Row] = []

    def reported(so_far: list[Row]) -> None:
        rows[:] = so_far
        after_epoch(so_far)

    try:
        trained = train_in_group(paths, recipe, runtime, reported, group, group.rank)
    except DarkroomError as error:
        (folder / f"error-{group.rank}").write_bytes(pickle.dumps(error))
        sys.exit(1)
    if group.leads:
        (folder / "done.tmp").write_bytes(pickle.dumps((trained, rows)))
        (folder / "done.tmp").replace(folder / "done")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
