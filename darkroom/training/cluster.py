"""Train on a Ray cluster, in one process or in several together.

Ray Train starts several processes on different nodes, and restarts them when one is lost. A single process is a plain
task, which another node repeats when its node is lost, so that the trials of a sweep run side by side. The stage's own
process alone writes outputs: see darkroom.cluster.driver.
"""

import dataclasses
import pickle
import tempfile
from pathlib import Path
from typing import Any

from darkroom.cluster import driver as drivers
from darkroom.cluster import nodes
from darkroom.cluster.nodes import Shape
from darkroom.core.errors import DarkroomError, TrainingError
from darkroom.core.progress import say
from darkroom.core.runtime import Runtime
from darkroom.training.checkpoint import Checkpoint
from darkroom.training.distributed import Group
from darkroom.training.history import AfterEpoch, Row
from darkroom.training.recipe import Recipe
from darkroom.training.result import Trained
from darkroom.training.train import Paths, train_in_group

FAILURES = 10  # lost processes and nodes that a training survives


class DriverCheckpoint(Checkpoint):
    """A checkpoint that is kept on the driver's machine."""

    driver: Any = None

    def _write(self, *parts: bytes | memoryview) -> None:
        import ray

        ray.get(self.driver.write_checkpoint.remote(self.path.name, b"".join(parts)))

    def _read(self) -> bytes | None:
        import ray

        return ray.get(self.driver.read_checkpoint.remote(self.path.name))


def train_on_cluster(paths: Paths, recipe: Recipe, runtime: Runtime, after_epoch: AfterEpoch) -> Trained:
    """Train on the cluster that `runtime.ray` names; see launch. Raises DarkroomError."""
    ray = nodes.connect(runtime.ray or nodes.LOCAL)
    shape = nodes.shape(runtime)
    shards, features, body = (path.resolve() for path in paths)
    driver = drivers.start(ray, (shards, features, body), runtime.checkpoints.resolve())
    config = {
        "driver": driver,
        "paths": (shards, features, body),
        "recipe": recipe,
        "runtime": dataclasses.replace(
            runtime,
            threads=shape.cpus,
            processes=shape.processes,
            device="cuda" if shape.on_gpu else "cpu",
            tensorboard=None,
            dvclive=None,
        ),
    }
    many = "1 process" if shape.processes == 1 else f"{shape.processes} processes"
    gpus = ", a GPU each," if shape.on_gpu else ""
    if shape.processes > shape.room:
        say(f"train: waits for nodes: those of the cluster have room for {shape.room} of {shape.processes} processes")
    say(f"train: {many} of {shape.cpus} threads{gpus} on the Ray cluster")
    run = _run_task if shape.processes == 1 else _run_group
    with drivers.following(ray, driver, after_epoch):
        trained = run(ray, config, shape)
    after_epoch(ray.get(driver.reported.remote()))
    return trained


def _run_task(ray: Any, config: dict[str, Any], shape: Shape) -> Trained:
    """Train in one process, as a task that is repeated where its process or node is lost."""
    del ray
    address, gpus = config["runtime"].ray or nodes.LOCAL, int(shape.on_gpu)
    ((_, done),) = nodes.map_chunks(_train_alone, config, [None], address, shape.cpus, gpus, FAILURES)
    if isinstance(done, nodes.Lost):
        raise TrainingError(
            f"training on the Ray cluster failed {FAILURES + 1} times ({done.reason}); give its nodes more memory, or "
            "use a smaller batch_size; the same command goes on from the last checkpoint"
        )
    return done


def _train_alone(config: dict[str, Any], _: None) -> Trained:
    return _train(config, Group(), 0)


def _run_group(ray: Any, config: dict[str, Any], shape: Shape) -> Trained:
    """Train in several processes, which Ray Train restarts where one is lost."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    with tempfile.TemporaryDirectory(prefix="darkroom-ray-") as storage:
        trainer = TorchTrainer(
            _train_one_of_several,
            train_loop_config=config,
            scaling_config=ScalingConfig(
                num_workers=shape.processes, use_gpu=shape.on_gpu, placement_strategy="SPREAD",
                resources_per_worker={"CPU": shape.cpus} | ({"GPU": 1} if shape.on_gpu else {}),
            ),
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if shape.on_gpu else "gloo"),
            run_config=RunConfig(
                name="train", storage_path=storage, failure_config=FailureConfig(max_failures=FAILURES),
                callbacks=[_end_when_finished(config["driver"])],
            ),
        )  # fmt: skip
        try:
            trainer.fit()
        except Exception as error:
            if ray.get(config["driver"].finished.remote()) is None:
                raise TrainingError(f"training on the Ray cluster failed: {_last_line(error)}") from error
    result = ray.get(config["driver"].finished.remote())
    if result is None:
        raise TrainingError("the Ray cluster ended the training without a result; look at Ray's logs of the nodes")
    done = pickle.loads(result)  # noqa: S301 -- written by this program's own processes
    if isinstance(done, DarkroomError):
        raise done
    return done


def _end_when_finished(driver: Any) -> Any:
    """Return a callback that keeps Ray Train from restarting the processes once there is a result."""
    import ray
    from ray.train import UserCallback

    class EndWhenFinished(UserCallback):
        def after_exception(self, run_context: Any, worker_exceptions: Any) -> None:
            del run_context, worker_exceptions
            if ray.get(driver.finished.remote()) is not None:
                raise RuntimeError("there is a result already")  # no error of a process, so that Ray ends the run

    return EndWhenFinished()


def _train_one_of_several(config: dict[str, Any]) -> None:
    """Train in one of several processes.

    An error that the user caused is a result. It is raised too, so that Ray ends the processes that wait for this one.
    """
    import ray
    from ray.train import get_context

    driver = config["driver"]
    if ray.get(driver.finished.remote()) is not None:
        return
    context = get_context()
    group = Group(context.get_world_rank(), context.get_world_size())
    try:
        done = _train(config, group, context.get_local_rank())
    except DarkroomError as error:
        ray.get(driver.finish.remote(pickle.dumps(error)))
        raise
    if group.leads:
        ray.get(driver.finish.remote(pickle.dumps(done)))


def _train(config: dict[str, Any], group: Group, local_rank: int) -> Trained:
    driver = config["driver"]

    def checkpoint(folder: Path, key: str, every: float) -> Checkpoint:
        made = DriverCheckpoint(folder, key, every)
        made.driver = driver
        return made

    def report(rows: list[Row]) -> None:
        driver.report.remote(list(rows))

    paths = drivers.on_this_node(driver, config["paths"])
    return train_in_group(
        paths, config["recipe"], config["runtime"], report, group, local_rank, make_checkpoint=checkpoint
    )


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
