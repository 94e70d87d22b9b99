"""What says that folders are not classes, beyond a list of words: ordinals of any kind, and the names of the files."""

import re

import pytest

from darkroom.core.errors import SourceError
from darkroom.sources.file_evidence import notes_about_origins
from tests.sources.planting import assert_read, plant, read, summary

# what it is: (the tree, "class images, …" or "!reason", a part of a note)
DOUBTED = {
    "times in German": ("{morgens,abends}", "abends 3, morgens 3", "are called like times"),
    "seasons without accents": ("{primavera,verano,otono}", "otono 3, primavera 3, verano 3", "are called like times"),
    "seasons in the cases of Russian": ("{осенью,весной}", "весной 3, осенью 3", "are called like times"),
    "sides in Chinese": ("{左,右}", "右 3, 左 3", "are called like places or views"),
    "weekdays": ("{Monday,Friday}", "Friday 3, Monday 3", "are called like times"),
    "devices": ("{Redmi~Note~9,iPhone_SE}", "Redmi Note 9 3, iPhone_SE 3", "are called like devices"),
    "places": ("{lab,home}", "home 3, lab 3", "are called like places"),
    "decisions": ("{keep,toss}", "keep 3, toss 3", "decisions about pictures"),
    "persons": ("{maman,papa}", "maman 3, papa 3", "called like persons"),
    "what failed": ("{cat,dog,failed}", "cat 3, dog 3, failed 3", "failed is taken for a class; if it holds"),
    "what is to be sorted": ("{chat,chien,À_trier}", "chat 3, chien 3, À_trier 3", "À_trier is called like what comes"),
    "a folder without a title": ("{cat,dog}*9 Ohne~Titel", "cat 9, dog 9", "lie in no class folder"),
    "ranks": ("{first,second,third}", "first 3, second 3, third 3", "the classes are numbered"),
    "ranks of one thing": ("{erste,zweite}_Reihe", "erste_Reihe 3, zweite_Reihe 3", "the classes are numbered"),
    "numbers that go on": ("a/IMG_{0001..0009}.jpg b/IMG_{0015..0020}.jpg", "a 9, b 6",
                           "go on from folder to folder (1 to 9 in a, 15 to 20 in b)"),
    "numbers that go on without a camera": ("a/{1..9}.jpg b/{10..20}.jpg", "a 9, b 11", "go on from folder to folder"),
    "days": ("a/2021-05-01_{1..9}.jpg b/2021-05-02_{1..9}.jpg", "a 9, b 9", "of days of their own"),
    "days and times in one": ("a/IMG_20210501{101010..101014}.jpg b/IMG_20210502{101010..101014}.jpg", "a 5, b 5",
                              "of days of their own"),
    "cameras": ("a/IMG_{0101..0109}.jpg b/DSC_{0001..0009}.jpg", "a 9, b 9", "named as one camera does (IMG in a"),
    "seasons in Finnish": ("{kevät,kesä}", "kesä 3, kevät 3", "are called like times"),
    "ranks with digits": ("{1er,2e,3e}", "1er 3, 2e 3, 3e 3", "the classes are numbered"),
    "additions to all": ("{leaf,bark}*3 {leaf,bark}_bak",
                         "bark 3, bark_bak 3, leaf 3, leaf_bak 3", "bark, leaf and nothing, bak"),
    "what is labelled wrongly": ("{cat,dog,wrong_label}", "cat 3, dog 3, wrong_label 3",
                                 "if it holds what was not sorted"),
    "a picture in two forms": ("{color,segmented}/{oak/oak,elm/elm}_a{1..4}.jpg", "elm 8, oak 8",
                               "share their name with another of their class"),
    "thumbnails": ("{cat,dog} {cat,dog}/thumbnails", "cat 6, dog 6", "(cat/0000.jpg and cat/thumbnails/0000.jpg)"),
    "two formats": ("cat/cat{1..4}.{jpg,webp} dog/dog{1..4}.{jpg,webp}", "cat 8, dog 8",
                    "(cat/cat1.jpg and cat/cat1.webp)"),
    "words in the middle": ("{a,b}/IMG_{fox,owl}_{1..8}.jpg", "a 16, b 16", "if these are the classes"),
    "weeks": ("2023W{04,05}", "2023W04 3, 2023W05 3", "the classes are numbered"),
    "laboratories": ("Lab~{Wien,Bern}", "Lab Bern 3, Lab Wien 3", "are called like places"),
    "days as people write them": ("a/{01..09}.05.2021_{1..3}.jpg b/{01..09}.06.2021_{1..3}.jpg", "a 27, b 27",
                                  "of days of their own"),
    "what is to be done again": ("{buse,pie,À~refaire}", "buse 3, pie 3, À refaire 3", "what was not sorted"),
    "bad ones": ("{owl,jay,bad~ones}", "bad ones 3, jay 3, owl 3", "if it holds what was not sorted"),
    "the last words": ("{a,b}/{001..004}_cat.jpg {a,b}/{011..014}_dog.jpg", "a 8, b 8", "if these are the classes"),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "expected", "note"), DOUBTED.values(), ids=DOUBTED)
def test_folders_that_may_be_no_classes_are_said(tmp_path, tree, expected, note):
    plant(tmp_path, tree)
    assert_read(tmp_path, expected, note)


QUIET = {
    "numbers of all folders in one row": "a/IMG_{0001,0003,0005,0009}.jpg b/IMG_{0002,0004,0006}.jpg",
    "each folder counted": "{a,b}/IMG_{0001..0009}.jpg",
    "many classes in the order of their numbers": " ".join(
        f"{'abcdefghijkl'[n]}/{{{n}01..{n}09}}.jpg" for n in range(1, 12)
    ),
    "files counted in each version": "{v1,v2}/{a,b}/IMG_{0001..0004}.jpg",
    "one day": "{a,b}/2021-05-01_{1..9}.jpg",
    "the class in the name": "cat/cat_{1..9}.jpg dog/dog_{1..9}.jpg",
    "the class in the name, some in another's": "cat/cat_{1..9}.jpg cat/dog_{1..3}.jpg dog/dog_{1..9}.jpg",
    "views in names": "{cat,dog}/{front,back}_{1..6}.jpg",
    "splits in names": "{cat,dog}/{Training,PublicTest}_{1..6}.jpg",
    "sites of pictures in names": "{cat,dog}/{google,bing}_{1..6}.jpg",
    "augmented pictures": "{cat,dog}/{1..6}_{flipped,rotated}.jpg",
    "turned pictures": "{cat,dog}/{r,r2}_{1..6}.jpg",
    "weathers": "{cloudy,rainy,snowy,sunny}",
    "one view of two classes": "{def,ok}_front",
    "garbage": "{glass,paper,trash}",
    "ages": "{YOUNG,MIDDLE,OLD}",
    "what passed": "{passed,failed}",
    "a camera": "{camera,laptop,watch}",
    "ImageNet": "n01440764 n01443537 n01484850 n01491361",
    "stages": "Stage_{I,II,III}",
    "numerals": "{i,ii,iii,iv}",
    "words of numbers": "{one,two,three,four}",
    "rooms": "{lab,kitchen,home}",
    "categories": "{BI-RADS~1,BI-RADS~2}",
}


@pytest.mark.parametrize("tree", QUIET.values(), ids=QUIET)
def test_classes_are_not_doubted(tmp_path, tree):
    plant(tmp_path, tree)
    assert read(tmp_path).notes == []


THINGS = ("cat{I,II} dog{I,II,III}", "{cat,dog}_{i,ii}", "{cat,dog}{One,Two}", "{erster,zweiter}_{Hund,Fuchs}",
          "{cat,dog}{A,B}")  # fmt: skip


@pytest.mark.parametrize("tree", THINGS)
def test_things_with_any_numbers_stop_and_the_pattern_of_the_message_joins_them(tmp_path, tree):
    plant(tmp_path, tree)
    with pytest.raises(SourceError, match="called like numbered things") as caught:
        read(tmp_path)
    pattern = re.search(r"`label_pattern: '(.*?)'`", str(caught.value))
    assert pattern
    expected = {"Hund", "Fuchs"} if "Hund" in tree else {"cat", "dog"}
    assert {sample.label for sample in read(tmp_path, label_pattern=pattern[1]).samples} == expected


@pytest.mark.parametrize(
    ("tree", "by_name"),
    [("{厨房,客厅}/{苹果,香蕉}_{1..6}.jpg", "苹果 12, 香蕉 12"),
     ("{Halle,Hof}/{Mutter,Zange}{1..6}.jpg", "Mutter 12, Zange 12"),
     ("{lab,home}/{cat,dog}_{1..6}.jpg", "cat 12, dog 12"),
     ("{mary,ann,tom}/{happy,sad}{01..04}.jpg", "happy 12, sad 12"),
     ("{roof,yard,barn}/owl_{1..5}.jpg {roof,yard}/bat_{1..5}.jpg barn/rat_{1..5}.jpg", "bat 10, owl 15, rat 5"),
     ("{train,test}/{x,y}/{cat,dog}.{1..6}.jpg", "cat 24, dog 24 | test 24, train 24")],
)  # fmt: skip
def test_files_that_name_other_classes_than_their_folders_stop_and_both_can_be_chosen(tmp_path, tree, by_name):
    plant(tmp_path, tree)
    with pytest.raises(SourceError, match="folders and names of files divide the images in different ways") as caught:
        read(tmp_path)
    message = str(caught.value)
    folders = summary(read(tmp_path, layout="folders"))
    pattern = re.search(r"`label_pattern: '(.*?)'`", message)
    assert pattern
    assert f"({folders.partition(' |')[0]})" in message
    assert summary(read(tmp_path, label_pattern=pattern[1])) == by_name


ORIGINS = {
    "a camera a class": ([("a", "X", ""), ("b", "Y", "")], "are of a camera of its own, by EXIF (X in a, Y in b)"),
    "days of their own": ([("a", "X", "1"), ("a", "X", "2"), ("b", "X", "3")], "are of a day of its own, by EXIF"),
    "one camera": ([("a", "X", ""), ("b", "X", "")], ""),
    "a camera in two classes": ([("a", "X", ""), ("a", "Y", ""), ("b", "X", "")], ""),
    "a class without": ([("a", "X", ""), ("b", "Y", ""), ("c", "", "")], ""),
}


@pytest.mark.parametrize(("origins", "note"), ORIGINS.values(), ids=ORIGINS)
def test_cameras_and_days_that_part_the_classes_are_said(origins, note):
    assert note in " ".join(notes_about_origins(origins * 3))
    assert bool(note) == bool(notes_about_origins(origins * 3))
    assert not notes_about_origins(origins)  # of one picture each, it is no wonder
