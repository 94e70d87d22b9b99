"""Fixtures that several rooms' tests share."""

import os
from pathlib import Path

import pytest

from tests.clusters import two_nodes

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = "cluster"
LONGEST = (
    CLUSTER, "test_pipeline.py", "training/test_resume.py", "model/test_families.py", "training/test_launch.py",
    "stages/test_worker_death.py", "search/test_sweep.py",
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests run in one process, and in one all that use the cluster, which takes long to start.

    What takes minutes begins first, so that no process is left alone with it at the end. Tests that add nodes to the
    cluster and leave them there come last of those that use it.
    """
    turn = {name: number for number, name in enumerate(LONGEST)}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: (turn.get(_group(item), len(turn)), "on_cluster" in item.path.name))


def _group(item: pytest.Item) -> str:
    if CLUSTER in getattr(item, "fixturenames", ()):
        return CLUSTER
    return item.path.relative_to(ROOT / "tests").as_posix()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real test material that is kept outside the project; the test skips where it is absent."""
    folder = Path(os.environ.get("DARKROOM_SHARED", ROOT.parent / "shared"))
    if not (folder / "PROVENANCE.md").exists():
        pytest.skip(f"needs the shared test material; {folder} is absent (set DARKROOM_SHARED)")
    return folder


@pytest.fixture(scope="session")
def cluster():
    """A Ray cluster of two nodes on this machine; the test skips where Ray is not installed."""
    with two_nodes() as started:
        yield started
