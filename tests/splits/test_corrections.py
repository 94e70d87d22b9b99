"""corrections.csv: decisions by content, applied to labels; each mistake in the file is one line that says where."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from darkroom.core.errors import SourceError
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import open_split
from darkroom.splits.corrections import (
    COLUMNS,
    Correction,
    apply,
    read_corrections,
    write_corrections,
    write_labels,
)
from tests.conftest import ROOT

SHA = {name: f"{number:064x}" for number, name in enumerate("abcdef", start=1)}
LABELS = {"a": "ant", "b": "ant", "c": "bee", "d": "bee", "e": "ant", "f": "bee"}
SPLIT = {"a": "train", "b": "train", "c": "train", "d": "train", "e": "test", "f": "val"}
INDEX = [{"id": SHA[name], "sha256": SHA[name], "label": label} for name, label in LABELS.items()]
DIVIDED = {SHA[name]: split for name, split in SPLIT.items()}
WHEN = "2026-11-28T05:00:00Z"


def decided(name: str, decision: str, becomes: str = "", was: str = "") -> Correction:
    return Correction(SHA[name], "", decision, was or LABELS[name], becomes, "a person", WHEN, "")


def applied(tmp_path: Path, *corrections: Correction):
    path = tmp_path / "corrections.csv"
    write_corrections(path, corrections)
    return apply(read_corrections(path), path, INDEX, DIVIDED)


def write_lines(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "corrections.csv"
    path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
    return path


def test_no_decision_changes_nothing(tmp_path):
    found = applied(tmp_path)
    assert found.changes == {"train": {}, "val": {}, "test": {}}
    assert (found.classes, found.notes) == (["ant", "bee"], [])


def test_each_decision_does_what_it_says_in_the_split_that_the_image_is_in(tmp_path):
    found = applied(
        tmp_path, decided("a", "relabel", "bee"), decided("d", "exclude"), decided("e", "relabel", "wasp"),
        decided("b", "relabel", "wasp"), decided("f", "keep"), decided("c", "unsure"),
    )  # fmt: skip
    assert found.changes == {
        "train": {SHA["a"]: "bee", SHA["b"]: "wasp", SHA["d"]: ""},
        "val": {},
        "test": {SHA["e"]: "wasp"},
    }
    assert found.classes == ["bee", "wasp"]
    assert found.counts == {"decisions": 6, "relabelled": 3, "excluded": 1}


def test_a_decision_holds_for_every_copy_and_wherever_the_file_lies(tmp_path):
    copy = {"id": SHA["a"] + "-2", "sha256": SHA["a"], "label": "ant"}
    path = tmp_path / "corrections.csv"
    write_corrections(path, [decided("a", "relabel", "bee")])
    found = apply(read_corrections(path), path, [*INDEX, copy], DIVIDED | {copy["id"]: "train"})
    assert found.changes["train"] == {SHA["a"]: "bee", copy["id"]: "bee"}


def test_what_the_source_says_already_is_no_change(tmp_path):
    assert applied(tmp_path, decided("a", "relabel", "ant", was="bee")).changes["train"] == {}


def test_a_row_that_fits_nothing_and_one_whose_label_has_changed_are_reported(tmp_path):
    gone = Correction("9" * 64, "", "relabel", "ant", "bee", "", WHEN, "")
    found = applied(tmp_path, decided("a", "relabel", "bee", was="wasp"), gone)
    assert found.changes["train"] == {SHA["a"]: "bee"}
    assert [note for note in found.notes if "1 of the decisions in" in note and "fit no image" in note and "3" in note]
    assert [note for note in found.notes if "line 2 of" in note and "was 'wasp'" in note]


def test_two_peoples_lines_merge_when_they_agree_and_stop_the_run_when_they_do_not(tmp_path):
    first, again = decided("a", "relabel", "bee"), decided("a", "relabel", "bee")
    assert applied(tmp_path, first, again).counts["decisions"] == 1
    message = r"lines 2 and 3 decide differently about 000000000000: relabel to 'bee', and exclude; delete one"
    with pytest.raises(SourceError, match=message):
        applied(tmp_path, first, decided("a", "exclude"))


def test_a_replaced_decision_has_no_effect_and_a_merge_that_kept_it_too_changes_nothing(tmp_path):
    first, second = decided("a", "exclude"), decided("a", "relabel", "bee")
    history = replace(first, replaced=True)
    for rows in ((history, second), (history, second, first), (second, first, history)):
        assert applied(tmp_path, *rows).changes["train"] == {SHA["a"]: "bee"}
    assert applied(tmp_path, history).changes["train"] == {}
    assert applied(tmp_path, history, replace(second, replaced=True), first).changes["train"] == {SHA["a"]: ""}


def test_a_class_without_a_training_image_stops_the_run(tmp_path):
    with pytest.raises(SourceError, match="no training image is left of wasp; a class needs at least one"):
        applied(tmp_path, decided("e", "relabel", "wasp"))
    every_bee = [decided(name, "relabel", "ant") for name in "cdf"]
    with pytest.raises(SourceError, match="leave 1 class; a classifier needs two"):
        applied(tmp_path, *every_bee)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{SHA['a']},,relabel,ant,bee,me,now", "line 2: 7 columns, expected 8"),
        (f"{SHA['a']},,rename,ant,bee,me,now,", "line 2, column decision: 'rename', expected one of keep, relabel"),
        (f"{SHA['a']},,relabel,ant,,me,now,", "line 2, column becomes: '', expected the new label"),
        (f"{SHA['a']},,exclude,ant,bee,me,now,", "line 2, column becomes: 'bee', expected nothing, for exclude"),
        (f"{SHA['a']},,relabel,ant, bee,me,now,", "has a control character or a space at an end"),
        ("ABC,,exclude,ant,,me,now,", "line 2, column sha256: 'ABC', expected 64 hexadecimal digits, a to f"),
        (",,exclude,ant,,me,now,", "line 2: neither sha256 nor id says which image is meant"),
        ("<<<<<<< HEAD", "line 2: a merge left its conflict here"),
        ("||||||| 1c6b3a0", "line 2: a merge left its conflict here"),
        (f'{SHA["a"]},,exclude,ant,,me,now,"cut', "line 2, column note: a quote is opened, and not closed on its line"),
        (f"{SHA['a']},,exclude,ant,,me,now,{'x' * 200_000}", "line 2: field larger than field limit"),
        (f"{SHA['a']},,relabel,ant,b\u202ee,me,now,", r"line 2, column becomes: 'b\\u202ee' has a control character"),
    ],
)
def test_a_mistake_made_by_hand_names_line_and_column(tmp_path, line, message):
    with pytest.raises(SourceError, match=message) as caught:
        read_corrections(write_lines(tmp_path, line))
    assert "\n" not in str(caught.value)


def test_an_open_quote_swallows_no_decision_and_its_own_line_is_named(tmp_path):
    lines = [f"{SHA[name]},,exclude,ant,,me,now," for name in "abc"]
    path = write_lines(tmp_path, lines[0], f'{lines[1]}"cut', *lines[2:])
    with pytest.raises(SourceError, match="line 3, column note: a quote is opened"):
        read_corrections(path)
    wrong = write_lines(tmp_path, lines[0], "", f'{lines[1]}"cut, and dark"', lines[2].replace("exclude", "rename"))
    with pytest.raises(SourceError, match="line 5, column decision: 'rename'"):
        read_corrections(wrong)


@pytest.mark.parametrize(
    "label", ["👨\u200d👩", "a\u00a0b", "نمی\u200cدانم", "=cmd|' /C calc'!A0", "<b>&amp;", 'say "a, b"']
)
def test_a_label_that_a_source_may_have_may_be_given(tmp_path, label):
    corrections = [decided("a", "relabel", label), decided("e", "relabel", label)]
    assert label in applied(tmp_path, *corrections).classes


def test_a_row_by_sha256_and_one_by_id_are_about_the_same_image(tmp_path):
    index = [{"id": "photo-1", "sha256": SHA["a"], "label": "ant"}, *INDEX[1:]]
    split = DIVIDED | {"photo-1": "train"}
    path = write_lines(tmp_path, f"{SHA['a']},,relabel,ant,bee,me,now,", ",photo-1,relabel,ant,bee,me,now,")
    assert apply(read_corrections(path), path, index, split).notes == []
    path = write_lines(tmp_path, f"{SHA['a']},,relabel,ant,bee,me,now,", ",photo-1,exclude,ant,,me,now,")
    with pytest.raises(SourceError, match="lines 2 and 3 decide differently about 000000000000: relabel to 'bee', and"):
        apply(read_corrections(path), path, index, split)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"image,label\n", "line 1: the columns are image, label, expected sha256, id"),
        (b"\xff\xfe\x00", r"line 1 is not UTF-8 \(byte 0\)"),
        (",".join(COLUMNS).encode() + b"\n,b\xe9e,keep,,,,,\n", r"line 2 is not UTF-8 \(byte 46\)"),
        (bytes(200_000), r"line 1: field larger than field limit \(131072\); expected the columns sha256, id"),
        (b"", "line 1: the columns are missing, expected sha256, id"),
        (
            ";".join(COLUMNS).encode() + b"\r\n",
            "line 1: semicolons divide the columns; save the table as CSV",
        ),
        ("\t".join(COLUMNS).encode() + b"\n", "line 1: tabs divide the columns"),
        (b"<<<<<<< HEAD\n" + ",".join(COLUMNS).encode() + b"\n", "line 1: a merge left its conflict here"),
        (None, "does not exist; expected a table with the columns sha256"),
    ],
)
def test_a_file_that_is_not_such_a_table_is_rejected(tmp_path, data, message):
    path = tmp_path / "corrections.csv"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SourceError, match=message):
        read_corrections(path)


def test_a_quote_left_open_in_the_header_is_reported_on_one_line(tmp_path):
    path = tmp_path / "corrections.csv"
    path.write_text('sha256,id,decision,was,becomes,by,when,"note\n' + "0" * 64 + ",a,keep,x,,,,\n")
    with pytest.raises(SourceError, match="line 1: the columns are sha256, id") as raised:
        read_corrections(path)
    assert "\n" not in str(raised.value)


def test_lines_that_two_people_have_appended_are_merged_by_git(tmp_path):
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=A user", "-c", "user.email=user@example.com")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    shutil.copy(ROOT / ".gitattributes", tmp_path)
    lines = [f"{SHA[name]},,exclude,ant,,me,now," for name in "abc"]
    path = write_lines(tmp_path, lines[0])
    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "other")
    write_lines(tmp_path, *lines[:2])
    git("commit", "-qam", "two")
    git("checkout", "-q", "main")
    write_lines(tmp_path, lines[0], lines[2])
    git("commit", "-qam", "three")
    git("merge", "-q", "--no-edit", "other")
    assert {row.sha256 for row in read_corrections(path)} == {SHA[name] for name in "abc"}


def test_a_folder_in_its_place_is_named(tmp_path):
    with pytest.raises(SourceError, match="is a folder, expected a file"):
        read_corrections(tmp_path)


def test_shards_show_the_corrected_labels_and_leave_out_the_excluded(tmp_path):
    pixels = np.arange(4 * 12, dtype=np.uint8).reshape(4, 2, 2, 3)
    shards, features = tmp_path / "shards", tmp_path / "features"
    for folder, tensor, rows in ((shards, "images", pixels), (features, "features", pixels.reshape(4, 1, 12) * 1.0)):
        with write_shards(folder / "train", tensor, ["ant", "bee"]) as writer:
            for row, name in zip(rows, "abcd", strict=True):
                writer.add(
                    row.astype(np.uint8 if tensor == "images" else np.float32),
                    ["ant", "bee"].index(LABELS[name]),
                    SHA[name],
                )
            writer.close(image_size=2)
    before = open_split(shards, "train")
    assert before.labels.tolist() == [0, 0, 1, 1]
    write_labels(shards.parent / "labels", applied(tmp_path, decided("b", "exclude"), decided("c", "relabel", "wasp")))
    for opened, rows in (
        (open_split(shards, "train"), pixels),
        (open_split(features, "train", shards), pixels.reshape(4, 1, 12).astype(np.float32)),
    ):
        assert opened.classes == ["ant", "bee", "wasp"]
        assert opened.labels.tolist() == [0, 2, 1]
        assert len(opened) == 3
        assert opened.ids() == [SHA["a"], SHA["c"], SHA["d"]]
        assert np.array_equal(opened.rows(np.array([2, 1, 0])), rows[[3, 2, 0]])
        assert opened.index["class_counts"] == {"ant": 1, "bee": 1, "wasp": 1}
        with pytest.raises(IndexError, match="holds 3 rows"):
            opened.rows(np.array([3]))
