"""Shards that processes copy side by side have the bytes of those that the writer makes row by row."""

import numpy as np
import pytest

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.images.assemble import BLOCK_BYTES, copy_pictures
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import ID_WIDTH

SIDE = 300
GONE = {0, 7, 8, 30, 59}


@pytest.fixture
def scratch(tmp_path):
    """60 pictures as the decoders leave them: more than one block."""
    images = np.random.default_rng(0).integers(0, 256, (60, SIDE, SIDE, 3), dtype=np.uint8)
    assert images.nbytes > 3 * BLOCK_BYTES
    (tmp_path / "scratch").write_bytes(images.tobytes())
    return tmp_path / "scratch", images


def written(folder):
    return {path.name: files.sha256(path) for path in folder.iterdir()}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("a_shard", [25, 1000])
def test_the_bytes_are_those_of_the_writer(tmp_path, scratch, workers, a_shard):
    path, images = scratch
    ranks = [rank for rank in range(60) if rank not in GONE]
    labels, ids = [rank % 3 for rank in ranks], [f"{rank:064x}-2" for rank in ranks]
    for name in ("rows", "copied"):
        size = a_shard * (SIDE * SIDE * 3 + ID_WIDTH + 8)
        with write_shards(tmp_path / name, "images", ["a", "b", "c"], shard_bytes=size) as writer:
            if name == "copied":
                copy_pictures(writer, path, SIDE, ranks, labels, ids, workers)
            else:
                for rank, label, sample_id in zip(ranks, labels, ids, strict=True):
                    writer.add(images[rank], label, sample_id)
            writer.close(image_size=SIDE)
    assert written(tmp_path / "copied") == written(tmp_path / "rows")
    assert len(written(tmp_path / "rows")) == (4 if a_shard == 25 else 2)


def test_a_split_may_be_empty(tmp_path, scratch):
    with write_shards(tmp_path / "val", "images", ["a"]) as writer:
        copy_pictures(writer, scratch[0], SIDE, [], [], [], 2)
        writer.close()
    assert files.read_json(tmp_path / "val/index.json")["shards"] == []


def test_a_scratch_file_that_ends_early_is_an_error_and_leaves_no_shards(tmp_path, scratch):
    with (
        pytest.raises(DarkroomError, match="became shorter while it was read; run the stage again"),
        write_shards(tmp_path / "train", "images", ["a"]) as writer,
    ):
        copy_pictures(writer, scratch[0], SIDE, [59, 60], [0, 0], ["x", "y"], 1)
    assert not (tmp_path / "train").exists()
