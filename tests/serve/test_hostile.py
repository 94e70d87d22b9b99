"""What a hostile client can do: the others are answered all the same, and the service stops when it is asked to.

Where each kind of hostile input is tested, and the limit it is held to:

| input | tests | held to |
|---|---|---|
| JPEGs of thousands of scans | here, images/test_scans, test_workers | --decode-seconds; others 200; 8 s |
| pictures of millions of parts | images/test_parts | 5 s of processor time |
| clients that never read | here | --timeout, then cut; 0 bytes of bodies held |
| too many connections, two lengths, no HTTP | here, serve/test_server | 503, 400; idle ones make room |
| bombs in tars and zips | sources/test_bombs | 300 times the archive's size; 20 MB for a header |
| a changed export | serve/test_exported | the start fails, in one line below 500 characters |
| pipes, sockets, devices as photos | reproduction/test_preflight, stages/test_framing | a line before DVC opens them |
| a full, read-only or failing disk | test_bad_disk, stages/test_preprocess | one line; earlier outputs stay |
| a half-written lock or rwlock | reproduction/test_preflight | mended; the broken file is kept |
| nesting, aliases, long values | core/test_params, core/test_tensorfile | one line; values cut to 100 characters |
| redirects to files, cards that lead out | sources/test_download, stages/test_fetch_cards | the reason; rejected |
| a copy without .git | reproduction/test_preflight | one line with the command |
| whatever else | fuzz | a result or a rejection, never another exception |
"""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest
from PIL import Image

from benchmarks.hostile import Attacker
from benchmarks.overload import scans
from darkroom.core.runtime import open_files
from darkroom.serve.connections import IDLE_FOR, MOST
from tests.serve.conftest import jpeg, serve


def send_and_wait(port: int, data: bytes, found: list[int], sent: threading.Semaphore | None = None) -> None:
    def body() -> Iterator[bytes]:
        yield data
        if sent:
            sent.release()

    headers = {"content-type": "image/jpeg", "content-length": str(len(data))}
    url = f"http://127.0.0.1:{port}/predict"
    found.append(httpx.post(url, content=body(), headers=headers, timeout=60).status_code)


def test_pictures_that_a_decoder_never_finishes_do_not_stop_the_others_nor_the_end(exported, photos, tmp_path):
    bomb, good = scans(), (photos / "china.jpg").read_bytes()
    bombs: list[int] = []
    with serve(exported, tmp_path / "log", "--decode-seconds", "1") as running:
        threads = [threading.Thread(target=send_and_wait, args=(running.port, bomb, bombs)) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        answers: list[int] = []
        send_and_wait(running.port, good, answers)
        assert answers == [200]
        for thread in threads:
            thread.join()
        assert set(bombs) == {422}
        sent = threading.Semaphore(0)
        late = [threading.Thread(target=send_and_wait, args=(running.port, bomb, bombs, sent)) for _ in range(2)]
        for thread in late:
            thread.start()
        for _ in late:  # on a busy machine a thread may be slow to begin
            assert sent.acquire(timeout=30)
        time.sleep(0.2)
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < 8
        for thread in late:
            thread.join()


def held(url: str) -> float:
    found = re.search(r"^darkroom_body_bytes_held (\S+)", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


def test_clients_that_never_read_hold_no_body_and_are_cut_off(exported, photos, tmp_path):
    ask = b"GET /page.js HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"\x89PNG junk" + bytes(8 << 20)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(body)
    with serve(exported, tmp_path / "log", "--timeout", "1.5") as running, ExitStack() as stack:
        clients = []
        for asks in (0, 100, 200, 5000):  # the last one's answers are more than the system keeps
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", running.port))
            client.settimeout(1)
            clients.append(client)
            with suppress(OSError):  # the service reads nothing more from who does not read its answers
                client.sendall(ask * asks + head + body)
        good = httpx.post(f"{running.url}/predict", content=(photos / "china.jpg").read_bytes(), timeout=20)
        assert good.status_code == 200
        deadline = time.monotonic() + 15
        while held(running.url) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert held(running.url) == 0
        assert is_cut(clients[-1])


def is_cut(client: socket.socket) -> bool:
    """Read what has come; whether the service has ended the connection then, not the client."""
    client.settimeout(20)
    try:
        while client.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def test_a_rejection_reaches_who_is_still_sending(exported, tmp_path):
    with serve(exported, tmp_path / "log") as running:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 3000000\r\n\r\n"
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
            client.sendall(head + bytes(1_500_000))
            time.sleep(0.3)  # a service that had answered and closed by now would reset the connection
            client.sendall(bytes(1_500_000))
            got = client.recv(65536)
            assert got.split()[1] == b"415"
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            while b"200 OK" not in got:
                part = client.recv(65536)
                assert part
                got += part
        assert held(running.url) == 0


@pytest.mark.parametrize("path", ["/predict", "/healthz"])
def test_a_request_of_two_lengths_is_rejected_and_its_connection_closed(server, path):
    body = b"0\r\n\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    got = exchange(server.port, head + body + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert statuses(got) == [b"400"]
    assert b"Content-Length and Transfer-Encoding exclude each other" in got


def test_who_closes_the_sending_side_after_a_whole_request_gets_the_answer(server, photos):
    data = (photos / "china.jpg").read_bytes()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
    assert statuses(exchange(server.port, head + data, then_end=True)) == [b"200"]
    assert statuses(exchange(server.port, head + data[:100], then_end=True)) == []


def test_who_sends_several_requests_and_then_closes_his_side_gets_an_answer_to_each(server):
    data = jpeg(Image.new("RGB", (40, 40)))
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
    assert statuses(exchange(server.port, 3 * (head + data) + head[:20], then_end=True)) == 3 * [b"200"]


@pytest.mark.parametrize("request_", [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000,
    b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST /predict HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
])  # fmt: skip
def test_what_is_not_http_is_rejected_as_everything_else_is_and_its_connection_ended(server, request_):
    got = exchange(server.port, request_)
    assert statuses(got) == [b"400"]
    assert "error" in json.loads(got.split(b"\r\n\r\n")[1])


def test_more_connections_than_there_may_be_are_told_so_and_idle_ones_make_room(exported, photos, tmp_path):
    open_files()
    data = (photos / "china.jpg").read_bytes()
    with serve(exported, tmp_path / "log", "--timeout", "5") as running, ExitStack() as stack:
        for sent in (b"", b"GET / HT"):
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", running.port))) for _ in range(MOST)]
            for client in clients:
                client.sendall(sent)
            time.sleep(1.2 * IDLE_FOR)
            answer = httpx.post(f"{running.url}/predict", content=data, timeout=20)
            if not sent:  # they are idle
                assert answer.status_code == 200
                continue
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["error"] == "too many requests are under way; try again in 1 s"
        deadline = time.monotonic() + 30  # those that never send a whole request are cut off
        while answer.status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.2)
            answer = httpx.post(f"{running.url}/predict", content=data, timeout=20)
        assert answer.status_code == 200
        assert "darkroom_turned_away_total 0.0" not in httpx.get(f"{running.url}/metrics").text


def exchange(port: int, data: bytes, then_end: bool = False) -> bytes:
    """All that the service answers until it ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(data)
        if then_end:
            client.shutdown(socket.SHUT_WR)
        got = b""
        while part := client.recv(65536):
            got += part
    return got


@pytest.mark.parametrize("how", [b"HTTP/1.1\r\nConnection: close", b"HTTP/1.0"])
def test_who_asks_for_one_answer_and_ends_his_side_gets_it(server, photos, how):
    body = (photos / "china.jpg").read_bytes()
    head = b"POST /predict %s\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (how, len(body))
    assert statuses(exchange(server.port, head + body, then_end=True)) == [b"200"]


def statuses(answers: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1.1 (\d+)", answers)


def test_hostile_requests_get_an_answer_or_nothing_and_never_a_500(exported, shared, tmp_path):
    with serve(exported, tmp_path / "log", "--timeout", "1") as running:
        attacker = Attacker(running.port, shared / "data/odd-images")
        asyncio.run(attacker.run(400, seed=0))
        assert running.process.poll() is None
        assert set(attacker.statuses) <= {0, 200, 400, 404, 405, 408, 413, 415, 422, 503}
        assert len(attacker.statuses) >= 6
        assert set(attacker.health) == {200}
        assert '"event": "failed"' not in running.log
        assert "Traceback" not in running.log
