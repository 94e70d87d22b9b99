"""What a trial that failed is said to have failed of: the line of its log that says why."""

from pathlib import Path

import pytest

from darkroom.search.experiment import Experiment

RAY = """\x1b[33m(raylet)\x1b[0m Raylet is terminated. Termination is unexpected. Last 20 lines of the Raylet logs:
    [2026-11-26 01:44:09,890 I 25613 25613] (raylet) worker_pool.cc:564: Started worker process with pid 25980

\x1b[33m(raylet)\x1b[0m The node with node id: 953002 has been marked dead. This can happen when a \t(1) raylet crashes
\t(2) raylet has lagging heartbeats due to slow network or busy workload.
\x1b[36m(_alone pid=25871)\x1b[0m a word of a task
"""
RUNNING = "Running stage 'train':\n> python -m stages.train data/shards\ntrain: 1 process of 1 threads\n"
REFUSED = "train: the loss is 1.229e+16 in epoch 1, step 2: training has run away"
DVC = "ERROR: failed to reproduce 'train': failed to run: python -m stages.train data/shards, exited with 1\n"
KILLED = (
    "failed to run: python -m stages.train data/shards, exited with -9: killed from outside, as where memory is short"
)
EMBEDDED = "Running stage 'embed':\nembed: 128 features of each of 1,797 images\nUpdating lock file 'dvc.lock'\n"
ABSENT = "Failed to reproduce experiment '3c0a761': missing data 'source': my_photos"
TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\n    f()\nMemoryError: 8 GB\n'


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (RUNNING + REFUSED + "\n" + DVC, REFUSED),
        (RUNNING + RAY + REFUSED + "\n" + DVC, REFUSED),
        (RUNNING + REFUSED + "\n" + RAY + DVC, REFUSED),
        (RUNNING + TRACEBACK + RAY + DVC, "MemoryError: 8 GB"),
        ("ERROR: unexpected error - the disk is full\n", "ERROR: unexpected error - the disk is full"),
        (DVC, "failed to run: python -m stages.train data/shards, exited with 1"),
        ("Reproducing experiment 'sw-0000'\n" + RUNNING + REFUSED + "\n" + DVC, REFUSED),
        ("Reproducing experiment 'sw-0000'\nERROR: " + ABSENT + "\n", "missing data 'source': my_photos"),
        (EMBEDDED + RUNNING + DVC.replace("with 1", "with -9"), KILLED),
        (EMBEDDED + "ERROR: unexpected error - the disk is full\n", "ERROR: unexpected error - the disk is full"),
        ("\n", "no output"),
    ],
)
def test_the_reason_is_found_among_what_dvc_and_ray_say(tmp_path: Path, log: str, reason: str):
    (tmp_path / "0002.log").write_text(log)
    assert Experiment(tmp_path, "", {}, None, tmp_path / "0002.log").reason() == reason
