"""Where the labels are: every layout found by itself, and messages that say how to say it."""

import pytest

from darkroom.data.sources.layouts import LayoutOptions, Sample, read_layout
from darkroom.data.sources.trees import open_tree
from darkroom.errors import SourceError


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
        "1 files are no images by their names and are left out",
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
        (["cat.1.jpg"], LayoutOptions(label_pattern="("), "label_pattern: '\\(' is no regular expression"),
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


def test_real_folders_are_understood(shared):
    ants = read_layout(open_tree(shared / "data/hymenoptera"), LayoutOptions())
    assert (len(ants.samples), {s.label for s in ants.samples}, {s.split for s in ants.samples}) == (
        398, {"ants", "bees"}, {"train", "val"})  # fmt: skip
    cats = read_layout(open_tree(shared / "data/dogs-vs-cats"), LayoutOptions())
    assert (cats.layout, len(cats.samples), {s.label for s in cats.samples}) == ("names", 1000, {"cat", "dog"})
