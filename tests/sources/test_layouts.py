"""Where the labels are: every layout found by itself, and messages that say how to say it."""

import os
import unicodedata

import pytest

from darkroom.core.errors import SourceError
from darkroom.sources.labels import LayoutOptions, Sample
from darkroom.sources.layouts import read_layout
from darkroom.sources.trees import open_tree
from tests.images.pictures import class_folders
from tests.sources.planting import plant, read, summary


def tree_of(root, *names, **texts):
    """A folder with empty files of these names, and texts under others."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    for name, text in texts.items():
        (root / name.replace("__", ".")).write_text(text)
    return open_tree(root)


def found(root, *names, options=None, **texts):
    return read_layout(tree_of(root, *names, **texts), options or LayoutOptions())


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


TABLES = {
    "paths": ("filename,class\npictures/1.jpg,cat\npictures/2.jpg,dog\n", LayoutOptions()),
    "ids without suffix": ("image_id;breed\n1;cat\n2;dog\n", LayoutOptions()),
    "bare names and tabs": ("file\tlabel\n1.jpg\tcat\n2.jpg\tdog\n", LayoutOptions()),
    "windows paths": ("path,label\npictures\\1.jpg,cat\n.\\pictures\\2.jpg,dog\n", LayoutOptions()),
    "named columns": ("a,b,c\nx,1,cat\ny,2,dog\n", LayoutOptions(path_column="b", label_column="c")),
    "byte order mark": ("\ufeffid,label\n1,cat\n2,dog\n", LayoutOptions()),
}


@pytest.mark.parametrize(("text", "options"), TABLES.values(), ids=TABLES.keys())
def test_tables_of_labels(tmp_path, text, options):
    labelled = found(tmp_path, "pictures/1.jpg", "pictures/2.jpg", options=options, labels__csv=text)
    assert labelled.layout == "csv"
    assert labelled.samples == [Sample("pictures/1.jpg", "cat"), Sample("pictures/2.jpg", "dog")]


def test_a_table_gives_splits_and_groups(tmp_path):
    text = "id,label,split,patient\n1,cat,train,p1\n2,dog,test,p2\n3,dog,validation,\n"
    labelled = found(tmp_path, "1.jpg", "2.jpg", "3.jpg", options=LayoutOptions(group_by="patient"), labels__csv=text)
    assert [(s.split, s.group) for s in labelled.samples] == [("train", "p1"), ("test", "p2"), ("val", "")]


def test_rows_without_file_and_files_without_row_are_reported(tmp_path):
    text = "id,label\n1,cat\n2,dog\n7,dog\n3,\n"
    labelled = found(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg", labels__csv=text)
    assert labelled.notes == [
        "1 rows have no file: 7",
        "1 rows have no label: 3",
        "2 files have no row: 3.jpg, 4.jpg",
    ]


def test_one_file_with_two_labels_stops(tmp_path):
    with pytest.raises(SourceError, match="two different labels: 1"):
        found(tmp_path, "1.jpg", "2.jpg", labels__csv="id,label\n1,cat\n1,dog\n2,dog\n")


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


def test_a_table_with_other_columns_lists_them(tmp_path):
    with pytest.raises(SourceError, match="has the columns a, b; name the right ones"):
        found(tmp_path, "1.jpg", options=LayoutOptions(layout="csv"), labels__csv="a,b\n1,cat\n")
    with pytest.raises(SourceError, match="has no column 'patient' to group by; it has id, label"):
        found(tmp_path, "1.jpg", "2.jpg", options=LayoutOptions(group_by="patient"), t__csv="id,label\n1,a\n2,b\n")


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


def labels_of(root, *names, options=None, **texts):
    return {sample.location: sample.label for sample in found(root, *names, options=options, **texts).samples}


def test_a_row_whose_folder_differs_is_not_matched_by_its_name(tmp_path):
    text = "path,label\ncats/1.png,cat\ndogs/1.png,dog\ndogs/2.png,dog\nnew/7.png,dog\n"
    names = ["cats/1.png", "dogs/2.png", "old/7.png"]
    labelled = found(tmp_path, *names, labels__csv=text)
    assert [(s.location, s.label) for s in labelled.samples] == [("cats/1.png", "cat"), ("dogs/2.png", "dog")]
    assert labelled.notes == ["2 rows have no file: dogs/1.png, new/7.png", "1 files have no row: old/7.png"]


def test_paths_of_another_machine_end_in_those_of_this_one(tmp_path):
    text = "path,label\n/home/me/set/cats/1.png,cat\nD:\\set\\dogs\\1.png,dog\n../set/dogs/2,dog\n"
    names = ["cats/1.png", "dogs/1.png", "dogs/2.png"]
    assert labels_of(tmp_path, *names, labels__csv=text) == dict(zip(names, ("cat", "dog", "dog"), strict=True))


def test_paths_in_a_table_may_begin_below_the_images_folder(tmp_path):
    names = ["images/cats/1.jpg", "images/cats/2.jpg", "images/dogs/1.jpg"]
    labelled = found(tmp_path, *names, t__csv="path,label\ncats/1.jpg,tabby\ncats/2.jpg,siam\ndogs/1,rex\n")
    assert labelled.layout == "csv"
    assert [(sample.location, sample.label) for sample in labelled.samples] == list(
        zip(names, ("tabby", "siam", "rex"), strict=True)
    )


def test_a_table_that_fits_no_image_is_told(tmp_path):
    names, text = ["a/1.jpg", "b/2.jpg"], "path,label\nc/1.jpg,x\nd/2.jpg,y\n"
    labelled = found(tmp_path, *names, t__csv=text)
    assert labelled.layout == "folders"
    assert "t.csv is not read for labels: it names 0 of 2 images" in labelled.notes
    with pytest.raises(
        SourceError, match=r"csv finds no labelled image; 2 rows have no file: c/1.jpg, d/2.jpg; 2 files"
    ):
        found(tmp_path, options=LayoutOptions(layout="csv"))


def test_an_id_that_could_mean_two_files_means_none_and_is_reported(tmp_path):
    names, text = ["1.jpg", "1.png", "2.jpg", "a/3.jpg", "b/3.jpg", "4.jpg"], "id,label\n1,cat\n2,dog\n3,dog\n4,cat\n"
    labelled = found(tmp_path, *names, options=LayoutOptions(layout="csv"), labels__csv=text)
    assert [sample.location for sample in labelled.samples] == ["2.jpg", "4.jpg"]
    assert labelled.notes[0] == "2 rows could mean several files: 1, 3"


def test_a_table_and_files_may_write_accents_in_two_ways(tmp_path):
    one, two = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    text = f"path,label\n{one}/1.jpg,a\n{one}/2,b\n{one},b\n"
    names = [f"{two}/1.jpg", f"{two}/2.jpg", f"{two}.jpg"]
    assert labels_of(tmp_path, *names, labels__csv=text) == dict(zip(names, "abb", strict=True))


def test_one_word_with_its_accent_written_in_two_ways_is_reported(tmp_path):
    one, two = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    names = [f"train/{one}/1.jpg", f"val/{two}/2.jpg", "train/tea/3.jpg", "val/tea/4.jpg"]
    notes = found(tmp_path, *names).notes
    assert notes[:1] == [r"one label in several spellings, kept as separate classes: 'cafe\u0301', 'caf\xe9'"]


def test_a_misspelt_split_column_is_refused_with_those_that_there_are(tmp_path):
    options = LayoutOptions(split_column="splt")
    with pytest.raises(SourceError, match=r"has no column for split_column \(splt\); it has id, label, split"):
        found(tmp_path, "1.jpg", "2.jpg", options=options, t__csv="id,label,split\n1,a,train\n2,b,test\n")


SPLIT_TABLE = "id,label,part\n1,a,train\n2,b,quiz\n3,a,quiz\n4,b,extra\n5,a,\n"


def test_splits_that_are_not_known_are_counted(tmp_path):
    names = [f"{number}.jpg" for number in range(1, 6)]
    options = LayoutOptions(split_column="part")
    labelled = found(tmp_path, *names, options=options, t__csv=SPLIT_TABLE)
    assert [sample.split for sample in labelled.samples] == ["train", "", "", "", ""]
    assert labelled.notes == [
        "3 rows name a split that is not known, and are divided like rows without one: quiz 2, extra 1"
    ]


def test_a_split_column_without_any_known_split_is_refused_or_noted_or_unread(tmp_path):
    names, text = ["1.jpg", "2.jpg"], "id,label,split\n1,a,learn\n2,b,judge\n"
    with pytest.raises(SourceError, match=r"column split names no split that is known, but learn 1, judge 1; write tr"):
        found(tmp_path, *names, options=LayoutOptions(split_column="split"), t__csv=text)
    assert "learn 1, judge 1" in found(tmp_path, options=LayoutOptions()).notes[0]
    assert found(tmp_path, options=LayoutOptions(split_column="")).notes == []


def test_a_quote_that_is_never_closed_is_named(tmp_path):
    text = 'id,label\n1,"cat\n' + "2,dog\n" * 30000
    with pytest.raises(SourceError, match=r"t.csv: the quote that opens in row 2 is never closed; close it"):
        found(tmp_path, "1.jpg", "2.jpg", options=LayoutOptions(layout="csv"), t__csv=text)
    (tmp_path / "t.csv").write_text('"' + text)
    for name in ("cat/1.jpg", "dog/2.jpg"):
        tree_of(tmp_path, name)
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).unlink()
    assert found(tmp_path).layout == "folders"  # its header is no header: it is no table


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
