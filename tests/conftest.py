"""Fixtures that several rooms' tests share."""

import os
from pathlib import Path

import pytest

from tests.clusters import two_nodes

ROOT = Path(__file__).resolve().parents[1]


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
