"""The service over real HTTP."""

import asyncio
import io
import json
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image

from darkroom.app import Predictor
from darkroom.serve.application import create_app
from darkroom.serve.predictor import Prediction
from darkroom.serve.settings import Settings
from tests.serve.conftest import CLASSES, raw, serve


def test_one_file_in_a_form_gets_the_predictors_answer(client, exported, photos):
    data = (photos / "china.jpg").read_bytes()
    answer = client.post("/predict", files={"file": ("china.jpg", data)}).json()
    expected = Predictor(exported, threads=1)(data)
    (one,) = answer["predictions"]
    assert (one["file"], one["class"]) == ("china.jpg", expected.label)
    assert one["probability"] == pytest.approx(expected.probability, abs=1e-5)
    assert [entry["class"] for entry in one["top"]] == [label for label, _ in expected.top(5)]
    assert answer["model_version"] == Predictor(exported).version
    assert answer["request_id"]


def test_raw_bytes_are_a_file_too_and_top_says_how_many_classes(client, photos):
    data = (photos / "china.jpg").read_bytes()
    for kind in ("image/jpeg", "application/octet-stream"):
        (one,) = client.post("/predict?top=1", content=data, headers={"content-type": kind}).json()["predictions"]
        assert one["file"] is None
        assert len(one["top"]) == 1


def test_several_files_are_answered_in_order_and_a_bad_one_among_them_has_its_reason(client, photos):
    names = ("china.jpg", "cut.jpg", "flower.jpg", "notes.txt")
    answer = client.post("/predict", files=[("file", (name, (photos / name).read_bytes())) for name in names])
    assert answer.status_code == 200
    rows = answer.json()["predictions"]
    assert [row["file"] for row in rows] == list(names)
    assert [row.get("error") for row in rows] == [None, "truncated", None, "not an image of a known format"]


def test_the_page_names_the_classes_as_text_and_only_to_who_may_know_them(client, exported, tmp_path):
    assert "Its classes: china, flower, &lt;b&gt;other&lt;/b&gt;." in client.get("/").text
    (tmp_path / "keys").write_text("0123456789abcdef0123\n")
    with serve(exported, tmp_path / "log", "--api-key-file", str(tmp_path / "keys")) as running:
        assert "china" not in httpx.get(f"{running.url}/").text


@pytest.mark.parametrize("path", ["/", "/docs", "/page.js", "/healthz", "/readyz", "/model", "/openapi.json"])
def test_monitors_may_ask_with_head(client, path):
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(client.get(path).content))


@pytest.mark.parametrize("charset", ["unicode_escape", "utf-7", "nonsense", "idna"])
def test_a_form_of_any_charset_is_answered(client, photos, charset):
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="\\ud800+2AA-.jpg"\r\n\r\n'
    body = part + (photos / "china.jpg").read_bytes() + b"\r\n--x--\r\n"
    answer = raw(client, body, f"multipart/form-data; boundary=x; charset={charset}")
    assert answer.status_code in (200, 400), answer.text
    if charset == "unicode_escape":
        assert answer.json()["predictions"][0]["file"] == "?+2AA-.jpg"


def test_explain_is_a_picture_for_any_class(client, photos):
    data = (photos / "china.jpg").read_bytes()
    made = [raw(client, data, path=path) for path in ("/explain", "/explain?class=flower", "/explain?class=china")]
    for answer in made:
        assert answer.headers["content-type"] == "image/png"
        assert Image.open(io.BytesIO(answer.content)).size == (448, 448)
    assert made[1].content != made[2].content
    answer = raw(client, data, path="/explain?class=dog")
    assert (answer.status_code, answer.json()["error"]) == (422, "class 'dog' is none of this model's; see GET /model")


def test_every_response_has_the_security_headers_and_a_request_id(client):
    for path in ("/", "/healthz", "/absent", "/docs"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers
    assert client.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    odd = client.get("/healthz", headers={"x-request-id": 'a" b'}).headers["x-request-id"]
    assert odd != 'a" b'


def test_logs_are_json_lines_without_names_or_content(server, client, photos):
    data = (photos / "china.jpg").read_bytes()
    client.post("/predict", files={"file": ("secret-name.jpg", data)}, headers={"x-request-id": "find-me"})
    client.get("/secret-path?secret=query")
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    mine = next(line for line in lines if line.get("request_id") == "find-me")
    assert (mine["path"], mine["status"], mine["method"]) == ("/predict", 200, "POST")
    assert mine["bytes"] > len(data)
    assert "secret" not in server.log


def test_metrics_count_requests_pictures_and_batches(client, photos):
    client.post("/predict", files={"file": (photos / "china.jpg").read_bytes()})
    text = client.get("/metrics").text
    assert 'darkroom_requests_total{path="/predict",status="200"}' in text
    assert 'darkroom_images_total{outcome="classified"}' in text
    assert "darkroom_batch_images_bucket" in text
    assert "process_resident_memory_bytes" in text
    assert "darkroom_pictures_under_way 0.0" in text


class Slow(Predictor):
    """The real model on a machine that is slow once it has been measured."""

    seconds = 0.0

    def answers(self, images: np.ndarray) -> list[Prediction]:
        time.sleep(self.seconds)
        return super().answers(images)


def test_only_what_was_answered_is_counted(exported, photos):
    predictor = Slow(exported, threads=1)
    app = create_app(predictor, Settings(timeout=1.0))
    good, bad = (photos / "china.jpg").read_bytes(), (photos / "cut.jpg").read_bytes()

    def counted(outcome: str) -> float:
        return app.state.service.metrics.registry.get_sample_value("darkroom_images_total", {"outcome": outcome}) or 0

    async def work() -> None:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client
        ):  # fmt: skip
            assert (await client.post("/predict", files=[("file", good), ("file", bad)])).status_code == 200
            assert (counted("classified"), counted("bad")) == (1, 1)
            assert (await client.post("/explain", content=bad)).status_code == 422
            assert (counted("explained"), counted("bad")) == (0, 2)
            predictor.seconds = 2.5
            answer = await client.post("/predict", files=[("file", good), ("file", bad)])
            assert answer.status_code == 503
            assert answer.json()["error"].startswith("no answer within 1 s; try again in ")
            predictor.seconds = 0.0
            assert (counted("classified"), counted("bad")) == (1, 2)

    asyncio.run(work())


def test_the_model_tells_its_classes_and_its_card(client):
    model = client.get("/model").json()
    assert model["classes"] == CLASSES
    assert model["explain"] == "cam"


def test_unknown_addresses_and_methods_are_json_too(client):
    assert client.get("/absent").json()["error"] == "Not Found"
    answer = client.get("/predict")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    answer = client.post("/predict?top=0", content=b"")
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("top: Input should be")
    assert answer.json()["request_id"]


def test_the_odd_and_hostile_images_never_cause_a_500(client, shared):
    for path in sorted((shared / "data/odd-images").rglob("*")):
        if path.is_file():
            for answer in (raw(client, path.read_bytes()), raw(client, path.read_bytes(), path="/explain")):
                assert answer.status_code in (200, 413, 415, 422), path
    assert client.get("/healthz").status_code == 200


def test_requests_that_come_together_are_answered_each_its_own(server, exported, photos):
    names = ["china.jpg", "flower.jpg", "more/china.png", "more/flower.png", "more/china.webp"]
    expected = {name: Predictor(exported, threads=1)(photos / name).probability for name in names}
    wrong = []

    def send(name: str) -> None:
        with httpx.Client(base_url=server.url, timeout=20) as client:
            for _ in range(10):
                (one,) = raw(client, (photos / name).read_bytes()).json()["predictions"]
                if abs(one["probability"] - expected[name]) > 1e-5:
                    wrong.append(name)

    threads = [threading.Thread(target=send, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
