"""preprocess: shards that depend on the content alone, rejects that are named, and pictures of the data."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.core import files
from darkroom.core.errors import SourceError
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.images.shards import Shards
from tests.images.pictures import ALTERED, METADATA_ALONE, class_folders, encoded, photos
from tests.sources.archives import packed
from tests.stages.pipeline import index, outputs, run_all, run_fetch, run_framing, run_preprocess, run_split


@pytest.fixture(autouse=True)
def pictures(tmp_path, monkeypatch) -> Path:
    """36 photos in two classes."""
    monkeypatch.chdir(tmp_path)
    return class_folders(Path("pictures"), each=18)


def shards(split: str) -> Shards:
    return Shards(Path("data/shards") / split)


def test_shards_hold_every_image_of_their_split_in_order_of_id():
    assert run_all() == "22 train, 8 val, 6 test images of 32 px (0 set aside)"
    rows = {row["id"]: row for row in index()}
    for split in ("train", "val", "test"):
        opened = shards(split)
        assert opened.ids() == sorted(opened.ids())
        for place, (name, label) in enumerate(zip(opened.ids(), opened.labels, strict=True)):
            data = Path("pictures", rows[name]["location"]).read_bytes()
            assert np.array_equal(opened.rows(np.array([place]))[0], decode(data, Framing(32, "crop", 32)))
            assert opened.classes[label] == rows[name]["label"]


@pytest.mark.parametrize(("side", "size", "noted"), [(200, 28, True), (200, 64, False), (64, 28, False)])
def test_photos_for_a_network_of_small_pictures_are_noted(side, size, noted, capsys):
    for path in Path("pictures").rglob("*.*"):
        Image.open(path).convert("RGB").resize((side, side)).save(path.with_suffix(".png"))
        if path.suffix != ".png":
            path.unlink()
    run_all(image_size=size)
    told = f"images of {side} x {side} px (median) are reduced to {size} px" in capsys.readouterr().err
    notes = files.read_json(Path("data/shards/data.json"))["notes"]
    assert told == noted == any("reduced to" in note for note in notes)


def test_the_facts_of_the_shards():
    run_all(resize="pad", image_size=40)
    facts = shards("train").index
    pixels = shards("train").rows(np.arange(22)).reshape(-1, 3) / 255
    assert facts["framing"] == {"size": 40, "resize": "pad", "short_side": 40}
    assert facts["image_size"] == 40
    assert facts["flips"] is True
    np.testing.assert_allclose(facts["mean"], pixels.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(facts["std"], pixels.std(axis=0), atol=1e-5)
    for split in ("val", "test"):
        assert {key: shards(split).index[key] for key in ("mean", "std")} == {
            key: facts[key] for key in ("mean", "std")
        }
    samples = list(files.read_csv(Path("data/shards/test/samples.csv")))
    assert [row["id"] for row in samples] == shards("test").ids()
    assert tuple(samples[0]) == ("id", "label", "location", "width", "height")


def test_one_worker_and_three_give_the_same_bytes(monkeypatch):
    found = []
    for workers in ("1", "3"):
        monkeypatch.setenv("DARKROOM_WORKERS", workers)
        run_all()
        found.append(outputs())
    assert found[0] == found[1]
    assert not [name for name in found[0] if name.endswith(".tmp")]


def test_an_archive_gives_the_same_tensors_as_its_folder(pictures):
    run_all()
    before = {path.name: files.sha256(path) for path in Path("data/shards/train").glob("*.safetensors")}
    run_all(packed(pictures, ".tar.gz"))
    assert {path.name: files.sha256(path) for path in Path("data/shards/train").glob("*.safetensors")} == before


BAD = {"text.jpg": b"hello", "empty.png": b"", "cut.jpg": encoded(5)[:-300], "page.jpg": b"<html></html>"}


def test_what_cannot_be_decoded_is_set_aside_named_and_counted(pictures):
    for name, data in BAD.items():
        (pictures / "china" / name).write_bytes(data)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in pictures.rglob("*.*")}
    run_all(max_rejects=0.2)
    rejects = {row["location"]: row["reason"] for row in files.read_csv(Path("data/rejects.csv"))}
    assert rejects == {
        "china/cut.jpg": "truncated",
        "china/empty.png": "empty file",
        "china/page.jpg": "an HTML or XML page, saved under this name",
        "china/text.jpg": "not an image of a known format",
    }
    metrics = files.read_json(Path("data/shards/data.json"))
    assert metrics["rejects"]["total"] == 4
    assert metrics["rejects"]["by_reason"]["truncated"] == 1
    assert metrics["train"] + metrics["val"] + metrics["test"] == 36
    assert sum(len(shards(split)) for split in ("train", "val", "test")) == 36
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in pictures.rglob("*.*")} == before


def test_a_link_to_nothing_and_a_pipe_are_set_aside(pictures):
    run_framing()  # which rejects a pipe: this one comes later
    (pictures / "china/gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(pictures / "flower/pipe.jpg")
    run_fetch()
    run_split()
    run_preprocess(framed=True, max_rejects=0.1)
    assert {row["location"]: row["reason"] for row in files.read_csv(Path("data/rejects.csv"))} == {
        "china/gone.jpg": "cannot be read: No such file or directory",
        "flower/pipe.jpg": "a pipe, socket or device, not a file",
    }


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file of /proc that cannot be read")
def test_a_file_whose_reading_fails_is_set_aside_by_name(pictures):
    (pictures / "china/bad_sector.jpg").symlink_to("/proc/self/mem")  # a regular file; its first byte gives EIO
    run_all(max_rejects=0.1)
    assert {row["location"]: row["reason"] for row in files.read_csv(Path("data/rejects.csv"))} == {
        "china/bad_sector.jpg": "cannot be read: Input/output error"
    }


def test_too_many_rejects_stop_the_run_with_their_list(pictures):
    for name, data in BAD.items():
        (pictures / "china" / name).write_bytes(data)
    with pytest.raises(SourceError, match=r"4 of 40 files cannot be decoded, more than max_rejects 0.05") as caught:
        run_all()
    assert "\n  china/cut.jpg: truncated" in str(caught.value)
    assert not Path("data/shards/train").exists()
    assert len(list(files.read_csv(Path("data/rejects.csv")))) == 4


def test_a_file_that_changed_since_it_was_indexed_is_noticed(pictures):
    run_fetch()
    run_split()
    shutil.copy(pictures / "china/1.jpg", pictures / "china/2.jpg")
    with pytest.raises(SourceError, match=r"china/2.jpg has changed since it was indexed; run `dvc repro fetch`"):
        run_preprocess()
    (pictures / "china/2.jpg").unlink()
    with pytest.raises(SourceError, match="has changed"):
        run_preprocess()


def test_copies_and_conflicts_are_counted_and_shown(pictures):
    (pictures / "china/copy.jpg").write_bytes(encoded(4))
    (pictures / "china/small.jpg").write_bytes(ALTERED["half the size"](photos()[6]))
    (pictures / "flower/wrong.jpg").write_bytes(encoded(8))
    run_all()
    metrics = files.read_json(Path("data/shards/data.json"))
    assert metrics["duplicates"] == {"exact": 2, "near": 1}
    assert metrics["label_conflicts"]["total"] == 1
    assert sorted(metrics["label_conflicts"]["pairs"][0]) == ["china/8.jpg (china)", "flower/wrong.jpg (flower)"]
    assert metrics["per_class"]["china"]["train"] > 0
    assert metrics["sizes"]["width"] == {"min": 48, "median": 96.0, "max": 96}
    with Image.open("plots/duplicates.png") as picture:
        assert picture.width > 200


def test_digits_fill_the_whole_pipeline(monkeypatch):
    root = Path(__file__).parents[2]
    run_all(root / "sources/digits.yaml", image_size="auto")
    metrics = files.read_json(Path("data/shards/data.json"))
    assert metrics["images"] == 1797
    assert metrics["label_conflicts"]["total"] == 0
    assert metrics["duplicates"]["exact"] + metrics["duplicates"]["near"] < 10
    assert shards("train").index["image_size"] == 28
    assert shards("train").index["flips"] is False
    ink = shards("train").rows(np.arange(200)).astype(float)[..., 0]
    rows, columns = np.indices((28, 28))
    middles = [(ink * axis).sum((1, 2)) / ink.sum((1, 2)) for axis in (rows, columns)]
    assert np.abs(np.array(middles) - 13.5).max() < 1.5  # as MNIST: the centre of mass in the centre


def test_odd_images_make_rejects_and_shards_and_no_noise(shared, capfd):
    run_all(shared / "data/odd-images", image_size=64, max_rejects=0.5, duplicates="ignore", val_fraction=0.1,
            missing_classes="drop", exclude=list(METADATA_ALONE))  # fmt: skip
    rejects = list(files.read_csv(Path("data/rejects.csv")))
    manifest = (shared / "data/odd-images/MANIFEST.tsv").read_text().splitlines()[1:]
    bad = {"/".join(line.split("\t")[:2]) for line in manifest if line.split("\t")[-1] != "ok"}
    bad -= set(METADATA_ALONE)
    assert {row["location"] for row in rejects} >= bad
    assert len(rejects) <= len(bad) + 1
    lost = ("bomb", "undecodable", "unopenable")
    assert shards("train").classes == sorted({row["label"] for row in index()} - set(lost))
    note = [line for line in capfd.readouterr().err.splitlines() if "classes is a picture" in line][-1]
    assert note.startswith("note: no file of 3 classes is a picture that can be read: bomb: 2 .bmp")


@pytest.mark.parametrize(
    ("broken", "message"),
    [(("china", "flower"), "of 36 images none can be decoded"), (("china",), "only those of the class 'flower' can")],
)
def test_fewer_than_two_classes_that_can_be_decoded_are_refused(pictures, broken, message):
    for name in broken:
        for path in (pictures / name).iterdir():
            path.write_bytes(path.read_bytes()[:700] + path.name.encode())
    run_fetch()
    run_split()
    with pytest.raises(SourceError, match=r"china: 18 .jpg \(truncated\).*`missing_classes: drop` in params.yaml"):
        run_preprocess(max_rejects=1)
    run_fetch(missing_classes="drop")
    run_split()
    with pytest.raises(SourceError, match=f"{message}.*data/rejects.csv says what is wrong"):
        run_preprocess(max_rejects=1)
