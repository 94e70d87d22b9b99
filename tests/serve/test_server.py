"""The service as a process: signals, ports, options."""

import json
import re
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

from darkroom.core.errors import DarkroomError
from darkroom.serve.connections import turn_off
from darkroom.serve.server import main as server_command
from tests.serve.conftest import ROOT, jpeg, serve

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


@pytest.mark.skipif(sys.platform != "linux", reason="a filter of Linux")
def test_a_port_that_is_turned_off_keeps_who_has_connected_and_connects_nobody_else():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as early:
        early.connect(listener.getsockname())
        turn_off(listener)
        accepted, _ = listener.accept()
        with accepted:
            with pytest.raises(TimeoutError):
                socket.create_connection(listener.getsockname(), timeout=0.3)
            early.sendall(b"asked")
            assert accepted.recv(5) == b"asked"


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
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(20)
        got = b""
        while part := connection.recv(4096):
            got += part
    assert got.count(b"HTTP/1.1 200") == got.count(b'{"status":"ok"}') == 3


@pytest.mark.parametrize("target", ["http://x/healthz", "HTTPS://y:8000/healthz", "http://x/predict", "http://x"])
def test_a_whole_address_as_target_is_the_path_in_it(server, target):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        status = 405 if target.endswith("predict") else 200
        assert f" {status} ".encode() in connection.recv(4096).splitlines()[0]


def test_huge_headers_are_refused_and_leave_no_trace(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(5)
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 200_000)
            assert b" 400 " in connection.recv(4096).splitlines()[0]
        except ConnectionError:
            pass  # it may also hang up while the rest is still being sent
    assert httpx.get(f"{server.url}/healthz").status_code == 200


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--port", "99999", "'99999' is not a port; expected 0 to 65535"),
        ("--port", "http", "'http' is not a port"),
        ("--timeout", "0", "0.0: input should be greater than or equal to 0.001"),
        ("--timeout", "nan", "nan: input should be a finite number"),
        ("--timeout", "inf", "inf: input should be a finite number"),
        ("--wait-ms", "-5", "-0.005: input should be greater than or equal to 0"),
        ("--patience", "0", "0.0: input should be greater than"),
        ("--patience", "nan", "nan: input should be a finite number"),
        ("--queue", "0", "0: input should be greater than or equal to 1"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(capsys, option, value, reason):
    with pytest.raises(SystemExit) as stopped:
        server_command([f"{option}={value}"])
    assert stopped.value.code == 2
    assert f"argument {option}: {reason}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "reason"),
    [("nosuchhost.invalid", "Name or service not known|Temporary failure|No address"), ("192.0.2.1", "assign")],
)
def test_an_address_that_is_not_this_machines_is_named(exported, host, reason):
    with pytest.raises(DarkroomError, match=rf"^cannot listen on {host}:0: .*({reason})[^()]*; choose another --host"):
        server_command(["--model", str(exported), "--port", "0", "--host", host])


def statuses(connection: socket.socket, count: int = 1) -> list[int]:
    """Return the statuses of the next `count` answers, once their bodies are here too."""
    got = b""
    while got.count(b'"request_id"') < count and (part := connection.recv(65536)):
        got += part
    return [int(found) for found in re.findall(rb"HTTP/1.1 (\d+)", got)]


def request_with(photo):
    """Return the bytes of a request for this photo."""
    data = photo.read_bytes()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def test_the_time_for_a_request_runs_from_its_first_byte(exported, photos, tmp_path):
    request = request_with(photos / "china.jpg")
    begun = len(request) // 2
    with (
        serve(exported, tmp_path / "log", "--timeout", "2") as running,
        socket.create_connection(("127.0.0.1", running.port), timeout=10) as silent,
        socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection,
    ):
        for _ in range(2):  # opened before it was needed; then kept
            time.sleep(2.2)
            connection.sendall(request[:begun])
            time.sleep(1.2)  # 3.4 s after the connection was opened: the limit is 2, and one more to be cut
            connection.sendall(request[begun:])
            assert statuses(connection) == [200]
        assert not silent.recv(10)


def test_a_request_that_waits_for_the_answer_to_the_one_before_it_is_not_late(exported, photos, tmp_path):
    request = request_with(photos / "china.jpg")
    with (
        serve(exported, tmp_path / "log", "--timeout", "1") as running,
        socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection,
    ):
        connection.sendall(request * 2)
        assert statuses(connection, 2) == [200, 200]
        time.sleep(3)  # kept open, as between any two requests
        connection.sendall(request)
        assert statuses(connection) == [200]
