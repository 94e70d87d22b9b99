"""Which images to label next: unsure ones, and no two alike."""

import numpy as np

from darkroom.review.next_photos import margins, most_useful


def test_unsure_images_that_are_unlike_each_other_come_first():
    features = np.eye(4).repeat(10, axis=0)  # four pictures, ten copies of each
    sure = np.array([[0.98, 0.02]] * 20 + [[0.52, 0.48]] * 20)
    for seed in range(20):
        chosen = most_useful(features, sure, 3, seed)
        assert chosen[0] >= 20
        # One of the sure ones stands for all of them: to the gradients, they are alike.
        assert sorted(max(1, row // 10) for row in chosen) == [1, 2, 3]


def test_as_many_as_there_are_each_once_and_the_same_every_time():
    random = np.random.default_rng(0)
    features = random.normal(size=(6, 3))
    probabilities = random.dirichlet(np.ones(3), 6)
    chosen = most_useful(features, probabilities, 50, seed=1)
    assert sorted(chosen.tolist()) == list(range(6))
    assert most_useful(features, probabilities, 50, seed=1).tolist() == chosen.tolist()
    assert most_useful(features[:0], probabilities[:0], 3, seed=1).tolist() == []


def test_images_that_are_all_the_same_or_all_sure_are_chosen_once_each():
    same = np.ones((5, 2))
    for answers in (np.array([[0.5, 0.5]] * 5), np.array([[1.0, 0.0]] * 5)):
        assert sorted(most_useful(same, answers, 5, seed=0).tolist()) == list(range(5))


def test_the_margin_is_the_lead_of_the_first_class():
    assert np.allclose(margins(np.array([[0.5, 0.2, 0.3], [0.1, 0.1, 0.8]])), [0.2, 0.7])
