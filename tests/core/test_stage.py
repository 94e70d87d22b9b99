"""A stage ends with one line: what it made, or what is wrong. Real processes, as DVC starts them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from darkroom import cli
from tests.core.script import start

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments, **environment):
    process = start(*arguments, **environment)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_stage_says_what_it_made_and_how_long_it_took_and_notes_how_it_ran(tmp_path):
    body = """
        def main(source: Path) -> str:
            note(device="cpu")
            return f"3 prints of {source}"
    """
    status, out, err = run(tmp_path, body, "film", DARKROOM_WORKERS="7")
    assert (status, err) == (0, "")
    assert out.startswith("develop: 3 prints of film in 0.")
    noted = json.loads((tmp_path / "metrics/run.json").read_text())
    assert noted["stages"]["develop"]["device"] == "cpu"
    assert noted["stages"]["develop"]["runtime"]["workers"] == "7"
    assert noted["stages"]["develop"]["peak_memory_mb"] > 1
    assert noted["machine"]["cores"] >= 1


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        ("SourceError('no film in the camera; put one in')", "no film in the camera; put one in"),
        ("OSError(28, 'x', 'a.jpg')", "a.jpg: the disk is full; free some space, then run the same command again"),
        ("OSError(27, 'x', 'a')", "a: the file is too large for this disk or for `ulimit -f`; raise the limit"),
        ("OSError(13, 'x', 'a.jpg')", "a.jpg: no permission; check the owner and mode of this path"),
        ("MemoryError()", "out of memory; use a smaller image_size or batch_size, or fewer DARKROOM_WORKERS"),
        (
            "RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB.')",
            "out of memory; use a smaller image_size or batch_size, or fewer DARKROOM_WORKERS",
        ),
    ],
)
def test_what_a_user_can_cause_is_one_line_without_a_traceback(tmp_path, raised, line):
    status, out, err = run(tmp_path, f"def main() -> str:\n    raise {raised}")
    assert (status, out, err) == (1, "", f"develop: {line}\n")


def test_a_mistake_of_ours_keeps_its_traceback(tmp_path):
    status, _, err = run(tmp_path, "def main() -> str:\n    raise ZeroDivisionError('ours')")
    assert status == 1
    assert "Traceback" in err


def test_a_wrong_setting_in_the_environment_is_named(tmp_path):
    status, _, err = run(tmp_path, "def main() -> str:\n    return ''", DARKROOM_THREADS="many")
    assert status == 1
    assert err == "develop: DARKROOM_THREADS=many in the environment: expected a whole number of at least 1, or unset\n"


def test_missing_arguments_show_the_usage(tmp_path):
    status, _, err = run(tmp_path, "def main(source: Path, out: Path) -> str:\n    return ''", "film")
    assert status == 2
    assert err.startswith("usage: stages/run develop SOURCE OUT")


def test_a_stage_ends_with_the_process_that_started_it(tmp_path):
    body = "import time\ndef main() -> str:\n    print('ready', flush=True)\n    time.sleep(60)\n    return ''"
    (tmp_path / "develop.py").write_text(f"from darkroom.core.stage import run\n{body}\nrun(main)\n")
    with subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys; subprocess.run([sys.executable, 'develop.py'])"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        # The pipe closes when its last holder has ended; a stage that lived on would hold it for a minute.
        began = time.monotonic()
        assert parent.stdout.read() == ""
    assert time.monotonic() - began < 20


def test_an_interrupt_ends_at_once_with_status_130(tmp_path):
    body = "import time\ndef main() -> str:\n    print('ready', flush=True)\n    time.sleep(60)\n    return ''"
    # What a shell starts in the background inherits that interrupts are ignored, and so may these tests.
    listen = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    process = start(tmp_path, listen + body)
    assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "develop: interrupted; the same command goes on from here\n"
    assert time.monotonic() - began < 10


def main(arguments):
    """Write to a disk without room, as a command whose name `test_a_full_disk_…` takes."""
    Path("/dev/full").write_text("rows")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_a_command_in_one_line(monkeypatch, capsys):
    monkeypatch.setitem(cli.COMMANDS, "race", (__name__, ""))
    assert cli.main(["race"]) == 1
    assert capsys.readouterr().err == (
        "darkroom race: this disk: the disk is full; free some space, then run the same command again\n"
    )
