"""Small inputs made after public reports: what each README calls right, as it is fetched."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from darkroom.core import files
from darkroom.core.errors import SourceError
from tests.stages.pipeline import index, run_all, run_fetch

UNKNOWN = "!{} has the columns .*; name the right ones in params.yaml: path_column .*label_column .*first rows: "
TABLE = "cat 10, dog 10"

# the case: ("class images, … | split images, …" or "!message", a part of a note, params)
CASES = {
    "doubled-split-folders/intel": ("forest 6, sea 6, street 6 | test 9, train 9", "lie in no class folder", {}),
    "doubled-split-folders/catdog": ("cats 6, dogs 6 | test 6, train 6", "", {}),
    "doubled-split-folders/imgs": ("cat 6, dog 6 | train 6, val 6", "", {}),
    "doubled-split-folders/dvc2": ("cat 3, dog 3 | train 6", "have no label in their name and are left out", {}),
    "kaggle-dogs-vs-cats-root/dvc1": ("cat 6, dog 6 | train 12", "have no label in their name and are left out", {}),
    "class-of-other-suffixes/heic": (
        r"!no file of 1 classes is a picture that can be read: bird: 8 .heic \(its header is damaged\)",
        "",
        {},
    ),
    "thumbnails-and-bins/syno": (
        "cat 8, dog 8",
        "folders of network drives, desktops and tools are left out: @eaDir",
        {},
    ),
    "newline-in-class/names_nl": ("new line 3, other 3, third 3", "line ends or control characters, which become", {}),
    "cjk": ("ünï 8, 日本 8", "", {}),
    "untracked-source-queue/my_photos": ("a 10, b 10", "", {}),
    "upper-case-archive/TRAIN.ZIP": ("cat 6, dog 6", "", {}),
    "upper-case-archive/train.TAR": ("a 10, b 10", "", {}),
    "zips/gbk.zip": ("狗 6, 猫 6", "are read as gbk", {}),
    "zips/sjis.zip": ("犬 6, 猫 6", "are read as cp932", {}),
    "zips/bs.zip": ("cat 6, dog 6", "", {}),
    "zips/nested.zip": ("cat 12, dog 12 | test 12, train 12", "unpacked into data/raw", {}),
    "zips/folder_of_zips": ("cat 6, dog 6", "read like folders of their names", {}),
    "singletons/singles": ("a 12, b 12, c 1, d 1, e 1, f 1, g 1", "", {}),
    "tables/c_utf16": (TABLE, "", {}),
    "tables/c_sep": (TABLE, "", {}),
    "tables/c_header_commas": (TABLE, "", {}),
    "tables/c_spaceq": (TABLE, "", {}),
    "tables/c_comment": (TABLE, "", {}),
    "tables/c_blank": (TABLE, "", {}),
    "tables/c_space": (TABLE, "", {"label_column": "label"}),
    "tables/c_nohead": (TABLE, "has no header", {}),
    "tables/c_onehot": ("MEL 10, NV 10", "zeros and ones", {}),
    "tables/c_aptos": (UNKNOWN.format("train.csv"), "", {}),
    "tables/c_multi": ("cat 6, dog 7, scab rust 7", "look like several in one cell", {}),
    "tables/c_case": (TABLE, "differ in upper and lower case", {}),
    "tables/c_index": (TABLE, "", {}),
    "tables/c_two": (TABLE + " | train 14, val 6", "", {}),
    "tables/c_isvalid": (TABLE + " | train 15, val 5", "is_valid is read as an official split", {}),
    "tables/c_regexgroup": (TABLE, "", {"group_by": r"images/(\d\d)"}),
}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("case", "expected", "note", "params"), [(case, *facts) for case, facts in CASES.items()], ids=CASES
)
def test_a_case_is_read_as_its_readme_says(shared, case, expected, note, params):
    source = shared / "cases" / case
    if not source.exists():
        pytest.skip(f"{source} is absent")
    if case.startswith("tables/"):  # the images of all of them lie beside, by a link
        source = shutil.copytree(source, Path("case"), ignore=shutil.ignore_patterns("images"))
        (source / "images").symlink_to(shared / "cases/tables/images")
    if expected.startswith("!"):
        with pytest.raises(SourceError, match=expected[1:]):
            run_fetch(source, **params)
        return
    run_fetch(source, **params)
    classes, splits = (Counter(row[key] or "none" for row in index()) for key in ("label", "split"))
    text = ", ".join(f"{label} {count}" for label, count in sorted(classes.items()))
    parts = "" if set(splits) == {"none"} else " | " + ", ".join(f"{split} {n}" for split, n in sorted(splits.items()))
    assert text + parts == expected
    assert note in " ".join(files.read_json(Path("data/raw/source.json"))["notes"])


def test_classes_of_one_image_are_all_named_at_once(shared):
    with pytest.raises(SourceError, match=r"each of these 5 classes needs one image to learn from") as caught:
        run_all(shared / "cases/singletons/singles")
    assert all(f"'{label}' has 1 image(s)" in str(caught.value) for label in "cdefg")


def test_labels_txt_has_a_line_a_class(shared):
    run_all(shared / "cases/newline-in-class/names_nl", max_rejects=1)
    labels = {row["label"] for row in index()}
    assert not any(re.search(r"[\x00-\x1f\x7f]", label) for label in labels)


@pytest.mark.parametrize("name", ["photos $5", "photos `x`", 'say "hi" photos', "a'b", "photos;ls", "new\\nline"])
def test_a_source_of_a_name_with_shell_characters_is_read(shared, tmp_path, name):
    (tmp_path / name).symlink_to(shared / "cases/untracked-source-queue/my_photos")
    assert run_fetch(tmp_path / name) == "20 images of 2 classes"
