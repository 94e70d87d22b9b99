"""A sweep's journal: of one space, and whole after a crash."""

import pytest

from darkroom.search.journal import COMPLETE, Journal, Trial, best
from darkroom.search.space import Space, SweepError, read_space


def test_another_space_under_the_same_name_is_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("params: {lr: [1, 2]}")
    Journal(tmp_path / "folder", read_space(path, {"lr": 1}), {}).add(Trial(0, {"lr": 1}, COMPLETE, 0.5))
    path.write_text("params: {lr: [1, 3]}")
    with pytest.raises(SweepError, match="holds a sweep over another space; give this one another name"):
        Journal(tmp_path / "folder", read_space(path, {"lr": 1}), {})


def test_a_line_that_a_crash_cut_short_is_run_again(tmp_path):
    space = Space(name="a", params={"lr": [1, 2]})
    journal = Journal(tmp_path, space, {})
    journal.add(Trial(0, {"lr": 1}, COMPLETE, 0.5))
    with journal.path.open("a") as file:
        file.write('{"number": 1, "par')
    again = Journal(tmp_path, space, {})
    assert list(again.trials) == [0]
    again.add(Trial(1, {"lr": 2}, COMPLETE, 0.4))
    assert list(Journal(tmp_path, space, {}).trials) == [0, 1]
    assert best(again.ordered(), space) == again.trials[1]
