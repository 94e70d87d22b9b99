"""Parts of the images that a race is run on, and heads that answer the fold that they have not seen."""

import numpy as np
import pytest

from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.search import race
from darkroom.search.pool import Pool, ranks
from tests.conftest import ROOT


def test_ranks_make_nested_parts_of_every_class_and_keep_one_to_learn_from():
    labels = ["a"] * 40 + ["b"] * 5 + ["c"]
    chooses = np.array([number % 5 == 0 for number in range(46)])
    chooses[45] = False
    found = ranks(labels, chooses, seed=3)
    small, large = found < 0.25, found < 0.5
    assert (small <= large).all()
    assert {labels[at] for at in np.flatnonzero(small & ~chooses)} == {"a", "b", "c"}
    assert np.bincount(np.unique(np.array(labels)[large], return_inverse=True)[1])[0] == 20
    assert (found != ranks(labels, chooses, seed=4)).any()


@pytest.fixture
def pool(tmp_path) -> Pool:
    """Features that say nothing of the label, but which of 60 samples it is."""
    random = np.random.default_rng(0)
    ids = [f"{number:064x}" for number in range(60)]
    with write_shards(tmp_path / "features", "features", ["a"]) as writer:
        for name in ids:
            writer.add(random.normal(0, 1, (1, 80)).astype(np.float32), 0, name)
        writer.close()
    labels = {name: "ab"[int(random.integers(2))] for name in ids[:-1]}  # the last one is excluded by a correction
    folds = {name: number % 5 for number, name in enumerate(ids)}
    return Pool([Shards(tmp_path / "features")], labels, folds, frozenset(ids[:10]))


def test_a_head_is_judged_on_the_fold_that_it_has_not_seen(pool):
    recipe = race.head_recipe(ROOT)
    found = pool.out_of_fold(recipe)
    assert found.shape == (59, 2)
    assert found.sum(axis=1) == pytest.approx(np.ones(59))
    right = (found.argmax(axis=1) == pool.labels).mean()
    assert 0.3 < right < 0.7  # a head that had seen them knows all 80 features of 59 samples by heart


def test_samples_that_may_not_be_learnt_from_change_nothing(pool):
    recipe = race.head_recipe(ROOT)
    allowed = pool.subset(0.5, 0)
    before = pool.out_of_fold(recipe, allowed)
    pool.labels = np.where(allowed, pool.labels, 1 - pool.labels)
    assert (pool.out_of_fold(recipe, allowed) == before).all()
