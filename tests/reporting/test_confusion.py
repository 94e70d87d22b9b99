import numpy as np
import pytest
from PIL import Image

from darkroom.reporting import sheets
from darkroom.reporting.confusion import Pair, confusion_sheet, pairs, similar_order, similarity, worst_part
from tests.metrics.made import predictions


@pytest.mark.parametrize("classes", [1, 2, 40, 41, 200, 1500])
def test_a_confusion_matrix_of_any_size_is_drawn(classes, tmp_path):
    rng = np.random.default_rng(0)
    counts = np.diag(rng.integers(0, 9, classes))
    sheets.save_png(tmp_path / "c.png", confusion_sheet(counts, [f"class {n}" for n in range(classes)]))
    with Image.open(tmp_path / "c.png") as image:
        assert min(image.size) > 200
        assert max(image.size) < 2600


def test_pairs_come_with_the_largest_first_and_the_size_of_their_class():
    counts = np.array([[5, 1, 0], [3, 7, 0], [0, 2, 0]])
    assert pairs(counts) == [Pair(1, 0, 3, 10), Pair(2, 1, 2, 2), Pair(0, 1, 1, 6)]
    assert pairs(np.eye(3, dtype=int)) == []


def test_classes_that_share_their_probability_are_neighbours():
    rng = np.random.default_rng(0)
    hidden = rng.permutation(40)  # the class that stands at each place of a line on which neighbours are alike
    place = np.argsort(hidden)
    shares = np.exp(-np.abs(place[:, None] - place[None]) * 1.5)
    order = similar_order(similarity(predictions(np.arange(40), shares / shares.sum(axis=1, keepdims=True))))
    assert sorted(order) == list(range(40))
    assert (np.abs(np.diff(place[order])) == 1).all()


def test_few_classes_keep_their_order():
    assert similar_order(np.ones((12, 12), np.int64)).tolist() == list(range(12))


def test_the_part_that_is_named_has_no_empty_row():
    rng = np.random.default_rng(0)
    counts = np.zeros((120, 120), int)
    labels = rng.permutation(120)[:100]  # one image each; 20 classes have none
    counts[labels, rng.integers(0, 120, 100)] = 1
    rows, columns = worst_part(counts)
    assert len(rows) == 25
    assert (counts[rows].sum(axis=1) > 0).all()
    assert (counts[rows][:, columns].sum(axis=0) > 0).all()


def test_without_an_error_the_named_part_is_of_classes_that_were_tested():
    counts = np.diag(np.arange(60) % 2)
    rows, columns = worst_part(counts)
    assert (rows % 2 == 1).all()
    assert set(columns) <= set(rows)
