"""Photos that people labelled since: they only train, and nothing else moves because of them."""

from pathlib import Path

import pytest
from PIL import Image

from darkroom.core.errors import SourceError
from darkroom.core.files import sha256
from darkroom.splits.corrections import Correction, write_corrections
from tests.review.run import write_digits
from tests.stages.pipeline import index, run_fetch, run_split, splits

WHEN = "2026-11-28T05:00:00Z"


@pytest.fixture
def pictures(tmp_path, monkeypatch) -> dict[str, str]:
    """Return a source of 120 digits in the current folder, divided; the split of each by id."""
    monkeypatch.chdir(tmp_path)
    write_digits(Path("pictures"), 120, 0)
    run_fetch()
    run_split()
    return splits()


def add(*photos: tuple[Path, str], decision: str = "relabel") -> None:
    """Write added.csv with these files, which lie beside it, and their labels."""
    write_corrections(
        Path("added.csv"),
        [Correction(sha256(path), path.as_posix(), decision, "", label, "a test", WHEN, "") for path, label in photos],
    )


def photo(name: str, shade: int = 0) -> Path:
    """Return a picture that no digit resembles."""
    path = Path("new") / name
    path.parent.mkdir(exist_ok=True)
    image = Image.linear_gradient("L").rotate(shade).resize((40, 40))
    image.save(path)
    return path


def test_they_are_learnt_from_and_the_others_stay_where_they_are(pictures):
    add((photo("a.png"), "3"), (photo("b.jpg", 90), "smudge"))
    run_fetch()
    run_split()
    added = {row["id"]: row for row in index() if row["split"] == "added"}
    assert {row["label"] for row in added.values()} == {"3", "smudge"}
    assert all(row["location"].startswith("added://") and Path("data/raw/added").is_dir() for row in added.values())
    found = splits()
    assert {found[name] for name in added} == {"train"}
    assert {name: split for name, split in found.items() if name not in added} == pictures


@pytest.mark.parametrize(("split", "expected"), [("test", "dropped"), ("val", "dropped"), ("train", "train")])
def test_a_copy_of_an_image_that_judges_is_left_out(pictures, split, expected):
    known = {row["id"]: row for row in index()}
    original = next(known[name] for name in sorted(known) if pictures[name] == split)
    copy = Path("new") / "copy.bmp"
    copy.parent.mkdir()
    Image.open(Path("pictures") / original["location"]).save(copy)  # other bytes, the same pixels
    add((copy, original["label"]))
    run_fetch()
    run_split()
    (added,) = [row["id"] for row in index() if row["split"] == "added"]
    assert splits()[added] == expected
    assert {name: part for name, part in splits().items() if name != added} == pictures


def test_only_what_has_a_label_is_added(pictures):
    add((photo("a.png"), ""), decision="exclude")
    run_fetch()
    assert [row for row in index() if row["split"] == "added"] == []


def test_a_photo_that_is_gone_or_another_one_stops_the_run_by_line(pictures):
    path = photo("a.png")
    add((path, "3"))
    photo("a.png", 45)
    with pytest.raises(SourceError, match=r"added\.csv, line 2: new/a\.png is another file than was labelled"):
        run_fetch()
    path.unlink()
    with pytest.raises(SourceError, match=r"added\.csv, line 2: new/a\.png is not there; put the file back, or delete"):
        run_fetch()


def test_a_path_out_of_the_tables_folder_is_rejected(pictures, tmp_path):
    write_corrections(Path("added.csv"), [Correction("0" * 64, "../a.png", "relabel", "", "3", "", WHEN, "")])
    with pytest.raises(SourceError, match="is not there"):
        run_fetch()
