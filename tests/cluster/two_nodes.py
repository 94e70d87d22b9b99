"""A Ray cluster of several nodes on this machine, for tests that use and kill them."""

import csv
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from darkroom.core import files

# Read when Ray is imported: it listens on every interface, and talks to nobody without the token.
SAFE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
# Without processes that these tests do not need, of 3 s each; with a look at the workers twice a second, and at the
# nodes every second (a killed one is missed after two looks, not after 15 s).
LEAN = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0", "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5", "RAY_prestart_worker_first_driver": "0",
    "RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "2",
    "RAY_worker_niceness": "0",  # beside the other tests, processes of the lowest priority hardly run
    "RAY_TQDM_PATCH_PRINT": "0",  # Ray's own print would stay in the tests' process
}  # fmt: skip
MARKS = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings are not ours to mend
ON_CPUS = {"DARKROOM_DEVICE": "cpu"}  # of several processes: a machine with one GPU could not give each its own
ONE_CPU = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 200_000_000}


@contextmanager
def two_nodes() -> Iterator[Any]:
    """Two nodes of one processor each; this machine's is the first, and `second` the other."""
    os.environ |= SAFE | LEAN
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    from ray.cluster_utils import Cluster

    head = ONE_CPU | {"include_dashboard": False, "include_log_monitor": False}
    started: Any = Cluster(initialize_head=True, head_node_args=head)
    started.second = started.add_node(**ONE_CPU)
    yield started
    ray.shutdown()
    started.shutdown()


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder."""
    return {str(path.relative_to(folder)): files.sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def epochs(history: Path) -> int:
    """How many epochs a history holds so far."""
    if not history.exists():
        return 0
    with history.open(newline="") as file:
        return len(list(csv.DictReader(file)))


def until(condition, seconds: float = 400) -> None:
    """Wait for a condition; fail when it does not come about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
