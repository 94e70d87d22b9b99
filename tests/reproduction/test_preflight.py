import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo

from darkroom.core.errors import DarkroomError, SourceError
from darkroom.reproduction import preflight
from tests.project import obey_permissions
from tests.reporting.project import make_project, run


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path / "project")


def truncate(path):
    """As it is between DVC's opening of the file and its first write."""
    os.truncate(path, 0)


def test_whatever_part_of_a_lock_is_there_dvc_can_read_what_is_put_back(project):
    path, said = project / "dvc.lock", []
    text = path.read_bytes()
    with Repo(str(project)) as repo:
        for length in range(len(text)):
            path.write_bytes(text[:length])
            try:
                Lockfile(repo, str(path)).load()
            except DvcException:
                said += preflight.mend(project)
                assert path.read_bytes() == text
            else:  # whole as far as it goes: DVC sees which stage is not done
                assert preflight.mend(project) == []
    assert len(said) > 100
    line = "dvc.lock was half written, as a kill of DVC leaves it: put back from Git's index"
    assert set(said) == {f"{line} (kept as .dvc/tmp/dvc.lock.broken)"}


def test_what_the_last_command_wrote_comes_back_though_it_is_in_no_commit(project):
    (project / "params.yaml").write_text("seed: 1\nskill: 2.5\n")
    run(project, "dvc", "repro", "-q")
    text = (project / "dvc.lock").read_bytes()
    truncate(project / "dvc.lock")
    preflight.mend(project)
    assert (project / "dvc.lock").read_bytes() == text
    assert "up to date" in run(project, "dvc", "repro")


def test_a_lock_that_git_never_had_is_made_again_from_the_run_cache(project):
    text = (project / "dvc.lock").read_bytes()
    run(project, "git", "rm", "-q", "--cached", "dvc.lock")
    truncate(project / "dvc.lock")
    assert "dvc.lock was half written" in preflight.mend(project)[0]
    assert not (project / "dvc.lock").exists()
    assert "is cached - skipping run" in run(project, "dvc", "repro")
    assert (project / "dvc.lock").read_bytes() == text


def test_a_broken_lock_in_the_index_is_no_help(project):
    truncate(project / "dvc.lock")
    run(project, "git", "add", "dvc.lock")
    assert "removed, and Git's is broken, too" in preflight.mend(project)[0]
    assert "is cached - skipping run" in run(project, "dvc", "repro")


def test_the_lock_of_another_pipeline_would_stop_this_one(project):
    (project / "folds").mkdir()
    (project / "folds/dvc.yaml").write_text("stages: {}\n")
    (project / "folds/dvc.lock").write_text("schema: '2.0'\nstages:\n  a:\n    c")
    done = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=project, capture_output=True, text=True)
    assert "folds/dvc.lock" in done.stderr
    assert "folds/dvc.lock was half written" in preflight.mend(project)[0]
    assert "up to date" in run(project, "dvc", "repro")


def test_a_conflict_is_the_users_to_solve(project):
    text = "<<<<<<< HEAD\nschema: '2.0'\n=======\n"
    (project / "dvc.lock").write_text(text)
    assert preflight.mend(project) == []
    (project / "dvc.lock").write_text("schema: '2.0'\nstages:\n" + text)
    assert preflight.mend(project) == []
    assert (project / "dvc.lock").read_text().endswith(text)


@pytest.mark.parametrize("left", [b"", b'{"/a/path": {"wri', b"\x00" * 20, b"[1]", b'{"a": 1}', b"[" * 20_000])
def test_a_read_write_lock_that_a_kill_left_half_written_is_removed(tmp_path, left):
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    path.write_bytes(left)
    assert preflight.mend(tmp_path) == [
        ".dvc/tmp/rwlock was half written, as a kill of DVC or a full disk leaves it: removed"
    ]
    assert not path.exists()
    path.write_text("{}")
    assert preflight.mend(tmp_path) == []
    assert path.exists()


@pytest.fixture
def photos(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "params.yaml").write_text("source: photos\n")
    (tmp_path / "photos/ants").mkdir(parents=True)
    (tmp_path / "photos/ants/1.jpg").write_bytes(b"x")
    return tmp_path


def start_server(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(("make", "kind"), [
    (os.mkfifo, "pipe between programs"),
    (lambda path: path.symlink_to("/dev/zero"), "device"),
    (start_server, "socket"),
])  # fmt: skip
def test_what_dvc_would_read_without_an_end_is_named_before_it_starts(photos, make, kind, monkeypatch):
    monkeypatch.chdir(photos)
    make(Path("photos/ants/2.jpg"))
    said = subprocess.run([sys.executable, "-m", "darkroom.reproduction.preflight"], capture_output=True, text=True)
    assert said.returncode == 1
    where, why = f"{photos}/photos/ants/2.jpg", "which DVC would read without an end; move it out of the source"
    assert said.stderr == f"repro: {where} is a {kind}, {why}\n"


@pytest.mark.parametrize(("source", "why"), [
    ("fotos", "source is fotos, which does not exist; expected a folder, archive, table or card"),
    ("a" * 300, "source is a{200}, which does not exist; .*"),
    ("s-{0..1}.tar", "source is .*, which does not exist; .*; braces are not expanded: name the folder of .*"),
    ("~/photos", "source is ~/photos, .* expected .* card; `~` is not expanded, write the whole path"),
])  # fmt: skip
def test_a_source_that_does_not_exist_is_said_before_dvc_starts(photos, source, why):
    (photos / "params.yaml").write_text(f"source: {source}\n")
    with pytest.raises(SourceError, match=f"^{why}$"):
        preflight.check(photos)


def test_a_table_of_decisions_that_does_not_exist_is_said_before_dvc_starts(photos):
    with (photos / "params.yaml").open("a") as file:
        file.write("\ncorrections: correct.csv\n")
    with pytest.raises(DarkroomError, match=r"^corrections is correct.csv, which is not a file; .* corrections.csv$"):
        preflight.check(photos)


@pytest.mark.skipif(sys.platform != "linux", reason="drops capabilities, which Linux has")
@pytest.mark.parametrize("name", ["photos/ants/1.jpg", "photos/ants"])
def test_what_may_not_be_read_is_named_before_dvc_starts(photos, name):
    (photos / name).chmod(0)
    said = subprocess.run([sys.executable, "-m", "darkroom.reproduction.preflight"], cwd=photos, capture_output=True,
                          text=True, preexec_fn=obey_permissions)  # fmt: skip
    (photos / name).chmod(0o755)
    assert said.stderr == (f"repro: {photos}/{name} may not be read, and DVC reads the whole source first: "
                           "`chmod u+rX` or move it\n")  # fmt: skip


def test_files_folders_and_links_that_lead_nowhere_or_back_pass(photos):
    (photos / "photos/back").symlink_to(photos / "photos")
    (photos / "photos/ants/2.jpg").symlink_to("1.jpg")
    (photos / "photos/ants/3.jpg").symlink_to("nowhere.jpg")
    preflight.check(photos)
    assert list(preflight.unreadable(photos / "photos")) == []


def test_a_copy_without_git_is_told_what_makes_it_a_project(photos):
    (photos / ".git").rmdir()
    with pytest.raises(DarkroomError, match=r"is not in a Git repository, .* `git init && git add -A && git commit"):
        preflight.check(photos)
