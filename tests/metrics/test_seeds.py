import numpy as np
import pytest

from benchmarks.coverage import pooled_coverage
from darkroom.metrics.intervals import OUT_OF_FOLD
from darkroom.metrics.significance import over_seeds


def recipe(rng: np.random.Generator, seeds: int, images: int, accuracy: float, luck: float) -> np.ndarray:
    """Return which images each seed's classifier gets right: hard images for all, and seeds that differ by `luck`."""
    hard = rng.normal(size=images)
    own = rng.normal(size=(seeds, images)) * 0.7 + rng.normal(size=(seeds, 1)) * luck
    threshold = np.quantile(np.random.default_rng(0).normal(size=200_000) * np.sqrt(1 + 0.49 + luck**2), accuracy)
    return (hard + own < threshold).astype(float)


@pytest.mark.parametrize(("images", "luck"), [(150, 0.0), (150, 0.3), (2000, 0.3)])
@pytest.mark.parametrize("accuracy", [0.7, 0.95])
def test_the_interval_over_images_and_seeds_holds_the_accuracy_of_the_recipe(images, luck, accuracy):
    rng, held, one_seed = np.random.default_rng(1), 0, 0
    for _ in range(300):
        values = recipe(rng, 5, images, accuracy, luck)
        found = over_seeds(values)
        held += found.low <= accuracy <= found.high
        half = 1.96 * np.sqrt(values[0].mean() * (1 - values[0].mean()) / images)
        one_seed += abs(values[0].mean() - accuracy) <= half
    assert held / 300 >= 0.92
    assert luck == 0 or images == 150 or one_seed / 300 < 0.8  # what an interval over images alone holds


@pytest.mark.parametrize(("images", "seeds"), [(150, 5), (2000, 2), (2000, 5)])
def test_equal_recipes_differ_in_at_most_one_of_twenty_comparisons(images, seeds):
    rng, alarms = np.random.default_rng(2), 0
    for _ in range(300):
        hard = rng.normal(size=images)
        old, new = (
            (hard + rng.normal(size=(seeds, images)) * 0.7 + rng.normal(size=(seeds, 1)) * 0.3 < 1.2).astype(float)
            for _ in range(2)
        )
        found = over_seeds(new - old, difference=True)
        alarms += not found.low <= 0 <= found.high
    assert alarms / 300 <= 0.07


def test_images_of_a_group_are_one_draw():
    rng = np.random.default_rng(0)
    values = np.tile(np.repeat(rng.random(20) < 0.8, 10), (5, 1)).astype(float)
    values[0, :3] = 0
    grouped, alone = over_seeds(values, np.arange(200) // 10), over_seeds(values)
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_one_seed_or_one_image_has_no_interval_and_a_perfect_recipe_has_wilsons():
    assert over_seeds(np.ones((1, 50))).low is None
    assert over_seeds(np.ones((3, 1))).low is None
    found = over_seeds(np.ones((3, 50)))
    assert (found.mean, found.high, found.spread) == (1, 1, 0)
    assert 0.9 < found.low < 0.95
    same = over_seeds(np.zeros((3, 50)), difference=True)
    assert (same.low, same.high) == pytest.approx((-1.96 / 50, 1.96 / 50), rel=0.05)
    every = over_seeds(np.ones((3, 50)), difference=True)
    assert (0.9 < every.low < 1, every.high) == (True, 1)


def out_of_fold(rng: np.random.Generator, images: int, strengths: tuple[float, float]) -> np.ndarray:
    """Which of `images` two recipes answer rightly in 5 folds, each of which learns anew by least squares: (2, n)."""
    labels = rng.integers(0, 2, images)
    found = np.zeros((2, images))
    for recipe, strength in enumerate(strengths):
        features = rng.normal(size=(images, 8)) + strength * (2 * labels[:, None] - 1)
        for fold in range(5):
            held = np.arange(images) % 5 == fold
            weights = np.linalg.lstsq(features[~held], 2.0 * labels[~held] - 1, rcond=None)[0]
            found[recipe, held] = (features[held] @ weights > 0) == labels[held]
    return found


@pytest.mark.parametrize(("images", "strengths"), [(100, (0.3, 0.3)), (400, (0.3, 0.3)), (100, (0.4, 0.3))])
def test_the_pooled_interval_of_two_recipes_in_folds_holds_their_difference(images, strengths):
    """Training sets of folds overlap, so that answers are not independent draws."""
    rng = np.random.default_rng(3)
    answers = [out_of_fold(rng, images, strengths) for _ in range(400)]
    differences = [np.repeat(new[None] - old, 2, axis=0) for old, new in answers]  # two seeds answer the same
    truth = 0.0 if strengths[0] == strengths[1] else float(np.mean(differences))
    found = [over_seeds(values, difference=True, widen=OUT_OF_FOLD) for values in differences]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.95


def test_the_pooled_interval_of_folds_holds_the_mean_score_of_their_models():
    found = pooled_coverage(2, 100, 0.7, 1.0, trials=80, folds=3, features=40, truth=3_000)
    assert len(found) == 3
    assert min(found.values()) >= 0.93
