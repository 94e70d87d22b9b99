"""The level whose names are classes, in trees as public data sets have them."""

import pytest

from darkroom.core.errors import SourceError
from darkroom.sources.folder_names import split_names
from darkroom.sources.labels import LayoutOptions
from darkroom.sources.layouts import read_layout
from darkroom.sources.trees import open_tree
from tests.sources.archives import packed


def read(root, folders, class_level="auto", **options):
    """Return the labelled images of a tree with some files in each of `folders`: "cat dog" is two, "cat*5" has five
    images."""
    for text in folders.split():
        folder, _, count = text.partition("*")
        for number in range(int(count or 3)):
            path = root / (folder if folder.endswith(".jpg") else f"{folder}/{number}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    return read_layout(open_tree(root), LayoutOptions(class_level=class_level, **options))


def names_of(found):
    """Its labels and its official splits, as text."""
    labels, splits = ({getattr(sample, key) for sample in found.samples} for key in ("label", "split"))
    return " ".join(sorted(labels)), " ".join(sorted(split or "none" for split in splits))


TREES = {
    "class folders": ("cat dog", "cat dog", "none"),
    "a wrapper": ("data/images/cat data/images/dog", "cat dog", "none"),
    "one split around all": ("train/cat train/dog", "cat dog", "none"),
    "_set": ("training_set/cats training_set/dogs test_set/cats test_set/dogs", "cats dogs", "test train"),
    "doubled": ("training/training/n0 training/training/n1 validation/validation/n0 validation/validation/n1",
                "n0 n1", "train val"),
    "intel": ("seg_train/seg_train/sea seg_train/seg_train/street seg_test/seg_test/sea seg_test/seg_test/street "
              "seg_pred/seg_pred", "sea street", "test train"),
    "seg_ without doubling": ("seg_train/sea seg_train/street seg_test/sea seg_test/street seg_pred",
                              "sea street", "test train"),
    "fruits": ("Training/Apple Training/Pear Test/Apple Test/Pear test-multiple_fruits", "Apple Pear", "test train"),
    "Testing": ("Training/glioma Training/pituitary Testing/glioma Testing/pituitary", "glioma pituitary",
                "test train"),
    "_images": ("train_images/a train_images/b valid_images/a valid_images/b", "a b", "train val"),
    "images in each split": ("train/images/cat train/images/dog val/images/cat val/images/dog", "cat dog",
                             "train val"),
    "a wrapper and doubling": ("d/train/train/a d/train/train/b d/test/test/a d/test/test/b", "a b", "test train"),
    "test1 flat": ("train/a train/b test1", "a b", "train"),
    "a test without one class": ("train/a train/b train/c test/a", "a b c", "test train"),
    "three splits": ("train/a train/b valid/a valid/b test/a test/b", "a b", "test train val"),
    "splits in each class": ("cat/train cat/test dog/train dog/test", "cat dog", "test train"),
    "original and augmented": ("original/cat original/dog augmented/cat augmented/dog", "cat dog", "none"),
    "magnifications above": ("40X/benign 40X/malignant 100X/benign 100X/malignant", "benign malignant", "none"),
    "magnifications below": ("benign/40X benign/100X malignant/40X malignant/100X", "benign malignant", "none"),
    "cameras": ("cam1/ok cam1/crack cam2/ok cam2/crack", "crack ok", "none"),
    "original in each split": ("train/original/a train/original/b test/original/a test/original/b", "a b",
                               "test train"),
    "samples without label": ("flowers/rose flowers/tulip unlabeled", "rose tulip", "none"),
    "images beside samples": ("images/rose images/tulip samples", "rose tulip", "none"),
    "persons in each class": ("ill/p01 ill/p02 well/p07 well/p08", "ill well", "none"),
    "one more folder in each class": ("benign/SOB malignant/SOB", "benign malignant", "none"),
    "images and folders in a class": ("cat cat/more cat/others dog dog/more", "cat dog", "none"),
    "trains": ("bus car train", "bus car train", "none"),
    "kinds of trains": ("steam_train freight_train tram", "freight_train steam_train tram", "none"),
}  # fmt: skip


@pytest.mark.parametrize(("folders", "labels", "splits"), TREES.values(), ids=TREES)
def test_classes_and_splits(tmp_path, folders, labels, splits):
    assert names_of(read(tmp_path, folders)) == (labels, splits)


KAGGLE = "train/cat.{0}.jpg train/dog.{0}.jpg test1/{0}.jpg test1/{0}7.jpg "


@pytest.mark.parametrize("doubled", [False, True])
def test_labels_in_names_beside_numbered_images(tmp_path, doubled):
    names = "".join(KAGGLE.format(number) for number in range(1, 6))
    names = names.replace("train/", "train/train/").replace("test1/", "test1/test1/") if doubled else names
    found = read(tmp_path, names)
    assert (found.layout, *names_of(found)) == ("names", "cat dog", "train")
    assert found.notes[0].startswith("10 images have no label in their name and are left out: test1/")
    assert names_of(read(tmp_path, names, layout="names"))[0] == "cat dog"


TWO = r"the folders can be read in 2 ways: `class_level: 1` takes {} \({}\) or `class_level: 2` takes {} \({}\); choose"
UNCERTAIN = {
    "the same names on both levels": (
        "cat/in cat/out dog/in dog/out",
        TWO.format("12 images of 2 classes", "cat 6, dog 6", "12 images of 2 classes", "in 6, out 6"),
        ("cat dog", "in out"),
    ),
    "groups of classes": (
        "animal/cat animal/dog vehicle/bus vehicle/car",
        TWO.format("12 images of 2 classes", "animal 6, vehicle 6", "12 images of 4 classes",
                   "bus 3, car 3, cat 3, dog 3"),
        ("animal vehicle", "bus car cat dog"),
    ),
    "one class with kinds": (
        "cat dog/puppy dog/adult",
        TWO.format("9 images of 2 classes", "cat 3, dog 6", "6 images of 2 classes", "adult 3, puppy 3"),
        ("cat dog", "adult puppy"),
    ),
    "a container beside more images than it holds": (
        "cat*9 dog*9 images/x images/y",
        TWO.format("24 images of 3 classes", "cat 9, dog 9, images 6", "6 images of 2 classes", "x 3, y 3"),
        ("cat dog images", "x y"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("folders", "message", "chosen"), UNCERTAIN.values(), ids=UNCERTAIN)
def test_two_readings_stop_and_class_level_chooses(tmp_path, folders, message, chosen):
    with pytest.raises(SourceError, match=message):
        read(tmp_path, folders)
    assert [names_of(read(tmp_path, folders, level))[0] for level in (1, 2)] == list(chosen)


def test_groups_of_classes_in_splits_stop_and_keep_the_split_when_chosen(tmp_path):
    folders = "train/animal/cat train/animal/dog train/vehicle/bus train/vehicle/car test/animal/cat test/vehicle/bus"
    with pytest.raises(SourceError, match=r"`class_level: 2` takes .* or `class_level: 3` takes 18 images of 4"):
        read(tmp_path, folders)
    assert names_of(read(tmp_path, folders, 3)) == ("bus car cat dog", "test train")


def test_folders_that_are_left_out_are_reported(tmp_path):
    found = read(tmp_path, TREES["intel"][0])
    assert found.notes == ["3 images lie in no class folder and are left out: seg_pred/seg_pred/0.jpg, "
                           "seg_pred/seg_pred/1.jpg, seg_pred/seg_pred/2.jpg"]  # fmt: skip


def test_splits_alone_are_no_classes(tmp_path):
    with pytest.raises(SourceError, match="cannot tell where the labels are"):
        read(tmp_path, "seg_train seg_test")


def test_a_level_below_all_images_is_reported(tmp_path):
    with pytest.raises(SourceError, match="finds no labelled image; 6 images lie in no class folder"):
        read(tmp_path, "cat dog", 4)


def test_a_table_of_some_images_wins_over_folders_without_classes(tmp_path):
    rows = "".join(f"train/{number}.jpg,{'ab'[number % 2]}\n" for number in range(4))
    tmp_path.joinpath("labels.csv").write_text("path,label\n" + rows)
    found = read(tmp_path, "train*4 test*12")
    assert (found.layout, *names_of(found)) == ("csv", "a b", "none")
    assert found.notes[0].startswith("12 files have no row: test/0.jpg")


def test_names_with_a_prefix_are_splits_only_beside_each_other():
    assert split_names(["seg_train", "seg_test", "x"]) == {"seg_train": "train", "seg_test": "test"}
    assert split_names(["steam_train", "bullet_train"]) == {}
    assert split_names(["trainset", "test1", "Valid Data", "testudo", "valley"]) == {
        "trainset": "train", "test1": "test", "Valid Data": "val"}  # fmt: skip


TOOLS = ("@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", ".thumbnails", "__pycache__",
         "node_modules", "__MACOSX")  # fmt: skip


@pytest.mark.parametrize("suffix", ["", ".zip", ".tar", ".tar.gz"])
def test_folders_of_drives_and_tools_are_left_out_and_counted(tmp_path, suffix):
    root = tmp_path / "photos"
    for folder in ("cat", "dog", "...dots", "cat/@eaDir/0.jpg", *TOOLS):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "1.jpg").write_bytes(b"")
    found = read_layout(open_tree(packed(root, suffix) if suffix else root), LayoutOptions())
    assert len(found.samples) == 2
    assert names_of(found) == ("cat dog", "none")
    assert found.notes == [
        "10 folders of network drives, desktops and tools are left out: #recycle 1, $RECYCLE.BIN 1, .thumbnails 1, "
        "@eaDir 2, System Volume Information 1, __MACOSX 1, __pycache__ 1, lost+found 1, node_modules 1",
        "1 hidden folders with images are left out; a class needs a name that begins without a dot: ...dots 1",
    ]


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".PDF", r".pdf \(PDF, a document\)"), (".mp4", r".mp4 \(MP4, a video\)"), (".raw", ".raw;"),
     (".dcm", r".dcm \(DICOM, a medical image\)"), (".html", r".html \(HTML, a page\)"), ("", "no suffix;"),
     (".json", r".json \(JSON, data\)")],
)  # fmt: skip
@pytest.mark.parametrize("splits", [("",), ("train/", "test/")])
def test_a_class_without_images_stops_unless_it_is_to_be_dropped(tmp_path, suffix, kind, splits):
    for split in splits:
        (tmp_path / split / "bird").mkdir(parents=True)
        (tmp_path / split / "bird" / f"x{suffix}").write_bytes(b"x")
    folders = " ".join(f"{split}{label}" for split in splits for label in ("cat", "dog"))
    with pytest.raises(SourceError, match=rf"1 class folders hold no file whose suffix is read: bird: \d {kind}"):
        read(tmp_path, folders)
    found = read(tmp_path, folders, missing_classes="drop")
    assert names_of(found)[0] == "cat dog"
    assert found.notes[0].startswith("1 class folders hold no file whose suffix is read: bird: ")


def test_folders_of_annotations_and_notes_are_no_missing_classes(tmp_path):
    for name in ("annotations/1.xml", "code/fit.py", "notes/read.md"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    assert names_of(read(tmp_path, "cat dog")) == ("cat dog", "none")


def test_pictures_without_labels_in_one_split_alone_are_no_class(tmp_path):
    labelled = read(tmp_path, "train/pos train/neg train/unsup*9 test/pos test/neg")
    assert names_of(labelled) == ("neg pos", "test train")
    assert labelled.notes[0].startswith("9 images lie in no class folder")


@pytest.mark.parametrize(
    "folders", ["images masks", "img ground_truth", "train/images train/masks val/images val/masks"]
)
def test_images_and_masks_are_no_classes_unless_that_is_said(tmp_path, folders):
    with pytest.raises(SourceError, match=r"called like images and their annotations.*`class_level: [12]`"):
        read(tmp_path, folders)
    assert len(names_of(read(tmp_path, folders, class_level=folders.count("/") // 3 + 1))[0].split()) == 2
