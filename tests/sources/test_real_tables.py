"""Tables beside images as people, tools and competitions write them: which image has which label, or why none has."""

import pytest

from tests.sources.planting import CANNOT_TELL, FOUR, TWO_TWO, assert_read, four, plant, read, summary, write_tables

UNKNOWN = "!has the columns .* name the right ones in params.yaml: path_column"


# what it is: (the tree, the tables by name, "class images, …" or "!reason", a part of a note)
TABLES = {
    "ids without suffix": (FOUR, {"annotations.csv": four("image_id,label\n")}, TWO_TWO, ""),
    "semicolons and decimal commas": (
        FOUR, {"labels.csv": "\ufeffimage;label;score\n1.jpg;cat;0,5\n2.jpg;cat;0,25\n3.jpg;dog;1,0\n4.jpg;dog;0,1\n"},
        TWO_TWO, ""),
    "spaces between cells": (FOUR, {"labels.csv": four("image label\n", "{n}.jpg {label}")}, TWO_TWO, ""),
    "a title above the header": (
        FOUR, {"labels.csv": four("Survey of 2023\n\nimage,label\n", "{n}.jpg,{label}")}, TWO_TWO, ""),
    "a title with commas": (
        FOUR, {"labels.csv": four("Survey of 2023,,\nimage,label,by\n", "{n}.jpg,{label},x")},
        TWO_TWO, ""),
    "one-hot with blanks": (FOUR, {"t.csv": "image,cat,dog\n1,1,\n2,1,\n3,,1\n4,,1\n"}, TWO_TWO, "zeros and ones"),
    "one-hot with nan": (FOUR, {"t.csv": "image,cat,dog\n1,1,NaN\n2,1,NaN\n3,NaN,1\n4,nan,1\n"}, TWO_TWO,
        "zeros and ones"),
    "one-hot with a blank row": (
        FOUR, {"t.csv": "image,cat,dog\n1,1,0\n2,1,0\n3,0,1\n4,,\n"}, "cat 2, dog 1", "1 rows have no label"),
    "one-hot with age": (
        FOUR, {"t.csv": "image,age,cat,dog\n1,31,1,0\n2,0,1,0\n3,52,0,1\n4,12,0,1\n"}, TWO_TWO, "zeros and ones"),
    "one-hot of roboflow": (
        "{train,valid}/{1..4}.jpg",
        {f"{split}/_classes.csv": "filename, cat, dog\n1.jpg, 1, 0\n2.jpg, 1, 0\n3.jpg, 0, 1\n4.jpg, 0, 1\n"
         for split in ("train", "valid")}, "cat 4, dog 4 | train 4, val 4", "zeros and ones"),
    "attributes": (FOUR, {"list_attr.csv": "image_id,Smiling,Young\n1.jpg,1,-1\n2.jpg,-1,1\n3.jpg,1,1\n4.jpg,-1,-1\n"},
                   UNKNOWN, ""),
    "attributes as text": (
        FOUR, {"list_attr.txt": "4\nSmiling Young\n1.jpg 1 -1\n2.jpg -1 1\n3.jpg 1 1\n4.jpg -1 -1\n"},
        "!list_attr.txt", ""),
    "a list in text": (FOUR, {"labels.txt": four("", "{n}.jpg {label}")}, TWO_TWO, "has no header"),
    "a list in text, tabs": (FOUR, {"list.txt": four("", "images/{n}.jpg\t{label}")},
                             TWO_TWO, "has no header"),
    "a list in text, commas": (FOUR, {"list.txt": four("", "{n}.jpg,{label}")}, TWO_TWO, "has no header"),
    "lists of train and test": (
        "images/{1..8}.jpg",
        {"train.txt": "1.jpg 0\n2.jpg 1\n3.jpg 0\n4.jpg 1\n", "test.txt": "5.jpg 0\n6.jpg 1\n7.jpg 0\n8.jpg 1\n"},
        "0 4, 1 4 | test 4, train 4", ""),
    "lists of train_list and test_list": (
        "images/{1..8}.jpg",
        {"train_list.txt": "images/1.jpg 0\nimages/2.jpg 1\nimages/3.jpg 0\nimages/4.jpg 1\n",
         "test_list.txt": "images/5.jpg 0\nimages/6.jpg 1\nimages/7.jpg 0\nimages/8.jpg 1\n"},
        "0 4, 1 4 | test 4, train 4", ""),
    "a list of class names": (
        "{a,b}/{1..2}.jpg", {"labels.txt": "a\nb\n", "classes.txt": "0 a\n1 b\n"}, "a 2, b 2", ""),
    "cub": ("images/001.Auk/{1,2}.jpg images/002.Owl/{3,4}.jpg",
            {"images.txt": "1 001.Auk/1.jpg\n2 001.Auk/2.jpg\n3 002.Owl/3.jpg\n4 002.Owl/4.jpg\n",
             "image_class_labels.txt": "1 1\n2 1\n3 2\n4 2\n", "classes.txt": "1 001.Auk\n2 002.Owl\n"},
            "001.Auk 2, 002.Owl 2", ""),
    "food-101": ("images/{pie,soup}/{1..4}.jpg",
                 {"meta/train.txt": "pie/1\npie/2\nsoup/1\nsoup/2\n",
        "meta/test.txt": "pie/3\npie/4\nsoup/3\nsoup/4\n"},
                 "pie 4, soup 4 | test 4, train 4", "official splits are those of meta/test.txt and meta/train.txt"),
    "kaggle cifar": ("train/{1..8}.png test/{1..8}.png",
                     {"trainLabels.csv": "id,label\n1,cat\n2,cat\n3,dog\n4,dog\n5,cat\n6,dog\n7,cat\n8,dog\n",
                      "sampleSubmission.csv": "id,label\n1,cat\n2,cat\n3,cat\n"}, "cat 4, dog 4",
        "8 files have no row"),
    "plant seedlings": ("train/{beet,maize}/{1..3}.png test/{01..20}.png",
                        {"sample_submission.csv": "file,species\n" + "".join(f"{n:02},beet\n" for n in range(1, 21))},
                        "beet 3, maize 3 | train 6", "20 images lie in no class folder"),
    "a submission alone": (FOUR, {"sample_submission.csv": four("id,label\n")},
                           CANNOT_TELL, ""),
    "gtsrb": ("Train/{0,1}/{a,b}.png Test/{1..4}.png Meta/{0,1}.png",
              {"Train.csv": "ClassId,Path\n0,Train/0/a.png\n0,Train/0/b.png\n1,Train/1/a.png\n1,Train/1/b.png\n",
               "Test.csv": "ClassId,Path\n0,Test/1.png\n1,Test/2.png\n0,Test/3.png\n1,Test/4.png\n",
               "Meta.csv": "Path,ClassId,Shape\nMeta/0.png,0,1\nMeta/1.png,1,1\n"},
              "0 4, 1 4 | test 4, train 4", "not read for labels: Meta.csv"),
    "parts of equal content": (
        "{train,test}/{1..4}.jpg", dict.fromkeys(["train.csv", "test.csv"], four("image,label\n", "{n}.jpg,{label}")),
        "cat 4, dog 4 | test 4, train 4", ""),
    "species and sex": ("images/{1..8}.jpg", {"t.csv": "path,sex,species,by,age\n" + "".join(
        f"{n}.jpg,{'mf'[n % 2]},{'cat' if n < 5 else 'dog'},person {n},{n}\n" for n in range(1, 9))},
        "cat 4, dog 4", "species is read as the label, and not sex; `label_column` chooses another"),
    "measures": (FOUR, {"t.csv": "image,target\n1,0.25\n2,1.5\n3,0.25\n4,1.0\n"}, "0.25 2, 1.0 1, 1.5 1",
        "the labels are numbers with decimals (0.25, 1.5)"),
    "two copies of a table": (
        FOUR, dict.fromkeys(["labels.csv", "labels_backup.csv"], four("id,label\n")),
        TWO_TWO, "not read for labels: labels_backup.csv"),
    "two tables that differ": (
        FOUR, {"labels.csv": four("id,label\n"), "old.csv": "id,label\n1,dog\n2,cat\n3,dog\n4,dog\n"},
        "!several tables of labels", ""),
    "two tables that differ beside class folders": (
        "a/{1,2}.jpg b/{3,4}.jpg",
        {"labels.csv": four("id,label\n"), "old.csv": "id,label\n1,dog\n2,cat\n3,dog\n4,dog\n"},
        "a 2, b 2", "several tables of labels"),
    "a table a class": (FOUR, {"cats.csv": "id,label\n1,cat\n2,cat\n", "dogs.csv": "id,label\n3,dog\n4,dog\n"},
        TWO_TWO, ""),
    "splits by folder": ("{train,test}/{1..4}.jpg",
                         {"labels.csv": "path,label\n" + "".join(f"{split}/{n}.jpg,{'cat' if n < 3 else 'dog'}\n"
                                                                 for split in ("train", "test") for n in range(1, 5))},
                         "cat 4, dog 4 | test 4, train 4", "folders"),
    "names with capitals and spaces": (FOUR, {"t.csv": four("Image Name,Class Name\n", "{n}.jpg,{label}")},
                                       TWO_TWO, ""),
    "ids with a point zero": (FOUR, {"t.csv": four("id,label\n", "{n}.0,{label}")}, TWO_TWO, ""),
    "urls with a question": (
        FOUR, {"t.csv": "image,label\nhttps://h.org/images/1.jpg?w=5,cat\nhttps://h.org/images/2.jpg?w=5,cat\n"
                        "https://h.org/images/3.jpg?w=5,dog\nhttps://h.org/images/4.jpg?w=5,dog\n"}, TWO_TWO, ""),
    "an index and a file name": (
        FOUR, {"t.csv": "id,filename,label\n100,1.jpg,cat\n101,2.jpg,cat\n102,3.jpg,dog\n103,4.jpg,dog\n"}, TWO_TWO,
        ""),
    "another usual column names the files": (
        FOUR, {"t.csv": "image,id,label\nfirst,1,cat\nsecond,2,cat\nthird,3,dog\nfourth,4,dog\n"}, TWO_TWO, "id"),
    "labels as numbers of two spellings": (FOUR, {"t.csv": "id,label\n1,0\n2,0.0\n3,1\n4,1\n"}, "0 1, 0.0 1, 1 2",
        "spellings"),
    "carriage returns alone": (FOUR, {"t.csv": "id,label\r1,cat\r2,cat\r3,dog\r4,dog\r"}, TWO_TWO, ""),
    "text as Excel keeps it": (FOUR, {"t.csv": four("image,label\n", '="{n}.jpg",="{label}"')}, TWO_TWO, ""),
    "labels joined by a plus": (FOUR, {"t.csv": "image,label\n1,cat\n2,dog\n3,cat+dog\n4,cat & dog\n"},
        "cat 1, cat & dog 1, cat+dog 1, dog 1", "2 labels look like several in one cell"),
    "captions alone": ("{a,b}/{1..2}.jpg", {"metadata.csv": "file_name,text\na/1.jpg,x\na/2.jpg,y\n"}, "a 2, b 2",
                       "not read for labels: metadata.csv has the columns file_name, text"),
    "unknown columns": (FOUR, {"t.csv": four("foto,sorte\n", "{n}.jpg,{label}")}, UNKNOWN, ""),
    "finding labels of x-rays": (
        FOUR,
        {"Data_Entry.csv": "Image Index,Finding Labels,Age\n1.jpg,Mass,3\n2.jpg,Mass|Nodule,4\n3.jpg,No Finding,5\n"},
        UNKNOWN, ""),
    "a header alone": (FOUR, {"t.csv": "id,label\n"}, CANNOT_TELL, ""),
    "an empty table": (FOUR, {"t.csv": ""}, CANNOT_TELL, ""),
    "boxes of two classes in one image": (
        FOUR,
        {"_annotations.csv": "filename,class,xmin\n1.jpg,cat,1\n1.jpg,dog,5\n2.jpg,cat,1\n3.jpg,dog,1\n4.jpg,dog,1\n"},
        "!1 files two different labels: 1.jpg", ""),
    "splits spelt otherwise in a column": (
        FOUR, {"t.csv": "id,label,split\n1,cat,Training\n2,cat,TEST\n3,dog,train_set\n4,dog,Testing\n"},
        "cat 2, dog 2 | test 2, train 2", ""),
    "a column of folds": (FOUR, {"t.csv": "id,label,fold\n1,cat,0\n2,cat,1\n3,dog,0\n4,dog,1\n"}, TWO_TWO, ""),
    "rows for images elsewhere": ("images/{1,2}.jpg", {"t.csv": "id,label\n1,cat\n2,dog\n3,dog\n4,dog\n"},
        "cat 1, dog 1", "2 rows have no file"),
    "quoted in single quotes": (FOUR, {"t.csv": four("id,label\n", "'{n}','{label}'")}, TWO_TWO, ""),
    "suffixes of other files": (FOUR, {"t.csv": four("image,label\n", "{n}.png,{label}")}, TWO_TWO,
        "suffixes in the table"),
    "names without their prefix": ("images/IMG_{1..4}.jpg", {"t.csv": four("id,label\n")},
                                   "!t.csv is not read for labels: it names 0 of 4 images", ""),
    "a flag of training": (FOUR, {"t.csv": "id,label,is_train\n1,cat,1\n2,cat,0\n3,dog,1\n4,dog,0\n"},
                           TWO_TWO + " | test 2, train 2", "is_train is read as an official split"),
    "a list with words": (FOUR, {"t.txt": "1.jpg sea lion\n2.jpg sea lion\n3.jpg dog\n4.jpg dog\n"},
                          "dog 2, sea lion 2", "has no header"),
    "a table and lists of splits": (FOUR, {"t.csv": four("id,label\n"), "train.txt": "1.jpg\n3.jpg\n",
        "val.txt": "2\n4\n"},
                                    TWO_TWO + " | train 2, val 2",
        "official splits are those of train.txt and val.txt"),
    "a compressed table": (FOUR, {"t.csv.gz": four("id,label\n")}, TWO_TWO, ""),
    "two columns of one name": (FOUR, {"t.csv": four("id,label,label\n", "{n},{label},x")},
        "!two columns label that differ; set `label_column` to 'label' or 'label 2'", ""),
    "two columns of one name and content": (
        FOUR, {"t.csv": four("id,label,label\n", "{n},{label},{label}")}, TWO_TWO, ""),
    "lists of one in python": (FOUR, {"t.csv": four("id,label\n", "{n},['{label}']")}, TWO_TWO, ""),
    "lists of several in python": (FOUR, {"t.csv": "id,label\n1,\"['cat', 'dog']\"\n2,['cat']\n3,['dog']\n4,['dog']\n"},
        "['cat', 'dog'] 1, cat 1, dog 2", "look like several in one cell"),
    "a folder and a file": (
        "{a,b}/{1,2}.jpg", {"t.csv": "folder,file,label\na,1.jpg,cat\na,2.jpg,dog\nb,1.jpg,dog\nb,2.jpg,cat\n"},
        TWO_TWO, "paths are folder/file"),
    "a split and a file": (
        "{train,test}/{1,2}.jpg",
        {"t.csv": "split,file,label\ntrain,1.jpg,cat\ntrain,2.jpg,dog\ntest,1.jpg,dog\ntest,2.jpg,cat\n"},
        TWO_TWO + " | test 2, train 2", "paths are split/file"),
    "a split, an address and a label without header": (
        FOUR, {"t.csv": four("", "TRAIN,gs://set/images/{n}.jpg,{label}").replace("TRAIN,gs://set/images/4", "TEST,4")},
        TWO_TWO + " | test 1, train 3", "has no header"),
    "utf-16 of the other byte order": (FOUR, {"t.csv": four("id,label\n").encode("utf-16-be")}, TWO_TWO, ""),
    "cyrillic": (FOUR, {"t.csv": four("id,label\n").replace("cat", "кошка").replace("dog", "собака").encode("cp1251")},
                 "кошка 2, собака 2", "is read as cp1251"),
    "traditional chinese": (FOUR, {"t.csv": four("id,label\n").replace("cat", "貓咪").replace("dog", "狗隻")
                                   .encode("big5")}, "狗隻 2, 貓咪 2", "is read as big5"),
    "lists joined by numbers": (
        FOUR, {"images.txt": four("", "{n}0 {n}.jpg"), "image_class_labels.txt": "10 1\n20 1\n30 2\n40 2\n",
               "train_test_split.txt": "10 1\n20 0\n30 1\n40 0\n", "classes.txt": "1 cat\n2 dog\n",
               "bounding_boxes.txt": "10 1 1 5 5\n"}, TWO_TWO + " | test 2, train 2", "is_train"),
    "parts with other columns": (
        "images/{1..8}.jpg", {"train.csv": four("image,label\n", "{n}.jpg,{label}"),
                              "val.csv": "filename,class\n5.jpg,cat\n6.jpg,cat\n7.jpg,dog\n8.jpg,dog\n"},
        "cat 4, dog 4 | train 4, val 4", ""),
    "names of classes by number": (
        "images/{0..29}.jpg", {"train.csv": "id,label\n" + "".join(f"{n},{n % 2}\n" for n in range(30)),
                               "names.json": '{"0": "cat", "1": "dog"}'}, "cat 15, dog 15",
        "names.json names them: 0 is cat, 1 is dog"),
    "a text beside each image": (
        FOUR + " images/1.txt", {f"images/{n}.txt": label for n, label in enumerate(("cat", "cat", "dog", "dog"), 1)},
        TWO_TWO, ""),
    "a caption beside each image": (FOUR, {f"images/{n}.txt": f"a photo, number {n}" for n in range(1, 5)},
                                    CANNOT_TELL, ""),
    "boxes beside each image": (FOUR, {f"images/{n}.txt": f"{n % 2} 0.5 0.5 0.2 0.2\n" for n in range(1, 5)},
                                "!images/1.txt is not read: it looks like boxes of YOLO, and a classifier", ""),
    "boxes of voc": ("JPEGImages/{1..4}.jpg", {f"Annotations/{n}.xml": "<annotation/>" for n in range(1, 5)},
                     "!Annotations/1.xml is not read: if it holds boxes .Pascal VOC., a classifier", ""),
    "boxes of one class an image": (
        FOUR, {"t.csv": "filename,class,xmin\n1.jpg,cat,1\n1.jpg,cat,5\n2.jpg,cat,1\n3.jpg,dog,1\n4.jpg,dog,1\n"},
        TWO_TWO, "xmin are of boxes or outlines"),
    "unknown columns beside a list of ids": (
        "train/{1..4}.png test/{5,6}.png", {"test.csv": "id_code\n5\n6\n", "train.csv": four("id_code,grade\n")},
        "!train.csv has the columns id_code, grade; name the right ones", ""),
    "a column of splits of any name": (
        FOUR, {"t.csv": "id,label,phase\n1,cat,train\n2,cat,test\n3,dog,train\n4,dog,test\n"},
        TWO_TWO + " | test 2, train 2", "phase is read as an official split"),
    "birds": (
        "{train,test}/{1,2}.jpg", {"birds.csv": "class id,filepaths,labels,data set\n1,train/1.jpg,cat,train\n"
                                   "2,train/2.jpg,dog,train\n1,test/1.jpg,cat,test\n2,test/2.jpg,dog,test\n"},
        TWO_TWO + " | test 2, train 2", "data set is read as an official split"),
    "numbers of classes that name an image": (
        FOUR, {"t.csv": "number,label,foto\n1,cat,1.jpg\n1,cat,2.jpg\n2,dog,3.jpg\n2,dog,4.jpg\n"}, TWO_TWO,
        "foto is read as the path"),
    "names and labels in two tables": (
        FOUR, {"files.csv": "id,filename\n4,1.jpg\n3,2.jpg\n2,3.jpg\n1,4.jpg\n",
               "labels.csv": "id,label\n4,cat\n3,dog\n2,dog\n1,cat\n"}, TWO_TWO,
        "labels.csv: paths are filename of files.csv, by id"),
    "doubled slashes": (FOUR, {"t.csv": four("path,label\n", "set//images//{n}.jpg,{label}")}, TWO_TWO, ""),
    "an old excel file": (FOUR, {"t.xls": "x"}, "!t.xls", ""),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "tables", "expected", "note"), TABLES.values(), ids=TABLES)
def test_a_table_is_read_as_it_was_meant_or_the_reason_is_given(tmp_path, tree, tables, expected, note):
    plant(tmp_path, tree)
    write_tables(tmp_path, tables)
    assert_read(tmp_path, expected, note)


def test_a_table_is_found_among_a_hundred_texts(tmp_path):
    plant(tmp_path, FOUR)
    for number in range(100):
        (tmp_path / f"boxes_{number}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "labels.csv").write_text(four("id,label\n"))
    assert summary(read(tmp_path)) == TWO_TWO


def test_numbers_that_another_table_names_are_not_those_of_images(tmp_path):
    plant(tmp_path, FOUR)
    (tmp_path / "files.csv").write_text("id,filename\n4,1.jpg\n3,2.jpg\n2,3.jpg\n1,4.jpg\n")
    (tmp_path / "labels.csv").write_text("id,label\n4,cat\n3,cat\n2,dog\n1,dog\n")
    found = {sample.location: sample.label for sample in read(tmp_path).samples}
    assert found == {f"images/{n}.jpg": label for n, label in enumerate(("cat", "cat", "dog", "dog"), 1)}


def test_lists_of_splits_beside_class_folders_are_not_called_tables_without_labels(tmp_path):
    plant(tmp_path, "images/{pie,soup}*2")
    for split, number in (("train", 0), ("test", 1)):
        (tmp_path / f"{split}.txt").write_text("".join(f"{name}/{number:04}.jpg\n" for name in ("pie", "soup")))
    found = read(tmp_path)
    assert summary(found) == "pie 2, soup 2 | test 2, train 2"
    assert found.notes == ["official splits are those of test.txt and train.txt",
                           "2 files are not images by their names and are left out"]  # fmt: skip
