"""The division of an index: its bytes are a contract, since every later output depends on them."""

import pytest

from darkroom.core import files
from darkroom.splits.columns import columns
from darkroom.splits.divide import SPLIT_COLUMNS, SplitOptions, divide
from tests.splits.samples import index


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (SplitOptions(0, 0.15, 0.15, 5, None, [], "group"), "0184201936224c87"),
        (SplitOptions(1, 0.1, 0.3, 3, None, ["2/*7.jpg"], "drop"), "9740ec33c2b4914a"),
        (SplitOptions(2, 0.0, 0.2, 2, 20, [], "ignore"), "47f97261e40fd07c"),
    ],
    ids=["group", "drop", "ignore"],
)
def test_the_bytes_of_a_split_never_change(tmp_path, options, wanted):
    files.write_csv(tmp_path / "split.csv", SPLIT_COLUMNS, divide(columns(index()), options).rows())
    assert files.sha256(tmp_path / "split.csv")[:16] == wanted


def test_an_index_without_rows_is_divided_into_nothing():
    division = divide(columns([]), SplitOptions(0, 0.15, 0.15, 5, None, [], "group"))
    assert list(division.rows()) == []
    assert not any(division.counts().values())
