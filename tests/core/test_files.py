"""Files are written whole or not at all, and their bytes depend on their content alone."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from darkroom.core import files


def test_an_interrupted_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError, match="power cut"), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("power cut")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_killed_write_leaves_the_old_file_and_the_next_one_sweeps_up(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    script = f"""
        import os, signal
        from pathlib import Path
        from darkroom.core import files
        with files.atomic(Path({str(path)!r})) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(os.listdir(tmp_path)) == 2
    files.write_text(path, "new")
    assert os.listdir(tmp_path) == ["a.txt"], "the next writer sweeps up after the killed one"


def test_every_file_is_synced_once_before_it_has_its_name_and_the_folder_where_the_change_must_last(
    tmp_path, monkeypatch
):
    synced, real = [], os.fsync

    def fsync(handle):
        at = Path(f"/proc/self/fd/{handle}").readlink()
        synced.append("folder" if at.is_dir() else at.name)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_csv(tmp_path / "outputs.csv", ["a"], [["1"]])
    assert [name.split(".")[1] for name in synced] == ["outputs"]
    assert synced[0].endswith(".tmp")
    synced.clear()
    files.write_csv(tmp_path / "decisions.csv", ["a"], [["1"]], durable=True)
    assert len(synced) == 2
    assert synced[1] == "folder"
    synced.clear()
    with files.fresh_folder(tmp_path / "model") as folder:
        files.write_text(folder / "a.txt", "a")
        files.write_text(folder / "sheets/b.txt", "b")
        (folder / "c.txt").write_text("c")
    assert sorted(synced) == ["a.txt", "b.txt", "c.txt"]
    files.write_text(tmp_path / "model/d.txt", "d")
    assert len(synced) == 4, "a finished folder is like any other"


def test_a_written_file_has_the_mode_that_the_umask_gives(tmp_path):
    mask = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a.txt", "")
    finally:
        os.umask(mask)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_json_has_sorted_keys_a_newline_and_no_nan(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": 1, "a": [None, 0.1, "é"]})
    expected = '{\n  "a": [\n    null,\n    0.1,\n    "é"\n  ],\n  "b": 1\n}\n'
    assert (tmp_path / "a.json").read_bytes() == expected.encode()
    with pytest.raises(ValueError, match="Out of range float"):
        files.write_json(tmp_path / "a.json", float("nan"))


def test_csv_comes_back_as_it_was_written(tmp_path):
    rows = [{"path": 'a "b", c.jpg', "n": "1"}, {"path": "é\n.jpg", "n": "2"}]
    assert files.write_csv(tmp_path / "a.csv", ["path", "n"], rows) == 2
    assert list(files.read_csv(tmp_path / "a.csv")) == rows
    assert (tmp_path / "a.csv").read_bytes().startswith(b'path,n\n"a ""b"", c.jpg",1\n')


def test_digest_does_not_depend_on_the_order_of_keys():
    assert files.digest({"a": 1, "b": 2}) == files.digest({"b": 2, "a": 1}) != files.digest({"a": 1, "b": 3})


def test_a_fresh_folder_replaces_the_old_one_only_when_whole(tmp_path):
    folder = tmp_path / "out"
    with files.fresh_folder(folder) as temporary:
        (temporary / "one").write_text("1")
    with pytest.raises(RuntimeError), files.fresh_folder(folder) as temporary:
        (temporary / "two").write_text("2")
        raise RuntimeError
    assert os.listdir(folder) == ["one"]
    with files.fresh_folder(folder) as temporary:
        (temporary / "three").write_text("3")
    assert os.listdir(folder) == ["three"]
    assert os.listdir(tmp_path) == ["out"]


def test_csv_keeps_every_kind_of_line_end_in_a_cell(tmp_path):
    rows = [{"path": text, "n": "1"} for text in ("a\rb.jpg", "\r", "a\r\nb", "a\nb", "plain")]
    files.write_csv(tmp_path / "a.csv", ["path", "n"], rows)
    assert list(files.read_csv(tmp_path / "a.csv")) == rows
    assert (tmp_path / "a.csv").read_bytes().startswith(b'path,n\n"a\rb.jpg",1\n')
