"""What the service rejects, and why: no pictures, too many or too large ones, slow senders, other origins."""

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

from darkroom.core.errors import BadImage
from darkroom.serve.decoders import check_size
from tests.cluster.two_nodes import until
from tests.serve.conftest import jpeg, raw, serve


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
