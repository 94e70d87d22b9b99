import pytest

from darkroom.training.schedules import SCHEDULES, Plateau, factor


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_reaches_its_highest_and_never_exceeds_it(schedule):
    factors = [factor(schedule, at / 10, epochs=10, warmup=0) for at in range(100)]
    assert max(factors) == pytest.approx(1, abs=0.01)
    assert min(factors) > 0
    assert max(factors) <= 1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warmup_rises_in_a_straight_line(schedule):
    factors = [factor(schedule, at, epochs=10, warmup=2) for at in (0, 0.5, 1, 1.5)]
    assert factors == pytest.approx([0, 0.25, 0.5, 0.75], abs=1e-3)
    assert factors[0] > 0


def test_step_divides_by_ten_at_each_third():
    assert [factor("step", at, 9, 0) for at in (0, 2.9, 3, 5.9, 6, 8.9)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_is_half_way_down_in_the_middle():
    assert factor("cosine", 5, 10, 0) == pytest.approx(0.5)


def test_plateau_cuts_after_three_epochs_without_a_better_one():
    plateau = Plateau()
    for better in (True, False, False):
        plateau.epoch_ended(better)
    assert plateau.factor == 1
    plateau.epoch_ended(False)
    assert plateau.factor == pytest.approx(0.3)
    plateau.epoch_ended(True)
    assert plateau.factor == pytest.approx(0.3)
