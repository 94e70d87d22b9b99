import numpy as np
import pytest

from darkroom.metrics.influence import PRIOR, SCORES, Counts, influence
from darkroom.metrics.scores import Scorer
from tests.metrics.made import draw


def scorer(images: int, classes: int) -> Scorer:
    return Scorer.of(*draw(images, classes))


@pytest.mark.parametrize("name", SCORES)
def test_the_score_of_counts_is_that_of_the_scorer(name):
    own = scorer(300, 5)
    counts = Counts(*(sums[0] for sums in own.counts(np.ones((1, 300)))))
    assert SCORES[name](counts).value == pytest.approx(own.plain(np.ones((1, 300)))[name][0])


@pytest.mark.parametrize("name", SCORES)
def test_the_gradient_is_that_of_a_small_step(name):
    own = scorer(300, 5)
    hits, images, answers = (sums[0] for sums in own.counts(np.ones((1, 300))))
    found, step = SCORES[name](Counts(hits, images, answers)), 1e-4
    for place in range(5):
        unit = step * np.eye(5)[place]
        moved = [
            (SCORES[name](Counts(hits + up[0], images + up[1], answers + up[2])).value
             - SCORES[name](Counts(hits - up[0], images - up[1], answers - up[2])).value) / (2 * step)
            for up in ((unit, 0, 0), (0, unit, 0), (0, 0, unit))
        ]  # fmt: skip
        expected = (found.hits[place], found.images[place], found.answers[place])
        assert moved == pytest.approx(expected, abs=1e-6), (name, place)


@pytest.mark.parametrize("name", SCORES)
def test_the_influences_sum_to_nothing_but_for_the_prior_and_their_spread_is_the_bootstraps(name):
    own = scorer(2000, 5)
    found = influence(name, own)
    weights = np.random.default_rng(0).multinomial(2000, np.full(2000, 1 / 2000), 400).astype(float)
    spread = float(own.plain(weights)[name].std())
    assert abs(found.images.sum()) < PRIOR / 1000
    assert np.sqrt((found.images**2).sum()) == pytest.approx(spread, rel=0.12)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("case", "labels", "answers"),
    [("all right", [0, 1, 2] * 4, [0, 1, 2] * 4), ("all wrong", [0, 1, 2] * 4, [1, 2, 0] * 4),
     ("one class", [1] * 12, [1] * 12), ("a class absent", [0, 1] * 6, [0, 2] * 6),
     ("no answer", [0, 1] * 6, [-1] * 12)],
)  # fmt: skip
def test_odd_answers_give_finite_influences(name, case, labels, answers):
    found = influence(name, Scorer(np.array(labels), np.full((12, 3), 1 / 3), np.array(answers)))
    assert np.isfinite(found.images).all(), case
    assert found.prior > 0 or case == "one class"
    assert np.isfinite(found.value)


def test_the_expectation_of_macro_f1_lacks_of_the_truth_what_the_bias_says():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 50, 500)
    answers = np.where(rng.random(500) < 0.6, labels, rng.integers(0, 50, 500))
    own = Scorer(labels, np.full((500, 50), 0.02), answers)
    weights = rng.multinomial(500, np.full(500, 1 / 500), 400).astype(float)
    lacks = float(own.plain(weights)["macro_f1"].mean() - own.plain(np.ones((1, 500)))["macro_f1"][0])
    counts = Counts(*(sums[0] for sums in own.counts(np.ones((1, 500)))))
    assert SCORES["macro_f1"](counts).bias == pytest.approx(lacks, abs=0.006)
