"""Tables beside images: which image a row means, and its label, split and group."""

import unicodedata

import pytest

from darkroom.core.errors import SourceError
from darkroom.sources.labels import LayoutOptions, Sample
from tests.sources.planting import found, labels_of, tree_of

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


def test_a_table_with_other_columns_lists_them(tmp_path):
    with pytest.raises(SourceError, match="has the columns a, b; name the right ones"):
        found(tmp_path, "1.jpg", options=LayoutOptions(layout="csv"), labels__csv="a,b\n1,cat\n")
    with pytest.raises(SourceError, match="has no column 'patient' to group by; it has id, label"):
        found(tmp_path, "1.jpg", "2.jpg", options=LayoutOptions(group_by="patient"), t__csv="id,label\n1,a\n2,b\n")


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


def test_addresses_in_a_table_name_their_folder(tmp_path):
    rows = "".join(f"s3://photos/set/{name},{name[0]}\n" for name in ("a/1.jpg", "b/2.jpg"))
    with pytest.raises(SourceError, match=r"put it beside the files in s3://photos/set, and set `source` to that"):
        found(tmp_path, "x/7.jpg", t__csv="path,label\n" + rows, options=LayoutOptions(layout="csv"))


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
