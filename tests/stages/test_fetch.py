"""fetch: one row a file, whatever the source is; what is wrong with a source is said by name."""

import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from darkroom.core import files
from darkroom.core.errors import ParamsError, SourceError
from darkroom.sources import arrays
from darkroom.sources.catalog import ARRAYS
from darkroom.sources.index import COLUMNS
from tests.images.pictures import class_folders, encoded, photos
from tests.sources.archives import packed
from tests.stages.pipeline import index, run_fetch

pytestmark = pytest.mark.usefixtures("project")


@pytest.mark.parametrize("known", ["", "git", "dvc"])
def test_a_source_that_git_does_not_know_says_what_queued_experiments_need(project, capsys, known):
    class_folders(Path("photos"), each=2)
    subprocess.run(["git", "init", "-q"], check=True)
    Path(".gitignore").write_text("/photos/\n" if known != "git" else "")
    if known == "git":
        subprocess.run(["git", "add", "photos"], check=True)
    if known == "dvc":
        Path("photos.dvc").write_text("outs: []\n")
    run_fetch("photos")
    note = (
        f"note: Git does not know photos, and `dvc exp run --queue` and `--temp` run in a copy of what it knows: add "
        f"`--allow-missing` to train otherwise, `-C photos` or `-S source={project}/photos` to change the data, too"
    )
    assert (note in capsys.readouterr().err.splitlines()) == (known == "")


def test_a_source_that_an_experiment_would_commit_is_said(project, capsys):
    class_folders(Path("photos"), each=2)
    subprocess.run(["git", "init", "-q"], check=True)
    run_fetch("photos")
    assert "`dvc exp run` commits it to Git with each experiment: add the line `/photos`" in capsys.readouterr().err
    Path(".gitignore").write_text("/photos/\n")
    run_fetch("photos")
    assert "commits it" not in capsys.readouterr().err


def test_classes_of_a_camera_each_are_said_and_noted(capsys):
    for label, camera in (("a", "X100"), ("b", "Y200")):
        for number in range(3):
            exif = Image.Exif()
            exif[0x0110] = camera
            Path("pictures", label).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, 0, 0)).save(f"pictures/{label}/{number}.jpg", exif=exif)
    run_fetch()
    note = "the pictures of each class are of a camera of its own, by EXIF (X100 in a, Y200 in b)"
    assert note in capsys.readouterr().err
    assert note in " ".join(files.read_json(Path("data/raw/source.json"))["notes"])


def test_a_folder_of_class_folders_is_indexed():
    class_folders(Path("pictures"), each=3)
    assert run_fetch() == "6 images of 2 classes"
    rows = index()
    assert tuple(rows[0]) == COLUMNS
    assert [row["location"] for row in rows] == sorted(row["location"] for row in rows)
    data = encoded(18)
    row = next(row for row in rows if row["location"] == "flower/0.jpg")
    assert row["id"] == row["sha256"] == hashlib.sha256(data).hexdigest()
    assert (row["label"], row["split"], row["bytes"], row["width"], row["height"]) == (
        "flower",
        "",
        str(len(data)),
        "96",
        "96",
    )
    assert (len(row["phash"]), len(row["windows"])) == (64, 320)
    assert files.read_json(Path("data/raw/source.json")) == {
        "card": {},
        "flips": True,
        "layout": "folders",
        "notes": [],
    }


def test_what_was_taken_is_listed_by_split(capsys):
    for split, each in (("training_set", 2), ("test_set", 1)):
        class_folders(Path("pictures") / split / split, each=each)
    run_fetch()
    lines = capsys.readouterr().err.splitlines()
    assert lines[lines.index("pictures: layout folders, 2 classes: china 3, flower 3") + 1 :][:2] == [
        "  train: 4 images of 2 classes (china 2, flower 2); training_set/training_set/china/0.jpg is china",
        "  test: 2 images of 2 classes (china 1, flower 1); test_set/test_set/china/0.jpg is china",
    ]


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_an_archive_gives_the_same_samples_as_its_folder(suffix):
    folder = class_folders(Path("pictures"), each=3)
    run_fetch()
    plain = {row["sha256"]: (row["label"], row["phash"]) for row in index()}
    source = packed(folder, suffix)
    run_fetch(source)
    assert {row["sha256"]: (row["label"], row["phash"]) for row in index()} == plain
    assert index()[0]["location"] == f"{source.name}::pictures/china/0.jpg"


def test_a_table_beside_its_images_is_a_source_and_so_is_its_folder():
    class_folders(Path("pictures"), each=3)
    Path("pictures/labels.csv").write_text("image,label\nchina/0,a\nchina/1,a\nflower/0,b\nflower/1,b\n")
    for source in ("pictures", "pictures/labels.csv"):
        assert run_fetch(source) == "4 images of 2 classes"
        assert next((row["location"], row["label"]) for row in index()) == ("china/0.jpg", "a")
    assert "2 files have no row" in files.read_json(Path("data/raw/source.json"))["notes"][0]


def test_copies_of_one_file_have_ids_of_their_own():
    class_folders(Path("pictures"), each=2)
    for number in (7, 8):
        Path(f"pictures/china/{number}.jpg").write_bytes(encoded(0))
    run_fetch()
    ids = [row["id"] for row in index() if row["sha256"] == hashlib.sha256(encoded(0)).hexdigest()]
    assert [name[64:] for name in ids] == ["", "-2", "-3"]
    assert len({row["id"] for row in index()}) == 6


def test_small_pictures_have_no_windows():
    class_folders(Path("pictures"), each=2)
    photos()[3].resize((80, 63)).save("pictures/china/small.png")
    run_fetch()
    row = next(row for row in index() if row["location"] == "china/small.png")
    assert (len(row["phash"]), row["windows"]) == (64, "")


def test_a_broken_file_is_indexed_without_size_and_hash():
    class_folders(Path("pictures"), each=2)
    Path("pictures/china/bad.jpg").write_bytes(b"not a picture")
    run_fetch()
    row = next(row for row in index() if row["location"] == "china/bad.jpg")
    assert (row["width"], row["height"], row["phash"]) == ("0", "0", "")


def test_digits_need_no_network_and_are_drawn_like_mnist():
    root = Path(__file__).parents[2]
    assert run_fetch(root / "sources/digits.yaml") == "1,797 images of 10 classes"
    first = files.sha256(Path("data/raw/digits.zip"))
    facts = files.read_json(Path("data/raw/source.json"))
    assert not facts["flips"]
    assert facts["card"]["licence"] == "CC BY 4.0"
    run_fetch(root / "sources/digits.yaml")
    assert files.sha256(Path("data/raw/digits.zip")) == first
    scans = load_digits()
    expected = [f"{label}/{number:04d}" for number, label in enumerate(scans.target)]
    found = list(arrays.digits())
    assert [name for name, _ in found] == expected
    for number in range(0, len(scans.images), 100):
        assert np.array_equal(found[number][1], arrays.draw(scans.images[number]))


def test_mnist_is_read_from_the_files_that_torchvision_expects(shared):
    from torchvision import datasets  # takes longer than the tests above

    known = ARRAYS["MNIST"]
    paths = {remote.name: shared / "data/mnist" / remote.name for remote in known.remotes(datasets.MNIST)}
    pictures = known.pictures(datasets.MNIST, paths)
    name, pixels = next(iter(pictures))
    assert (name, pixels.shape, pixels.sum()) == ("train/5/000000", (28, 28), 27525)
    assert sum(1 for _ in pictures) == 69_999


def test_broken_sets_of_real_projects_say_what_is_wrong(shared, monkeypatch):
    root = Path(__file__).parents[2]
    for folder, message in (
        ("html-saved-as-gz", "train-images-idx3-ubyte.gz: md5 is .* the file is an HTML or XML page"),
        ("interrupted-mnist-download", r"train-labels-idx1-ubyte.gz: md5 is .* the file is empty \(0 bytes\)"),
    ):
        monkeypatch.setenv("DARKROOM_DOWNLOADS", str(shared / "data/broken" / folder))
        monkeypatch.setattr("darkroom.sources.download.ATTEMPTS", 1)
        with pytest.raises(SourceError, match=message):
            run_fetch(root / "sources/mnist.yaml")
    with pytest.raises(SourceError, match=r"\d+ of \d+ files looked at: Git LFS pointer; run `git lfs pull`"):
        run_fetch(shared / "data/broken/lfs-pointers")
    for name in ("daisy", "rose"):
        (Path("pictures") / name).mkdir(parents=True)
        for path in sorted((shared / "data/broken/lfs-pointers/daisy").iterdir()):
            shutil.copy(path, Path("pictures") / name / f"{name}-{path.name}")
    with pytest.raises(
        SourceError, match=r"all \d+ files that should be images .* Git LFS pointer; run `git lfs pull`"
    ):
        run_fetch()


def test_a_wrong_layout_is_refused_before_any_work():
    class_folders(Path("pictures"), each=1)
    with pytest.raises(ParamsError, match="layout is 'folder', expected one of auto, csv, folders, names"):
        run_fetch(layout="folder")


def test_nothing_in_the_users_folder_changes(project):
    folder = class_folders(Path("pictures"), each=2)
    with zipfile.ZipFile("pictures/more.zip", "w") as archive:
        archive.writestr("x", "y")
    before = {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in folder.rglob("*")}
    run_fetch()
    assert {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in folder.rglob("*")} == before


def test_names_that_look_like_other_places_are_names():
    class_folders(Path("pictures"), ("raw:x", "a::b"), each=1)
    Path("pictures/downloads:y").mkdir()
    Path("pictures/downloads:y/0.jpg").write_bytes(encoded(3))
    Path("pictures/raw:x/1::2.jpg").write_bytes(encoded(5))
    assert run_fetch() == "4 images of 3 classes"
    assert all(row["width"] == "96" for row in index())
    source = packed(Path("pictures"), ".zip").rename("raw:a::b.zip")
    assert run_fetch(source) == "4 images of 3 classes"
    assert all(row["width"] == "96" for row in index())


def test_a_carriage_return_in_a_name_is_kept():
    class_folders(Path("pictures"), each=1)
    Path("pictures/china/Icon\r.jpg").write_bytes(encoded(5))
    run_fetch()
    assert [row["location"] for row in index()][1] == "china/Icon\r.jpg"


def test_a_table_in_the_projects_root_does_not_see_what_a_run_draws():
    class_folders(Path("photos"), each=2)
    Path("dvc.yaml").write_text("stages: {}\n")
    Path("labels.csv").write_text("image,label\nphotos/china/0.jpg,a\n1,a\nphotos/flower/0.jpg,b\n9,b\n")
    Path("photos/flower/1.jpg").rename("photos/flower/2.jpg")
    run_fetch("labels.csv")
    first = files.read_json(Path("data/raw/source.json"))
    assert first["notes"] == ["1 rows have no file: 9", "1 files have no row: photos/flower/2.jpg"]
    for name in ("plots/samples.png", "plots/test/1.png", "venv/lib/9.png", "docs/images/9.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(encoded(1, "PNG"))
    Path("venv/pyvenv.cfg").touch()
    run_fetch("labels.csv")
    assert files.read_json(Path("data/raw/source.json")) == first


def test_a_link_in_a_circle_is_set_aside_and_a_name_that_is_no_text_is_reported():
    class_folders(Path("pictures"), each=2)
    Path("pictures/china/loop.jpg").symlink_to("loop.jpg")
    Path("pictures/china", os.fsdecode(b"caf\xe9.jpg")).write_bytes(encoded(5))
    assert run_fetch() == "5 images of 2 classes"
    assert [row["bytes"] for row in index() if row["location"] == "china/loop.jpg"] == ["0"]
    assert "1 images have names that are not UTF-8" in files.read_json(Path("data/raw/source.json"))["notes"][0]
