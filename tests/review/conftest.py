"""A run to review, a copy of it for each test, and a browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkroom.review.evidence import gather
from darkroom.review.samples import Samples
from darkroom.splits.corrections import write_corrections
from tests.review.run import Reviewing, make_run, reviewing


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return the folder of a run of 400 digits, and the true labels of the 12 of them that are labelled wrongly."""
    root = tmp_path_factory.mktemp("digits")
    planted = make_run(root)
    list(gather(Samples(root)))  # kept below `root`: no review of a copy asks the model again
    return root, planted


@pytest.fixture
def run(digits, tmp_path: Path) -> Path:
    """Return a copy of that run, which the test may change."""
    return Path(shutil.copytree(digits[0], tmp_path / "run"))


@pytest.fixture(scope="session")
def served(digits, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewing]:
    """One review of a copy of that run, for all tests that neither end it nor change its pictures."""
    with reviewing(Path(shutil.copytree(digits[0], tmp_path_factory.mktemp("served") / "run"))) as running:
        yield running


@pytest.fixture
def review(served) -> Reviewing:
    """Return that review, with nothing decided, as its server knows by now."""
    write_corrections(served.folder / "corrections.csv", [])
    while any(httpx.get(f"{served.url}state", timeout=60).json()["decisions"].values()):
        write_corrections(served.folder / "corrections.csv", [])  # a request of the test before came late
    return served


@pytest.fixture
def open_page(browser) -> Iterator[Any]:
    """Open a review's page; afterwards no script may have failed, and nothing may have been asked of elsewhere."""
    contexts, faults = [], []

    def open_page(url: str, path: str = "", **settings: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1440, "height": 900}} | settings))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30000)  # a busy machine
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
        page.on("request", lambda asked: None if asked.url.startswith((url, "blob:")) else faults.append(asked.url))
        page.goto(url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []
