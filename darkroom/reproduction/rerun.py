"""Run a commit again from scratch: in a clone in a new folder, with a DVC cache of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from darkroom.core.bound import dvc
from darkroom.core.errors import DarkroomError
from darkroom.core.git import git
from darkroom.core.params import read_yaml
from darkroom.reporting.runs import LOCK
from darkroom.reproduction.differences import stages_of

LAST_LINES = 15


def rerun(root: Path, sha: str, folder: Path) -> Path:
    """Clone commit `sha` of the project at `root` into `folder` and reproduce what its lock holds; return the clone.

    Data that is not in Git (a folder of photos, a file of weights) is linked from `root`, whose downloads are used and
    verified as usual. Raises DarkroomError with the last lines of a run that fails.
    """
    top, prefix = Path(git(root, "rev-parse", "--show-toplevel")), git(root, "rev-parse", "--show-prefix")
    clone = folder.joinpath(*["within"] * _steps_up(root, sha, prefix))
    git(root, "clone", "--quiet", "--no-checkout", str(top), str(clone))
    git(clone, "checkout", "--quiet", "--detach", sha)
    project = clone / prefix
    if not (project / LOCK).exists():
        raise DarkroomError(f"{sha} holds no {LOCK}; run `dvc repro`, and commit what it wrote")
    (project / ".dvc/config.local").write_text(f"[cache]\n    dir = {project / '.dvc/own-cache'}\n")
    _link_what_git_lacks(root, project)
    command = [*dvc(), "repro", *sorted(read_yaml(project / LOCK)["stages"])]
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=project, env=_environment(root), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf-8", errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            lines = [*lines[1 - LAST_LINES :], line]
    if process.returncode:
        raise DarkroomError(f"`dvc repro` of {sha} failed with status {process.returncode}:\n{''.join(lines).rstrip()}")
    return project


def _steps_up(root: Path, sha: str, prefix: str) -> int:
    """Return how many folders above the repository the paths of the lock reach (`../photos`: 1).

    The clone is placed that deep in its folder, so that these paths stay inside it.
    """
    try:
        stages = stages_of(git(root, "show", f"{sha}:{prefix}{LOCK}"), sha)
    except DarkroomError:
        return 0  # no lock, which is reported next
    paths = [Path(dep["path"]).parts for stage in stages.values() for dep in stage.get("deps", [])]
    return max([parts.count("..") - len(Path(prefix).parts) for parts in paths] + [0])


def _link_what_git_lacks(root: Path, project: Path) -> None:
    """Link the deps of dvc.lock that are neither in Git nor a stage's output: sources and weights."""
    stages = read_yaml(project / LOCK)["stages"].values()
    made = [out["path"] for stage in stages for out in stage.get("outs", [])]
    for path in sorted({dep["path"] for stage in stages for dep in stage.get("deps", [])}):
        here, there = project / path, (root / path).resolve()
        if any(_overlap(path, out) for out in made) or Path(path).is_absolute():
            continue  # data/shards is a dep, and each split in it an output
        if there.exists() and not here.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            here.symlink_to(there)
        elif there.is_dir():
            for file in sorted(there.iterdir()):
                if not (here / file.name).exists():
                    (here / file.name).symlink_to(file)


def _overlap(path: str, out: str) -> bool:
    return f"{path}/".startswith(f"{out}/") or f"{out}/".startswith(f"{path}/")


def _environment(root: Path) -> dict[str, str]:
    """Return the environment without the variables that would bring in checkpoints or code of another run."""
    kept = {name: value for name, value in os.environ.items() if name not in ("DARKROOM_CHECKPOINTS", "PYTHONPATH")}
    if (root / "data/raw").is_dir():
        kept.setdefault("DARKROOM_DOWNLOADS", str((root / "data/raw").resolve()))
    binaries = str(Path(sys.executable).parent)
    return kept | {"PATH": os.pathsep.join([binaries, kept.get("PATH", "")])}


def remove(folder: Path) -> None:
    """Delete a clone."""
    shutil.rmtree(folder, ignore_errors=True)
