"""Training on a Ray cluster, by several processes together or by one of them.

Several are started by Ray Train on different nodes, and again when one is lost. One is a plain task of some node, which
another node does again: so the trials of a sweep run side by side. The stage alone writes outputs: see `home`.
"""

import dataclasses
import pickle
import tempfile
from pathlib import Path
from typing import Any

from darkroom.cluster import nodes
from darkroom.cluster.nodes import Shape
from darkroom.core.errors import DarkroomError, TrainingError
from darkroom.core.progress import say
from darkroom.core.runtime import Runtime
from darkroom.training import driver as homes
from darkroom.training.checkpoint import Checkpoint
from darkroom.training.distributed import Group
from darkroom.training.driver import HomeCheckpoint, Paths, following
from darkroom.training.history import Row
from darkroom.training.launch import AfterEpoch, in_group
from darkroom.training.recipe import Recipe
from darkroom.training.train import Trained

FAILURES = 10  # lost processes and nodes that a training outlives


def train_on_cluster(paths: Paths, recipe: Recipe, environment: Runtime, after_epoch: AfterEpoch) -> Trained:
    """Train on the cluster that `environment.ray` names; see launch. Raises DarkroomError."""
    ray = nodes.connect(environment.ray or nodes.LOCAL)
    shape = nodes.shape(environment)
    shards, features, body = (path.resolve() for path in paths)
    home = homes.start(ray, (shards, features, body), environment.checkpoints.resolve())
    config = {
        "home": home,
        "paths": (shards, features, body),
        "recipe": recipe,
        "environment": dataclasses.replace(
            environment,
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
    run = _as_task if shape.processes == 1 else _together
    with following(ray, home, after_epoch):
        trained = run(ray, config, shape)
    after_epoch(ray.get(home.reported.remote()))
    return trained


def _as_task(ray: Any, config: dict[str, Any], shape: Shape) -> Trained:
    """Train in one process, as a task that is done again where its process or node is lost."""
    del ray
    address, gpus = config["environment"].ray or nodes.LOCAL, int(shape.on_gpu)
    ((_, done),) = nodes.map_chunks(_alone, config, [None], address, shape.cpus, gpus, FAILURES)
    if isinstance(done, nodes.Lost):
        raise TrainingError(
            f"training on the Ray cluster failed {FAILURES + 1} times ({done.reason}); give its nodes more memory, or "
            "use a smaller batch_size; the same command goes on from the last checkpoint"
        )
    return done


def _alone(config: dict[str, Any], _: None) -> Trained:
    return _train(config, Group(), 0)


def _together(ray: Any, config: dict[str, Any], shape: Shape) -> Trained:
    """Train in several processes, which Ray Train starts again where one is lost."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    with tempfile.TemporaryDirectory(prefix="darkroom-ray-") as storage:
        trainer = TorchTrainer(
            _one_of_several,
            train_loop_config=config,
            scaling_config=ScalingConfig(
                num_workers=shape.processes, use_gpu=shape.on_gpu, placement_strategy="SPREAD",
                resources_per_worker={"CPU": shape.cpus} | ({"GPU": 1} if shape.on_gpu else {}),
            ),
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if shape.on_gpu else "gloo"),
            run_config=RunConfig(
                name="train", storage_path=storage, failure_config=FailureConfig(max_failures=FAILURES),
                callbacks=[_end_when_finished(config["home"])],
            ),
        )  # fmt: skip
        try:
            trainer.fit()
        except Exception as error:
            if ray.get(config["home"].finished.remote()) is None:
                raise TrainingError(f"training on the Ray cluster failed: {_last_line(error)}") from error
    result = ray.get(config["home"].finished.remote())
    if result is None:
        raise TrainingError("the Ray cluster ended the training without a result; look at Ray's logs of the nodes")
    done = pickle.loads(result)  # noqa: S301 -- written by this program's own processes
    if isinstance(done, DarkroomError):
        raise done
    return done


def _end_when_finished(home: Any) -> Any:
    """A callback for Ray Train's controller, which starts all processes again where one has failed: not where there is
    a result by then."""
    import ray
    from ray.train import UserCallback

    class EndWhenFinished(UserCallback):
        def after_exception(self, run_context: Any, worker_exceptions: Any) -> None:
            del run_context, worker_exceptions
            if ray.get(home.finished.remote()) is not None:
                raise RuntimeError("there is a result already")  # no error of a process, so that Ray ends the run

    return EndWhenFinished()


def _one_of_several(config: dict[str, Any]) -> None:
    """What each of several processes does.

    What a user caused is a result. It is raised as well: the others may wait for this process, and Ray ends them.
    """
    import ray
    from ray.train import get_context

    home = config["home"]
    if ray.get(home.finished.remote()) is not None:
        return
    context = get_context()
    group = Group(context.get_world_rank(), context.get_world_size())
    try:
        done = _train(config, group, context.get_local_rank())
    except DarkroomError as error:
        ray.get(home.finish.remote(pickle.dumps(error)))
        raise
    if group.leads:
        ray.get(home.finish.remote(pickle.dumps(done)))


def _train(config: dict[str, Any], group: Group, local_rank: int) -> Trained:
    home = config["home"]

    def checkpoint(folder: Path, key: str, every: float) -> Checkpoint:
        made = HomeCheckpoint(folder, key, every)
        made.home = home
        return made

    def report(rows: list[Row]) -> None:
        home.report.remote(list(rows))

    paths = homes.on_this_node(home, config["paths"])
    return in_group(
        paths, config["recipe"], config["environment"], report, group, local_rank, make_checkpoint=checkpoint
    )


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
