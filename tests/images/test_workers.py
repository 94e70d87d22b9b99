"""Workers that die, hang or fail cost the one task that they were at."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from darkroom.images.workers import BATCH, Died, run_tasks
from tests.cluster.two_nodes import until
from tests.images.crashers import work


def doubles(count: int) -> list[str]:
    return [f"double {number}" for number in range(count)]


def expected(count: int) -> dict[str, str]:
    return {f"double {number}": str(2 * number) for number in range(count)}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_task_is_done_once(workers):
    results = list(run_tasks(work, doubles(5 * BATCH + 3), workers))
    assert len(results) == 5 * BATCH + 3
    assert dict(results) == expected(5 * BATCH + 3)


def test_no_tasks_start_nothing():
    assert list(run_tasks(work, [], 2)) == []


@pytest.mark.parametrize(("task", "reason"), [("segfault", "SIGSEGV"), ("exit", "status 3")])
def test_a_task_that_kills_its_worker_costs_itself_alone(task, reason):
    tasks = doubles(3 * BATCH)
    tasks.insert(BATCH // 2, task)
    tasks.insert(2 * BATCH, task + " again")
    results = dict(run_tasks(work, tasks, 2))
    assert results.pop(task) == results.pop(task + " again") == Died(f"decoder crashed ({reason})")
    assert results == expected(3 * BATCH)


def test_a_task_is_tried_again_when_its_worker_was_killed_for_another_reason(tmp_path):
    task = f"killed-once {tmp_path / 'mark'}"
    results = dict(run_tasks(work, [*doubles(BATCH), task], 2))
    assert results.pop(task) == "killed-once"
    assert results == expected(BATCH)


def test_tasks_that_kill_each_other_are_all_done_alone(tmp_path):
    tasks = [task for _ in range(4) for task in (f"alone {tmp_path}", *doubles(BATCH - 1))]
    results = [result for task, result in run_tasks(work, tasks, 4) if task.startswith("alone")]
    assert results == 4 * ["alone"]


def test_a_task_that_hangs_is_given_up():
    results = dict(run_tasks(work, ["hang", *doubles(BATCH)], 2, patience=0.5))
    assert results.pop("hang") == Died("decoder hung for 0.5 s")
    assert results == expected(BATCH)


def test_a_pause_of_all_processes_is_nobodys_hanging():
    code = (
        "from darkroom.images.workers import run_tasks\n"
        "from tests.images.crashers import work\n"
        "if __name__ == '__main__':\n"
        "    print(sorted(map(str, dict(run_tasks(work, ['sleep 1', 'sleep 1.1'], 2, patience=2)).values())))\n"
    )
    group = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    time.sleep(1.4)
    os.killpg(group.pid, signal.SIGSTOP)  # as Ctrl-Z does
    time.sleep(3)
    os.killpg(group.pid, signal.SIGCONT)
    assert group.communicate(timeout=60)[0] == "['sleep', 'sleep']\n"


def test_a_mistake_of_our_own_ends_the_run():
    with pytest.raises(RuntimeError, match="a mistake in our own code: 7"):
        list(run_tasks(work, [*doubles(3), "raise 7"], 2))


def test_leaving_early_ends_the_workers():
    pids = set()
    for _, pid in run_tasks(work, [f"pid {number}" for number in range(4 * BATCH)], 2):
        pids.add(int(pid))
        break
    assert pids
    until(lambda: not any(map(psutil.pid_exists, pids)), seconds=20)


def test_workers_that_cannot_start_are_an_error_and_not_a_reject_of_every_file(tmp_path):
    """A script whose workers import it again and fail: the mistake is the script's, no file's."""
    (tmp_path / "broken.py").write_text(
        "import multiprocessing, sys\n"
        "if multiprocessing.current_process().name != 'MainProcess':\n"
        "    raise SystemExit(7)\n"
        "from darkroom.images.workers import run_tasks\n"
        "from tests.images.crashers import work\n"
        "list(run_tasks(work, ['double 1', 'double 2'], 1))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "broken.py")],
        env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "worker processes die before they begin (status" in done.stderr
