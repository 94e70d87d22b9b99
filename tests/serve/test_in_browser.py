"""docs/browser.html in a real Chromium: onnxruntime-web gives the answers that `Predictor` gives."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from darkroom.serve.predictor import Predictor
from tests.browser import chromium, needs_chromium
from tests.export import small
from tests.serve.conftest import CLASSES, ROOT

RUNTIME = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
FROM = os.environ.get("DARKROOM_ONNXRUNTIME_WEB", "")
pytestmark = [
    needs_chromium,
    pytest.mark.skipif(not FROM, reason="needs DARKROOM_ONNXRUNTIME_WEB: the folder dist/ of npm's onnxruntime-web"),
]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def opened(export: Path, folder: Path) -> Iterator[Any]:
    """Yield the page in Chromium beside the files of `export`; afterwards, nothing was asked of another address."""
    shutil.copytree(export, folder)
    for file in (ROOT / "docs/browser.html", *(Path(FROM) / name for name in RUNTIME)):
        shutil.copy(file, folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url, faults = f"http://127.0.0.1:{server.server_port}", []
    try:
        with chromium() as browser:
            page = browser.new_page()
            page.set_default_timeout(60000)  # a busy machine
            page.on("pageerror", lambda error: faults.append(str(error)))
            here = (url, "blob:", "data:")
            page.on("request", lambda asked: None if asked.url.startswith(here) else faults.append(asked.url))
            page.goto(f"{url}/browser.html")
            page.get_by_text("Choose a picture").or_(page.get_by_text("No model")).wait_for()
            yield page
    finally:
        server.shutdown()
        server.server_close()
    assert faults == []


def answered(page: Any, picture: Path) -> np.ndarray:
    """Choose a picture; the probabilities (K,) that the page finds."""
    page.set_input_files("#file", picture)
    return np.array(page.evaluate("classify(document.getElementById('file').files[0])"))


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_answers_are_those_of_the_predictor(tmp_path, resize):
    export, pictures = small.export(tmp_path / "export", CLASSES, 32, resize), []
    for name in ("china.jpg", "flower.jpg"):
        image = Image.fromarray(load_sample_image(name))
        for box in ((0, 0, 640, 427), (10, 20, 71, 150), (5, 5, 25, 20)):
            for kind in ("png", "jpg"):
                pictures.append(tmp_path / f"{name}-{box[0]}.{kind}")
                image.crop(box).save(pictures[-1])
    predictor = Predictor(export, spin=False)
    with opened(export, tmp_path / "site") as page:
        for picture in pictures:
            expected, found = predictor(picture), answered(page, picture)
            limit = 0.01 if picture.suffix == ".png" else 0.05
            assert np.abs(found - expected.probabilities).max() < limit, picture
            assert CLASSES[found.argmax()] == expected.label
        page.locator("#state", has_text=pictures[-1].name).wait_for()
        rows = page.locator("#answer label").all_inner_texts()
        assert rows[0].startswith(f"{expected.label}: ")
        assert {row.rpartition(":")[0] for row in rows} == set(CLASSES)
