"""An empty project."""

from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, in which the test runs, with no other place for downloads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DARKROOM_DOWNLOADS", raising=False)
    return tmp_path
