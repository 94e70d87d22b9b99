"""What a hostile client can do: the others are answered all the same, and the service stops when it is asked to."""

import asyncio
import re
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress

import httpx
import pytest

from benchmarks.hostile import Attacker
from tests.serve.conftest import serve


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def many_scans(side: int, scans: int) -> bytes:
    """A small progressive JPEG, grey, `side` px square: every scan says of all blocks that nothing changes in them."""
    table = segment(0xDB, b"\x00" + b"\x01" * 64)
    frame = segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00")
    codes = segment(0xC4, b"\x00" + bytes([1] + [0] * 15) + b"\x00")
    codes += segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0")  # `0` and 14 bits: 16,384 blocks
    blocks = (-(-side // 8)) ** 2
    first = segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(-(-blocks // 8))
    runs = blocks // 16_384
    assert runs * 16_384 == blocks  # so that one code fits
    bits = "0" * 15 * runs
    bits += "1" * (-len(bits) % 8)
    other = segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"\xff\xd8" + table + frame + codes + first + other * scans + b"\xff\xd9"


def send_and_wait(port: int, data: bytes, statuses: list[int]) -> None:
    headers = {"content-type": "image/jpeg"}
    url = f"http://127.0.0.1:{port}/predict"
    statuses.append(httpx.post(url, content=data, headers=headers, timeout=60).status_code)


def test_pictures_that_a_decoder_never_finishes_do_not_stop_the_others_nor_the_end(exported, photos, tmp_path):
    bomb, good = many_scans(4096, 10_000), (photos / "china.jpg").read_bytes()
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
        late = [threading.Thread(target=send_and_wait, args=(running.port, bomb, bombs)) for _ in range(2)]
        for thread in late:
            thread.start()
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


@pytest.mark.parametrize("path", ["/predict", "/healthz"])
def test_a_request_of_two_lengths_is_rejected_and_its_connection_closed(server, path):
    body = b"0\r\n\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(head + body + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while part := client.recv(65536):
            got += part
    assert re.findall(rb"HTTP/1.1 (\d+)", got) == [b"400"]
    assert b"Content-Length and Transfer-Encoding exclude each other" in got


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
