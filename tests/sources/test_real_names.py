"""Names of files and class folders as people and public sets have them: the labels in them, or why there are none."""

import re

import pytest

from tests.sources.planting import CANNOT_TELL, assert_read, plant, read

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
