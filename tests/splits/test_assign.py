"""Splits: stratified, seeded, stable, groups whole, official splits kept."""

import hashlib
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.core.errors import SourceError
from darkroom.splits import assign
from darkroom.splits.assign import ANY, SPLITS, Samples, seats


class Candidate(NamedTuple):
    """A sample to be divided. Those with the same `bound` stay together."""

    id: str
    label: str
    official: str
    bound: str


def sample(number: int, label: str = "cat", official: str = "", bound: str = "") -> Candidate:
    name = hashlib.sha256(str(number).encode()).hexdigest()
    return Candidate(name, label, official, bound or name)


def many(count: int, classes: int = 10, first: int = 0) -> list[Candidate]:
    return [sample(first + number, f"class {number % classes}") for number in range(count)]


def arrays(candidates: list[Candidate]) -> Samples:
    """Return the candidates, which must be in order of id, as the arrays that the functions take."""
    labels = sorted({candidate.label for candidate in candidates})
    first: dict[str, int] = {}
    return Samples(
        np.array([candidate.id for candidate in candidates], np.bytes_),
        np.array([labels.index(candidate.label) for candidate in candidates], np.int32),
        labels,
        np.array([SPLITS.index(c.official) if c.official else ANY for c in candidates], np.int8),
        np.array([first.setdefault(candidate.bound, place) for place, candidate in enumerate(candidates)], np.int64),
    )


def assigned(candidates: list[Candidate], seed: int, val_fraction: float, test_fraction: float) -> dict[str, str]:
    """Return the split of each candidate by id."""
    ordered = sorted(candidates)
    found = assign.assign(arrays(ordered), np.arange(len(ordered)), seed, val_fraction, test_fraction)
    return {candidate.id: SPLITS[part] for candidate, part in zip(ordered, found, strict=True)}


def folds(candidates: list[Candidate], split: dict[str, str], seed: int, count: int) -> dict[str, int]:
    """Return the fold of each candidate that has one, by id."""
    ordered = sorted(candidates)
    parts = np.array([SPLITS.index(split[candidate.id]) for candidate in ordered], np.int8)
    found = assign.folds(arrays(ordered), np.arange(len(ordered)), parts, seed, count)
    return {candidate.id: int(fold) for candidate, fold in zip(ordered, found, strict=True) if fold >= 0}


def limited(candidates: list[Candidate], seed: int, limit: int) -> list[Candidate]:
    """Return the candidates that stay."""
    ordered = sorted(candidates)
    return [ordered[row] for row in assign.limited(arrays(ordered), np.arange(len(ordered)), seed, limit)]


@given(st.integers(0, 3000), st.lists(st.floats(0.01, 1), min_size=2, max_size=4))
@settings(max_examples=200, deadline=None)
def test_one_more_seat_goes_to_one_share(count, shares):
    before, after = seats(count, shares), seats(count + 1, shares)
    assert sum(before) == count
    assert sorted(np.subtract(after, before).tolist()) == [0] * (len(shares) - 1) + [1]
    assert np.abs(np.array(before) - count * np.array(shares) / sum(shares)).max() <= 1.5


def test_every_class_is_divided_in_the_same_shares():
    split = assigned(many(2000), 0, 0.1, 0.2)
    counts = Counter((candidate.label, split[candidate.id]) for candidate in many(2000))
    assert {counts[f"class {n}", "test"] for n in range(10)} == {40}
    assert {counts[f"class {n}", "val"] for n in range(10)} == {20}


def test_names_and_order_do_not_matter_but_the_seed_does():
    samples = many(500)
    assert assigned(samples, 0, 0.1, 0.1) == assigned(samples[::-1], 0, 0.1, 0.1)
    assert assigned(samples, 0, 0.1, 0.1) != assigned(samples, 1, 0.1, 0.1)


@pytest.mark.parametrize("seed", range(5))
def test_ten_more_images_among_ten_thousand_move_at_most_ten(seed):
    old = many(10_000)
    before = assigned(old, seed, 0.15, 0.15)
    after = assigned(old + many(10, first=10_000), seed, 0.15, 0.15)
    assert sum(before[name] != after[name] for name in before) <= 10


def test_one_more_image_moves_two_others_at_the_very_most():
    samples = many(300, classes=1)
    moved = []
    for more in range(300, 500):
        before = assigned(samples, 0, 0.15, 0.15)
        samples.append(sample(more, "class 0"))
        after = assigned(samples, 0, 0.15, 0.15)
        moved.append(sum(before[name] != after[name] for name in before))
    assert max(moved) <= 2
    assert np.mean(moved) < 0.7


def test_groups_stay_whole():
    samples = [sample(number, f"class {number % 3}", bound=f"patient {number // 7}") for number in range(700)]
    split = assigned(samples, 0, 0.15, 0.15)
    of_group = {}
    for candidate in samples:
        of_group.setdefault(candidate.bound, set()).add(split[candidate.id])
    assert {len(parts) for parts in of_group.values()} == {1}
    counts = Counter(split.values())
    assert 80 <= counts["test"] <= 130
    assert 80 <= counts["val"] <= 130


def test_official_splits_are_kept():
    samples = [sample(n, "cat" if n % 2 else "dog", ("train", "val")[n % 5 == 0]) for n in range(400)]
    split = assigned(samples, 0, 0.5, 0.25)
    for candidate in samples:
        assert split[candidate.id] == "val" if candidate.official == "val" else split[candidate.id] in ("train", "test")
    assert Counter(split.values()) == {"train": 240, "val": 80, "test": 80}


def test_a_copy_in_train_of_an_official_test_image_is_dropped():
    pair = [sample(1, "cat", "train", "pair"), sample(2, "cat", "test", "pair")]
    split = assigned(pair + [sample(n, "cat", "train") for n in range(3, 20)], 0, 0.2, 0.2)
    assert split[pair[0].id] == "dropped"
    assert split[pair[1].id] == "test"


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_a_small_class_is_in_train_first_then_in_test_then_in_val(count):
    counts = Counter(assigned(many(count, classes=1), 0, 0.15, 0.15).values())
    assert counts["train"] >= 1
    assert counts["test"] >= 1
    assert (counts["val"] >= 1) == (count > 2)


def test_a_class_with_one_image_is_refused_by_name():
    with pytest.raises(SourceError, match=r"the class 'fox' has 1 image\(s\); .*`exclude`"):
        assigned([*many(50), sample(99, "fox")], 0, 0.15, 0.15)


def test_all_classes_that_are_too_small_are_named_at_once():
    with pytest.raises(SourceError, match=r"class 'fox' has 1 image\(s\), 'owl' has 1 .*each of these 2 classes needs"):
        assigned([*many(50), sample(98, "owl"), sample(99, "fox")], 0, 0.15, 0.15)


def test_folds_are_stratified_and_whole():
    samples = [sample(n, f"class {n % 4}", bound=f"g{n // 3}") for n in range(1200)]
    split = assigned(samples, 0, 0.15, 0.15)
    fold = folds(samples, split, 0, 5)
    assert {name for name, part in split.items() if part != "test"} == set(fold)
    sizes = Counter(fold.values())
    assert set(sizes) == set(range(5))
    assert max(sizes.values()) - min(sizes.values()) < 30
    groups = {}
    for candidate in samples:
        if candidate.id in fold:
            groups.setdefault(candidate.bound, set()).add(fold[candidate.id])
    assert {len(numbers) for numbers in groups.values()} == {1}


def test_few_images_are_in_every_fold_of_their_class():
    samples = many(30, classes=3)
    split = dict.fromkeys((candidate.id for candidate in samples), "train")
    fold = folds(samples, split, 0, 5)
    counts = Counter((candidate.label, fold[candidate.id]) for candidate in samples)
    assert set(counts.values()) == {2}


def test_a_limit_keeps_so_many_of_each_class_and_all_official_splits():
    samples = [sample(n, f"class {n % 2}", "test" if n % 7 == 0 else "train") for n in range(1400)]
    kept = limited(samples, 0, 10)
    assert Counter(candidate.label for candidate in kept) == {"class 0": 10, "class 1": 10}
    assert {candidate.official for candidate in kept} == {"train", "test"}
    assert set(limited(samples, 0, 20)) > set(kept)
