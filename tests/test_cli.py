import importlib
import resource
import subprocess
import sys

import pytest

from darkroom.core.commands import COMMANDS


def darkroom(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "darkroom.cli", *arguments], capture_output=True, text=True)


def test_help_names_every_command_and_answers_at_once():
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = darkroom("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time, which other work on the machine does not lengthen.
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.returncode == 0
    for name, (_, what) in COMMANDS.items():
        assert name in done.stdout
        assert what in done.stdout
    assert min(times) < 0.3


def test_an_unknown_command_is_refused_with_the_right_ones():
    done = darkroom("pradict")
    assert done.returncode == 2
    assert "invalid choice: 'pradict'" in done.stderr


def test_a_file_that_cannot_be_written_is_one_line():
    done = darkroom("new", "/proc/birds", "--source", "sources/digits.yaml")
    assert (done.returncode, done.stderr) == (1, "darkroom new: /proc/birds: No such file or directory\n")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name, capsys):
    module, _ = COMMANDS[name]
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(module).main(["--help"])
    assert stop.value.code == 0
    assert f"usage: darkroom {name}" in capsys.readouterr().out
