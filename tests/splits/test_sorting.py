import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.splits.duplicates import equal_neighbours, joined, order_by, order_of_texts

KEYS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=60)


@given(KEYS)
def test_the_order_is_that_of_a_stable_sort(rows):
    keys = np.array(rows, np.uint64).reshape(-1, 3)
    wanted = sorted(range(len(rows)), key=lambda place: rows[place])
    assert order_by(keys[:, 0], keys[:, 1], keys[:, 2]).tolist() == wanted


@pytest.mark.parametrize("different", [2, 1_000, 1 << 62])
def test_long_columns_are_sorted_stably_too(different):
    keys = np.random.default_rng(0).integers(0, different, 50_000).astype(np.uint64)
    assert np.array_equal(order_by(keys), np.argsort(keys, kind="stable"))


@given(st.lists(st.text("ab-", max_size=12), max_size=40))
def test_texts_are_ordered_as_python_orders_them(texts):
    order = order_of_texts(np.array(texts, np.bytes_) if texts else np.empty(0, "S1"))
    assert order.tolist() == sorted(range(len(texts)), key=lambda place: texts[place])


def test_equal_neighbours_are_seen_in_rows_and_in_texts():
    assert equal_neighbours(np.array([[1, 2], [1, 2], [1, 3]])).tolist() == [False, True, False]
    assert equal_neighbours(np.array([b"a", b"a", b"b"])).tolist() == [False, True, False]
    assert equal_neighbours(np.empty((0, 4))).tolist() == []


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_chains_end_at_their_lowest_place(count, chains):
    pairs = [(one % count, other % count) for one, other in chains]
    lowest = list(range(count))
    for _ in range(count):
        for one, other in pairs:
            lowest[one] = lowest[other] = min(lowest[one], lowest[other])
    assert joined(count, np.array(pairs, np.int64).reshape(-1, 2)).tolist() == lowest
