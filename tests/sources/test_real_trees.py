"""Folder trees and file names as people and collections have them: how many images of which class, or why not."""

import re

import pytest

from tests.sources.planting import assert_read, plant, read

TWO_WAYS, CANNOT_TELL, NOT_CLASSES = (
    r"!can be read in \d ways",
    "!cannot tell where the labels are",
    "!and not like classes",
)
LOOSE = "lie in no class folder and are left out"

# what it is: (the tree, "class images, … | split images, …" or "!reason", a part of a note)
TREES = {
    "splits under a version": ("v1/{Train,Test}/{a,b}", "a 6, b 6 | test 6, train 6", ""),
    "measures": ("{4C,20C,37C}", "20C 3, 37C 3, 4C 3", "called like measures"),
    "stops of a lens": ("{f2.8,f4,f11}", "f11 3, f2.8 3, f4 3", "called like measures"),
    "pairs without a separator": (
        "{firetruck,fireman,policetruck,policeman}", "fireman 3, firetruck 3, policeman 3, policetruck 3",
        "each class is fire, police with man, truck"),
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
    "splits in spanish": ("{entrenamiento,validación,prueba}/{gato,perro}",
                          "gato 9, perro 9 | test 6, train 6, val 6", ""),
    "splits in portuguese": ("{treino,teste}/{gato,cao}", "cao 6, gato 6 | test 6, train 6", ""),
    "splits in french and german": ("{Entraînement,Validierung,Test}/{a,b}", "a 9, b 9 | test 6, train 6, val 6", ""),
    "splits in russian": ("{обучение,тест}/{кот,пёс}", "кот 6, пёс 6 | test 6, train 6", ""),
    "splits in chinese": ("{训练集,测试集}/{猫,狗}", "狗 6, 猫 6 | test 6, train 6", ""),
    "splits in traditional chinese": ("{訓練集,測試集}/{貓,狗}", "狗 6, 貓 6 | test 6, train 6", ""),
    "splits in japanese": ("{学習用,検証,テスト}/{猫,犬}", "犬 9, 猫 9 | test 6, train 6, val 6", ""),
    "splits in korean": ("{훈련,테스트}/{고양이,개}", "개 6, 고양이 6 | test 6, train 6", ""),
    "splits in an unknown language": ("{opleiding,toets}/{hond,kat}", TWO_WAYS, ""),
    "a cover beside class folders": ("{a,b}*20 cover.jpg", "a 20, b 20", LOOSE),
    "a cover beside splits": ("{train,test}/{a,b}*20 {cover,logo}.jpg", "a 40, b 40 | test 40, train 40", LOOSE),
    "a cover around a wrapper, and in it": ("cover.png x/cover.png x/{a,b}*20", "a 20, b 20", LOOSE),
    "many loose beside class folders": ("{a,b} {1..50}.jpg", CANNOT_TELL, ""),
    "doubled beside an unlabelled test": ("X/X/{train,valid}/{a,b} test/test*5", "a 6, b 6 | train 6, val 6", LOOSE),
    "doubled beside a labelled test": ("X/X/{train,valid}/{a,b} test/{a,b}", "a 9, b 9 | test 6, train 6, val 6", ""),
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
    "zones": ("zone{1..4}", NOT_CLASSES, ""),
    "months": ("{jan,feb,mar}", "feb 3, jan 3, mar 3", "are called like times"),
    "tanks": ("tank{1..2}", "tank1 3, tank2 3", "the classes are numbered (tank1, tank2); if these are"),
    "cats and dogs with numbers": ("{cat,dog}{1..3}", "!numbered things.*`class_level: 1`.*pattern", ""),
    "cats and dogs with numbers in splits": ("{train,test}/{cat,dog}_{01..03}", "!`class_level: 2` takes each", ""),
    "types of aeroplanes": ("boeing{737,747} airbus{320,330}",
                            "airbus320 3, airbus330 3, boeing737 3, boeing747 3", ""),
    "words with copies by number": ("{cat,dog}~({1,2})", "!numbered things", ""),
    "words with numbered parts": ("{cats,dogs}_part{1,2}", "!numbered things", ""),
    "words with letters": ("{oak,elm}_{a,b}", "!numbered things", ""),
    "letters with numbers": ("{A,B}{1,2}", "A1 3, A2 3, B1 3, B2 3", "A1, A2, B1, B2 look like numbered parts"),
    "numbered kinds of some classes": ("Apple~Red~{1,2} Banana", "Apple Red 1 3, Apple Red 2 3, Banana 3",
        r"Apple Red 1, Apple Red 2 look like numbered parts of a class, and are taken for classes; `label_pattern: "
        r"'([^/]+?)[ _.-]*\(?\d*\)?/[^/]*$'` joins them"),
    "a class with a second part": ("cat cat2 dog", "cat 3, cat2 3, dog 3", "cat, cat2 look like numbered parts"),
    "pairs of words": ("{oak,elm}_{berlin,paris}", "elm_berlin 3, elm_paris 3, oak_berlin 3, oak_paris 3",
        "each class is a pair of elm, oak and berlin, paris; if one of the two is the class, `label_pattern: "),
    "times of the day": ("{morning,evening}", "evening 3, morning 3", "are called like times, weather or light"),
    "telephones": ("{iPhone~12,Samsung,pixel-6}", "Samsung 3, iPhone 12 3, pixel-6 3", "are called like devices"),
    "views": ("{left,right}_eye", "left_eye 3, right_eye 3", "are called like places or views"),
    "sources of pictures": ("{google,flickr}", "flickr 3, google 3", "are called like sources of pictures"),
    "pictures as made and as edited": ("{raw,edited}", NOT_CLASSES, ""),
    "what is bad": ("{cat,dog,bad}", "bad 3, cat 3, dog 3", "bad is taken for a class; if it holds"),
    "good and bad": ("{good,bad}", "bad 3, good 3", ""),
    "an album": ("{cat,dog} WhatsApp~Images", "WhatsApp Images 3, cat 3, dog 3", "WhatsApp Images is taken for"),
    "folders without a name": ("{cat,dog} Neuer~Ordner~(2) 新建文件夹 untitled~folder", "cat 3, dog 3", LOOSE),
    "classes in folders without a name": ("New~folder/{a,b} New~folder~(2)/{a,b}", "a 6, b 6", ""),
    "class, split and split again": ("train/{real,fake}_train test/{real,fake}_test",
                                     "fake 6, real 6 | test 6, train 6", ""),
    "what was not sorted": ("{cat,dog,misc}", "cat 3, dog 3, misc 3", "misc is taken for a class; if it holds"),
    "classes with a split's name": ("training_{real,fake}", "training_fake 3, training_real 3", "name a split"),
    "a bin of Windows 95": ("{a,b}*30 Recycled*2", "a 30, b 30", LOOSE),
    "waste that is recycled": ("{organic,recycled}", "organic 3, recycled 3", "recycled is called like"),
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
        "bottle/train/good bottle/test/{good,broken} bottle/ground_truth/broken", "!train holds one class only, 'good'",
        ""),
    "one class to learn from": ("train/a*20 {val,test}/{a,b}*5", "!train holds one class only, 'a'", ""),
    "voc": ("{JPEGImages,SegmentationClass,SegmentationObject}/{1..4}.png", NOT_CLASSES, ""),
    "camvid": ("{train,trainannot,val,valannot}/{1..4}.png", CANNOT_TELL, ""),
    "drive": ("{training,test}/{images,1st_manual,mask}", NOT_CLASSES, ""),
    "ade": ("{images,annotations}/{training,validation}", CANNOT_TELL, ""),
    "isic with its masks": ("ISIC_Training_{Input,GroundTruth}", NOT_CLASSES, ""),
    "supervisely": ("ds/{img,masks_human,masks_machine}", NOT_CLASSES, ""),
    "kitti": ("{training,testing}/{image_2,label_2}", NOT_CLASSES, ""),
    "pairs": ("{input,target}", NOT_CLASSES, ""),
    "the same names in both": ("{satellite,map}/{2,3,5,7,11,13,17,19,23,29,31}.png", "!files of the same names", ""),
    "the same numbers in both": ("{satellite,map}*20", "map 20, satellite 20", ""),
    "sensors": ("{RGB,IR}*20", NOT_CLASSES, ""),
    "hashes that files do not repeat": ("{0a,3f,7c,a1,b2,ff}*4", NOT_CLASSES, ""),
    "sixteen folders of hashes": ("{0,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f}", NOT_CLASSES, ""),
    "sizes and seats": ("{1a,1b,2a,2b,3a,3b}", "1a 3, 1b 3, 2a 3, 2b 3, 3a 3, 3b 3", ""),
    "languages": ("{da,de,en,fa,fr,ba}", "ba 3, da 3, de 3, en 3, fa 3, fr 3", ""),
    "codes": ("P{001..003}", "P001 3, P002 3, P003 3", "the classes are numbered (P001, P002, P003)"),
    "classes of Google Drive": ("cat-20230101T123456Z-{001,002}/cat dog-20230102T123456Z-001/dog", "cat 6, dog 3",
                                "the dates and numbers that Google Drive puts"),
    "a set of Google Drive": ("set-20230101T123456Z-001/set/cat set-20230101T123456Z-002/set/dog", "cat 3, dog 3", ""),
    "a class of films in train": ("train/{a,b} test/{a,b,c} train/c/{1,2}.mp4", r"!c: 2 \.mp4", ""),
    "bins and snapshots": ("{a,b} @Recycle RECYCLER FOUND.000 #snapshot/now/{a,b}", "a 3, b 3", "4 folders of network"),
    "videos": ("video_{01..03}", NOT_CLASSES, ""),
    "persons alone": ("patient{001..003}", NOT_CLASSES, ""),
    "sites alone": ("site{A,B}", NOT_CLASSES, ""),
    "days alone": ("2020-01-{01..03}", NOT_CLASSES, ""),
    "years alone": ("{2019,2020,2021}", NOT_CLASSES, ""),
    "files by the thousand": ("{00000,01000,02000}", NOT_CLASSES, ""),
    "notes of money": ("{100,200,500}", "100 3, 200 3, 500 3", ""),
    "files by their hash": ("00/00{ab,cd}34.jpg a3/a3{ab,cd}34.jpg", NOT_CLASSES, ""),
    "files by their hash, deep": ("0/0/0/000a.jpg 0/1/0/010b.jpg 1/2/0/120a.jpg 1/3/1/131a.jpg", NOT_CLASSES, ""),
    "numbers of a class first": ("{0,1}/{0,1}_{10..13}.jpg", "0 8, 1 8", ""),
    "weights of a model": ("{a,b} models/last.pth", "a 3, b 3", "models holds no image and is not a class"),
    "what nobody has sorted yet": ("{a,b} unsorted", "a 3, b 3, unsorted 3", "if it is not one, `exclude` it"),
    "augmented classes beside classes": ("{cat,dog} {cat,dog}_augmented aug_cat",
                                         "aug_cat 3, cat 3, cat_augmented 3, dog 3, dog_augmented 3", "spellings"),
    "numbered classes beside larger pictures": ("tiles/tiles/{01_TUMOR,02_STROMA} larger/larger", TWO_WAYS, ""),
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
    assert_read(tmp_path, expected, note)


NAMES = {
    "name and number": ("{cat,dog}.{1..4}.jpg", "cat 4, dog 4", ""),
    "numbers without a separator": ("{cat,dog}{1..4}.jpg", "cat 4, dog 4", ""),
    "numbers in brackets": ("{cat,dog}~({1..4}).jpg", "cat 4, dog 4", ""),
    "oxford pets": ("images/{Abyssinian,american_bulldog,american_pit_bull,Birman}_{1..4}.jpg",
        "!names can be read in 2 ways", ""),
    "words of one class": ("{polar_bear,sun_bear,dog}_{1..4}.jpg", "dog 4, polar_bear 4, sun_bear 4", ""),
    "the same by both": ("{cat,dog}_{1..4}.jpg", "cat 4, dog 4", ""),
    "camera names": ("IMG_{0001..0004}.jpg DSC_{0001..0004}.jpg", CANNOT_TELL, ""),
    "phone names": ("{PXL,MVIMG}_2020{0101..0104}.jpg", CANNOT_TELL, ""),
    "splits in names": ("{train,test}_{cat,dog}_{1..3}.jpg", CANNOT_TELL, ""),
    "numbers first": ("{1..4}_cat.jpg {5..8}_dog.jpg", CANNOT_TELL, ""),
    "capitals": ("{CAT,DOG}.{1..4}.JPG", "CAT 4, DOG 4", ""),
    "in split folders": ("{train,test}/{cat,dog}_{1..4}.jpg", "cat 8, dog 8 | test 8, train 8", ""),
    "dates": ("2020-01-{01..08}.jpg", CANNOT_TELL, ""),
    "hashes": ("{a3f,b4c,c5d,d6e}{1..2}9ab.jpg", CANNOT_TELL, ""),
    "short hashes first": ("{a1b2,c3d4}-{1..4}-x.jpg", CANNOT_TELL, ""),
    "frames of videos": ("{walk,run}_frame{0001..0006}.jpg", CANNOT_TELL, ""),
    "persons first": ("subject{01,02}.{happy,sad,wink,calm}.jpg", CANNOT_TELL, ""),
    "persons before labels": ("patient{1..3}_{benign,malignant}_{1..4}.jpg", CANNOT_TELL, ""),
    "programs first": ("{Screenshot,Photo}~2020-{1..6}.png", CANNOT_TELL, ""),
    "an at sign": ("{cat,dog}@{1..6}.jpg", "cat 6, dog 6", ""),
    "a word behind the number": ("{cat,dog}_{1..4}_small.jpg", "cat 4, dog 4", ""),
    "the same second word in all": ("{red,green}~apple~({1..4}).jpg", "green apple 4, red apple 4", ""),
    "from a site of pictures": ("{cat,dog}-unsplash-{1..4}.jpg", "cat 4, dog 4", ""),
    "pictures in two languages": ("{Bild,Foto}~({1..5}).jpg", CANNOT_TELL, ""),
    "times in names": ("{morning,evening}_{1..4}.jpg", "evening 4, morning 4", "are called like times, weather"),
    "masks beside": ("{cat,dog}_{1..4}.jpg {cat,dog}_{1..4}_mask.png", "cat 4, dog 4",
        "8 images are called like masks"),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "expected", "note"), NAMES.values(), ids=NAMES)
def test_labels_in_names_are_read_or_the_reason_is_given(tmp_path, tree, expected, note):
    plant(tmp_path, tree)
    assert_read(tmp_path, expected, note, layout="names")


# Names of classes in public sets, which must not be taken for anything else.
PUBLIC = {
    "GTSRB": "{00000..00042}", "MNIST": "{0..9}", "EMNIST": "{0..9} {A,B,C,D,E,a,b,d,e}",
    "CIFAR-100": "aquarium_fish bed lawn_mower maple_tree oak_tree palm_tree pickup_truck pine_tree plain train",
    "Stanford Cars": "Audi~S4~Sedan~{2007,2012} Audi~100~{Sedan,Wagon}~1994 BMW~{1,3}~Series~Coupe~2012",
    "FGVC-Aircraft": "737-{200,300} A{310,318,319} ATR-{42,72} DC-{3,6,10} DHC-{1,6} MD-{11,80}",
    "military aircraft": "A10 B{1,2,52} C{5,17,130} F{14,15,16}", "Caltech-256": "001.ak47 257.clutter",
    "Caltech-101": "BACKGROUND_Google Faces Faces_easy camera", "flowers": "{1..102}", "grades": "{No_DR,Mild,Severe}",
    "PlantVillage": "{Apple,Potato}___healthy Apple___Black_rot Potato___{Early,Late}_blight", "DR": "{0..4}",
    "EuroSAT": "AnnualCrop Forest Highway River SeaLake", "RPS": "{paper,rock,scissors}", "ISIC": "{AK,BCC,NV,UNK}",
    "fruits": "{fresh,rotten}{apples,banana,oranges}", "weather": "{cloudy,rain,shine,sunrise}",
    "state farm": "c{0..9}",
    "weathers": "{dew,fogsmog,frost,rain,snow}", "day and night": "{day,night}", "masks": "{with,without}_mask",
    "KL": "KL{0..4}", "ASL": "{A,B,C,D,del,nothing,space}", "knees": "Grade~{1..3}", "DSB": "Type_{1..3}",
    "CEFR": "{A,B,C}{1,2}", "NEU": "{Cr,In,Pa,PS,RS,Sc}", "PACS": "{art_painting,cartoon,photo,sketch}",
    "LC25000": "{colon_aca,colon_n,lung_aca,lung_n,lung_scc}", "euros": "{5,10,20,50}", "fire": "{fire,nofire,smoke}",
    "cards": "{ace,king}~of~{clubs,hearts}", "garbage": "{brown-glass,green-glass,metal,trash,white-glass}",
    "casting": "{def,ok}_front", "characters": "character{01..03}", "roman": "{i,ii,iii,iv,v}", "Fruits-360":
    "Apple~Golden~{1..3} Apple~Red~{1..3} Banana Tomato~{1..4}", "wells": "{healthy,well}",
}  # fmt: skip


@pytest.mark.parametrize("tree", PUBLIC.values(), ids=PUBLIC)
def test_each_class_of_a_public_set_is_read_as_one(tmp_path, tree):
    plant(tmp_path, " ".join(f"{label}*2" for label in tree.split()))
    assert {sample.label for sample in read(tmp_path).samples} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(("tree", "labels"), [("Apple~Red~{1,2} Banana", {"Apple Red", "Banana"}),
    ("{train,test}/{A,B}{1,2}", {"A", "B"}), ("cat cat~(2) dog", {"cat", "dog"})])  # fmt: skip
def test_the_pattern_of_the_note_joins_numbered_parts(tmp_path, tree, labels):
    plant(tmp_path, tree)
    pattern = re.search(r"`label_pattern: '(.*)'` joins", " ".join(read(tmp_path).notes))
    assert pattern
    assert {sample.label for sample in read(tmp_path, label_pattern=pattern[1]).samples} == labels
