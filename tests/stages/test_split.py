"""split: copies share a split, names and order do not matter, wrong params stop with their name."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from darkroom.core import files
from darkroom.core.errors import ParamsError, SourceError
from tests.images.pictures import ALTERED, class_folders, encoded, photos
from tests.stages.pipeline import index, run_fetch, run_split, splits


@pytest.fixture(autouse=True)
def pictures(tmp_path, monkeypatch) -> Path:
    """36 photos in two classes, indexed."""
    monkeypatch.chdir(tmp_path)
    folder = class_folders(Path("pictures"), each=18)
    run_fetch()
    return folder


def by_location() -> dict[str, str]:
    split = splits()
    return {row["location"]: split[row["id"]] for row in index()}


def test_every_image_has_one_split_and_every_class_is_in_each():
    assert run_split() == "22 train, 8 val, 6 test"
    split = splits()
    labels = Counter((row["label"], split[row["id"]]) for row in index())
    assert len(labels) == 6
    rows = list(files.read_csv(Path("data/split.csv")))
    assert [row["id"] for row in rows] == sorted(split)
    assert all((row["fold"] == "") == (row["split"] == "test") for row in rows)


def test_other_names_and_another_folder_give_the_same_split(pictures):
    run_split()
    before = splits()
    for number, path in enumerate(sorted(pictures.rglob("*.jpg"), reverse=True)):
        path.rename(path.with_name(f"z{number}.jpg"))
    shutil.move(pictures, "elsewhere")
    run_fetch("elsewhere")
    run_split()
    assert splits() == before


def plant_copies(pictures: Path) -> list[tuple[str, str]]:
    """Return an exact copy and two altered ones of each of six photos, as pairs of locations."""
    pairs = []
    for number in range(2, 14, 2):
        (pictures / f"china/exact{number}.jpg").write_bytes(encoded(number))
        pairs.append((f"china/{number}.jpg", f"china/exact{number}.jpg"))
        for name, change in (("half", "half the size"), ("bright", "brighter")):
            (pictures / f"china/{name}{number}.jpg").write_bytes(ALTERED[change](photos()[number]))
            pairs.append((f"china/{number}.jpg", f"china/{name}{number}.jpg"))
    return pairs


@pytest.mark.parametrize("seed", range(3))
def test_copies_share_a_split(pictures, seed):
    pairs = plant_copies(pictures)
    run_fetch()
    run_split(seed=seed)
    split = by_location()
    assert [pair for pair in pairs if split[pair[0]] != split[pair[1]]] == []


def test_copies_can_be_dropped_or_ignored(pictures):
    pairs = plant_copies(pictures)
    run_fetch()
    run_split(duplicates="drop")
    split = by_location()
    assert Counter(split.values())["dropped"] == len(pairs)
    for number in range(2, 14, 2):
        group = [f"china/{number}.jpg", *(f"china/{name}{number}.jpg" for name in ("exact", "half", "bright"))]
        assert sum(split[name] != "dropped" for name in group) == 1
    run_split(duplicates="ignore")
    assert "dropped" not in by_location().values()
    assert {row["duplicate_of"] for row in files.read_csv(Path("data/split.csv"))} == {""}


def test_a_copy_of_an_official_test_image_is_not_learnt(pictures):
    for part in ("train", "test"):
        shutil.copytree(pictures, Path("official") / part)
    for number in range(18):
        for name in ("china", "flower"):
            Path(f"official/{'test' if number < 12 else 'train'}/{name}/{number}.jpg").unlink()
    Path("official/train/china/copy.jpg").write_bytes(ALTERED["twice the size"](photos()[15]))
    Path("official/test/china/again.jpg").write_bytes(ALTERED["half the size"](photos()[15]))
    run_fetch("official")
    for duplicates in ("group", "drop"):  # where copies are dropped, an official test set stays whole as well
        run_split(duplicates=duplicates)
        split = by_location()
        assert split["train/china/copy.jpg"] == "dropped"
        assert (split["test/china/15.jpg"], split["test/china/again.jpg"]) == ("test", "test")


def test_groups_by_regular_expression_stay_together():
    run_fetch(group_by=r"/(\d)\d?\.jpg")
    run_split()
    parts = {}
    for row in index():
        parts.setdefault(row["group"], set()).add(splits()[row["id"]])
    assert {len(found) for found in parts.values()} == {1}


def test_a_limit_takes_so_many_of_each_class():
    run_split(limit=5)
    counts = Counter(by_location().values())
    assert counts["excluded"] == 26
    assert counts["train"] + counts["val"] + counts["test"] == 10
    assert min(counts["train"], counts["val"], counts["test"]) >= 2


def test_images_are_excluded_by_path_pattern_and_id():
    name = next(row["id"] for row in index() if row["location"] == "flower/3.jpg")
    run_split(exclude=f"[china/1.jpg, 'china/1?.jpg', {name}]")
    excluded = {location for location, part in by_location().items() if part == "excluded"}
    assert excluded == {"china/1.jpg", "flower/3.jpg", *(f"china/1{n}.jpg" for n in range(8))}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"exclude": "[chnia/1.jpg]"},
            r"exclude: 'chnia/1.jpg' is neither an id nor matches a path, such as china/1.jpg",
        ),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "leave nothing to learn from"),
        ({"duplicates": "keep"}, "duplicates is 'keep', expected one of drop, group, ignore"),
        ({"folds": 1}, "folds is 1, expected a whole number at least 2"),
        ({"limit": 0}, "limit is 0, expected"),
    ],
)
def test_wrong_params_are_named(changes, message):
    with pytest.raises(ParamsError, match=message):
        run_split(**changes)


def test_a_class_with_one_image_is_named(pictures):
    (pictures / "fox").mkdir()
    (pictures / "fox/1.jpg").write_bytes(ALTERED["grey"](photos()[1].crop((20, 20, 220, 160))))
    run_fetch()
    with pytest.raises(SourceError, match="the class 'fox' has 1 image"):
        run_split()


def test_a_class_of_nothing_but_copies_of_other_classes_stops_the_run(pictures):
    (pictures / "fox").mkdir()
    (pictures / "fox/1.jpg").write_bytes(ALTERED["grey"](photos()[1].transpose(0)))
    run_fetch()
    with pytest.raises(SourceError, match=r"every image of class 'fox' is a copy .* or set `duplicates: group`"):
        run_split(duplicates="drop")


def test_an_official_test_image_is_kept_when_copies_are_dropped_also_a_small_one(pictures):
    for part in ("train", "val", "test"):
        shutil.copytree(pictures, Path("official") / part)
        for path in sorted(Path("official", part).rglob("*.jpg")):
            if (int(path.stem) % 3) != ("train", "val", "test").index(part):
                path.unlink()
    for number, part in ((2, "test"), (1, "val")):  # 2 is of test, 1 of val, and train has a copy of each
        Path(f"official/train/china/large{number}.jpg").write_bytes(encoded(number, quality=80))
        Path(f"official/{part}/china/{number}.jpg").write_bytes(ALTERED["half the size"](photos()[number]))
    run_fetch("official")
    run_split(duplicates="drop")
    split = by_location()
    assert (split["test/china/2.jpg"], split["train/china/large2.jpg"]) == ("test", "dropped")
    assert (split["val/china/1.jpg"], split["train/china/large1.jpg"]) == ("val", "dropped")


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        ("['*']", r"of 2 classes no image is left, and a classifier needs two; exclude is \['\*'\] in params.yaml"),
        ("['flower/*']", "of 2 classes only the class 'china' is left, and a classifier needs two"),
    ],
)
def test_excluding_all_classes_but_one_is_refused(exclude, message):
    with pytest.raises(SourceError, match=message):
        run_split(exclude=exclude)


def test_a_group_that_holds_a_whole_class_names_group_by():
    run_fetch(group_by="'(jpg)'")
    with pytest.raises(SourceError, match=r"has 36 image\(s\) in one group, which `group_by` or copies hold together"):
        run_split()
