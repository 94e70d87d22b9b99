import hashlib
import threading

import numpy as np
import pytest

from darkroom.images.batches import Table, balanced_order, order, read_ahead, steps, views
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from tests.cluster.two_nodes import until


@pytest.fixture
def shards(tmp_path):
    """Two folders: features of 1 view (rows 0..4) and of 3 views (rows 5..9), in small shards."""
    for name, start, copies in (("val", 0, 1), ("train", 5, 3)):
        with write_shards(tmp_path / name, "features", ["a", "b"], shard_bytes=300) as writer:
            for row in range(start, start + 5):
                values = np.array([[row, view] for view in range(copies)], np.float32)
                writer.add(values, row % 2, f"{row:064x}")
            writer.close()
    return [Shards(tmp_path / "val"), Shards(tmp_path / "train")]


def test_an_order_is_a_permutation_that_belongs_to_seed_and_epoch():
    assert sorted(order(100, 0, 3).tolist()) == list(range(100))
    assert order(100, 0, 3).tolist() == order(100, 0, 3).tolist()
    assert order(100, 0, 3).tolist() != order(100, 0, 4).tolist()
    assert order(100, 0, 3).tolist() != order(100, 1, 3).tolist()


def test_a_balanced_order_draws_each_class_equally_and_uses_all_of_a_rare_one_before_repeating():
    labels = np.array([0] * 90 + [1] * 8 + [3] * 2)
    numbered = balanced_order(labels, 0, 0)
    assert len(set(numbered.tolist())) == 100, "who comes again has another number, and is augmented otherwise"
    drawn = numbered % 100
    counts = np.bincount(labels[drawn], minlength=4)
    assert len(drawn) == 100
    assert sorted(counts.tolist()) == [0, 33, 33, 34]
    times = np.bincount(drawn, minlength=100)
    assert times[90:98].min() >= 4
    assert times[:90].max() == 1
    assert balanced_order(labels, 0, 0).tolist() == numbered.tolist() != balanced_order(labels, 0, 1).tolist()


def test_the_orders_never_change():
    """A training that another version began would otherwise learn from other batches."""
    labels = np.arange(1000) ** 2 % 7
    found = [
        hashlib.sha256(o.tobytes()).hexdigest()[:16] for o in (balanced_order(labels, 0, 1) % 1000, order(1000, 0, 1))
    ]
    assert found == ["eacd09dfe4ec9b98", "454d2839cb30f27d"]


@pytest.mark.parametrize(("count", "size"), [(100, 32), (97, 32), (5, 8), (33, 32), (1, 1)])
def test_steps_leave_no_runt(count, size):
    parts = steps(np.arange(count), size)
    lengths = [len(part) for part in parts]
    assert np.concatenate(parts).tolist() == list(range(count))
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


def test_a_sample_shows_the_same_view_in_any_batch():
    shown = views(np.arange(1000), 4, 1000, epoch=2)
    assert views(np.array([17, 3, 999]), 4, 1000, 2).tolist() == shown[[17, 3, 999]].tolist()
    assert np.bincount(shown).tolist() == [250] * 4


def test_views_come_in_turn_also_those_of_a_sample_that_comes_again():
    of_one = [int(views(np.array([5]), 4, 8, epoch)[0]) for epoch in range(8)]
    assert sorted(of_one[:4]) == sorted(of_one[4:]) == [0, 1, 2, 3]
    assert sorted(views(np.array([5, 13, 21, 29]), 4, 8, 0).tolist()) == [0, 1, 2, 3]


def test_a_table_reads_rows_of_several_folders_in_the_order_asked_for(shards):
    table = Table(shards, [np.array([4, 0]), np.array([1, 3])])
    assert len(table) == 4
    assert table.labels.tolist() == [0, 0, 0, 0]
    read = table.features(np.array([3, 0, 2, 1]), np.array([2, 2, 1, 0]))
    assert read.tolist() == [[8, 2], [4, 0], [6, 1], [0, 0]]


def test_reading_ahead_keeps_the_order_and_raises_what_the_reader_raised():
    items = [np.array([number]) for number in range(20)]
    assert [int(value) for value in read_ahead(items, lambda item: item[0] * 2)] == list(range(0, 40, 2))

    def fails(item):
        if item[0] == 3:
            raise OSError("the disk is gone")
        return item[0]

    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        for value in read_ahead(items, fails):
            seen.append(int(value))
    assert seen == [0, 1, 2]


def test_reading_ahead_reads_while_the_caller_works_and_stops_with_it():
    read = []

    def reader(item):
        read.append(int(item[0]))
        return item

    before = threading.active_count()
    batches = read_ahead([np.array([number]) for number in range(100)], reader, ahead=2)
    next(batches)
    until(lambda: len(read) == 4, seconds=5)  # one given, two waiting, one in hand
    batches.close()
    until(lambda: threading.active_count() == before, seconds=5)
    assert read == [0, 1, 2, 3]


def test_one_reader_after_another_stops_with_the_caller_and_raises_what_the_first_raised():
    """As batches for a GPU are made: one thread reads, another sends and augments."""
    before = threading.active_count()
    both = read_ahead(read_ahead(range(100), lambda item: item + 1), lambda item: item * 2, ahead=1)
    assert [next(both) for _ in range(3)] == [2, 4, 6]
    both.close()
    del both
    until(lambda: threading.active_count() == before, seconds=5)

    def fails(item):
        if item == 2:
            raise OSError("the disk is gone")
        return item

    with pytest.raises(OSError, match="the disk is gone"):
        list(read_ahead(read_ahead(range(100), fails), lambda item: item))
