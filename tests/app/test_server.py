"""The service as a process: signals, ports, options."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.app.conftest import ROOT, jpeg, serve

# What a client sees when a server closed its connection without an answer.
LOST = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.ReadTimeout)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_stopping_under_load_loses_no_request(exported, tmp_path, how):
    data = jpeg(Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)))
    outcomes: Counter[str] = Counter()
    stopping = threading.Event()

    def keep_asking(url: str, reconnect: bool) -> None:
        client = httpx.Client(timeout=20)
        try:
            while True:
                try:
                    answer = client.post(f"{url}/predict", content=data, headers={"content-type": "image/jpeg"})
                    outcomes[f"{answer.status_code}"] += 1
                    outcomes["after the signal"] += stopping.is_set()
                except httpx.ConnectError:
                    outcomes["refused"] += 1
                    return
                except LOST as error:
                    outcomes[f"lost: {error!r}"] += 1
                    return
                if reconnect:
                    client.close()
                    client = httpx.Client(timeout=20)
        finally:
            client.close()

    with serve(exported, tmp_path / "log") as running:
        threads = [threading.Thread(target=keep_asking, args=(running.url, place % 2 == 1)) for place in range(8)]
        for thread in threads:
            thread.start()
        while outcomes["200"] <= 16 and all(thread.is_alive() for thread in threads):
            time.sleep(0.05)
        stopping.set()
        status = running.stop(how)
        for thread in threads:
            thread.join()
    assert set(outcomes) <= {"200", "503", "refused", "after the signal"}, outcomes
    assert outcomes["refused"] == 8
    assert outcomes["200"] > 8
    assert outcomes["after the signal"] > 0
    assert status == 0
    lines = [json.loads(line) for line in running.log.splitlines() if line.startswith("{")]
    assert sum(line.get("status") == 200 and line["path"] == "/predict" for line in lines) == outcomes["200"]
    assert "Traceback" not in running.log


def test_a_port_in_use_is_named(exported):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "darkroom.cli", "serve", "--model", str(exported), "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr == (
        f"darkroom serve: cannot listen on 127.0.0.1:{port}: Address already in use; choose another --host or --port\n"
    )


def test_keys_that_could_be_guessed_are_refused(exported, tmp_path):
    (tmp_path / "keys").write_text("short\n")
    command = [sys.executable, "-m", "darkroom.cli", "serve", "--model", str(exported), "--port", "0"]
    command += ["--api-key-file", str(tmp_path / "keys")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert "key 1 has fewer than 16 characters" in done.stderr


def test_listening_to_the_world_without_a_key_is_said(exported, tmp_path):
    with serve(exported, tmp_path / "log", "--host", "0.0.0.0") as running:
        assert "anyone who reaches 0.0.0.0:" in running.log


def test_pipelined_requests_and_half_closed_connections_are_answered(server):
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(request * 3)
        connection.settimeout(5)
        got = b""
        while got.count(b'{"status":"ok"}') < 3:
            got += connection.recv(4096)


def test_huge_headers_are_refused_and_leave_no_trace(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(5)
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 200_000)
            assert b" 400 " in connection.recv(4096).splitlines()[0]
        except ConnectionError:
            pass  # it may also hang up while the rest is still being sent
    assert httpx.get(f"{server.url}/healthz").status_code == 200
