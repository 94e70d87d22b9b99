"""A program that is bound to the command that started it, with real processes and signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from darkroom.core.bound import bound
from tests.conftest import ROOT

# Starts a program in a session of its own, as a sweep does, tells its id, and sleeps.
PARENT = """
import subprocess, sys, threading, time
from darkroom.core.bound import bound
child = subprocess.Popen(bound([sys.executable, "-c", "import time; time.sleep(120)"]), start_new_session=True)
print(child.pid, flush=True)
time.sleep(120)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone binds a process to its parent")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_program_ends_with_the_command_that_started_it(how):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        until = time.monotonic() + 30
        while "time.sleep" not in " ".join(child.cmdline()) or "-IS" in child.cmdline():  # not yet the program
            assert time.monotonic() < until
            time.sleep(0.02)
        parent.send_signal(how)
    assert not psutil.wait_procs([child], timeout=30)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone binds a process to its parent")
def test_a_program_whose_parent_has_ended_does_not_begin(tmp_path: Path):
    command = bound([sys.executable, "-c", f"open({str(tmp_path / 'begun')!r}, 'w')"])
    subprocess.run(command, check=True)
    assert (tmp_path / "begun").exists()
    (tmp_path / "begun").unlink()
    command[command.index(str(os.getpid()))] = "4194305"  # above every process id of Linux
    subprocess.run(command, check=True)
    assert not (tmp_path / "begun").exists()


def test_a_program_keeps_its_arguments_and_its_exit_status():
    code = "import sys; print(sys.argv[1:]); sys.exit(7)"
    done = subprocess.run(bound([sys.executable, "-c", code, "a b", "-x", "ü"]), capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("['a b', '-x', 'ü']\n", 7)
