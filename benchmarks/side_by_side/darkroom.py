"""Darkroom's turns: the commands that a user types, in a copy of this project in a folder of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.processes import Seconds, timed
from darkroom.core import files

ROOT = Path(__file__).resolve().parents[2]
DVC = (sys.executable, "-m", "dvc")


class Project:
    """A Git and DVC repository with the code of this checkout, a cache of its own, and the params that are measured."""

    def __init__(self, folder: Path, params: Mapping[str, Any]) -> None:
        """Copy the project into `folder`; a copy of the same code and params that is there already is used as it is."""
        self.folder = folder.absolute()
        bin_folder = Path(sys.executable).parent
        self.environment = {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(self.folder / ".dvc/site"),
            "DVC_NO_ANALYTICS": "1",
        }
        listed = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        names = [name for name in listed if name and (ROOT / name).is_file()]
        content = files.digest([[[name, files.sha256(ROOT / name)] for name in names], dict(params)])
        mark = self.folder / ".git/copied"
        if mark.exists() and mark.read_text() == content:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in names:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.folder / name)
        (self.folder / "dvc.lock").unlink(missing_ok=True)
        self.set(params)
        _git(self.folder, "init", "-q", "-b", "main")
        _git(self.folder, "config", "user.name", "Benchmark")
        _git(self.folder, "config", "user.email", "benchmark@example.com")
        self.commit()
        mark.write_text(content)

    def set(self, params: Mapping[str, Any]) -> None:
        """Change keys of params.yaml."""
        from ruamel.yaml import YAML

        yaml, path = YAML(), self.folder / "params.yaml"
        yaml.preserve_quotes, yaml.width = True, 10_000
        values = yaml.load(path.read_text())
        unknown = sorted(set(params) - set(values))
        if unknown:
            raise KeyError(f"params.yaml has no {', '.join(unknown)}")
        values.update(params)
        with files.atomic(path) as temporary, temporary.open("w") as file:
            yaml.dump(values, file)

    def commit(self) -> None:
        """Commit everything."""
        _git(self.folder, "add", "-A")
        _git(self.folder, "commit", "-q", "--allow-empty", "-m", "State")

    def dvc(self, log: Path, *arguments: str) -> Seconds:
        """Return the seconds of `dvc …`."""
        return timed([*DVC, *arguments], self.folder, log, self.environment)

    def train_alone(self, log: Path) -> Seconds:
        """Return the seconds of the train stage's own process, writing elsewhere than the pipeline does."""
        out = self.folder / ".darkroom/alone"
        out.mkdir(parents=True, exist_ok=True)
        inputs = ("data/shards", "data/features", "models/body")
        outputs = (str(out / name) for name in ("classifier", "history.csv"))
        return timed(
            [sys.executable, "-m", "stages.train", *inputs, *outputs], self.folder, log, self.environment
        )  # fmt: skip

    @property
    def scores(self) -> dict[str, Any]:
        """metrics/test.json."""
        return files.read_json(self.folder / "metrics/test.json")

    @property
    def stages(self) -> dict[str, Any]:
        """What each stage noted of its run: seconds and more."""
        return files.read_json(self.folder / "metrics/run.json")["stages"]

    def remove(self) -> None:
        """Delete the copy."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout
