"""Connect to a Ray cluster, and map a function over many chunks of work on its nodes.

Only the driver, which is the stage's own process, reads the data and writes outputs; chunks travel to the nodes, and
results travel back. So nodes need Python and this project's packages, but no shared folder. Ray itself sends them the
code of `darkroom`. Work lost with a node is done again on another.
"""

import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from darkroom.core.errors import DarkroomError
from darkroom.core.runtime import Runtime

C = TypeVar("C")
R = TypeVar("R")
LOCAL = "local"  # start a cluster on this machine alone, for this stage
AHEAD = 2  # chunks queued for each process
RETRIES = 2  # of a chunk whose process or node was lost


@dataclass(frozen=True)
class Lost:
    """The result of a chunk that killed its process at every try; `reason` fits a table."""

    reason: str


def connect(address: str) -> Any:
    """Return the ray module, connected to the cluster at `address` (auto, host:port, or local). Raises DarkroomError.

    A cluster started here has no dashboard, sends no usage reports, and requires a secret token of its own, because Ray
    listens on every interface.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    # Otherwise Ray hides the GPUs from every process that asks for none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address == LOCAL:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
    except ImportError as error:
        raise DarkroomError(
            f"DARKROOM_RAY={address} is set, but Ray is not installed; "
            "run `.venv/bin/pip install -e '.[ray]'`, or unset it"
        ) from error
    if ray.is_initialized():
        return ray
    own: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"} if address == LOCAL else {}
    code = {"py_modules": [str(Path(__file__).parent)], "excludes": ["**/__pycache__"]}
    try:
        _check_address(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, runtime_env=code, **own)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DarkroomError(
            f"DARKROOM_RAY={address}: no Ray cluster answers ({reason}); start one with `ray start --head`, "
            "correct the address, or unset it to work on this machine"
        ) from error
    return ray


def _check_address(address: str) -> None:
    """Raise OSError or ValueError at once where nothing listens at host:port: Ray would try for six minutes."""
    if address in ("auto", LOCAL):
        return
    if "://" in address:
        raise ValueError("Ray Client addresses are not supported; run on a node of the cluster, with auto or host:port")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("expected auto, local or host:port")
    socket.create_connection((host, int(port)), timeout=10).close()


def nodes(address: str) -> list[dict[str, Any]]:
    """Return the resources of each node that is alive."""
    ray = connect(address)
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@dataclass(frozen=True)
class Shape:
    """How a cluster trains: `processes` together, each with `cpus` threads and, `on_gpu`, a GPU.

    `room`: how many trainings of one process it can run at the same time.
    """

    processes: int
    cpus: int
    on_gpu: bool
    room: int


def shape(runtime: Runtime) -> Shape:
    """Return the shape with one process for each GPU, or for each node, unless `runtime` sets the number."""
    everywhere = nodes(runtime.ray or LOCAL)
    gpus, on_gpu = int(sum(node.get("GPU", 0) for node in everywhere)), device(runtime) == "cuda"
    working = [int(node["CPU"]) for node in everywhere if node.get("CPU", 0) >= 1]
    if on_gpu:  # the processes of a node share its processors: one that took all would block the others
        nodes_with = [(int(node["GPU"]), int(node.get("CPU", 0))) for node in everywhere if node.get("GPU", 0) >= 1]
        cpus = max(1, min([runtime.threads, *(cores // cards for cards, cores in nodes_with)]))
        room = sum(min(cards, cores // cpus) for cards, cores in nodes_with)
    else:
        cpus = min(runtime.threads, *working) if working else 1
        room = sum(node // cpus for node in working)
    return Shape(runtime.processes or (gpus if on_gpu else len(working)) or 1, cpus, on_gpu, max(1, room))


def device(runtime: Runtime) -> str:
    """Return what every node computes on, cpu or cuda; `auto` is cuda where a node has a GPU. Raises DarkroomError.

    It never is cuda:1: a process of Ray sees only the GPUs assigned to it, counted from 0.
    """
    gpus = any(node.get("GPU") for node in nodes(runtime.ray or LOCAL))
    if runtime.device == "auto":
        return "cuda" if gpus else "cpu"
    kind = runtime.device.partition(":")[0]
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not gpus):
        have = "GPUs and CPUs" if gpus else "CPUs alone"
        raise DarkroomError(
            f"DARKROOM_DEVICE={runtime.device}: the nodes of the Ray cluster have {have}; unset it, or use cpu"
        )
    return kind


def map_chunks(
    function: Callable[[Any, C], R],
    shared: Any,
    chunks: Iterable[C],
    address: str,
    cpus: int = 1,
    gpus: int = 0,
    retries: int = RETRIES,
) -> Iterator[tuple[C, R | Lost]]:
    """Yield (chunk, function(shared, chunk)) in order of completion. `shared` is sent to each node once.

    A task takes `cpus` processors, or as many as the smallest node has, and is tried again up to `retries` times where
    its process or node is lost. An exception in `function` is raised here.
    """
    ray = connect(address)
    share = ray.put(shared)
    everywhere = nodes(address)
    smallest = min((int(node["CPU"]) for node in everywhere if node.get("CPU", 0) >= 1), default=1)
    cpus = min(cpus, smallest)
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=retries)(function)
    waiting: dict[Any, C] = {}
    source = iter(chunks)
    while True:
        room = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)) // cpus) - len(waiting)
        for chunk in _take(source, room):
            waiting[task.remote(share, chunk)] = chunk
        if not waiting:
            return
        # Wait for a limited time, so that nodes that have joined get work, too.
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=5.0)
        for reference in ready:
            yield waiting.pop(reference), _result(ray, reference)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        reason = "out of memory" if isinstance(error, ray.exceptions.OutOfMemoryError) else "its process crashed"
        return Lost(reason)
    except ray.exceptions.RayError as error:
        raise DarkroomError(f"the Ray cluster lost a task: {str(error).strip().splitlines()[0]}") from error


def _take(source: Iterator[C], count: int) -> Iterator[C]:
    for _ in range(count):
        try:
            yield next(source)
        except StopIteration:
            return


def in_order(results: Iterable[tuple[tuple[Any, ...], R]]) -> Iterator[R]:
    """Yield the results of the chunks (0, …), (1, …), … in this order, though they arrive in any."""
    early: dict[int, R] = {}
    wanted = 0
    for chunk, result in results:
        early[chunk[0]] = result
        while wanted in early:
            yield early.pop(wanted)
            wanted += 1
