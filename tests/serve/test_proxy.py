"""The nginx configuration of docs/serving.md, in front of two processes."""

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.serve.conftest import ROOT, serve

NGINX = shutil.which("nginx")
pytestmark = pytest.mark.skipif(not NGINX or not shutil.which("openssl"), reason="needs nginx and openssl")


def configuration(folder: Path, port: int, upstreams: tuple[int, int]) -> str:
    """Return the documented configuration with this test's ports and paths, in the frame of a whole file."""
    found = re.search(r"```nginx\n(.*?)```", (ROOT / "docs/serving.md").read_text(), re.DOTALL)
    assert found
    text = found[1]
    for old, new in {
        "127.0.0.1:8001": f"127.0.0.1:{upstreams[0]}", "127.0.0.1:8002": f"127.0.0.1:{upstreams[1]}",
        "listen 443": f"listen 127.0.0.1:{port}", "/etc/ssl/": f"{folder}/",
    }.items():  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    frame = f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
    return f"{frame}\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{text}}}\n"


def test_two_processes_behind_tls_answer_also_while_one_stops(exported, photos, tmp_path):
    made = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {tmp_path}/darkroom.key"
    subprocess.run(["openssl", *made.split(), "-out", tmp_path / "darkroom.pem"], check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = (photos / "china.jpg").read_bytes()
    with serve(exported, tmp_path / "one") as one, serve(exported, tmp_path / "two") as two:
        (tmp_path / "nginx.conf").write_text(configuration(tmp_path, port, (one.port, two.port)))
        nginx = subprocess.Popen([str(NGINX), "-c", f"{tmp_path}/nginx.conf", "-e", f"{tmp_path}/error.log"])
        try:
            with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=False, timeout=20) as client:
                wait_for(client)
                statuses = [client.post("/predict", files={"file": data}).status_code for _ in range(10)]
                assert statuses == [200] * 10
                assert [client.head(path).status_code for path in ("/", "/healthz", "/readyz")] == [200] * 3
                assert client.get("/metrics").status_code == 403
                assert client.post("/predict", content=bytes(33 << 20)).status_code == 413
                assert one.stop() == 0
                statuses = [client.post("/predict", files={"file": data}).status_code for _ in range(10)]
                assert statuses == [200] * 10
        finally:
            nginx.terminate()
            nginx.wait(20)
        assert "darkroom" in two.log


def wait_for(client: httpx.Client) -> None:
    for _ in range(200):
        try:
            if client.get("/healthz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("nginx does not answer")
