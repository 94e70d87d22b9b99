import numpy as np
import pytest

from darkroom.metrics.slices import slices


def test_the_slice_that_is_worse_comes_first_and_is_told_from_chance():
    rng = np.random.default_rng(0)
    bright = rng.uniform(0, 255, 900)
    camera = rng.choice(["a", "b", "c"], 900)
    correct = rng.random(900) < np.where(bright < 85, 0.7, 0.95)
    found = slices(correct, {"camera": camera.tolist()}, {"brightness": bright})
    assert [part.column for part in found[:1]] == ["brightness"]
    assert found[0].value.startswith("0.")
    assert found[0].p_adjusted < 0.01
    assert found[0].low < found[0].accuracy < found[0].high < 0.8
    assert sum(part.images for part in found if part.column == "camera") == 900
    assert all(part.p_adjusted > 0.05 for part in found[1:] if part.column == "camera")


def test_among_many_slices_of_equals_hardly_one_is_called_worse():
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(60):
        texts = {f"column {n}": rng.integers(0, 8, 600).astype(str).tolist() for n in range(5)}
        alarms += slices(rng.random(600) < 0.9, texts, {})[0].p_adjusted <= 0.05
    assert alarms <= 6


def test_images_that_belong_together_are_fewer_draws():
    correct = np.repeat([True] * 17 + [False] * 3, 10)
    values = {"camera": ["x" if row >= 150 else "y" for row in range(200)]}
    alone, grouped = (slices(correct, values, {}, effect=effect)[0] for effect in (1.0, 10.0))
    assert alone.p < 1e-6 < 0.005 < grouped.p
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_small_or_whole_slices_are_left_out(count):
    assert slices(np.ones(count, bool), {"a": ["x"] * count}, {"b": np.arange(count) * 1.0}) == []
    assert (
        slices(np.ones(50, bool), {"a": ["x"] * 50, "b": [""] * 50}, {"c": np.full(50, np.nan), "d": np.ones(50)}) == []
    )


@pytest.mark.parametrize(
    ("first", "step", "names"),
    [
        (0, 1, ["0 to 9.75", "9.75 to 19.5", "19.5 to 29.25", "29.25 to 39"]),
        (1_700_000_000, 4, ["1,700,000,000 to 1,700,000,040", "1,700,000,040 to 1,700,000,080",
                            "1,700,000,080 to 1,700,000,120", "1,700,000,120 to 1,700,000,160"]),
        (1, 2.0**-48, None),
    ],
)  # fmt: skip
def test_parts_of_numbers_that_lie_close_together_have_names_of_their_own(first, step, names):
    found = slices(np.arange(40) % 2 == 0, {}, {"taken": first + step * np.arange(40)})
    assert len({part.value for part in found}) == 4
    if names:
        assert {part.value for part in found} == {*names}
