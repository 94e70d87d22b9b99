"""fetch: one row a file, whatever the source is; what is wrong with a source is said by name."""

import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from torchvision import datasets

from darkroom.core import files
from darkroom.core.errors import ParamsError, SourceError
from darkroom.sources.catalog import ARRAYS
from darkroom.sources.index import COLUMNS
from tests.images.pictures import class_folders, encoded, photos
from tests.sources.test_trees import packed
from tests.stages.pipeline import index, run_fetch


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DARKROOM_DOWNLOADS", raising=False)
    return tmp_path


def card(name: str, **keys) -> Path:
    lines = {"name": name, "homepage": "https://example.org", "licence": "none stated", "citation": "nobody"} | keys
    path = Path(f"sources/{name}.yaml")
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return path


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
    assert (len(row["phash"]), len(row["windows"])) == (64, 300)
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


def test_an_archive_card_is_downloaded_verified_and_indexed(project, capfd):
    path = packed(class_folders(Path("pictures"), each=2), ".zip")
    archive = f"{{url: '{path.absolute().as_uri()}', sha256: {files.sha256(path)}}}"
    assert run_fetch(card("toy", archive=archive, flips="false")) == "4 images of 2 classes"
    assert index()[0]["location"] == "raw:pictures.zip::pictures/china/0.jpg"
    assert sorted(file.name for file in Path("data/raw").iterdir()) == ["pictures.zip", "source.json"]
    assert not list(Path(".darkroom").rglob("*.part*"))
    assert "layout folders, 2 classes: china 2, flower 2" in capfd.readouterr().err


def test_an_archive_with_another_digest_is_refused():
    path = packed(class_folders(Path("pictures"), each=2), ".zip")
    with pytest.raises(SourceError, match=r"sha256 is \w{64}, the card says 0{64}"):
        run_fetch(card("toy", archive=f"{{url: '{path.absolute().as_uri()}', sha256: '{'0' * 64}'}}"))
    assert not Path("data/index.csv").exists()


def test_a_folder_card_reads_the_owners_copy_in_place(project, monkeypatch):
    class_folders(project / "mine/imagenet", each=2)
    path = card("imagenet", folder="imagenet")
    with pytest.raises(SourceError, match="DARKROOM_DOWNLOADS is not set: put your copy in a folder named imagenet"):
        run_fetch(path)
    monkeypatch.setenv("DARKROOM_DOWNLOADS", str(project / "mine"))
    run_fetch(path)
    assert index()[0]["location"] == "downloads:imagenet/china/0.jpg"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "a card has one of bundled, torchvision, archive, folder, remote, this one has none"),
        ({"bundled": "digits", "colour": "red"}, "there is no card key 'colour'"),
        ({"bundled": "digits", "licence": '""'}, "the key `licence` is missing or not a text"),
        ({"bundled": "digits", "flips": "maybe"}, "flips is 'maybe', expected true or false"),
        ({"bundled": "iris"}, "the one embedded data set is digits"),
        ({"torchvision": "Imagnet"}, "Imagnet is not among the data sets that are read: CIFAR10"),
        ({"archive": "{url: 'https://x/y.zip', sha256: abc}"}, "sha256 is 'abc', expected 64 hex digits"),
        ({"archive": "{sha256: abc}"}, "archive has the keys url, sha256"),
        ({"folder": "../.."}, r"folder is '\.\./\.\.', expected a folder below DARKROOM_DOWNLOADS"),
        ({"folder": "/etc"}, "folder is '/etc', expected a folder below DARKROOM_DOWNLOADS"),
        ({"bundled": "digits", "flips": "y" * 5000}, "flips is '[y]{99}…, expected true or false"),
        ({"bundled": "digits", "class_names": "[" + "1, " * 5000 + "]"}, r"class_names is \[1, .{96}…, expected lines"),
        ({"bundled": "digits", '"a\\nb"': 1}, r"there is no card key 'a\\nb'; the keys"),
        ({"bundled": "digits", "read": "{layuot: csv}"}, "there is no key 'layuot' below read"),
    ],
)
def test_a_wrong_card_names_its_key(keys, message):
    with pytest.raises(SourceError, match=message):
        run_fetch(card("toy", **keys))


def test_mnist_is_read_from_the_files_that_torchvision_expects(shared):
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


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"bundled": "digits", "read": "{layout: folder}"},
            "toy.yaml: read: layout is 'folder', expected one of auto, fo",
        ),
        ({"bundled": "digits", "read": ""}, "toy.yaml: read is None, expected keys such as"),
        ({"bundled": "digits", "read": "{label_pattern: 5}"}, "toy.yaml: read: label_pattern is 5, expected a text"),
        (
            {"bundled": "digits", "class_names": "[zero, one]"},
            r"toy.yaml: class_names is \['zero', 'one'\], expected lin",
        ),
        ({"bundled": "digits", "class_names": "{0: }"}, "toy.yaml: class_names: None is not a text"),
        ({"torchvision": "[MNIST]"}, r"toy.yaml: torchvision is \['MNIST'\], expected a name"),
        ({"folder": ""}, "toy.yaml: folder is None, expected a name"),
        ({"archive": "https://x/y.zip"}, "toy.yaml: archive is 'https://x/y.zip', expected `{url: …, sha256: …}`"),
        (
            {"archive": f"{{url: 'https://x/y.zip', sha256: {'a' * 64}, mirror: }}"},
            "toy: archive: mirror is None, expected",
        ),
        ({"archive": f"{{url: 5, sha256: {'a' * 64}}}"}, "toy: archive: url is 5, expected an address"),
        ({"archive": f"{{url: 'https://x/', sha256: {'a' * 64}}}"}, "toy: archive: file is '', expected the name"),
        (
            {"archive": f"{{url: 'https://x/y', sha256: {'a' * 64}, file: ../y}}"},
            "toy: archive: file is '../y', expected",
        ),
        (
            {"archive": "{url: 'https://x/y', 5: 6}"},
            "archive has the keys url, sha256, and if need be mirror and file, not 5",
        ),
    ],
)
def test_a_value_of_a_card_that_cannot_be_meant_is_named(keys, message):
    with pytest.raises(SourceError, match=message):
        run_fetch(card("toy", **keys))


def test_class_names_of_numbers_are_names_and_those_of_no_class_are_reported():
    run_fetch(card("toy", bundled="digits", class_names="{0: zero, '1': one, 11: eleven}"))
    assert {row["label"] for row in index()} == {"zero", "one", *"23456789"}
    assert files.read_json(Path("data/raw/source.json"))["notes"] == ["class_names: no class is called 11"]


def toy_archive() -> Path:
    """A card of an archive that is downloaded, and whose origin is gone after that."""
    path = packed(class_folders(Path("pictures"), each=2), ".zip")
    return card("toy", archive=f"{{url: '{path.absolute().as_uri()}', sha256: {files.sha256(path)}}}")


def test_a_verified_download_outlives_a_run_that_fails_and_one_with_other_params():
    path = toy_archive()
    with pytest.raises(SourceError, match="label_pattern: ") as caught:
        run_fetch(path, layout="names", label_pattern="'cat'")
    Path("pictures.zip").unlink()
    with pytest.raises(SourceError, match=r"downloads/pictures.zip: layout names finds no labelled image") as caught:
        run_fetch(path, layout="names", label_pattern="'(cat)'")
    assert ".tmp" not in str(caught.value)
    assert run_fetch(path) == "4 images of 2 classes"
    shutil.rmtree("data")  # as DVC does before it runs a stage again
    assert run_fetch(path, group_by=r"'(\d)\.jpg'") == "4 images of 2 classes"


def test_a_message_names_no_temporary_folder():
    with pytest.raises(SourceError, match=r"^data/raw/digits.zip holds no .csv"):
        run_fetch(card("toy", bundled="digits", read="{layout: csv}"))


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
