"""An exported model, real pictures, and a running service."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from tests.export import small

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ["china", "flower", "<b>other</b>"]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small exported model of three classes at 32 px."""
    return small.export(tmp_path_factory.mktemp("model") / "export", CLASSES, size=32)


@pytest.fixture(scope="session")
def occluded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same, but for a map of its features: it is explained by occlusion, 65 runs."""
    return small.export(tmp_path_factory.mktemp("model") / "export", CLASSES, size=32, maps=False)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder: two photos in several formats and sizes, a sub-folder, and two files that are no pictures."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("china", "flower"):
        image = Image.fromarray(load_sample_image(f"{name}.jpg"))
        image.save(folder / f"{name}.jpg", quality=90)
        (folder / "more").mkdir(exist_ok=True)
        image.resize((40, 90)).save(folder / "more" / f"{name}.png")
        image.resize((300, 60)).save(folder / "more" / f"{name}.webp")
    (folder / "cut.jpg").write_bytes((folder / "china.jpg").read_bytes()[:3000])
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.jpg").write_bytes(b"")
    return folder


def jpeg(image: Image.Image) -> bytes:
    """Return the bytes of a JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


class Running:
    """A `darkroom serve` process: `url`, `log` lines, `process`."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process, self.url, self._log = process, url, log

    @property
    def log(self) -> str:
        """All that it has written on standard error."""
        return self._log.read_text()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rsplit(":", 1)[1])

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit status."""
        self.process.send_signal(how)
        return self.process.wait(40)


@contextmanager
def serve(model: Path, log: Path, *options: str) -> Iterator[Running]:
    """Run the service on a free port until the block ends."""
    command = [sys.executable, "-m", "darkroom.cli", "serve", "--model", str(model), "--port", "0", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, env=environment, text=True)
    try:
        url = ""
        while not url:
            assert process.poll() is None, log.read_text()
            url = next((word for word in log.read_text().split() if word.startswith("http://")), "")
        running = Running(process, url, log)
        _wait_until_ready(running)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(40)


def _wait_until_ready(running: Running) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{running.url}/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        assert running.process.poll() is None, running.log
        time.sleep(0.05)
    raise AssertionError(running.log)


@pytest.fixture(scope="session")
def server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a service with the default settings."""
    with serve(exported, tmp_path_factory.mktemp("log") / "log") as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    """Yield a client of that service."""
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def raw(client: httpx.Client, data: bytes, kind: str = "image/jpeg", path: str = "/predict") -> httpx.Response:
    """Send one file as the whole body."""
    return client.post(path, content=data, headers={"content-type": kind})


@pytest.fixture
def open_page(browser, server) -> Iterator[Any]:
    """Open the page; afterwards, nothing may have been asked of another address, and no script may have failed."""
    contexts, faults = [], []

    def open_page(running: Running = server, path: str = "/", **settings: Any) -> Any:
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(40000)  # a busy machine
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
        here = (running.url, "blob:", "data:")
        page.on("request", lambda asked: None if asked.url.startswith(here) else faults.append(asked.url))
        page.goto(running.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []
