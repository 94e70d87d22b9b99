"""The tables of heads and of recipes: divisions, backbones side by side, few images, and what is written."""

import numpy as np
import pytest

from benchmarks import heads, recipes
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.training.data import Data


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> list[Shards]:
    """Features of 40 samples of two classes that are far apart."""
    folder = tmp_path_factory.mktemp("features")
    random = np.random.default_rng(0)
    for split, count in (("train", 28), ("val", 6), ("test", 6)):
        with write_shards(folder / split, "features", ["ant", "bee"]) as writer:
            for number in range(count):
                row = random.normal(size=(1, 4)) + 4 * (number % 2)
                writer.add(row.astype(np.float32), number % 2, f"{number:064x}")
            writer.close()
    return [Shards(folder / split) for split in ("train", "val", "test")]


def test_a_division_holds_every_sample_once_and_each_class_alike(parts):
    tables = heads.divide(parts, 0, 0)
    assert [len(table) for table in tables] == [28, 6, 6]
    assert [np.bincount(table.labels).tolist() for table in tables] == [[14, 14], [3, 3], [3, 3]]
    rows = np.concatenate([heads.plain(table) for table in tables])
    assert len(np.unique(rows, axis=0)) == 40


@pytest.mark.parametrize(("each", "expected"), [(1, [2, 2, 6]), (8, [16, 4, 6])])
def test_so_many_images_of_each_class(parts, each, expected):
    assert [len(table) for table in heads.divide(parts, 1, each, each=True)] == expected


def test_features_of_two_backbones_lie_side_by_side(parts):
    tables = heads.divide(parts, 0, 0)
    both = heads.SideBySide([tables[0], tables[0]])
    assert both.row_shape == (1, 8)
    assert np.array_equal(heads.plain(both), np.hstack([heads.plain(tables[0])] * 2))


@pytest.mark.parametrize("head", [heads.DEFAULT, heads.PEER])
@pytest.mark.parametrize("each", [1, 8])
def test_each_head_learns_from_one_image_a_class_and_from_more(parts, head, each):
    found = heads.measure(heads.divide(parts, 0, each, each=True), head)
    assert found["accuracy"] == 1
    assert found["images"] == 2 * each


def test_the_interval_is_wider_than_that_of_independent_divisions():
    half, p = heads.uncertainty(np.array([0.90, 0.92, 0.94]))
    assert half == pytest.approx(4.303 * 0.02 * (1 / 3 + 0.15 / 0.7) ** 0.5, abs=1e-4)
    assert p < 0.001
    assert heads.uncertainty(np.zeros(3)) == (0.0, 1.0)


def test_the_table_replaces_what_stood_between_its_markers(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{heads.BEGINS}\nold\n{heads.ENDS}\nafter\n")
    monkeypatch.setattr(heads, "README", readme)
    values = {"images": 20, "changed": 0.01, "stop": 0.5, "temperature": 1.0, "seconds": 0.25}

    def found(*accuracies: float) -> list[dict[str, float]]:
        return [values | {"accuracy": accuracy, "log_loss": 1 - accuracy} for accuracy in accuracies]

    heads.write({
        f"digits/small_cnn|each16|{heads.DEFAULT}": found(0.8),
        f"digits/small_cnn|0|{heads.PEER}": found(0.9, 0.8),
        f"digits/small_cnn|0|{heads.DEFAULT}": found(0.9, 0.9),
    })  # fmt: skip
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{heads.ENDS}\nafter\n")
    assert "old" not in text
    rows = [row for row in text.splitlines() if row.startswith("| digits")]
    assert rows[0] == ("| digits | small_cnn | 20 | linear (default) | 0.9000 ± 0.0000 | 0.1000 ± 0.0000 |  | 1.00% | "
                       "0.50 of all | 1.00 | 0.25 |")  # fmt: skip
    assert "-0.0500 (p 0." in rows[1]
    assert "scikit-learn" in rows[1]
    assert "16 a class" in rows[2]
    assert "±" not in rows[2]


def test_few_images_of_each_class_are_taken_from_the_same_split(parts):
    table, val = heads.table(parts, np.arange(28)), heads.table(parts, np.arange(28, 34))
    data = recipes.fewer(Data(table, val, table, val, facts={}), 3)
    assert np.bincount(data.train_features.labels).tolist() == [3, 3]
    assert np.bincount(data.val_features.labels).tolist() == [1, 1]
    rows = {tuple(row) for row in heads.plain(table)}
    assert rows.issuperset(tuple(row) for row in heads.plain(data.train_images))


def test_the_table_of_recipes_names_what_differs_from_the_default_and_the_peers(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{recipes.BEGINS}\nold\n{recipes.ENDS}\nafter\n")
    monkeypatch.setattr(recipes, "README", readme)
    values = {"images": 240, "log_loss": 0.1, "seconds": 2.0, "share": 0.5}

    def row(name: str, accuracies: list[float], **more: float) -> dict:
        folds = [values | more | {"accuracy": accuracy} for accuracy in accuracies]
        return {"set": "ants", "backbone": "timm/x", "params": {"image_size": 128}, "each": 0, "recipe": name,
                "folds": folds}  # fmt: skip

    recipes.write([row(recipes.DEFAULT, [0.9, 0.8, 0.9], changed=0.01), row("finetune", [0.95, 0.85, 0.96])])
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{recipes.ENDS}\nafter\n")
    rows = [line for line in text.splitlines() if line.startswith("| ants | x at 128 px | 240 |")]
    assert rows[0].endswith("| 0.1000 ± 0.0000 |  | 1.0% |  | 2.0 |")
    assert "+0.0533 (p 0." in rows[1]
    assert "+0.0000 (p 1.00) |  | 0.5 0.5 0.5 |" in rows[1]
    peer = next(line for line in text.splitlines() if line.startswith("| hymenoptera | fastai |"))
    assert 0 < float(peer.split("|")[4]) <= 1  # Fisher's p
