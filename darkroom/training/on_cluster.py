"""Training on a Ray cluster: Ray Train starts a process on each node and starts again when one is lost.

An actor on the driver's machine, `Home`, is all that the processes know of it: they read shards from it where they do
not see the same folder, and the first of them leaves checkpoints and the result there. So nodes share no folder, a lost
node takes no checkpoint with it, and the stage alone writes outputs.
"""

import contextlib
import dataclasses
import hashlib
import os
import pickle
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darkroom import cluster, files
from darkroom.errors import DarkroomError, TrainingError
from darkroom.progress import say
from darkroom.runtime import Runtime
from darkroom.training.checkpoint import Checkpoint
from darkroom.training.classifier import Trained
from darkroom.training.group import Group
from darkroom.training.history import Row
from darkroom.training.launch import AfterEpoch, in_group
from darkroom.training.recipe import Recipe

FAILURES = 10  # lost processes and nodes that a training outlives
BLOCK = 1 << 26  # bytes of a shard that travel at once
FOLLOW_SECONDS = 2.0  # between two looks at how far the training is


class Home:
    """Runs on the driver's machine. Reads below `folders`, and writes checkpoints into `checkpoints`."""

    def __init__(self, folders: list[str], checkpoints: str) -> None:
        self.folders, self.checkpoints = [Path(folder) for folder in folders], Path(checkpoints)
        self.rows: list[Row] = []
        self.result: bytes | None = None

    def listing(self, folder: str) -> dict[str, int]:
        """The files of one of the folders, with their sizes."""
        return _listing(self._known(folder))

    def identity(self, folder: str) -> str:
        """What tells the content of a folder: see `_identity`."""
        return _identity(self._known(folder))

    def read(self, folder: str, name: str, start: int) -> bytes:
        """At most BLOCK bytes of a file in one of the folders."""
        with (self._known(folder) / name).open("rb") as file:
            file.seek(start)
            return file.read(BLOCK)

    def keep(self, name: str, data: bytes) -> None:
        """Keep a checkpoint."""
        files.write_bytes(self.checkpoints / Path(name).name, data)

    def kept(self, name: str) -> bytes | None:
        """A checkpoint."""
        path = self.checkpoints / Path(name).name
        return path.read_bytes() if path.exists() else None

    def report(self, rows: list[Row]) -> None:
        """The history so far."""
        self.rows = rows

    def reported(self) -> list[Row]:
        """The history so far."""
        return self.rows

    def finish(self, result: bytes) -> None:
        """The pickled result: (Trained, name of the checkpoint), or a DarkroomError."""
        self.result = result

    def finished(self) -> bytes | None:
        """The pickled result."""
        return self.result

    def _known(self, folder: str) -> Path:
        if Path(folder) not in self.folders:
            raise ValueError(f"{folder} is none of {self.folders}")
        return Path(folder)


class HomeCheckpoint(Checkpoint):
    """A checkpoint that is kept on the driver's machine."""

    home: Any = None

    def _write(self, *parts: bytes | memoryview) -> None:
        import ray

        ray.get(self.home.keep.remote(self.path.name, b"".join(parts)))

    def _read(self) -> bytes | None:
        import ray

        return ray.get(self.home.kept.remote(self.path.name))


def train_on_cluster(
    paths: tuple[Path, Path, Path], recipe: Recipe, environment: Runtime, after_epoch: AfterEpoch
) -> tuple[Trained, Callable[[], None]]:
    """Train on the cluster that `environment.ray` names; see launch. Raises DarkroomError."""
    ray = cluster.connect(environment.ray or cluster.LOCAL)
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    size, cpus, on_gpu = shape(environment)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    shards, features, body = (path.resolve() for path in paths)
    home = ray.remote(num_cpus=0, scheduling_strategy=here)(Home).remote(
        [str(path) for path in (*_folders(shards, features), body)], str(environment.checkpoints.resolve())
    )
    config = {
        "home": home,
        "paths": [str(path) for path in (shards, features, body)],
        "recipe": recipe,
        "environment": dataclasses.replace(
            environment,
            threads=cpus,
            processes=size,
            device="cuda" if on_gpu else "cpu",
            tensorboard=None,
            dvclive=None,
        ),
    }
    say(f"train: {size} processes of {cpus} threads{', a GPU each,' if on_gpu else ''} on the Ray cluster")
    with tempfile.TemporaryDirectory(prefix="darkroom-ray-") as storage, _following(ray, home, after_epoch):
        trainer = TorchTrainer(
            _work,
            train_loop_config=config,
            scaling_config=ScalingConfig(
                num_workers=size, use_gpu=on_gpu, resources_per_worker={"CPU": cpus} | ({"GPU": 1} if on_gpu else {}),
                placement_strategy="SPREAD",
            ),
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if on_gpu else "gloo"),
            run_config=RunConfig(
                name="train", storage_path=storage, failure_config=FailureConfig(max_failures=FAILURES)
            ),
        )  # fmt: skip
        try:
            trainer.fit()
        except Exception as error:
            raise TrainingError(f"training on the Ray cluster failed: {_last_line(error)}") from error
    after_epoch(ray.get(home.reported.remote()))
    result = ray.get(home.finished.remote())
    if result is None:
        raise TrainingError("the Ray cluster ended the training without a result; look at Ray's logs of the nodes")
    done = pickle.loads(result)  # noqa: S301 -- written by this program's own processes
    if isinstance(done, DarkroomError):
        raise done
    trained, name = done
    return trained, Checkpoint(environment.checkpoints, name).remove


def shape(environment: Runtime) -> tuple[int, int, bool]:
    """How many processes, threads of each, and whether each has a GPU: one process for each GPU, or for each node."""
    everywhere = cluster.nodes(environment.ray or cluster.LOCAL)
    gpus = int(sum(node.get("GPU", 0) for node in everywhere))
    on_gpu = environment.device.startswith("cuda") or (environment.device == "auto" and gpus > 0)
    working = [int(node["CPU"]) for node in everywhere if node.get("CPU", 0) >= 1]
    cpus = min(environment.threads, *working) if working else 1
    return environment.processes or (gpus if on_gpu else len(working)) or 1, cpus, on_gpu


def _work(config: dict[str, Any]) -> None:
    """What a process of the cluster does. What a user caused is a result: after an exception Ray would start again."""
    import ray
    from ray.train import get_context

    context, home = get_context(), config["home"]
    group = Group(context.get_world_rank(), context.get_world_size())
    shards, features, body = (Path(path) for path in config["paths"])
    places = {folder: _here(home, folder) for folder in (*_folders(shards, features), body)}
    paths = (_parent(places, shards), _parent(places, features), places[body])

    def checkpoint(folder: Path, key: str, every: float) -> Checkpoint:
        made = HomeCheckpoint(folder, key, every)
        made.home = home
        return made

    def report(rows: list[Row]) -> None:
        home.report.remote(list(rows))

    try:
        trained, finish = in_group(
            paths, config["recipe"], config["environment"], report, group, context.get_local_rank(),
            make_checkpoint=checkpoint,
        )  # fmt: skip
    except DarkroomError as error:
        ray.get(home.finish.remote(pickle.dumps(error)))
        return
    if group.leads:
        name = finish.__self__.key  # type: ignore[attr-defined]
        ray.get(home.finish.remote(pickle.dumps((trained, name))))


def _folders(shards: Path, features: Path) -> list[Path]:
    return [parent / split for parent in (shards, features) for split in ("train", "val")]


def _parent(places: dict[Path, Path], original: Path) -> Path:
    return places[original / "train"].parent


def _here(home: Any, folder: Path) -> Path:
    """`folder` itself where this node sees the same one, or a copy on this node, made once."""
    import ray

    wanted = ray.get(home.identity.remote(str(folder)))
    if _identity(folder) == wanted:
        return folder
    # train and val of one parent stay beside each other
    parent = hashlib.sha256(str(folder.parent).encode()).hexdigest()[:16]
    root = Path(tempfile.gettempdir()) / f"darkroom-{os.getuid()}"
    copy = root / parent / folder.name
    if _identity(copy) == wanted:
        return copy
    with files.fresh_folder(copy) as temporary:
        for name, size in ray.get(home.listing.remote(str(folder))).items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            with (temporary / name).open("wb") as file:
                for start in range(0, size, BLOCK):
                    file.write(ray.get(home.read.remote(str(folder), name, start)))
    return copy


def _listing(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*"))
            if path.is_file()}  # fmt: skip


def _identity(folder: Path) -> str:
    """The digest of a folder's names, sizes and index.json or body.json, which hold the digests of the rest."""
    if not folder.is_dir():
        return ""
    facts = [files.sha256(folder / name) for name in ("index.json", "body.json") if (folder / name).exists()]
    return files.digest([_listing(folder), facts])


@contextlib.contextmanager
def _following(ray: Any, home: Any, after_epoch: AfterEpoch) -> Any:
    """Hand the history to `after_epoch` while the training runs."""
    done = threading.Event()

    def follow() -> None:
        seen = 0
        while not done.wait(FOLLOW_SECONDS):
            rows = ray.get(home.reported.remote())
            if len(rows) > seen:
                seen = len(rows)
                after_epoch(rows)

    thread = threading.Thread(target=follow, name="follow-training", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
