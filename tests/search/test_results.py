"""What a sweep says when it ends: how far luck may have chosen its winner, and which params mattered."""

import numpy as np
import pytest

from darkroom.search import results
from darkroom.search.journal import COMPLETE, Trial
from darkroom.search.space import Range, Space


def test_the_luck_of_the_winner_grows_with_the_trials_and_shrinks_with_the_images():
    few, many = results.optimism(5, {"n": 100, "accuracy": 0.9}), results.optimism(50, {"n": 100, "accuracy": 0.9})
    assert "the best of 5 trials may look up to 4.1 points better than it is" in few
    assert "the best of 50 trials may look up to 8.8 points better" in many
    assert "up to 0.7 points" in results.optimism(50, {"n": 10_000, "accuracy": 0.9})
    assert results.optimism(1, {"n": 100, "accuracy": 0.9}) == results.optimism(9, {}) == ""


@pytest.mark.parametrize(("images", "accuracy", "count"), [(50, 0.9, 5), (150, 0.95, 20), (400, 0.8, 50)])
def test_the_luck_of_the_winner_is_not_less_than_that_of_simulated_winners(images, accuracy, count):
    """Estimated with the error of the best accuracy itself it was 0.3 to 0.9 points less."""
    won = np.random.default_rng(0).binomial(images, accuracy, (2000, count)).max(axis=1) / images
    said = [float(results.optimism(count, {"n": images, "accuracy": one}).split("up to ")[1].split()[0]) for one in won]
    assert 0 <= np.mean(said) - 100 * (won.mean() - accuracy) <= 0.7


def test_importance_gives_nothing_to_the_order_of_equal_trials():
    """In a grid the number of a trial tells its first param."""
    space = Space(name="a", metric="val.accuracy", goal="maximize", params={"lr": [1, 2, 3, 4], "head": ["a", "b"]})
    grid = [{"lr": lr, "head": head} for lr in (1, 2, 3, 4) for head in "ab" for _ in range(2)]
    equal = [Trial(number, params, COMPLETE, 0.9 if number else 0.8) for number, params in enumerate(grid)]
    assert max(results.importance(space, equal).values()) < 0.1
    by_head = [Trial(number, params, COMPLETE, float(params["head"] == "a")) for number, params in enumerate(grid)]
    assert results.importance(space, by_head) == {"lr": 0.0, "head": 1.0}


def test_importance_finds_the_param_that_matters():
    space = Space(name="a", params={"lr": Range(low=0, high=1), "head": ["a", "b"]})
    done = [
        Trial(number, params, COMPLETE, params["lr"] ** 2)
        for number, params in ((number, space.draw(number)) for number in range(60))
    ]
    shares = results.importance(space, done)
    assert shares["lr"] > 0.8
    assert shares["head"] < 0.15
    assert results.importance(space, done[:5]) == {}
    assert results.figure(space, done).axes[1].get_title().startswith("Share of the variance")
    assert "60 complete" in results.in_words(space, results.table(space, done))


def test_a_search_of_epochs_shows_those_that_were_asked_for_and_those_that_ran():
    space = Space(name="a", params={"epochs": [3, 9]})
    done = [Trial(n, {"epochs": epochs}, COMPLETE, 0.5, [0.6, 0.5]) for n, epochs in enumerate((3, 9))]
    frame = results.table(space, done)
    assert [*frame["epochs"]] == ["3", "9"]
    assert [*frame["epochs run"]] == [2, 2]
    assert results.in_words(space, frame).splitlines()[0].split() == ["trial", "epochs", "val.loss", "seconds"]
