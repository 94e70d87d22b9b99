"""A clone of the project in a folder of its own, for tests that run the whole pipeline as a user does."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from darkroom.core import files, yaml12
from tests.conftest import ONE_THREAD, ROOT

STAGES = tuple(yaml12.read(ROOT / "dvc.yaml")["stages"])
OUTPUTS = ("data", "metrics", "models", "plots")
NOT_REPRODUCED = {"metrics/run.json"}  # how long it took, and where: the one file that may differ


class Project:
    """A Git and DVC repository at `folder` that holds the files of this checkout, with a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = ""  # what the run that made its outputs printed
        self.one_thread = True  # of BLAS and OpenMP; a user has as many as processors, and they wait busily
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
        (folder / "dvc.lock").unlink(missing_ok=True)
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "A user")
        self.git("config", "user.email", "user@example.com")
        self.commit("Start")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of an activated .venv, with nothing of the tests' own folder in it."""
        kept = {
            name: value for name, value in os.environ.items()
            if (self.one_thread or name not in ONE_THREAD) and not name.startswith(("DARKROOM_", "DVC_", "PYTEST"))
        }  # fmt: skip
        kept.pop("PYTHONPATH", None)
        return kept | {
            "DVC_GLOBAL_CONFIG_DIR": os.environ["DVC_GLOBAL_CONFIG_DIR"],
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's folder; its output is text. Fails the test unless it succeeds."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment | environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not check, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done

    def git(self, *arguments: str) -> str:
        """Return what git says."""
        return self.run("git", *arguments).stdout

    def dvc(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run dvc as its command does."""
        return self.run(sys.executable, "-m", "dvc", *arguments, check=check, **environment)

    def commit(self, message: str) -> None:
        """Commit everything that Git does not ignore."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)

    def set(self, **params: object) -> None:
        """Change keys of params.yaml, keeping the rest as it is."""
        path = self.folder / "params.yaml"
        text = path.read_text()
        for key, value in params.items():
            text, count = re.subn(rf"^{key}:.*?( +#.*)?$", rf"{key}: {value}\1", text, flags=re.MULTILINE)
            assert count == 1, f"{key} is not in params.yaml"
        path.write_text(text)

    def hashes(self) -> dict[str, str]:
        """Return the sha256 of dvc.lock and of every output, by path."""
        found = [path for folder in OUTPUTS for path in (self.folder / folder).rglob("*") if path.is_file()]
        names = {path.relative_to(self.folder).as_posix(): path for path in [*found, self.folder / "dvc.lock"]}
        return {name: files.sha256(path) for name, path in sorted(names.items()) if name not in NOT_REPRODUCED}


def stages_run(output: str) -> list[str]:
    """Return the stages that DVC says it ran, in order."""
    return re.findall(r"Running stage '(\w+)'", output)


def obey_permissions() -> None:
    """In a child process: root, who may read everything (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH), no longer may."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
