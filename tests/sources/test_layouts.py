"""Where the labels are: every layout found by itself, and messages that say how to say it."""

import os
import unicodedata

import pytest

from darkroom.core.errors import SourceError
from darkroom.sources.labels import LayoutOptions, Sample
from darkroom.sources.layouts import read_layout
from darkroom.sources.trees import open_tree
from tests.images.pictures import class_folders
from tests.sources.planting import found, plant, read, summary, tree_of


def test_class_folders(tmp_path):
    labelled = found(tmp_path, "cat/1.jpg", "cat/2.PNG", "dog/deep/3.webp")
    assert labelled.layout == "folders"
    assert labelled.samples == [
        Sample("cat/1.jpg", "cat"),
        Sample("cat/2.PNG", "cat"),
        Sample("dog/deep/3.webp", "dog"),
    ]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val", "dev"])
def test_split_folders_above_class_folders_are_kept(tmp_path, val):
    labelled = found(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", f"{val}/cat/3.jpg", "test/dog/4.jpg")
    assert {(s.label, s.split) for s in labelled.samples} == {
        ("cat", "train"),
        ("dog", "train"),
        ("cat", "val"),
        ("dog", "test"),
    }


def test_folders_around_everything_are_looked_through(tmp_path):
    labelled = found(tmp_path, "data/images/cat/1.jpg", "data/images/dog/2.jpg")
    assert [sample.label for sample in labelled.samples] == ["cat", "dog"]


def test_kaggles_file_names(tmp_path):
    labelled = found(tmp_path, *(f"train/{kind}.{number}.jpg" for kind in ("cat", "dog") for number in range(4)))
    assert labelled.layout == "names"
    assert {(sample.label, sample.split) for sample in labelled.samples} == {("cat", ""), ("dog", "")}


def test_a_label_pattern_reads_names(tmp_path):
    options = LayoutOptions(label_pattern=r"^([A-Za-z_]+)_\d+")
    names = [f"{breed}_{number}.jpg" for breed in ("great_pyrenees", "Abyssinian") for number in range(3)]
    assert {s.label for s in found(tmp_path, *names, options=options).samples} == {"great_pyrenees", "Abyssinian"}


def test_a_label_pattern_with_a_slash_reads_the_whole_path(tmp_path):
    options = LayoutOptions(label_pattern=r"day_(\w+)/")
    labelled = found(tmp_path, "day_sun/1.jpg", "day_rain/2.jpg", "other/3.jpg", options=options)
    assert [sample.label for sample in labelled.samples] == ["rain", "sun"]
    assert labelled.notes == ["1 images have no label in their name and are left out: other/3.jpg"]


def test_group_by_is_a_regular_expression_on_the_path(tmp_path):
    names = ["cat/p1-a.jpg", "cat/p1-b.jpg", "dog/p2-a.jpg"]
    labelled = found(tmp_path, *names, options=LayoutOptions(group_by=r"/(p\d+)-"))
    assert [sample.group for sample in labelled.samples] == ["p1", "p1", "p2"]


def test_spellings_empty_folders_and_foreign_files_are_reported(tmp_path):
    (tmp_path / "fox").mkdir()
    notes = found(tmp_path, "Cat/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/readme.txt").notes
    assert notes == [
        "1 files are not images by their names and are left out",
        "1 folders are empty: fox",
        "one label in several spellings, kept as separate classes: Cat, cat",
    ]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ([], LayoutOptions(), "holds no images; it is empty"),
        (["a.txt"], LayoutOptions(), r"holds no images; it holds 1 files \(1 .txt\), such as a.txt"),
        (["cat/1.jpg", "cat/2.jpg"], LayoutOptions(layout="folders"), "finds no labelled image"),
        (
            ["x/cat/1.jpg", "x/cat/2.jpg"],
            LayoutOptions(),
            "All lie in x/cat: if that is a class, a second one is missing",
        ),
        (
            ["IMG_1.jpg", "IMG_2.jpg"],
            LayoutOptions(),
            "cannot tell where the labels are.*`layout: names`.*label_pattern",
        ),
        (["1.jpg", "2.jpg"], LayoutOptions(), "cannot tell where the labels are"),
        (["cat.1.jpg", "cat.2.jpg"], LayoutOptions(layout="names"), "one class only, 'cat'"),
        (["1.jpg"], LayoutOptions(layout="csv"), "holds no .csv"),
        (["cat.1.jpg"], LayoutOptions(label_pattern="("), "label_pattern: '\\(' is not a regular expression"),
        (["cat.1.jpg"], LayoutOptions(label_pattern="cat"), "label_pattern: 'cat' has no group"),
        (["a/1.jpg", "b/2.jpg"], LayoutOptions(group_by="(zzz)"), "group_by: '\\(zzz\\)' matches none of 2 paths"),
    ],
)
def test_what_cannot_be_read_says_what_was_seen_and_how_to_say_it(tmp_path, names, options, message):
    with pytest.raises(SourceError, match=message):
        found(tmp_path, *names, options=options)


def test_pictures_without_a_suffix_are_recognised_by_their_bytes(tmp_path):
    class_folders(tmp_path, each=2)
    for path in tmp_path.rglob("*.jpg"):
        path.rename(path.with_suffix(""))
    with pytest.raises(SourceError, match=r"4 of 4 are pictures by their bytes: give them a suffix, such as .jpg"):
        read(tmp_path)


def test_an_archive_beside_one_class_folder_is_named(tmp_path):
    plant(tmp_path, "cat dog.zip")
    with pytest.raises(SourceError, match=r"1 archives are not opened, since images lie beside them: dog.zip; unpack"):
        read(tmp_path)


def test_real_folders_are_understood(shared):
    ants = read_layout(open_tree(shared / "data/hymenoptera"), LayoutOptions())
    assert (len(ants.samples), {s.label for s in ants.samples}, {s.split for s in ants.samples}) == (
        398, {"ants", "bees"}, {"train", "val"})  # fmt: skip
    cats = read_layout(open_tree(shared / "data/dogs-vs-cats"), LayoutOptions())
    assert (cats.layout, len(cats.samples), {s.label for s in cats.samples}) == ("names", 1000, {"cat", "dog"})


def test_one_word_with_its_accent_written_in_two_ways_is_reported(tmp_path):
    one, two = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    names = [f"train/{one}/1.jpg", f"val/{two}/2.jpg", "train/tea/3.jpg", "val/tea/4.jpg"]
    notes = found(tmp_path, *names).notes
    assert notes[:1] == [r"one label in several spellings, kept as separate classes: 'cafe\u0301', 'caf\xe9'"]


@pytest.mark.parametrize("name", ["test", "Val", "dev"])
def test_images_without_a_label_beside_class_folders_are_no_class(tmp_path, name):
    labelled = found(tmp_path, "cats/1.jpg", "dogs/2.jpg", f"{name}/3.jpg", f"{name}/4.jpg")
    assert {sample.label for sample in labelled.samples} == {"cats", "dogs"}
    assert labelled.notes == [f"2 images lie in no class folder and are left out: {name}/3.jpg, {name}/4.jpg"]


@pytest.mark.parametrize("names", [["train/cat.1.jpg", "test1/1.jpg"], ["train/1.jpg", "unlabeled/2.jpg"]])
def test_a_flat_train_folder_beside_one_without_labels_is_no_class(tmp_path, names):
    with pytest.raises(SourceError, match="cannot tell where the labels are"):
        found(tmp_path, *names)


@pytest.mark.parametrize("name", ["train", "Training"])
def test_a_class_may_be_called_like_a_split(tmp_path, name):
    labelled = found(tmp_path, "bus/1.jpg", "car/2.jpg", f"{name}/3.jpg", f"{name}/4.jpg")
    assert [(s.label, s.split) for s in labelled.samples if s.location.startswith(name)] == [(name, "")] * 2
    assert labelled.notes[0].startswith(f"{name} is taken for a class and not for a split")


def test_pictures_without_a_class_in_a_split_folder_stay_out(tmp_path):
    labelled = found(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "test/3.jpg")
    assert {(s.label, s.split) for s in labelled.samples} == {("cat", "train"), ("dog", "train")}
    assert labelled.notes == ["1 images lie in no class folder and are left out: test/3.jpg"]


def test_names_that_are_no_text_are_left_out_and_reported(tmp_path):
    tree_of(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (tmp_path / "cat" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    labelled = found(tmp_path)
    assert [sample.location for sample in labelled.samples] == ["cat/1.jpg", "dog/2.jpg"]
    assert labelled.notes == [
        r"1 images have names that are not UTF-8 and are left out: cat/caf\udce9.jpg; rename them",
        r"1 folders are empty: caf\udce9",
    ]


@pytest.mark.parametrize("name", [b"caf\xe9/3.jpg", b"bird/caf\xe9.jpg"])
def test_a_class_whose_names_are_no_text_is_named_and_stops_the_run(tmp_path, name):
    tree_of(tmp_path, "cat/1.jpg", "dog/2.jpg")
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir()
    path.write_bytes(b"")
    shown = name.rpartition(b"/")[0].decode("utf-8", "backslashreplace").replace("\\xe9", r"\\udce9")
    with pytest.raises(SourceError, match=f"the names of all images in {shown} are not UTF-8"):
        found(tmp_path)
    labelled = read_layout(open_tree(tmp_path), LayoutOptions(missing_classes="drop"))
    assert {sample.label for sample in labelled.samples} == {"cat", "dog"}
    assert "1 images have names that are not UTF-8 and are left out" in labelled.notes[0]


def test_links_to_nothing_and_to_themselves_are_counted_in_what_was_seen(tmp_path):
    (tmp_path / "1.jpg").symlink_to("absent")
    (tmp_path / "2.jpg").symlink_to("2.jpg")
    with pytest.raises(SourceError, match="cannot tell where the labels are") as caught:
        found(tmp_path)
    assert "1 of 2 files looked at: cannot be read: No such file or directory" in str(caught.value)
    assert "1 of 2 files looked at: a link that leads back to itself" in str(caught.value)


def test_label_pattern_of_numbered_folders_takes_the_words(tmp_path):
    plant(tmp_path, "{cat,dog}{1..3}")
    with pytest.raises(SourceError) as caught:
        read(tmp_path)
    pattern = str(caught.value).partition("`label_pattern: '")[2].partition("'`")[0]
    assert summary(read(tmp_path, label_pattern=pattern)) == "cat 9, dog 9"


@pytest.mark.parametrize(
    ("tree", "expected"),
    {
        "{great_pyrenees,pug}_{1..2}.jpg": "great_pyrenees 2, pug 2",
        "{great_pyrenees,shiba_inu}_{1..9}.jpg": "great_pyrenees 9, shiba_inu 9",
        "{cat,dog}_img_{1..2}.jpg": "cat 2, dog 2",
        "cat_2019_{1..2}.jpg dog_2020_{1..2}.jpg": "cat 2, dog 2",
    }.items(),
)
def test_class_names_with_underscores_are_whole(tmp_path, tree, expected):
    plant(tmp_path, tree)
    assert summary(read(tmp_path, layout="names")) == expected


def test_initials_in_file_names_are_noted(tmp_path):
    plant(tmp_path, "{ab,cd}_{1..9}.jpg")
    assert "are short codes (ab, cd); if these are persons" in " ".join(read(tmp_path).notes)
