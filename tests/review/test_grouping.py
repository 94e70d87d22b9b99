"""Photos without labels in groups."""

import numpy as np
import pytest

from darkroom.core.errors import DarkroomError
from darkroom.core.runtime import from_environment
from darkroom.images.framing import Framing
from darkroom.review.grouping import grouped, main, number_of_groups
from darkroom.review.unlabelled import Cache


def rows(*sizes: int) -> np.ndarray:
    """Clouds of so many points around corners that lie far apart, as unit rows."""
    random = np.random.default_rng(0)
    found = np.concatenate([random.normal(np.eye(8)[at], 0.05, (size, 8)) for at, size in enumerate(sizes)])
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_what_is_alike_is_in_one_group_and_the_largest_group_is_the_first():
    found = grouped(rows(10, 30, 20), 3, seed=0)
    assert found.tolist() == [2] * 10 + [0] * 30 + [1] * 20


@pytest.mark.parametrize("sizes", [(30, 30), (20, 30, 40), (15, 15, 15, 15, 15)])
def test_as_many_groups_are_proposed_as_there_are_or_one_more(sizes):
    assert number_of_groups(rows(*sizes), seed=0) in (len(sizes), len(sizes) + 1)


def test_a_few_photos_that_resemble_nothing_are_not_cut_into_groups_of_two():
    few = np.random.default_rng(0).normal(size=(24, 64))
    assert number_of_groups(few / np.linalg.norm(few, axis=1, keepdims=True), seed=0) <= 5


def test_photos_that_are_all_the_same_and_very_few_of_them_are_no_crash():
    assert number_of_groups(np.ones((6, 4)) / 2, seed=0) == 2
    assert number_of_groups(rows(2, 2), seed=0) in (2, 3)


def test_what_is_no_folder_is_rejected_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.zip").write_bytes(b"")
    with pytest.raises(DarkroomError, match=r"photos\.zip is not a folder; expected one with photos in it, unpacked"):
        main(["photos.zip"])


def test_a_folder_of_archives_is_named_as_such(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("one.tar", "two.tar.gz", "notes.txt"):
        (tmp_path / "photos" / name).write_bytes(b"")
    (tmp_path / "body.onnx").write_bytes(b"a body")
    cache = Cache(tmp_path, tmp_path / "photos", tmp_path / "body.onnx", Framing(8, "crop", 8))
    with pytest.raises(DarkroomError, match=r"holds no image; .*; of its 2 archives, name one, or unpack them"):
        cache.update(from_environment())
