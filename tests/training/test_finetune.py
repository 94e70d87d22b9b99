import numpy as np
import pytest

from darkroom.training.finetune import beyond_noise


def test_a_gain_within_two_standard_errors_is_none():
    gains = np.array([0.3, -0.1, 0.3, -0.1])  # a mean of 0.1 with a standard error of 0.115
    assert beyond_noise(gains) == 0
    assert beyond_noise(gains + 0.1) == 0  # 1.7 standard errors
    assert beyond_noise(gains + 0.2) == pytest.approx(0.3)  # 2.6
    assert beyond_noise(-gains - 0.2) == 0


def test_one_image_shows_no_gain():
    assert beyond_noise(np.array([5.0])) == 0
