"""A worker process that dies costs its file, not the run: real signals and a real lack of memory, in whole stages."""

import hashlib
import os
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image

from darkroom.core import files
from darkroom.images.shards import DATA
from stages import fetch, preprocess
from tests.images.killing import can_lease, run_and_kill_readers, run_with_little_memory
from tests.images.pictures import class_folders
from tests.stages.pipeline import (
    index,
    outputs,
    run_all,
    run_fetch,
    run_framing,
    run_preprocess,
    run_split,
    write_params,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="holds readers with a lease of Linux")
ROOT = Path(__file__).parents[2]
KILLER = Path("pictures/china/3.jpg")
FETCH = ("stages.fetch", "data/raw", "data/index.csv")
PREPROCESS = ("stages.preprocess", "data/raw", "data/index.csv", "data/split.csv", "data/framing.json", "data/shards",
              "data/rejects.csv", "plots/duplicates.png")  # fmt: skip


@pytest.fixture(autouse=True)
def pictures(tmp_path, monkeypatch) -> Path:
    """36 photos in two classes."""
    monkeypatch.chdir(tmp_path)
    if not can_lease(tmp_path / "probe"):
        pytest.skip("this file system has no leases")
    return class_folders(Path("pictures"), each=18)


def run(stage: tuple[str, ...], workers: int, how: signal.Signals, times: int) -> tuple[int, str]:
    return run_and_kill_readers([sys.executable, "-m", *stage], KILLER, how, times, env=environment(workers))


def environment(workers: int) -> dict[str, str]:
    return os.environ | {"DARKROOM_WORKERS": str(workers), "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}


def rejects() -> dict[str, str]:
    return {row["location"]: row["reason"] for row in files.read_csv(Path("data/rejects.csv"))}


def shards() -> dict[str, str]:
    """Return the digests of what was decoded; data.json beside it also names the reasons of rejects."""
    return {
        name: digest
        for name, digest in outputs().items()
        if name.startswith("data/shards/") and name != f"data/shards/{DATA}"
    }


@pytest.mark.parametrize(("workers", "how"), [(1, signal.SIGKILL), (2, signal.SIGSEGV)])
def test_a_file_that_kills_every_reader_is_set_aside_by_preprocess_and_the_rest_is_as_without_it(workers, how):
    run_fetch()
    run_split()
    whole = KILLER.read_bytes()
    KILLER.write_bytes(b"no picture")  # its row stays, so that the split does
    rows = list(files.read_csv(Path("data/index.csv")))
    other = {"sha256": hashlib.sha256(b"no picture").hexdigest()}
    write_index([row | other if row["location"] == "china/3.jpg" else row for row in rows])
    run_preprocess()
    without = shards()
    write_index(rows)
    KILLER.write_bytes(whole)

    kills, _ = run(PREPROCESS, workers, how, times=100)
    assert kills == 2
    assert rejects() == {"china/3.jpg": f"decoder crashed ({how.name})"}
    assert shards() == without
    assert not list(Path("data").rglob("*.tmp"))


def write_index(rows: list[dict[str, str]]) -> None:
    files.write_csv(Path("data/index.csv"), tuple(rows[0]), (tuple(row.values()) for row in rows))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_that_are_killed_once_cost_nothing(workers):
    run_all()
    before = outputs()
    write_params(fetch)
    assert run(FETCH, workers, signal.SIGKILL, times=1)[0] == 1
    write_params(preprocess)
    assert run(PREPROCESS, workers, signal.SIGKILL, times=1)[0] == 1
    assert outputs() == before


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_kills_its_decoder_is_indexed_by_its_bytes_alone(workers):
    run_fetch()
    before = {row["location"]: row for row in index()}
    kills, said = run(FETCH, workers, signal.SIGSEGV, times=2)
    assert kills == 2
    assert "note: china/3.jpg: decoder crashed (SIGSEGV); it is indexed by its bytes alone" in said
    after = {row["location"]: row for row in index()}
    changed = {"phash": "", "windows": "", "width": "0", "height": "0"}
    assert after.pop("china/3.jpg") == before.pop("china/3.jpg") | changed
    assert after == before


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_kills_whoever_opens_it_is_lost_alone(workers):
    run_fetch()
    before = {row["location"]: row for row in index()}
    assert run(FETCH, workers, signal.SIGKILL, times=100)[0] == 4
    after = {row["location"]: row for row in index()}
    lost = after.pop("china/3.jpg")
    assert (lost["label"], lost["sha256"], lost["bytes"]) == ("china", "", "0")
    del before["china/3.jpg"]
    assert after == before
    run_split()
    run_preprocess()
    assert rejects() == {"china/3.jpg": "its reader died when it was indexed"}


def test_copies_of_a_file_that_kills_are_not_decoded_to_be_shown():
    """The figure of copies is drawn in the stage's own process, which nothing can replace."""
    Path("pictures/china/copy.jpg").write_bytes(KILLER.read_bytes())
    run_fetch()
    run_split()
    run_framing()
    write_params(preprocess, max_rejects=0.5)
    assert run(PREPROCESS, 2, signal.SIGSEGV, times=100)[0] == 2
    assert rejects() == {"china/3.jpg": "decoder crashed (SIGSEGV)"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_picture_that_memory_is_refused_to_costs_itself_alone(workers):
    Image.new("RGBA", (8900, 8900)).save("pictures/china/large.png", compress_level=1)
    run_fetch()
    run_split()
    run_framing()
    write_params(preprocess)
    command = [sys.executable, "-m", *PREPROCESS]
    status, said = run_with_little_memory(command, 600_000_000, env=environment(workers))
    said = [line for line in said.splitlines() if not line.startswith("decoding: ")]  # on a busy machine it says so
    assert (status, said) == (0, [])
    assert rejects() == {"china/large.png": "not enough memory"}
    assert sum(1 for _ in files.read_csv(Path("data/shards/train/samples.csv"))) > 20
