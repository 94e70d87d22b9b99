"""Who may use the review: its own page alone, and nothing but the images of the run is served."""

import json
import socket
from pathlib import Path

import httpx
import pytest

from darkroom.core import files
from tests.review.run import Reviewing, decisions


@pytest.fixture
def root(review) -> Path:
    return Path(review.folder)


@pytest.fixture
def name(root) -> str:
    return next(files.read_csv(root / "data/index.csv"))["id"]


def post(review: Reviewing, name: str, url: str = "", **headers: str | None) -> httpx.Response:
    """Send a decision as the page does, but for `headers`; None leaves one out."""
    own = {"origin": review.base, "sec-fetch-site": "same-origin", "content-type": "application/json"}
    wanted = {key.replace("_", "-"): value for key, value in headers.items()}
    kept = {key: value for key, value in (own | wanted).items() if value is not None}
    body = json.dumps({"changes": [{"id": name, "decision": "exclude"}]})
    return httpx.post(url or f"{review.url}decide", content=body, headers=kept)


def test_another_page_cannot_decide(review, root, name):
    before = (root / "corrections.csv").read_bytes()
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": None},
        {"origin": review.base.replace("http", "https")},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ):
        assert post(review, name, **headers).status_code == 403, headers
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):  # what a form could send unasked
        assert post(review, name, content_type=kind).status_code == 415
    assert post(review, name, host="evil.example").status_code == 421  # a name that was rebound to this machine
    assert post(review, name, url=f"{review.base}/decide").status_code == 404
    assert post(review, name, url=f"{review.base}/{'x' * 32}/decide").status_code == 404
    assert (root / "corrections.csv").read_bytes() == before
    assert post(review, name).status_code == 200
    assert len(decisions(root)) == 1


def test_another_page_cannot_read(review, name):
    address = f"{review.url}picture?id={name}"
    assert httpx.get(address).status_code == 200
    assert httpx.get(address, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert httpx.get(address, headers={"origin": "http://evil.example"}).status_code == 403
    answer = httpx.get(address)
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in answer.headers
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"  # the address holds the token


@pytest.mark.parametrize(
    "path",
    [
        "../../params.yaml", "..%2f..%2fparams.yaml", "%2e%2e/params.yaml", "page/index.html", "review.js/../server.js",
        "original?id=../../params.yaml", "original?id=/etc/passwd", "picture?id=pictures/0/0000.png", "original?id=",
        "original?id=%00", "sample?id=..", "docs", "openapi.json",
    ],
)  # fmt: skip
def test_no_path_of_a_request_reaches_a_file(review, path):
    host, port = review.base.removeprefix("http://").split(":")
    token = review.url.rstrip("/").rpartition("/")[2]
    with socket.create_connection((host, int(port))) as link:  # a client of its own: others tidy `..` away
        link.sendall(f"GET /{token}/{path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: link.recv(65536), b""))
    status = int(answer.split()[1])
    assert 400 <= status < 500, answer[:300]
    assert b"source:" not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decision": "delete"}, "'delete' is not a decision; expected one of keep, relabel, exclude, unsure"),
        ({"decision": "relabel", "becomes": " \t"}, "a new label needs at least one character"),
        ({"decision": "relabel", "becomes": "a\u202eb"}, "no control characters"),
        ({"decision": "exclude", "id": "0" * 64}, "is not an image of this run; load the page again"),
        ({"decision": "exclude", "path": "/etc/passwd"}, "Extra inputs are not permitted"),
        ({"decision": "relabel", "becomes": "x" * 1001}, "at most 1000 characters"),
    ],
)
def test_a_decision_that_cannot_be_is_rejected_in_one_line(review, root, name, change, message):
    before = (root / "corrections.csv").read_bytes()
    headers = {"origin": review.base, "content-type": "application/json"}
    answer = httpx.post(f"{review.url}decide", json={"changes": [{"id": name} | change]}, headers=headers)
    assert answer.status_code in (409, 422)
    assert message in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert (root / "corrections.csv").read_bytes() == before


def test_it_listens_on_this_machine_alone(review):
    port = int(review.base.rpartition(":")[2])
    for address in {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}:
        if not address.startswith("127."):
            with pytest.raises(OSError, match=r"refused|timed out"):
                socket.create_connection((address, port), timeout=2)


def test_without_a_run_it_says_what_to_do(tmp_path, monkeypatch):
    from darkroom.core.errors import DarkroomError
    from darkroom.review import command

    (tmp_path / "params.yaml").write_text("source: pictures\ncorrections: corrections.csv\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DarkroomError, match="run `dvc repro`"):
        command.main(["--no-browser"])
