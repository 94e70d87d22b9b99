"""Folder trees as people and public collections really have them: how many images of which class, or why not."""

import pytest

from darkroom.core.errors import SourceError
from tests.sources.planting import plant, read, summary

TWO_WAYS, CANNOT_TELL, NOT_CLASSES = (
    r"!can be read in \d ways",
    "!cannot tell where the labels are",
    "!and not like classes",
)
LOOSE = "lie in no class folder and are left out"

# what it is: (the tree, "class images, … | split images, …" or "!reason", a part of a note)
TREES = {
    "splits under a version": ("v1/{Train,Test}/{a,b}", "a 6, b 6 | test 6, train 6", ""),
    "splits in capitals": ("DATA/{TRAIN,TEST,VAL}/{a,b}", "a 9, b 9 | test 6, train 6, val 6", ""),
    "splits with spaces": ("{Train~Set,Test~Set}/{a,b}", "a 6, b 6 | test 6, train 6", ""),
    "splits with dashes": ("{train-set,val-set}/{a,b}", "a 6, b 6 | train 6, val 6", ""),
    "splits in camel case": ("{trainingSet,testSet}/{0,1}", "0 6, 1 6 | test 6, train 6", ""),
    "splits with Data": ("{TrainingData,ValidationData}/{a,b}", "a 6, b 6 | train 6, val 6", ""),
    "splits with a number": ("{train_2019,val_2019}/{a,b}", "a 6, b 6 | train 6, val 6", ""),
    "splits with a size": ("{train_224,test_224}/{a,b}", "a 6, b 6 | test 6, train 6", ""),
    "splits after the set's name": (
        "{flowers_train,flowers_test}/{rose,tulip}", "rose 6, tulip 6 | test 6, train 6", ""),
    "splits after two words": ("{asl_alphabet_train,asl_alphabet_test}/{A,B}", "A 6, B 6 | test 6, train 6", ""),
    "splits after two words, doubled": (
        "asl_alphabet_train/asl_alphabet_train/{A,B} asl_alphabet_test/asl_alphabet_test", "A 3, B 3 | train 6", LOOSE),
    "splits before the set's name": (
        "{train_flowers,test_flowers}/{rose,tulip}", "rose 6, tulip 6 | test 6, train 6", ""),
    "numbered splits": ("{01_train,02_val,03_test}/{a,b}", "a 9, b 9 | test 6, train 6, val 6", ""),
    "shortened splits": ("{trn,tst}/{a,b}", "a 6, b 6 | test 6, train 6", ""),
    "eval as a split": ("{train,eval}/{a,b}", "a 6, b 6 | train 6, val 6", ""),
    "augmented train beside train": ("{train,train_augmented,test}/{a,b}", "a 9, b 9 | test 6, train 12", ""),
    "aug before train": ("{aug_train,test}/{a,b}", "a 6, b 6 | test 6, train 6", ""),
    "splits in another language": ("{entrenamiento,prueba}/{gato,perro}", TWO_WAYS, ""),
    "splits in chinese": ("{训练集,测试集}/{猫,狗}", "狗 6, 猫 6 | test 6, train 6", ""),
    "public and private test": ("{train,public_test,private_test}/{a,b}", "a 9, b 9 | test 12, train 6", ""),
    "a split doubled in other case": ("Train/train/{a,b} Test/test/{a,b}", "a 6, b 6 | test 6, train 6", ""),
    "three wrappers": ("archive/dataset/images/{a,b}", "a 3, b 3", ""),
    "a wrapper with a README": ("set-master/README.md set-master/{a,b}", "a 3, b 3", ""),
    "roboflow": ("{train,valid,test}/{a,b} README.roboflow.txt README.dataset.txt",
                 "a 9, b 9 | test 6, train 6, val 6", ""),
    "train and val of other classes": ("train/{a,b} test/{c,d}", "!no class in common", ""),
    "train and val in plural and singular": ("train/{cats,dogs} val/{cat,dog}", "!no class in common", ""),
    "a class of test alone": ("train/{a,b} test/{a,b,c}", "a 6, b 6, c 3 | test 9, train 6", "c has no image in train"),
    "tiny imagenet": ("train/{n01,n02}/images val/images test/images wnids.txt val/val_annotations.txt",
                      "n01 3, n02 3 | train 6", LOOSE),
    "imagenet": ("ILSVRC/Data/CLS-LOC/train/{n01,n02} ILSVRC/Data/CLS-LOC/val ILSVRC/Data/CLS-LOC/test"
                 " ILSVRC/Annotations/CLS-LOC/train/{n01,n02}/1.xml", "n01 3, n02 3 | train 6", LOOSE),
    "class and split in one name": ("{cat,dog}_{train,test}", "cat 6, dog 6 | test 6, train 6", ""),
    "split and class in one name": ("{train,val}_{cat,dog}", "cat 6, dog 6 | train 6, val 6", ""),
    "split and class with spaces": ("{cat,dog}~{train,test}", "cat 6, dog 6 | test 6, train 6", ""),
    "cyclegan": ("{train,test}{A,B}", "A 6, B 6 | test 6, train 6", ""),
    "some classes with a split behind": ("cat dog {cat,dog}_val", "cat 6, dog 6 | none 6, val 6", ""),
    "a class's name in its splits": (
        "cats/cats_{train,test} dogs/dogs_{train,test}", "cats 6, dogs 6 | test 6, train 6", ""),
    "folds": ("fold{1..5}/{a,b}", "a 15, b 15", ""),
    "folds with a dash": ("fold-{0..4}/{a,b}", "a 15, b 15", ""),
    "folds, one without a class": ("fold{1..3}/{a,b} fold4/a", "a 12, b 9", ""),
    "numbered folds": ("{1..5}/{a,b}", TWO_WAYS, ""),
    "eyes": ("{left,right}/{mild,severe}", TWO_WAYS, ""),
    "eyes with grades": ("{left,right}/{0,1,2,3,4}", TWO_WAYS, ""),
    "patients with classes": ("patient{01..04}/{benign,malignant}", "benign 12, malignant 12", ""),
    "patients with one class each": ("patient_{1..3}/benign patient_{4..6}/malignant", "benign 9, malignant 9", ""),
    "patients with numbers and classes": ("{10253,10254,10256}/{0,1}", TWO_WAYS, ""),
    "patients p": ("p{1..4}/{benign,malignant}", TWO_WAYS, ""),
    "persons in classes": ("{ill,well}/person{1..3}", "ill 9, well 9", ""),
    "persons of their own in classes": ("ill/p{01..03} well/p{04..06}", "ill 9, well 9", ""),
    "series of the same number": ("{cat,dog}/{1,2,3}", TWO_WAYS, ""),
    "sites with a stray picture": ("{siteA,siteB}/{ok,crack} siteA/plan.jpg", "crack 6, ok 6", LOOSE),
    "outer folders with a stray picture": ("{red,blue}/{ok,crack} red/plan.jpg", TWO_WAYS, ""),
    "classes with more below": ("cat cat/more dog dog/more", "cat 6, dog 6", ""),
    "colour, grey and segmented": ("{color,grayscale,segmented}/{rust,scab}", "rust 9, scab 9", ""),
    "rgb and thermal": ("{rgb,thermal}/{ok,crack}", "crack 6, ok 6", ""),
    "a copy of all within": ("{rock,paper} rps-images/{rock,paper}", "paper 6, rock 6", "rps-images"),
    "a copy of all within, doubled": ("cells/{sick,well} cells/cells/{sick,well}", "sick 6, well 6", "cells"),
    "x-rays with a copy of all": ("x/{train,test}/{N,P} x/x/{train,test}/{N,P}", "N 12, P 12 | test 12, train 12", ""),
    "intel": ("seg_train/seg_train/{sea,street} seg_test/seg_test/{sea,street} seg_pred/seg_pred",
              "sea 6, street 6 | test 6, train 6", LOOSE),
    "breakhis": (
        "benign/SOB/{adenosis,fibroadenoma}/p{1..2}/{40X,100X} malignant/SOB/{ductal,lobular}/p{3..4}/{40X,100X}",
                 TWO_WAYS, ""),
    "ham10000": ("HAM10000_images_part_{1,2} HAM10000_metadata.csv", NOT_CLASSES, ""),
    "parts": ("part{1..3}", NOT_CLASSES, ""),
    "folds of pictures": ("fold{1..5}", NOT_CLASSES, ""),
    "batches": ("batch_{01..04}", NOT_CLASSES, ""),
    "cameras of pictures": ("cam{1,2}", NOT_CLASSES, ""),
    "camera folders of a card": ("DCIM/{100CANON,101CANON}", NOT_CLASSES, ""),
    "images and resized images": ("images images_resized", NOT_CLASSES, ""),
    "new folders": ("New~folder New~folder~(2)", NOT_CLASSES, ""),
    "images and masks of classes": ("{images,masks}/{a,b}", "a 3, b 3", "masks"),
    "images and masks in classes": ("{benign,malignant}/{images,masks}", "benign 3, malignant 3", "masks"),
    "masks beside pictures": ("benign/{1,2}.png benign/{1,2}_mask.png malignant/{1,2}.png malignant/{1,2}_mask.png",
                              "benign 2, malignant 2", "4 images are called like masks"),
    "yolo": ("{train,valid}/images train/labels/0000.txt valid/labels/0000.txt data.yaml", CANNOT_TELL, ""),
    "yolo, splits below": ("images/{train,val} labels/train/0000.txt", CANNOT_TELL, ""),
    "caltech": ("101_ObjectCategories/{cat,dog} Annotations/{cat,dog}/a_0001.mat", "cat 3, dog 3", ""),
    "stanford dogs": ("Images/n01-{Pug,Boxer} Annotation/n01-{Pug,Boxer}/n01_1.xml", "n01-Boxer 3, n01-Pug 3", ""),
    "cub": ("CUB/images/{001.Albatross,002.Auk}*3 CUB/images.txt CUB/classes.txt CUB/parts/parts.txt",
            "001.Albatross 3, 002.Auk 3", ""),
    "upper case suffixes": ("cat/{1,2}.PNG dog/{1,2}.JPG", "cat 2, dog 2", ""),
    "classes beside unlabelled": ("{cat,dog} unlabelled", "cat 3, dog 3", LOOSE),
    "classes beside flat test": ("{cat,dog} test", "cat 3, dog 3", LOOSE),
    "train of classes, test flat": ("train/{cat,dog} test sample_submission.csv", "cat 3, dog 3 | train 6", LOOSE),
    "train of classes, test in one folder": ("train/{cat,dog} test/test_images", "cat 3, dog 3 | train 6", LOOSE),
    "train of classes, test in a folder called unknown": (
        "train/{cat,dog} test/unknown", "cat 3, dog 3 | train 6", LOOSE),
    "copies of class folders": ("cat dog cat~-~Copy", "cat 3, cat - Copy 3, dog 3", "spellings"),
    "a class in several cases": ("train/{Cat,Dog} test/{cat,dog}", "!no class in common", ""),
    "classes with numbers before": ("{train,test}/{0_cat,1_dog}", "0_cat 6, 1_dog 6 | test 6, train 6", ""),
    "a split of an unknown name": ("{train,validation,essai}/{a,b}", "a 9, b 9 | none 6, train 6, val 6",
        "6 images of essai lie in no official split"),
    "a test set with labels beside one without": (
        "train/{0,1} test_labelled/{0,1} test_unlabelled", "0 6, 1 6 | test 6, train 6", LOOSE),
    "a picture of the documentation": ("{cat,dog} docs/1.jpg README.md", "cat 3, dog 3", LOOSE),
    "a class called like what comes with data": ("{photos,screenshots,memes}", "memes 3, photos 3, screenshots 3",
        "screenshots is called like what comes with data, and is taken for a class"),
    "a class folder of texts": ("{cat,dog} bird/{1..4}.txt", "cat 3, dog 3", "bird holds no image and is not a class"),
    "a class twice by a sign without width": ("cat ca\u200bt dog", "cat 3, ca\u200bt 3, dog 3", "'ca\\u200bt'"),
    "a class twice by wide letters": ("cat ｃａｔ dog", "cat 3, dog 3, ｃａｔ 3", "spellings"),
    "views of things": ("{cup,plate}/{front,back}", TWO_WAYS, ""),
    "kinds of kinds": ("{animal/cat,animal/dog,vehicle/bus,vehicle/car}", TWO_WAYS, ""),
    "two questions": ("color/{red,blue} shape/{round,square}", TWO_WAYS, ""),
    "a wrapper with tools": ("set/__MACOSX/a set/{a,b} set/a/Thumbs.db set/.git/x.jpg", "a 3, b 3", ""),
    "versions of splits": ("{v1,v2}/{train,test}/{a,b}", "a 12, b 12 | test 12, train 12", ""),
    "kinds of a class below its splits": ("{cat,dog}/{train,test}/{young,old}",
        TWO_WAYS, ""),
    "other kinds below the splits of classes": (
        "cat/{train,test}/{persian,siam} dog/{train,test}/{boxer,pug}", TWO_WAYS, ""),
    "defects with their masks": (
        "bottle/train/good bottle/test/{good,broken} bottle/ground_truth/broken",
        "broken 3, good 6 | test 6, train 3", LOOSE),
    "augmented classes beside classes": ("{cat,dog} {cat,dog}_augmented aug_cat",
                                         "aug_cat 3, cat 3, cat_augmented 3, dog 3, dog_augmented 3", "spellings"),
    "years above": ("{2019,2020}/{a,b}", TWO_WAYS, ""),
    "days above": ("day{1..3}/{a,b}", "a 9, b 9", ""),
    "sessions of other classes": ("day1/{a,b} day2/{c,d}", TWO_WAYS, ""),
    "brightness above": ("{bright,dark}/{a,b}", TWO_WAYS, ""),
    "classes named as series": ("class{1..3}", "class1 3, class2 3, class3 3", ""),
    "digits": ("{0..9}", ", ".join(f"{n} 3" for n in range(10)), ""),
    "one class": ("photos/cat", CANNOT_TELL, ""),
    "one class in splits": ("{train,test}/cat", "!one class only", ""),
    "lost empty class": ("{cat,dog} bird/a.heif bird/b.HIF", "bird 2, cat 3, dog 3", ""),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "expected", "note"), TREES.values(), ids=TREES)
def test_a_tree_is_read_as_its_names_mean_or_the_reason_is_given(tmp_path, tree, expected, note):
    plant(tmp_path, tree)
    if expected.startswith("!"):
        with pytest.raises(SourceError, match=expected[1:]) as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)
        return
    found = read(tmp_path)
    assert summary(found) == expected
    assert note in " ".join(found.notes)
