"""Classes that are numbers, files and columns that name them, and tables that label folders."""

import pytest

from darkroom.sources.labels import LayoutOptions
from darkroom.sources.layouts import read_layout
from darkroom.sources.trees import open_tree
from tests.sources.planting import assert_read, plant, write_tables

FOLDERS, TABLE = "{0,1}/{1..4}.jpg", "id,label\n" + "".join(f"{n},{n % 2}\n" for n in range(1, 9))
IMAGES, NAMED, NUMBERS = "images/{1..8}.jpg", "cat 4, dog 4", "0 4, 1 4"
# what it is: (the tree, the files by name, "class images, …", a part of a note)
NAMINGS = {
    "a name a line": (FOLDERS, {"classes.txt": "cat\ndog\n"}, NAMED, "classes.txt names them: 0 is cat, 1 is dog"),
    "a name a line, from 1": ("{1,2}/{1..4}.jpg", {"label_names.txt": "cat\ndog\n"}, NAMED, "1 is cat, 2 is dog"),
    "more names than classes": (FOLDERS, {"classes.txt": "cat\ndog\ncow\n"}, NUMBERS, ""),
    "numbers and names": (FOLDERS, {"labels.txt": "0: cat\n1: dog\n"}, NAMED, "labels.txt names them"),
    "steps in a text": ("{1,2}/{1..4}.jpg", {"README.txt": "1. Unpack\n2. Train\n"}, "1 4, 2 4", ""),
    "id2label": (IMAGES, {"t.csv": TABLE, "config.json": '{"lr": 1, "id2label": {"0": "cat", "1": "dog"}}'}, NAMED, ""),
    "class_to_idx": (FOLDERS, {"class_to_idx.json": '{"cat": 0, "dog": 1}'}, NAMED, ""),
    "settings": (FOLDERS, {"config.json": '{"seed": 0, "epochs": 1, "0": "x", "1": "y"}'}, NUMBERS, ""),
    "a list in json": (FOLDERS, {"meta.json": '{"classes": ["cat", "dog"]}'}, NAMED, ""),
    "a table of classes": (FOLDERS, {"labels.csv": "ClassId,Name,Shape\n0,cat,4\n1,dog,4\n"}, NAMED, ""),
    "a table of classes beside the labels": (
        IMAGES, {"train.csv": TABLE, "classes.csv": "id,name\n0,cat\n1,dog\n"}, NAMED, ""),
    "a table of persons": ("{1,2}/{1..4}.jpg", {"people.csv": "id,who\n1,anna\n2,bert\n"}, "1 4, 2 4", ""),
    "decimals": (IMAGES, {"t.csv": TABLE.replace(",0", ",0.0").replace(",1\n", ",1.0\n"), "classes.txt": "cat\ndog\n"},
                 NAMED, "0.0 is cat"),
    "files that differ": (FOLDERS, {"classes.txt": "cat\ndog\n", "labels.txt": "Katze\nHund\n"}, NUMBERS,
                          "classes.txt, labels.txt name them differently: none is taken"),
    "wordnet": ("n0144076{4,5}/{1..4}.jpg", {"words.txt": "n01440764\tcat\nn01440765\tdog\nn01440766\tcow\n"}, NAMED,
                ""),
    "a name beside the number": (
        IMAGES, {"t.csv": "id,label,label_name\n" + "".join(f"{n},{n % 2},{['cat', 'dog'][n % 2]}\n"
                                                            for n in range(1, 9))}, NAMED, "label_name is read"),
    "another column beside the number": (
        IMAGES, {"t.csv": "id,label,class_of\n" + "".join(f"{n},{n % 2},{'ab'[n > 4]}\n" for n in range(1, 9))},
        NUMBERS, ""),
    "groups of labels": (
        IMAGES, {"t.csv": "id,class,kind\n" + "".join(f"{n},{n % 4}x,{'ab'[n % 2]}\n" for n in range(1, 9))},
        "0x 2, 1x 2, 2x 2, 3x 2", "class is read as the label, and not kind"),
    "genus and species": (
        IMAGES, {"t.csv": "id,genus,species\n" + "".join(
            f"{n},{('Quercus,alba', 'Salix,alba', 'Quercus,robur', 'Salix,caprea')[n % 4]}\n" for n in range(1, 9))},
        "Quercus alba 2, Quercus robur 2, Salix alba 2, Salix caprea 2", ""),
    "columns of zeros and ones beside words": (
        IMAGES, {"t.csv": "image,male,female,diagnosis\n" + "".join(f"{n},{n % 2},{1 - n % 2},{'ab'[n > 4]}\n"
                                                                    for n in range(1, 9))},
        "female 4, male 4", "male, female, and not diagnosis; `label_column` chooses another"),
    "an index without a name": (IMAGES, {"t.csv": TABLE.removeprefix("id")}, NUMBERS, "unnamed is read as the path"),
    "minus one and one": (IMAGES, {"t.csv": TABLE.replace(",0", ",-1")}, "-1 4, 1 4", ""),
    "the text NaN": (IMAGES, {"t.csv": TABLE.replace("8,0", "8,NaN")}, "0 3, 1 4, NaN 1",
                     "1 rows have the label NaN, which is taken for a class"),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "files", "expected", "note"), NAMINGS.values(), ids=NAMINGS)
def test_classes_that_are_numbers_get_names_where_one_file_names_them_all(tmp_path, tree, files, expected, note):
    plant(tmp_path, tree)
    write_tables(tmp_path, files)
    assert_read(tmp_path, expected, note)


PERSONS = "p{01..04}/{1..6}.png"
# what it is: (the tree, the keys of the rows, "class images, …", a part of a note, whether folders become groups)
OF_FOLDERS = {
    "patients": (PERSONS, ["p01", "p02", "p03", "p04"], "ill 12, well 12", "key names folders", True),
    "paths": ("scans/" + PERSONS, ["/d/p01/", "/d/p02/", "/d/p03/", "/d/p04/"], "ill 12, well 12", "", True),
    "numbers": ("scans/{1..4}/s_{1..6}.png", ["1", "2", "3", "4"], "ill 12, well 12", "stays in one split", True),
    "words": ("{collie,poodle,siam,angora}/{1..6}.png", ["collie", "poodle", "siam", "angora"], "ill 12, well 12", "",
              False),
    "a folder without a row": (PERSONS + " p05/{1..6}.png", ["p01", "p02", "p03", "p04"], "ill 12, well 12",
                               "6 files have no row", True),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "keys", "expected", "note", "grouped"), OF_FOLDERS.values(), ids=OF_FOLDERS)
def test_a_table_of_folders_labels_all_images_in_each(tmp_path, tree, keys, expected, note, grouped):
    plant(tmp_path, tree)
    rows = "".join(f"{key},{'well' if number % 2 else 'ill'}\n" for number, key in enumerate(keys))
    write_tables(tmp_path, {"labels.csv": f"key,label\n{rows}"})
    assert_read(tmp_path, expected, note, "csv")
    groups = {sample.group for sample in read_layout(open_tree(tmp_path), LayoutOptions()).samples}
    assert groups == (set(keys) if grouped else {""})
    own = read_layout(open_tree(tmp_path), LayoutOptions(group_by="([0-9]).png")).samples
    assert {sample.group for sample in own} == set("123456")
