"""Downloads from a real server on this machine that misbehaves in the ways that servers do."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from darkroom.core.errors import SourceError
from darkroom.sources.download import Remote, obtain, put_in

DATA = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


class Server(ThreadingHTTPServer):
    """Counts what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Misbehaving)
        self.asked: Counter[str] = Counter()
        self.ranges: list[str] = []

    def handle_error(self, request, client_address):
        """Ignore a client that hangs up."""


class Misbehaving(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        self.server.ranges.append(self.headers.get("Range", ""))
        getattr(self, "get_" + self.path.strip("/").partition("?")[0].replace("-", "_"))(self.server.asked[self.path])

    def get_sound(self, _time: int) -> None:
        self.answer(DATA)

    def get_drops_thrice(self, time: int) -> None:
        self.answer(DATA, cut=900_000 if time <= 3 else None)

    def get_ignores_range(self, time: int) -> None:
        self.answer(DATA, cut=900_000 if time == 1 else None, ranges=False)

    def get_changes(self, time: int) -> None:
        self.answer(DATA if time > 1 else DATA[::-1], cut=900_000 if time == 1 else None, etag=f'"{time}"')

    def get_promises_too_much(self, _time: int) -> None:
        self.answer(DATA, length=len(DATA) + 1000, ranges=False)

    def get_redirects_to_a_file(self, _time: int) -> None:
        self.send_response(302)
        self.send_header("Location", "file:///etc/passwd")
        self.end_headers()

    def get_redirects_for_ever(self, _time: int) -> None:
        self.send_response(302)
        self.send_header("Location", self.path)
        self.end_headers()

    def get_page(self, _time: int) -> None:
        self.answer(PAGE)

    def get_busy_twice(self, time: int) -> None:
        if time > 2:
            return self.answer(DATA)
        self.send_response(503)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def get_gone(self, _time: int) -> None:
        self.send_error(404)

    def get_hangs_up(self, _time: int) -> None:
        self.close_connection = True

    def answer(self, data: bytes, cut=None, ranges=True, length=None, etag='"v1"') -> None:
        start = 0
        wanted = self.headers.get("Range")
        if ranges and wanted and self.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(length or len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : start + cut] if cut else data[start:])
        self.close_connection = True
        return None

    def log_message(self, *_args) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server: Server, cache: Path, *paths: str, downloads=None, digest=SHA256) -> Path:
    urls = tuple(f"http://127.0.0.1:{server.server_port}/{path}" for path in paths)
    return obtain(Remote("file.bin", urls, "sha256", digest), downloads, cache, first_wait=0.01)


def leave_part(server: Server, cache: Path, data: bytes) -> None:
    """Leave what an interrupted download of /sound leaves behind."""
    url = f"http://127.0.0.1:{server.server_port}/sound"
    part = cache / f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-file.bin.part"
    part.write_bytes(data)
    part.with_name(part.name + ".json").write_text('{"etag": "\\"v1\\""}')


@pytest.mark.parametrize("path", ["sound", "drops-thrice", "ignores-range", "changes", "busy-twice"])
def test_the_whole_file_arrives_whatever_the_server_does(server, tmp_path, path):
    assert get(server, tmp_path, path).read_bytes() == DATA
    assert [file.name for file in tmp_path.iterdir()] == ["file.bin"]


def test_a_broken_download_goes_on_where_it_broke_off(server, tmp_path):
    get(server, tmp_path, "drops-thrice")
    assert server.ranges == ["", "bytes=900000-", "bytes=1800000-", "bytes=2700000-"]


def test_a_later_run_resumes_what_an_earlier_run_left(server, tmp_path):
    with pytest.raises(SourceError, match="404"):
        get(server, tmp_path, "gone")
    leave_part(server, tmp_path, DATA[:2_000_000])
    assert get(server, tmp_path, "sound").read_bytes() == DATA
    assert server.ranges[-1] == "bytes=2000000-"


def test_a_damaged_beginning_is_noticed_and_fetched_again(server, tmp_path):
    leave_part(server, tmp_path, bytes(2_000_000))
    assert get(server, tmp_path, "sound").read_bytes() == DATA


def test_the_next_mirror_is_tried(server, tmp_path, capsys):
    assert get(server, tmp_path, "gone", "redirects-for-ever", "page", "sound").read_bytes() == DATA
    said = capsys.readouterr().err
    assert "404" in said
    assert "redirects in a circle" in said
    assert "HTML" in said


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone", "the server answers 404"),
        ("redirects-for-ever", "redirects in a circle"),
        ("redirects-to-a-file", "the server redirects to an address that is neither http nor https"),
        ("page", r"sha256 is \w+, the card says \w+; the file is an HTML or XML page"),
        ("promises-too-much", "the connection broke after 3,000,000 of 3,001,000 bytes"),
        ("hangs-up", "no connection"),
    ],
)
def test_a_failure_says_which_address_and_why(server, tmp_path, path, message):
    with pytest.raises(SourceError, match=f"cannot get file.bin: http://127.0.0.1:.*/{path}: .*{message}") as caught:
        get(server, tmp_path, path)
    assert "DARKROOM_DOWNLOADS" in str(caught.value)
    assert not (tmp_path / "file.bin").exists()


def test_an_unknown_host_is_a_message_and_is_tried_once_for_the_next_file(tmp_path):
    for name, tried in (("x", "5 attempts"), ("y", "tried once")):  # as the weights of a race behind a firewall
        with pytest.raises(SourceError, match=rf"no connection .*\({tried}\)"):
            obtain(Remote(name, (f"http://127.0.0.1:9/{name}",), "sha256", SHA256), None, tmp_path, first_wait=0.01)


def test_a_file_that_is_there_already_is_used_where_it_lies(server, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file.bin").write_bytes(DATA)
    path = get(server, tmp_path / "cache", "gone", downloads=tmp_path / "mine")
    assert path == tmp_path / "mine/file.bin"
    assert not server.asked
    (tmp_path / "raw").mkdir()
    assert put_in(path, tmp_path / "raw", tmp_path / "cache").read_bytes() == DATA
    assert path.exists()


def test_file_urls_are_read(tmp_path):
    (tmp_path / "file.bin").write_bytes(DATA)
    remote = Remote("file.bin", ((tmp_path / "file.bin").as_uri(),), "sha256", SHA256)
    assert obtain(remote, None, tmp_path / "cache").read_bytes() == DATA


def test_an_unknown_scheme_names_those_that_work(tmp_path):
    with pytest.raises(SourceError, match="'gopher' is unknown; use http, https, file or s3"):
        obtain(Remote("x", ("gopher://x/y",), "sha256", SHA256), None, tmp_path)


BROKEN = [
    ("html-saved-as-gz", "train-images-idx3-ubyte.gz", "an HTML or XML page"),
    ("interrupted-mnist-download", "train-labels-idx1-ubyte.gz", r"empty \(0 bytes\)"),
    ("interrupted-mnist-download", "t10k-images-idx3-ubyte.gz", "truncated: it ends after 49,152 bytes"),
    ("lfs-pointers", "daisy/100080576_f52e8ee070_n.jpg", "a Git LFS pointer; run `git lfs pull`"),
]


@pytest.mark.parametrize(("folder", "name", "message"), BROKEN)
def test_broken_downloads_of_real_projects_are_recognised(shared, tmp_path, folder, name, message):
    remote = Remote(name, (), "md5", "0" * 32)
    with pytest.raises(SourceError, match=f"md5 is .*, the card says 0*; the file is {message}.*; delete it"):
        obtain(remote, shared / "data/broken" / folder, tmp_path)


@pytest.fixture
def s3(monkeypatch) -> Iterator[None]:
    """Yield an object store of moto's on this machine, with our file in it."""
    server_module = pytest.importorskip("moto.server", reason="needs moto")
    boto3 = pytest.importorskip("boto3", reason="needs the extra s3")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="pictures")
    client.put_object(Bucket="pictures", Key="sets/file.bin", Body=DATA)
    yield
    server.stop()


@pytest.mark.filterwarnings("default")  # moto's and werkzeug's own
def test_s3_objects_are_read_and_resumed(s3, tmp_path):
    url = "s3://pictures/sets/file.bin"
    assert obtain(Remote("file.bin", (url,), "sha256", SHA256), None, tmp_path).read_bytes() == DATA
    name = f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-file.bin.part"
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / name).write_bytes(DATA[:1_000_000])
    etag = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    (tmp_path / "half" / f"{name}.json").write_text(f'{{"etag": "\\"{etag}\\""}}')
    assert obtain(Remote("file.bin", (url,), "sha256", SHA256), None, tmp_path / "half").read_bytes() == DATA
    with pytest.raises(SourceError, match="NoSuchKey"):
        obtain(Remote("file.bin", ("s3://pictures/absent",), "sha256", SHA256), None, tmp_path / "other")


def test_a_part_that_is_whole_already_is_judged_by_its_digest(server, tmp_path):
    leave_part(server, tmp_path, DATA)
    assert get(server, tmp_path, "sound").read_bytes() == DATA
    assert server.ranges == ["bytes=3000000-"], "nothing is fetched again"


def test_a_part_that_is_longer_than_the_file_is_fetched_again(server, tmp_path):
    leave_part(server, tmp_path, DATA + b"x")
    assert get(server, tmp_path, "sound").read_bytes() == DATA
    assert server.ranges == ["bytes=3000001-", ""]


def test_a_verified_download_stays_for_the_next_run_and_is_linked_to(server, tmp_path):
    path = get(server, tmp_path / "cache", "sound")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        placed = put_in(path, tmp_path / name, tmp_path / "cache")
        assert placed.read_bytes() == DATA
        assert placed.samefile(path)
    assert get(server, tmp_path / "cache", "gone") == path


def test_an_address_may_hold_any_letter(server, tmp_path):
    assert get(server, tmp_path, "sound?name=blå bær.zip").read_bytes() == DATA
    assert server.asked == {"/sound?name=bl%C3%A5%20b%C3%A6r.zip": 1}
