"""`make lock-check`: check that dvc.lock fits the code, the params and the files in Git, without data or a run."""

import subprocess
import sys
from pathlib import Path

CLEAN = "Data and pipelines are up to date."
RUNS = "Running stage '"


def check(root: Path) -> tuple[bool, str]:
    """Return whether dvc.lock is up to date, and the message about it.

    DVC's exit status may be 0 although stages would run, so its output is checked, too.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--allow-missing", "--dry"], cwd=root, capture_output=True, text=True
    )
    output = done.stdout + done.stderr
    if done.returncode == 0 and CLEAN in output:
        return True, "lock-check: dvc.lock fits the code, the params and the data"
    stale = [line.split(RUNS)[1].split("'")[0] for line in output.splitlines() if line.startswith(RUNS)]
    if stale:
        return False, (
            f"lock-check: dvc.lock is older than the project: {', '.join(stale)} would run; "
            "run `dvc repro` and commit dvc.lock and metrics"
        )
    last = [line for line in output.splitlines() if line.strip()]
    return False, "lock-check: " + (last[-1] if last else f"dvc repro ended with status {done.returncode}")


def main() -> int:
    """Print the result; return the exit status: 0 up to date, 1 not."""
    fits, message = check(Path.cwd())
    print(message)
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
