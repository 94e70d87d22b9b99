"""Progress gives every item on, and is a plain line in a log."""

from darkroom.core import progress


def test_a_log_gets_plain_lines_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    assert list(progress.progress([7, 8], "decode")) == [7, 8]
    assert list(progress.progress(iter("a"), "embed", unit="batch")) == ["a"]
    assert capsys.readouterr().err == "decode: 1 of 2 images\ndecode: 2 of 2 images\nembed: 1 batches\n"


def test_a_short_job_says_nothing_in_a_log(capsys):
    assert list(progress.progress(iter("ab"), "train", unit="epoch")) == ["a", "b"]
    assert capsys.readouterr().err == ""
