"""Run one trial as a DVC experiment in a folder of its own, so that the workspace stays as it is."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from darkroom.core import files
from darkroom.core.bound import dvc
from darkroom.core.git import git
from darkroom.model import classifier
from darkroom.reporting.runs import Revision
from darkroom.reproduction import workspace
from darkroom.search.space import Params

POLL = 0.3  # seconds between two looks at a running trial
FOLDERS, RUNS = ".dvc/tmp/exps/standalone", ".dvc/tmp/exps/run"  # DVC's, of running experiments and of facts about each
HISTORY = "plots/history.csv"
TRAINING = f"models/classifier/{classifier.TRAINING}"
# Ray's own lines in the log of whatever uses it, even after its last line: "(raylet) …", in colour.
FROM_RAY = re.compile(r"(\x1b\[\d+m)?\((raylet|autoscaler|\w+ pid=)")
# DVC's own lines. Indented lines continue another; DVC's errors give the reason only where no stage does.
FROM_DVC = re.compile(
    r"Reproducing experiment|Running stage|Stage '|'.*' didn't change|Restored stage|Updating|Generating|Comparing"
    r"|Building|Applying|Verifying|Checking|Collecting|Use `dvc|Ran experiment|Experiment results|> |\s"
)
PREPARED = b"Reproducing experiment"  # DVC's line once it works in the folder of the experiment alone
DVC_ERROR = re.compile(r"ERROR: (failed to reproduce|Failed to reproduce experiment) '[^']*': ")
EXITED = re.compile(r", exited with -?\d+$")
KILLED = re.compile(r", exited with (-\d+|137)$")  # by a signal, directly or below a shell
PLAIN = re.compile(r"[A-Za-z_/][\w./:+-]*")  # a text that needs no quotes


class Experiment:
    """`dvc exp run --temp` under a name: its training curve can be read while it runs, and it can be stopped.

    `environment`: variables added to those of this process; `copies`: paths that Git does not hold and that are copied
    into its folder.
    """

    def __init__(
        self, root: Path, name: str, params: Params, target: str | None, log: Path,
        environment: Mapping[str, str] | None = None, copies: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.root, self.name, self.log, self.environment = root, name, log, dict(environment or {})
        options = [part for key, value in params.items() for part in ("-S", f"{key}={setting(value)}")]
        options += [part for path in copies for part in ("-C", path)]
        options += [target] if target else []
        self.command = [*dvc(), "--wait-for-lock", "exp", "run", "--temp", "-n", name, *options]

    def run(self, watch: Callable[[list[dict[str, str]]], bool], stopping: threading.Event) -> int | None:
        """Run to the end; return the exit status, None where `watch` or `stopping` ended it. The log is then complete.

        `watch` gets the rows of the training curve whenever there are more of them, and returns whether to stop.
        """
        # Left by a sweep that was killed or begun again. DVC's run cache knows whether its result still holds.
        self.remove()
        self._discard()
        rows, stopped, prepared = 0, False, False
        with contextlib.ExitStack() as preparing, self.log.open("wb") as log:
            preparing.enter_context(workspace.prepared(self.root))
            if stopping.is_set():  # while another trial was prepared
                return None
            process = subprocess.Popen(
                self.command,
                cwd=self.root,
                env=os.environ | self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                while process.poll() is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(POLL)
                    if not prepared and PREPARED in self.log.read_bytes():
                        prepared = True
                        preparing.close()
                    known = self._history(process.pid)
                    if len(known) > rows:
                        rows = len(known)
                        stopped = watch(known)
                    if stopped or stopping.is_set():
                        stopped = True
                        break
            finally:
                if process.poll() is None:
                    self._stop(process)
        return None if stopped else process.returncode

    def tested(self) -> dict[str, Any] | None:
        """Run to the end and return its metrics/test.json; None, with the reason printed, where it failed."""
        status, commit = self.run(lambda _: False, threading.Event()), self.commit()
        if status or commit is None:
            print(f"the final evaluation failed: {self.reason()}  ({self.log.relative_to(self.root)})")
            return None
        return read(self.root, commit, "metrics/test.json")

    @cached_property
    def _ref(self) -> str:
        """The Git ref of the experiment, below the commit that was checked out when it was begun."""
        head = git(self.root, "rev-parse", "HEAD")
        return f"refs/exps/{head[:2]}/{head[2:]}/{self.name}"

    def commit(self) -> str | None:
        """Return the experiment's commit; None where the commit that is checked out has no experiment of this name."""
        return git(self.root, "for-each-ref", "--format=%(objectname)", self._ref) or None

    def remove(self) -> None:
        """Remove the experiment; `dvc exp remove` would also remove those of this name on other commits."""
        if self.commit():
            git(self.root, "update-ref", "-d", self._ref)

    def _discard(self) -> None:
        """Remove the folders that killed runs of this experiment have left: DVC keeps them, photos and all."""
        folders = (self.root / FOLDERS).resolve()
        for facts in (self.root / RUNS).glob("*/*.run"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                noted = files.read_json(facts)
                if noted["name"] == self.name and folders in Path(noted["root_dir"]).resolve().parents:
                    shutil.rmtree(noted["root_dir"], ignore_errors=True)

    def history(self, commit: str) -> list[dict[str, str]]:
        """Return the rows of the experiment's training curve, from DVC's cache."""
        return list(csv.DictReader(io.StringIO(Revision(commit, self.root).text(HISTORY))))

    def training(self, commit: str) -> dict[str, Any]:
        """Return what the experiment's training reached, from DVC's cache."""
        return json.loads(Revision(commit, self.root).text(TRAINING))

    def reason(self) -> str:
        """Return the line of the log with the reason of the failure: the stage's own, else DVC's."""
        lines = [line.rstrip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [DVC_ERROR.sub("", line) for line in lines if line.startswith("ERROR: ")]
        if errors and KILLED.search(errors[-1]):
            return f"{errors[-1]}: killed from outside, as where memory is short"
        if errors and not EXITED.search(errors[-1]):
            return errors[-1]  # no stage has failed: what the last one said is no reason
        spoken = [
            line for line in lines if not (line.startswith("ERROR: ") or FROM_DVC.match(line) or FROM_RAY.match(line))
        ]
        return (spoken or errors or lines or ["no output"])[-1].strip()

    def _history(self, pid: int) -> list[dict[str, str]]:
        folder = _training_folder(pid)
        if folder is None:
            return []
        try:
            with (folder / HISTORY).open(encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file))
        except OSError:
            return []

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        folder = _training_folder(process.pid)
        for how, patience in ((signal.SIGINT, 5), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
                break
        if folder is not None and ".dvc" in folder.parts:
            shutil.rmtree(folder, ignore_errors=True)  # DVC keeps the folder of an experiment that was stopped


def setting(value: Any) -> str:
    """Return a value as `dvc exp run -S key=…` reads it back."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(setting, value))}]"
    if not isinstance(value, str):
        return f"{value:.10g}" if isinstance(value, float) else str(value)
    if PLAIN.fullmatch(value) and value.lower() not in ("true", "false", "null", "nan", "inf"):
        return value
    # Hydra reads a backslash literally unless a quote follows.
    return "'" + re.sub(r"(\\*)('|$)", lambda end: end[1] * 2 + ("\\'" if end[2] else ""), value) + "'"


def read(root: Path, commit: str, path: str) -> Any:
    """Return what a JSON file of a commit holds. Raises DarkroomError."""
    return json.loads(git(root, "show", f"{commit}:./{path}"))


def _training_folder(pid: int) -> Path | None:
    """Return the working folder of the train stage that this process runs; None while there is none."""
    import psutil

    try:
        for child in psutil.Process(pid).children(recursive=True):
            if "stages.train" in child.cmdline():
                return Path(child.cwd())
    except psutil.Error:
        return None
    return None
