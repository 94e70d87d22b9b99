"""Fixtures that several rooms' tests share."""

import os
from pathlib import Path

import pytest

from tests.clusters import two_nodes

ROOT = Path(__file__).resolve().parents[1]
LONGEST = (
    "training/test_on_cluster.py", "test_pipeline.py", "training/test_resume.py", "model/test_families.py",
    "search/test_sweep_on_cluster.py", "training/test_launch.py", "stages/test_worker_death.py", "search/test_sweep.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes begin first, so that no worker is left alone with one of them at the end."""
    turn = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: turn.get(item.path, len(turn)))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real test material that is kept outside the project; the test skips where it is absent."""
    folder = Path(os.environ.get("DARKROOM_SHARED", ROOT.parent / "shared"))
    if not (folder / "PROVENANCE.md").exists():
        pytest.skip(f"needs the shared test material; {folder} is absent (set DARKROOM_SHARED)")
    return folder


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two nodes on this machine; the test skips where Ray is not installed."""
    with two_nodes() as started:
        yield started
