"""The log of decisions: what is recorded is on the disk, whoever else writes the file meanwhile."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.core.errors import DarkroomError
from darkroom.review.decisions import DecisionLog, _append, _stamp
from darkroom.splits.corrections import read_corrections
from tests.conftest import ROOT
from tests.review.log import correction, open_log, record


@pytest.fixture
def log(tmp_path: Path) -> DecisionLog:
    return open_log(tmp_path)


def kept(log: DecisionLog) -> list[tuple[str, str, str]]:
    return [(row.key[-1], row.decision, row.becomes) for row in read_corrections(log.path)]


def effective(log: DecisionLog) -> list[tuple[str, str, str]]:
    return [(row.key[-1], row.decision, row.becomes) for row in read_corrections(log.path) if not row.replaced]


def test_a_missing_file_is_begun_and_each_decision_is_one_line_more(log):
    assert log.path.read_text() == "sha256,id,decision,was,becomes,by,when,note\n"
    record(log, correction(1))
    record(log, correction(2, "relabel", "bee", note='a "note", of two\tparts'))
    assert kept(log) == [("1", "exclude", ""), ("2", "relabel", "bee")]
    assert read_corrections(log.path)[1].note == 'a "note", of two\tparts'
    assert len(log.path.read_text().splitlines()) == 3


def test_another_decision_replaces_the_row_and_none_takes_it_away(log):
    record(log, correction(1), correction(2), correction(3))
    before = log.record({correction(2).key: correction(2, "keep"), correction(3).key: None})
    assert [old.decision for old in before.values() if old] == ["exclude", "exclude"]
    assert effective(log) == [("1", "exclude", ""), ("2", "keep", "")]
    log.record({correction(9).key: None})  # nothing to withdraw
    assert effective(log) == [("1", "exclude", ""), ("2", "keep", "")]


def undo(log: DecisionLog, number: int) -> None:
    """Undo the decision about an image as the page does that has not made it."""
    key = correction(number).key
    log.record({key: log.before(key)}, {key: log.decided()[key]})


def test_after_a_restart_undo_brings_back_the_decision_before_and_the_one_before_that(log, tmp_path):
    first, second, third = correction(1), correction(1, "relabel", "bee", "sure"), correction(1, "keep")
    for made in (first, correction(2), second, third, third):  # the last one replaces nothing
        record(log, made)
    assert [row[1] for row in kept(log)] == ["exclude", "exclude", "relabel", "keep"]
    assert open_log(tmp_path).decided()[first.key].row() == third.row()
    for expected in (second, first):
        undo(open_log(tmp_path), 1)
        assert open_log(tmp_path).decided()[first.key].row() == expected.row()
    undo(open_log(tmp_path), 1)
    assert kept(log) == [("2", "exclude", "")]


def test_a_withdrawn_decision_stays_as_a_line_without_effect(log, tmp_path):
    key = correction(1).key
    for made in (correction(1), correction(1, "keep"), correction(2)):
        record(log, made)
    whole = log.path.read_text()
    withdrawn = log.record({key: None})
    assert [row.split(",")[2] for row in log.path.read_text().splitlines()[1:]] == [
        "replaced exclude", "replaced keep", "exclude"
    ]  # fmt: skip
    assert effective(open_log(tmp_path)) == [("2", "exclude", "")]
    log.record(withdrawn, {key: None})  # undo: as if it had not been withdrawn
    assert sorted(log.path.read_text().splitlines()) == sorted(whole.splitlines())
    log.record({key: None})
    record(log, correction(1, "unsure"))
    log.record({key: None}, {key: log.decided()[key]})  # undo leaves the lines of what was withdrawn before it
    assert [row.row()[2] for row in read_corrections(log.path) if row.key == key] == [
        "replaced exclude",
        "replaced keep",
    ]


def test_undo_leaves_what_somebody_else_has_decided_since(log, tmp_path):
    record(log, correction(1))
    record(log, correction(1, "keep"))
    present, earlier = log.decided()[correction(1).key], log.before(correction(1).key)
    record(open_log(tmp_path), correction(1, "unsure"))
    assert log.record({present.key: earlier}, {present.key: present}) == {}
    assert log.decided()[present.key].decision == "unsure"


def test_rows_that_somebody_else_wrote_meanwhile_stay(log, tmp_path):
    record(log, correction(1))
    other = open_log(tmp_path)
    record(other, correction(2))
    record(log, correction(1, "keep"), correction(3))
    assert sorted(effective(other)) == [("1", "keep", ""), ("2", "exclude", ""), ("3", "exclude", "")]
    version = other.version
    assert other.refresh() > version
    assert set(other.decided()) == {correction(number).key for number in (1, 2, 3)}


def test_a_last_line_without_its_end_is_not_run_into(log):
    record(log, correction(1))
    log.path.write_text(log.path.read_text().rstrip("\n"))
    record(log, correction(2))
    assert kept(log) == [("1", "exclude", ""), ("2", "exclude", "")]


def test_a_mistake_in_the_file_stops_the_decision_and_is_named(log):
    text = log.path.read_text() + "abc,,exclude,ant,,me,now,\n"
    log.path.write_text(text)
    with pytest.raises(DarkroomError, match=r"corrections\.csv, line 2, column sha256: 'abc'"):
        record(log, correction(1))
    assert log.path.read_text() == text


def test_contradictions_in_the_file_are_named(log):
    lines = [f"{1:064x},,{kind},ant,,me,now,\n" for kind in ("exclude", "keep")]
    log.path.write_text(log.path.read_text() + "".join(lines))
    with pytest.raises(DarkroomError, match="lines 2 and 3 decide differently"):
        log.refresh()


def test_processes_that_write_at_once_lose_nothing(log, tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.starmap(write_many, [(tmp_path, 100 * begin) for begin in range(3)])
    assert {row.key for row in read_corrections(log.path)} == {
        correction(100 * begin + number).key for begin in range(3) for number in range(20)
    }


def write_many(folder: Path, first: int) -> None:
    """Twenty decisions, one at a time; every fifth is changed, which rewrites the file."""
    log = open_log(folder)
    for number in range(20):
        record(log, correction(first + number))
        if number % 5 == 0:
            record(log, correction(first + number, "keep"))


def test_a_file_that_went_away_meanwhile_is_begun_again(log):
    record(log, correction(1))
    log.path.unlink()  # another branch, which has none, was checked out
    record(log, correction(2))
    assert kept(log) == [("2", "exclude", "")]
    assert set(log.decided()) == {correction(2).key}


def test_what_an_editor_wrote_between_a_look_and_an_append_is_read_afterwards(log, tmp_path):
    record(log, correction(1))
    before = _stamp(log.path)
    other = tmp_path / "saved-by-an-editor"
    other.write_text(log.path.read_text().replace("a test", "an editor"))
    other.replace(log.path)
    assert _append(log.path, [correction(2)], before) is None
    assert [row.by for row in read_corrections(log.path)] == ["an editor", "a test"]
    assert _append(log.path, [correction(3)], _stamp(log.path)) == _stamp(log.path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / ".darkroom").write_text("a file where a folder is expected")
    with pytest.raises(DarkroomError, match=r"\.darkroom: .*exist"):
        open_log(tmp_path)


FULL_DISK = """
import sys
from pathlib import Path
from tests.review.log import correction, limit_files_to, open_log, record
from darkroom.core.errors import DarkroomError
folder = Path(sys.argv[1])
log = open_log(folder)
record(log, correction(1))
limit_files_to(log.path.stat().st_size + 40)
for change in (correction(2), correction(1, "keep", note="x" * 400)):
    try:
        record(log, change)
    except DarkroomError as error:
        print(error)
"""


def test_a_disk_without_room_leaves_the_file_as_it_was_and_says_so(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], env=environment, capture_output=True,
                          text=True, check=True)  # fmt: skip
    said = done.stdout.splitlines()
    assert len(said) == 2
    assert all("the decision is not saved" in line for line in said)
    assert kept(open_log(tmp_path)) == [("1", "exclude", "")]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_hundred_thousand_decisions_do_not_slow_the_next_one_down(log, monkeypatch):
    record(log, *(correction(number) for number in range(100_000)))
    monkeypatch.setattr("darkroom.review.decisions.read_corrections", lambda path: pytest.fail(f"{path} is read again"))
    before = log.path.stat().st_size
    record(log, correction(100_001))
    assert log.path.stat().st_size - before == len(",".join(correction(100_001).row())) + 1
