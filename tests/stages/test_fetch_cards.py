"""fetch from a card: downloads are verified and kept, and what is wrong with a card is named."""

import shutil
from pathlib import Path

import pytest

from darkroom.core import files
from darkroom.core.errors import SourceError
from tests.images.pictures import class_folders
from tests.sources.archives import packed
from tests.stages.pipeline import index, run_fetch

pytestmark = pytest.mark.usefixtures("project")


def card(name: str, **keys) -> Path:
    lines = {"name": name, "homepage": "https://example.org", "licence": "none stated", "citation": "nobody"} | keys
    path = Path(f"sources/{name}.yaml")
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return path


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
    """Return a card of an archive that is downloaded, and whose origin is gone after that."""
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
