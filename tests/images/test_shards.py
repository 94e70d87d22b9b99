"""Shards give back what was written, in any order, across files, from the mapped bytes; damage is found."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import load_file

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.images import shards as module
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import ID_WIDTH, Shards


@pytest.fixture
def written(tmp_path):
    """200 distinct images of 4x4 px in several shards."""
    images = np.random.default_rng(0).integers(0, 256, (200, 4, 4, 3), dtype=np.uint8)
    with write_shards(tmp_path / "train", "images", ["a", "b", "c"], shard_bytes=64 * (48 + ID_WIDTH + 8)) as writer:
        for place, image in enumerate(images):
            writer.add(image, place % 3, f"{place:064x}")
        writer.close(image_size=4)
    return tmp_path / "train", images


@pytest.mark.parametrize("mapped_bytes", [10_000, 0], ids=["mapped", "read"])
def test_rows_come_back_in_the_order_asked_for(written, mapped_bytes):
    folder, images = written
    shards = Shards(folder, mapped_bytes)
    assert len(shards) == 200
    assert [shard["count"] for shard in shards.index["shards"]] == [64, 64, 64, 8]
    places = np.random.default_rng(1).permutation(200)
    assert np.array_equal(shards.rows(places), images[places])
    for some in ([5], [62, 63, 64, 65, 66], [199, 198, 0, 1], [7, 7, 8, 7], []):
        assert np.array_equal(shards.rows(np.array(some, np.int64)), images[some])
    assert np.array_equal(shards.labels, np.arange(200) % 3)
    assert shards.ids() == [f"{place:064x}" for place in range(200)]
    assert shards.row_shape == (4, 4, 3)


@pytest.mark.parametrize("mapped_bytes", [10_000, 0], ids=["mapped", "read"])
def test_rows_that_are_not_there_are_refused(written, mapped_bytes):
    shards = Shards(written[0], mapped_bytes)
    for places in ([200, 0], [-1, 5]):
        with pytest.raises(IndexError, match=rf"holds 200 rows; asked for {min(places)} to {max(places)}"):
            shards.rows(np.array(places))


@pytest.mark.parametrize("mapped_bytes", [10_000, 0], ids=["mapped", "read"])
def test_batches_are_all_rows_in_order(written, mapped_bytes):
    folder, images = written
    batches = list(Shards(folder, mapped_bytes).batches(60))
    assert [len(labels) for _, labels in batches] == [60, 60, 60, 20]
    assert np.array_equal(np.concatenate([rows for rows, _ in batches]), images)


@pytest.fixture
def shared(monkeypatch):
    """Three threads read a batch, ten rows of `written` at a time."""
    monkeypatch.setenv("DARKROOM_THREADS", "3")
    monkeypatch.setattr(module, "PIECE_BYTES", 480)
    for cached in (module._threads, module._helpers):
        cached.cache_clear()
    yield
    for cached in (module._threads, module._helpers):
        cached.cache_clear()


@pytest.mark.parametrize("mapped_bytes", [10_000, 0], ids=["mapped", "read"])
def test_threads_that_share_a_batch_keep_its_order(written, shared, mapped_bytes):
    folder, images = written
    shards = Shards(folder, mapped_bytes)
    for places in (np.random.default_rng(1).permutation(200), np.arange(200), np.arange(200)[::-1], np.full(50, 7)):
        assert np.array_equal(shards.rows(places), images[places])
    assert shards.rows(np.arange(0)).shape == (0, 4, 4, 3)
    with pytest.raises(IndexError, match="holds 200 rows; asked for 0 to 200"):
        shards.rows(np.arange(201))


def test_several_shards_are_read_by_several_threads_at_once(written, shared):
    folder, images = written
    opened = [Shards(folder, mapped_bytes=0) for _ in range(4)]
    orders = [np.random.default_rng(number).permutation(200) for number in range(200)]
    with ThreadPoolExecutor(8) as callers:
        for places, rows in zip(orders, callers.map(lambda k: opened[k % 4].rows(orders[k]), range(200)), strict=True):
            assert np.array_equal(rows, images[places])


def test_what_a_helping_thread_finds_wrong_is_raised(written, shared, monkeypatch):
    folder, _ = written
    shards, main, arrived = Shards(folder, mapped_bytes=0), threading.current_thread(), threading.Event()
    os.truncate(folder / "shard-00003.safetensors", 700)
    real = shards._read

    def read(places, out):
        if threading.current_thread() is main:
            assert arrived.wait(10)  # and reads nothing: what is raised is the helper's
        else:
            arrived.set()
            real(places, out)

    monkeypatch.setattr(shards, "_read", read)
    with pytest.raises(DarkroomError, match=r"a shard has become shorter; run `dvc repro -f`"):
        shards.rows(np.arange(192, 200).repeat(3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("threads", "helpers"), [("1", [0]), ("2", [1]), ("99", [1, 2, 3])])
def test_as_many_threads_read_as_the_environment_allows_also_in_a_forked_process(written, threads, helpers):
    code = (
        "import os, sys, threading; from pathlib import Path; import numpy as np; from darkroom.images import shards;"
        "shards.PIECE_BYTES = 480; table = shards.Shards(Path(sys.argv[1]), mapped_bytes=0);"
        "read = lambda: [int(table.rows(np.arange(200)).sum()) for _ in range(50)]; first = read();"
        "count = lambda: sum(thread.name.startswith('shards') for thread in threading.enumerate()); here = count();"
        "child = os.fork(); same = read() == first; child or os._exit(10 * same + count());"
        "print(here, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) - 10)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(written[0])], check=True, capture_output=True, text=True, timeout=60,
        env=os.environ | {"DARKROOM_THREADS": threads},
    )  # fmt: skip
    assert [int(number) in helpers for number in done.stdout.split()] == [True, True], done.stdout


def test_the_index_says_classes_counts_and_digests(written):
    folder, _ = written
    index = json.loads((folder / "index.json").read_text())
    assert index["class_counts"] == {"a": 67, "b": 67, "c": 66}
    assert index["image_size"] == 4
    assert all(files.sha256(folder / shard["file"]) == shard["sha256"] for shard in index["shards"])


def test_a_shard_is_a_safetensors_file_like_any_other(written):
    folder, images = written
    tensors = load_file(folder / "shard-00000.safetensors")
    assert {name: (array.dtype, array.shape) for name, array in tensors.items()} == {
        "images": (np.uint8, (64, 4, 4, 3)),
        "labels": (np.int64, (64,)),
        "ids": (np.uint8, (64, ID_WIDTH)),
    }
    assert np.array_equal(tensors["images"], images[:64])


def test_a_folder_without_rows_is_an_empty_table(tmp_path):
    with write_shards(tmp_path / "val", "features", ["a"]) as writer:
        writer.close()
    shards = Shards(tmp_path / "val")
    assert (len(shards), shards.row_shape, shards.ids(), list(shards.batches(8))) == (0, (), [], [])


def test_what_a_failed_writer_began_is_gone(tmp_path):
    with pytest.raises(RuntimeError), write_shards(tmp_path / "train", "images", ["a"]) as writer:
        writer.add(np.zeros((2, 2, 3), np.uint8), 0, "x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_damage_is_named_with_the_next_step(written):
    folder, _ = written
    shard = folder / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DarkroomError, match=r"shard-00001.* damaged or missing shard; run `dvc repro -f`"):
        Shards(folder)
    shard.unlink()
    with pytest.raises(DarkroomError, match="damaged or missing shard"):
        Shards(folder)
    (folder / "index.json").unlink()
    with pytest.raises(DarkroomError, match="holds no shards"):
        Shards(folder)


def test_reading_everything_keeps_a_bounded_part_in_memory(tmp_path):
    """320 MB, more than may be mapped, are read in random order; a process of its own says what memory that took."""
    with write_shards(tmp_path / "train", "images", ["a"], shard_bytes=100_000_000) as writer:
        for number in range(160):
            writer.add(np.full((816, 816, 3), number, np.uint8), 0, f"{number:064x}")
        writer.close()
    code = (
        "import resource, sys; from pathlib import Path; import numpy as np; from darkroom.images.shards import Shards;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024;"
        "shards = Shards(Path(sys.argv[1]), 256_000_000); before = peak();"
        "order = np.random.default_rng(0).permutation(160);"
        "assert [int(shards.rows(order[i : i + 4])[0, 0, 0, 0]) for i in range(0, 160, 4)] == order[::4].tolist();"
        "print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "train")], check=True, capture_output=True, text=True
    )
    assert float(done.stdout) < 110, f"{done.stdout} MB of 320 MB"
