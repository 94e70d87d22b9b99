"""Learning curves of digits' features, and forecasts held to curves that are known."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.images.shard_writer import write_shards
from darkroom.search import learning_curve
from darkroom.search.learning_curve import Curve, fit, fit_errors
from darkroom.search.race import head_recipe
from tests.conftest import ROOT

SIZES = np.array([2.0 ** (-step / 2) for step in range(8, -1, -1)]) * 800


def write_run(root: Path, count: int = 600, features: bool = True) -> None:
    """Write what `dvc repro` leaves of digits: pixels as features, splits with folds; three quarters are train."""
    pixels, labels = load_digits(return_X_y=True)
    classes = [str(label) for label in range(10)]
    rows = []
    for split, chosen in (("train", range(count * 3 // 4)), ("val", range(count * 3 // 4, count))):
        for folder, tensor in (("features", "features"), ("shards", "images")):
            with write_shards(root / "data" / folder / split, tensor, classes) as writer:
                for number in chosen if features or folder == "shards" else ():
                    row = pixels[number].astype(np.float32)[None] / 16
                    if folder == "shards":
                        row = np.zeros((8, 8, 3), np.uint8)
                    writer.add(row, int(labels[number]), f"{number:064x}")
                writer.close()
        rows += [(f"{number:064x}", split, number % 5, "") for number in chosen]
    files.write_csv(root / "data/split.csv", ("id", "split", "fold", "duplicate_of"), rows)
    (root / "params.schema.json").write_bytes((ROOT / "params.schema.json").read_bytes())
    text = (ROOT / "params.yaml").read_text()
    assert "min_steps: 500\n" in text
    (root / "params.yaml").write_text(text.replace("min_steps: 500\n", "min_steps: 60\n"))  # of some hundred heads


def test_a_power_law_is_found_again_with_and_without_a_floor():
    for floor, scale, exponent in ((0.0, 2.0, 0.5), (0.04, 3.0, 0.8)):
        errors = floor + scale * SIZES**-exponent
        found = fit_errors(SIZES, errors[None], floor=True)
        assert found[0][0] + found[1][0] * 1600 ** -found[2][0] == pytest.approx(
            floor + scale * 1600**-exponent, abs=0.002
        )
    assert fit_errors(SIZES, errors[None], floor=False)[0][0] == 0


def test_forecasts_hold_the_truth_of_known_curves_and_narrow_with_more_images():
    """Answers drawn from power laws: 95 % intervals at twice the images, 40 curves."""
    random, inside, widths = np.random.default_rng(1), 0, {300: [], 3000: []}
    for number in range(40):
        n = (300, 3000)[number % 2]
        floor, scale, exponent = random.uniform(0, 0.08), random.uniform(1, 4), random.uniform(0.3, 0.9)
        sizes = SIZES / 800 * n

        def error(size, floor=floor, scale=scale, exponent=exponent):
            return np.clip(floor + scale * size**-exponent, 0, 1)

        right = random.random(n) > error(sizes)[:, None]
        curve = Curve(sizes, right.astype(float), np.full(9, 0.002), random.integers(0, 3, n))
        _, low, high = fit(curve, number).accuracy(2 * n)
        inside += low <= 1 - error(2 * n) <= high
        widths[n].append(high - low)
    assert inside >= 36
    assert np.mean(widths[3000]) < np.mean(widths[300]) / 2


def test_a_flat_curve_promises_nothing():
    right = np.tile(np.random.default_rng(0).random(500) > 0.1, (9, 1)).astype(float)
    middle, low, _ = fit(Curve(SIZES, right, np.full(9, 1e-4), np.zeros(500, np.int64)), 0).gain(800, 800)
    assert low < 0.002
    assert middle < 0.005


def test_the_interval_of_a_gain_holds_the_noise_of_measuring_it():
    """Curves of images that change sides at random: 95 % of measured gains of nothing lie inside."""
    random, inside = np.random.default_rng(2), 0
    for number in range(40):
        right = (random.random((10, 400)) > 0.1).astype(float)
        low, high = fit(Curve(SIZES, right[:9], np.full(9, 0.0), np.zeros(400, np.int64)), number).gain(800, 800)[1:]
        inside += low <= right[9].mean() - right[8].mean() <= high
    assert inside >= 36


def test_the_curve_of_digits_rises_and_every_class_has_its_own(tmp_path, monkeypatch, capsys):
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert learning_curve.main(["--more", "100", "--hide-half"]) == 0
    said = capsys.readouterr().out
    assert "100 more: +" in said
    assert "480 more: +" in said  # as many again
    assert "half of the images hidden: " in said
    curve = files.read_csv(tmp_path / ".darkroom/learning-curve.csv")
    rows = [{name: float(value) for name, value in row.items()} for row in curve]
    assert [row["images"] for row in rows] == sorted(row["images"] for row in rows)
    assert rows[-1]["images"] == 480
    assert rows[0]["accuracy"] < rows[-1]["accuracy"] - 0.05
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows)
    classes = list(files.read_csv(tmp_path / ".darkroom/learning-curve-classes.csv"))
    assert {row["class"] for row in classes} == {str(label) for label in range(10)}
    assert (tmp_path / ".darkroom/learning-curve.png").stat().st_size > 5000


def test_without_features_the_way_to_get_them_is_told(tmp_path, monkeypatch):
    write_run(tmp_path, features=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DarkroomError, match=r"data/features is empty: .* run `dvc exp run -S freeze=backbone embed`"):
        learning_curve.main([])


def test_too_few_images_are_rejected(tmp_path):
    write_run(tmp_path, count=60)
    pool = learning_curve.open_pool(tmp_path)
    with pytest.raises(DarkroomError, match="60 images are too few for a learning curve; expected 120 or more"):
        learning_curve.measure(pool, head_recipe(tmp_path))


def test_parts_of_the_images_never_learn_from_the_others(tmp_path):
    write_run(tmp_path, count=300)
    pool = learning_curve.open_pool(tmp_path)
    rows = pool.subset(0.7, 0)
    for share in (0.3, 0.8):
        assert not (pool.subset(share, 1, rows) & ~rows).any()
    before = learning_curve.measure(pool, head_recipe(tmp_path), rows)
    pool.labels = np.where(rows, pool.labels, (pool.labels + 1) % 10)
    after = learning_curve.measure(pool, head_recipe(tmp_path), rows)
    assert (before.right == after.right).all()
