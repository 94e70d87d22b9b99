"""The service over real HTTP."""

import asyncio
import io
import json
import shutil
import socket
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image

from darkroom.app import Predictor
from darkroom.core.errors import BadImage
from darkroom.serve.application import create_app
from darkroom.serve.decoders import check_size
from darkroom.serve.predictor import Prediction
from darkroom.serve.settings import Settings
from tests.cluster.two_nodes import until
from tests.serve.conftest import CLASSES, jpeg, serve


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def raw(client: httpx.Client, data: bytes, kind: str = "image/jpeg", path: str = "/predict") -> httpx.Response:
    return client.post(path, content=data, headers={"content-type": kind})


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


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [("notes.txt", 415, "not an image of a known format"), ("cut.jpg", 422, "truncated")],
)
def test_what_is_no_picture_is_refused_with_the_reason(client, photos, name, status, reason):
    data = (photos / name).read_bytes()
    for answer in (
        raw(client, data),
        client.post("/predict", files={"file": data}),
        raw(client, data, path="/explain"),
    ):
        assert answer.status_code == status
        assert answer.json()["error"] == reason
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_bodies_that_are_nothing_are_refused(client):
    assert raw(client, b"").json()["error"] == "the body is empty; send a picture"
    assert raw(client, b"{}", "application/json").status_code == 415
    assert client.post("/predict", data={"file": "text"}).status_code == 415  # a form that cannot hold a file
    part = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--x--\r\n'
    assert raw(client, part, "multipart/form-data; boundary=x").json()["error"] == "not an image of a known format"
    answer = client.post("/predict", files={"picture": b"x"})
    assert (answer.status_code, answer.json()["error"]) == (422, "the form holds no file in the field `file`")
    answer = raw(client, b"--x\r\nnonsense", "multipart/form-data; boundary=x")
    assert answer.status_code in (400, 422)
    assert raw(client, b"x", "multipart/form-data").status_code == 400


def test_too_many_pixels_are_refused_before_they_are_decoded(client):
    file = io.BytesIO()
    Image.new("1", (12000, 12000)).save(file, "PNG")
    assert len(file.getvalue()) < 100_000
    answer = raw(client, file.getvalue(), "image/png")
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("too large: ")
    file = io.BytesIO()
    Image.new("1", (8000, 7000)).save(file, "PNG")
    assert raw(client, file.getvalue()).json()["error"] == (
        "too large: 8000 x 7000 pixels, at most 50,000,000 are allowed"
    )


def test_a_jpeg_that_pillow_would_not_open_is_measured_too_and_nothing_is_said_beside_the_log(exported, tmp_path):
    jpeg_file, png_file = io.BytesIO(), io.BytesIO()
    Image.new("L", (10_000, 9_000)).save(jpeg_file, "JPEG")
    Image.new("1", (9_000, 5_000)).save(png_file, "PNG")  # Pillow warns of so many
    with serve(exported, tmp_path / "log") as running, httpx.Client(base_url=running.url, timeout=20) as client:
        answer = raw(client, jpeg_file.getvalue())
        assert (answer.status_code, answer.json()["error"]) == (
            422, "too large: 10000 x 9000 pixels, at most 50,000,000 are allowed"
        )  # fmt: skip
        assert raw(client, png_file.getvalue()).status_code == 200
        said = [line for line in running.log.splitlines() if not line.startswith("{")]
        assert [line for line in said if not line.startswith("darkroom serve: ")] == []


def test_how_many_pixels_a_png_has_is_told_without_decoding_it():
    file = io.BytesIO()
    Image.new("1", (8_000, 8_000)).save(file, "PNG")
    data = file.getvalue()
    with pytest.raises(BadImage, match="too large: 8000 x 8000 pixels"):
        check_size(data[: len(data) // 2], 50_000_000)
    started = time.perf_counter()
    for _ in range(20):
        check_size(data, 80_000_000)
    assert time.perf_counter() - started < 0.5


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


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_over_the_limit_gets_413(exported, tmp_path, declared):
    def chunks():
        for _ in range(40):
            yield bytes(100_000)

    content = b"".join(chunks()) if declared else chunks()
    with serve(exported, tmp_path / "log", "--max-body-mb", "1") as running:
        answer = httpx.post(f"{running.url}/predict", content=content, headers={"content-type": "image/png"})
        assert answer.status_code == 413
        assert answer.json()["error"] == "the body is larger than the 1,048,576 bytes allowed"
        assert httpx.get(f"{running.url}/healthz").status_code == 200


def test_more_files_than_allowed_get_413(client):
    answer = client.post("/predict", files=[("file", b"x") for _ in range(33)])
    assert (answer.status_code, answer.json()["error"]) == (413, "more than 32 files in one request")


def test_a_queue_of_one_serves_one_picture_at_a_time(exported, photos, tmp_path):
    data = (photos / "china.jpg").read_bytes()
    with (
        serve(exported, tmp_path / "log", "--queue", "1") as running,
        httpx.Client(base_url=running.url, timeout=20) as client,
    ):
        assert raw(client, data).status_code == 200
        assert raw(client, data, path="/explain").status_code == 200
        answer = client.post("/predict", files=[("file", data)] * 3)
    assert answer.status_code == 413
    assert answer.json()["error"] == "3 pictures in one request, and the queue has 1 places; send fewer"


def test_a_map_that_costs_more_than_the_queue_holds_takes_it_whole(occluded, photos, tmp_path):
    with (
        serve(occluded, tmp_path / "log", "--queue", "8") as running,
        httpx.Client(base_url=running.url, timeout=20) as client,
    ):
        assert raw(client, (photos / "china.jpg").read_bytes(), path="/explain").status_code == 200
        assert "darkroom_pictures_under_way 0.0" in client.get("/metrics").text


def test_a_full_queue_answers_503_and_when_to_come_back_and_health_stays_200(exported, tmp_path):
    data = jpeg(Image.fromarray(np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)))
    with serve(exported, tmp_path / "log", "--queue", "2", "--threads", "1") as running:
        answers: list[httpx.Response] = []
        health: list[int] = []

        def send() -> None:
            for _ in range(6):
                answers.append(httpx.post(f"{running.url}/predict", content=data, timeout=30))

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            health.append(httpx.get(f"{running.url}/healthz", timeout=5).status_code)
        for thread in threads:
            thread.join()
        codes = {answer.status_code for answer in answers}
        assert codes == {200, 503}
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"].startswith("the queue is full; try again in ")
        assert set(health) == {200}


def test_a_sender_that_does_not_finish_is_cut_off(exported, tmp_path):
    with serve(exported, tmp_path / "log", "--timeout", "0.5") as running:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\nabc"
        with socket.create_connection(("127.0.0.1", running.port)) as body:
            body.sendall(head)
            body.settimeout(5)
            assert b" 408 " in body.recv(4096).splitlines()[0]
        with socket.create_connection(("127.0.0.1", running.port)) as header:
            header.sendall(head[:40])
            header.settimeout(10)
            started = time.monotonic()
            with pytest.raises(ConnectionResetError):
                if not header.recv(10):
                    raise ConnectionResetError
            assert time.monotonic() - started < 5
        assert httpx.get(f"{running.url}/healthz").status_code == 200


def test_a_key_is_asked_for_where_there_is_a_key_file(exported, photos, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# for the shop\n0123456789abcdef0123\n\nanother-key-of-somebody\n")
    data = (photos / "china.jpg").read_bytes()
    with serve(exported, tmp_path / "log", "--api-key-file", str(keys)) as running:
        post = lambda headers: httpx.post(f"{running.url}/predict", content=data, headers=headers)  # noqa: E731
        assert post({}).status_code == 401
        assert post({}).headers["www-authenticate"] == "Bearer"
        assert post({"x-api-key": "0123456789abcdef0124"}).json()["error"] == "the API key is unknown"
        assert post({"x-api-key": "0123456789abcdef0123"}).status_code == 200
        assert post({"authorization": "Bearer another-key-of-somebody"}).status_code == 200
        codes = {
            path: httpx.get(running.url + path).status_code
            for path in ("/", "/healthz", "/readyz", "/metrics", "/model")
        }
        assert codes == {"/": 200, "/healthz": 200, "/readyz": 200, "/metrics": 401, "/model": 401}
        assert "0123456789abcdef" not in running.log


def test_other_origins_are_refused_unless_they_are_named(client, exported, tmp_path):
    origin = {"origin": "https://shop.example"}
    assert "access-control-allow-origin" not in client.get("/model", headers=origin).headers
    with serve(exported, tmp_path / "log", "--cors-origin", "https://shop.example") as running:
        headers = httpx.get(f"{running.url}/model", headers=origin).headers
        assert headers["access-control-allow-origin"] == "https://shop.example"
        other = httpx.get(f"{running.url}/model", headers={"origin": "https://evil.example"}).headers
        assert "access-control-allow-origin" not in other


def test_a_page_of_a_named_origin_may_read_why_it_was_refused(exported, photos, tmp_path):
    keys, model = tmp_path / "keys", tmp_path / "export"
    keys.write_text("0123456789abcdef0123\n")
    shutil.copytree(exported, model)
    options = ("--cors-origin", "https://shop.example", "--api-key-file", str(keys))
    origin = {"origin": "https://shop.example"}
    with serve(model, tmp_path / "log", *options) as running:
        (model / "model.safetensors").unlink()  # which /explain reads when it is first asked
        post = lambda headers: httpx.post(  # noqa: E731
            f"{running.url}/explain", content=(photos / "china.jpg").read_bytes(), headers=headers, timeout=20
        )
        for status, key in ((401, "0123456789abcdef0124"), (500, "0123456789abcdef0123")):
            answer = post(origin | {"x-api-key": key})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"
            assert "x-request-id" in answer.headers["access-control-expose-headers"]
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            other = post({"origin": "https://evil.example", "x-api-key": key})
            assert "access-control-allow-origin" not in other.headers
        asked = origin | {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
        allowed = httpx.options(f"{running.url}/predict", headers=asked)
        assert (allowed.status_code, allowed.headers["x-content-type-options"]) == (200, "nosniff")
        until(lambda: '"OPTIONS"' in running.log)  # a line is written once its answer is on the way
        lines = [json.loads(line) for line in running.log.splitlines() if line.startswith("{")]
        statuses = [line["status"] for line in lines if line["event"] == "request" and line["method"] != "GET"]
        assert statuses == [401, 401, 500, 500, 200]
        assert sum("FileNotFoundError" in line.get("trace", "") for line in lines) == 2


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
