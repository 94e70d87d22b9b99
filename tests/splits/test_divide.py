"""The division of an index: its bytes are a contract, since every later output depends on them."""

import hashlib

import numpy as np
import pytest

from darkroom.core import files
from darkroom.splits.columns import columns
from darkroom.splits.divide import SPLIT_COLUMNS, SplitOptions, divide


def index(count: int = 3000) -> list[tuple[str, ...]]:
    """Rows with copies, exact and near, groups, official splits, damaged files and pictures without a hash."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 256, (count, 32), np.uint8)
    hashes[: count // 20] = hashes[-(count // 20) :]
    hashes[: count // 20, 7] ^= 5
    rows: list[tuple[str, ...]] = []
    seen: dict[str, int] = {}
    for number, of in enumerate(random.integers(0, count, count).tolist()):
        digest = hashlib.sha256(str(of if number % 9 == 0 else number).encode()).hexdigest()
        seen[digest] = seen.get(digest, 0) + 1
        name = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        damaged, flat = number % 97 == 0, number % 31 == 0
        rows.append((
            name,
            f"klasse {number % 7}" if number % 5 else "ä,ö",
            ("", "train", "val", "test")[number % 4] if number % 3 else "",
            f"patient {number % 800}" if number % 2 else "",
            f"{number % 7}/{number}.jpg",
            "" if damaged else digest,
            "" if damaged or flat else bytes(hashes[number]).hex(),
            "",
            str(64 + number % 3),
            "64",
        ))  # fmt: skip
    return rows


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
