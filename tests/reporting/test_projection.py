import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from darkroom.reporting.projection import project


def test_neighbours_on_the_map_are_of_one_class():
    images, labels = load_digits(return_X_y=True)
    places = project(images[:400])
    assert places.shape == (400, 2)
    assert cross_val_score(KNeighborsClassifier(5), places, labels[:400]).mean() > 0.9
    assert (places == project(images[:400])).all()


@pytest.mark.parametrize(
    "features",
    [np.empty((0, 0)), np.ones((1, 5)), np.ones((3, 5)), np.ones((50, 5)), np.arange(50.0)[:, None], np.eye(6)],
    ids=["none", "one", "three", "all alike", "one dimension", "equally far"],
)
def test_odd_features_still_have_places(features):
    places = project(features)
    assert places.shape == (len(features), 2)
    assert np.isfinite(places).all()
