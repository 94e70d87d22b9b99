"""Folders of object stores: listed and copied by fsspec, from a server on this machine and from fsspec's memory."""

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import fsspec  # type: ignore[import-untyped]
import fsspec.implementations.memory  # type: ignore[import-untyped]
import numpy as np
import pytest
from PIL import Image

from darkroom.core.errors import SourceError
from darkroom.core.runtime import from_environment
from darkroom.sources.labels import LayoutOptions
from darkroom.sources.open import open_source
from darkroom.sources.trees import Locations, address_of
from tests.sources.archives import parquet, zipped


def picture(level):
    data = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(data, "PNG")
    return data.getvalue()


FILES = {f"set/{split}/{label}/{n}.png": picture(level + n) for split in ("train", "test")
         for label, level in (("cat", 10), ("dog", 100)) for n in range(2)} | {"set/.git/x": b"",
        "other/9.png": b""}  # fmt: skip


@pytest.fixture
def store():
    """fsspec's store in memory, with our files in it."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    for name, data in FILES.items():
        memory.pipe_file(f"/bucket/{name}", data)
    yield memory
    memory.store.clear()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder of our own as the project's, with a data/raw."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    return tmp_path


def opened(source, **options):
    """Return the source as fetch opens it, and the bytes of each file as later stages read them."""
    source, raw = Path(source), Path("raw")
    found = open_source(source, raw, LayoutOptions(**options), from_environment())
    later = Locations(source, raw, None)
    return found, {location: extent.read() for location, extent in later.extents([s.location for s in found.samples])}


def test_addresses():
    assert [address_of(Path(text)) for text in ("s3://b/x", "hf://datasets/a/b", "gs://b")] == [
        "s3://b/x", "hf://datasets/a/b", "gs://b"]  # fmt: skip
    assert [address_of(text) for text in ("photos", "C:/photos", "http://x/y", "a/s3:/b", "zip::s3://b/x")] == [""] * 5


def test_a_folder_in_memory_is_copied_and_read(store, folder):
    found, data = opened("memory://bucket/set")
    assert Counter((s.label, s.split) for s in found.samples) == {
        (label, split): 2 for label in ("cat", "dog") for split in ("train", "test")}  # fmt: skip
    assert {hashlib.sha256(one).digest() for one in data.values()} == {
        hashlib.sha256(one).digest() for one in FILES.values() if one}  # fmt: skip
    assert all(location.startswith("raw:set-") for location in data)


def test_a_card_names_an_address_and_how_it_is_read(store, folder):
    card = "name: set\nhomepage: x\nlicence: x\ncitation: x\nremote: memory://bucket/set\nclass_names: {cat: tom}\n"
    (folder / "set.yaml").write_text(card)
    found, data = opened("set.yaml")
    assert {sample.label for sample in found.samples} == {"tom", "dog"}
    assert len(data) == 8


@pytest.mark.parametrize("address", ["file:///etc", "zip::memory://bucket", "photos", "https://x.org/y"])
def test_a_card_with_another_address_is_rejected(folder, address):
    (folder / "set.yaml").write_text(f"name: s\nhomepage: x\nlicence: x\ncitation: x\nremote: {address}\n")
    with pytest.raises(SourceError, match=r"remote is .*, expected an address that begins with s3://, gs://"):
        opened("set.yaml")


def test_files_that_are_here_are_not_copied_again_and_changed_ones_are(store, folder, capsys):
    opened("memory://bucket/set")
    assert "8 of 8 files copied" in capsys.readouterr().err
    store.pipe_file("/bucket/set/train/cat/0.png", picture(55))
    store.rm("/bucket/set/test/dog/1.png")
    store.pipe_file("/bucket/set/train/cat/7.png", picture(56))
    (folder / "raw").rename(folder / "old")
    (folder / "raw").mkdir()
    _, data = opened("memory://bucket/set")
    assert "2 of 8 files copied" in capsys.readouterr().err
    assert picture(55) in data.values()
    assert picture(10) not in [data[name] for name in data if "train/cat/0" in name]
    assert not any("test/dog/1" in name for name in data)


@pytest.mark.parametrize(("address", "reason"), [
    ("memory://bucket/none", "holds no file; check the address"),
    ("gs://bucket/set", "addresses need the package dvc-gs; run `.venv/bin/pip install dvc-gs`"),
])  # fmt: skip
def test_what_cannot_be_listed_is_named_with_the_next_step(store, folder, address, reason):
    if address.startswith("gs:"):
        try:
            import gcsfs  # type: ignore[import-not-found]  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("gcsfs is installed")
    with pytest.raises(SourceError, match=reason):
        opened(address)


def test_a_name_that_points_outside_is_rejected(store, folder):
    store.store["/bucket/set/../../evil.png"] = store.store["/bucket/other/9.png"]
    with pytest.raises(SourceError, match=r"cannot list memory://bucket/set \(the name .*evil.png' points outside"):
        opened("memory://bucket/set")
    assert not (folder / "evil.png").exists()


def test_an_archive_and_shards_in_a_store(store, folder, tmp_path):
    store.pipe_file(
        "/bucket/zips/train.zip", zipped({f"{label}/{n}.png": picture(n) for label in "ab" for n in range(2)})
    )
    found, data = opened("memory://bucket/zips/train.zip")
    assert Counter(sample.label for sample in found.samples) == {"a": 2, "b": 2}
    parquet(tmp_path / "x.parquet", [0, 1, 1], names=["cat", "dog"])
    for split in ("train", "test"):
        store.put_file(str(tmp_path / "x.parquet"), f"/bucket/hub/data/{split}-00000-of-00001.parquet")
    found, data = opened("memory://bucket/hub")
    assert Counter((s.label, s.split) for s in found.samples)["dog", "test"] == 2
    assert len(data) == 6


def test_a_table_in_a_store_is_read_by_its_folder(store, folder):
    store.pipe_file("/bucket/set/labels.csv", b"path,label\ncat/0.png,a\ndog/0.png,b\n")
    with pytest.raises(
        SourceError, match=r"^memory://bucket/set/labels\.csv holds no images.* set `source` to memory://bucket/set\.$"
    ):
        opened("memory://bucket/set/labels.csv")


class Broken(fsspec.implementations.memory.MemoryFileSystem):
    """A store whose connection breaks once at each file, and always at some."""

    broken: ClassVar[Counter[str]] = Counter()
    always = ""

    def get_file(self, rpath, lpath, **kwargs):
        self.broken[rpath] += 1
        if self.broken[rpath] == 1 or (self.always and rpath.endswith(self.always)):
            Path(lpath).write_bytes(b"half")
            raise OSError("the connection broke")
        super().get_file(rpath, lpath, **kwargs)


def test_a_broken_connection_is_tried_again_and_goes_on(store, folder, monkeypatch, capsys):
    from darkroom.sources import remote

    monkeypatch.setattr(remote, "FIRST_WAIT", 0.0)
    fsspec.register_implementation("memory", Broken, clobber=True)
    Broken.clear_instance_cache()
    try:
        Broken.broken.clear()
        Broken.always = "test/dog/1.png"
        with pytest.raises(
            SourceError, match=r"cannot copy memory://bucket/set \(the connection broke\); what is here"
        ):
            opened("memory://bucket/set")
        Broken.always = ""
        assert len(opened("memory://bucket/set")[1]) == 8
        copied = capsys.readouterr().err
        assert "files copied" in copied
        assert "8 of 8 files copied" not in copied
    finally:
        fsspec.register_implementation("memory", fsspec.implementations.memory.MemoryFileSystem, clobber=True)


@pytest.fixture
def s3(monkeypatch):
    """Yield a bucket of moto's on this machine, with our files in it."""
    server_module = pytest.importorskip("moto.server", reason="needs moto")
    pytest.importorskip("s3fs", reason="needs the extra s3")
    import boto3  # type: ignore[import-untyped]

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for key, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1",
                       "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="photos")
    for name, data in FILES.items():
        client.put_object(Bucket="photos", Key=name, Body=data)
    yield client
    server.stop()


@pytest.mark.filterwarnings("default")  # moto's, werkzeug's and aiobotocore's own
def test_a_folder_of_a_bucket(s3, folder):
    found, data = opened("s3://photos/set")
    assert Counter((s.label, s.split) for s in found.samples)["cat", "test"] == 2
    assert sorted(data.values()) == sorted(one for one in FILES.values() if one)
    with pytest.raises(
        SourceError, match=r"cannot list s3://nowhere/set \(.*\); check the address and your credentials"
    ):
        opened("s3://nowhere/set")


class Hub(BaseHTTPRequestHandler):
    """Answers as Hugging Face's hub does for one data set of two class folders."""

    FILES: ClassVar[dict[str, bytes]] = {f"{kind}/{number}.jpg": kind.encode() for kind in "ab" for number in range(2)}

    def do_GET(self):
        """Send what is known of the data set, the list of its files, or one file."""
        path = self.path.partition("?")[0]
        entries = [{"type": "file", "oid": name, "size": len(data), "path": name} for name, data in self.FILES.items()]
        facts = {"id": "me/set", "sha": "0" * 40, "siblings": [{"rfilename": name} for name in self.FILES]}
        body = self.FILES.get(path.partition("/resolve/main/")[2]) or json.dumps(
            entries if "/tree/" in path else facts).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Print nothing."""


COPY_TWICE = """
import sys
from pathlib import Path
from darkroom.sources.remote import copied
print(copied("hf://datasets/me/set", Path(sys.argv[1])) == copied("hf://datasets/me/set", Path(sys.argv[1])))
"""


def test_a_data_set_of_hugging_face_is_copied_once(tmp_path):
    pytest.importorskip("huggingface_hub")
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        settings = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "home")}
        done = subprocess.run(  # the package reads its settings when it is imported
            [sys.executable, "-c", COPY_TWICE, str(tmp_path)], env=os.environ | settings, check=False, timeout=60,
            capture_output=True, text=True,
        )  # fmt: skip
        server.shutdown()
    output = done.stdout + done.stderr
    assert "4 of 4 files copied" in output, output
    assert "0 of 4 files copied" in output
    (folder,) = tmp_path.glob("set-*")
    assert {name: (folder / name).read_bytes() for name in Hub.FILES} == Hub.FILES
