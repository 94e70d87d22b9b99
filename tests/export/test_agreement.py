import numpy as np
import pytest

from darkroom.core.errors import DarkroomError
from darkroom.export.answers import Agreement, compare, require

TRAINED = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.499998, 0.500002, 0.0]])


def check(exported: np.ndarray) -> Agreement:
    return require(TRAINED, exported, ["first", "second", "third"])


def test_equal_answers_agree():
    assert check(TRAINED.astype(np.float32)).other_class == 0


def test_a_numerical_tie_may_fall_the_other_way():
    exported = TRAINED.copy()
    exported[2] = [0.500002, 0.499998, 0.0]
    assert check(exported) == Agreement(3, pytest.approx(4e-6), 1, 1)


def test_another_class_is_refused_however_small_the_difference():
    trained = np.array([[0.5002, 0.4998]])
    exported = np.array([[0.4998, 0.5002]])
    with pytest.raises(DarkroomError, match="1 of 1 pictures get another class"):
        require(trained, exported, ["only"])


def test_a_probability_that_is_off_is_refused_and_its_picture_named():
    exported = TRAINED.copy()
    exported[1] += [0.002, -0.002, 0]
    with pytest.raises(DarkroomError, match=r"differ by up to 0.002 \(allowed: 0.001\), most for second"):
        check(exported)


def test_no_number_is_no_agreement():
    exported = TRAINED.copy()
    exported[0, 0] = np.nan
    with pytest.raises(DarkroomError, match="disagrees"):
        check(exported)


def test_another_number_of_classes_is_refused():
    with pytest.raises(DarkroomError, match=r"answers \(3, 2\), the trained one \(3, 3\)"):
        check(TRAINED[:, :2])


def test_an_empty_test_set_agrees():
    assert compare(TRAINED[:0], TRAINED[:0]) == Agreement(0, 0.0, 0, 0)


def test_of_two_comparisons_the_worse_counts():
    assert Agreement(9, 0.1, 0, 0).worse(Agreement(3, 0.2, 2, 1)) == Agreement(9, 0.2, 2, 1)
