"""Two searches at the same time: the second is refused before it touches what the first works on."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.search import project, race, sweep
from darkroom.search.space import SweepError

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from darkroom.search.project import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_free_again_however_its_search_ended(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(SweepError, match="is in use: the same search runs already"), project.alone(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with project.alone(tmp_path):
            pass
    with pytest.raises(ZeroDivisionError), project.alone(tmp_path):
        raise ZeroDivisionError
    with project.alone(tmp_path):
        pass


def test_sigterm_is_as_ctrl_c_for_as_long_as_a_search_runs(tmp_path):
    with pytest.raises(KeyboardInterrupt), project.alone(tmp_path):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("name", ["a b", "../a", "/tmp/a", "-a", "a..b", "a.lock/b", "a~1", "x" * 201])
def test_a_name_that_no_experiment_could_have_is_refused(tmp_path, name):
    with pytest.raises(SweepError, match=r"the sweep is called .*, which Git does not allow; .*: rename it$"):
        project.require_name(tmp_path, name, "sweep", "rename it")
    project.require_name(tmp_path, "größe-1.2", "sweep", "rename it")


@pytest.mark.parametrize("search", [race, sweep], ids=["race", "sweep"])
def test_a_second_search_of_one_name_is_refused(search, tmp_path, monkeypatch):
    (tmp_path / "bodies.yaml").write_text("backbones: [lenet]\n" if search is race else "params: {lr: [0.1]}\n")
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    with project.alone(tmp_path / search.FOLDER / "bodies"):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SweepError, match="bodies is in use"):
            search.main(["bodies.yaml"])
        assert sorted(tmp_path.rglob("*")) == before
