"""Read what a run left behind: its dvc.lock, its metrics, its answers on the test set, and how it was run."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.core.errors import DarkroomError
from darkroom.core.git import git
from darkroom.metrics.predictions import Predictions, read_predictions
from darkroom.reporting.runs import LOCK, METRICS, PREDICTIONS, CompareError, Revision, locked_md5, md5

RUN = "metrics/run.json"


@dataclass(frozen=True)
class Results:
    """Hold one run. `stages`: dvc.lock's; `metrics`: of the test set, {} when absent; `run`: metrics/run.json, {} when
    absent; `predictions`: None where the file is neither here nor in DVC's cache or remote; `absent`: why."""

    name: str
    stages: dict[str, dict[str, Any]]
    metrics: dict[str, Any]
    run: dict[str, Any]
    predictions: Predictions | None
    absent: str = ""


def of_folder(folder: Path, name: str) -> Results:
    """Return the results that lie in the project at `folder`. Raises DarkroomError when there is no dvc.lock."""
    if not (folder / LOCK).exists():
        raise DarkroomError(f"{folder / LOCK} does not exist; expected a project that was run with `dvc repro`")
    lock, metrics, run, answers = (_read(folder / path) for path in (LOCK, METRICS, RUN, PREDICTIONS))
    absent = f"{folder / PREDICTIONS} does not exist; `dvc pull {PREDICTIONS}` there" if answers is None else ""
    return _results(name, stages_of(lock or "", name), metrics, run, (answers, absent))


def of_revision(revision: str, root: Path) -> Results:
    """Return the results of a commit of the repository at `root`, predictions from DVC. Raises DarkroomError."""
    try:
        sha = git(root, "rev-parse", "--short", "--verify", "--quiet", f"{revision}^{{commit}}")
    except DarkroomError as error:
        raise DarkroomError(f"{revision} is neither a folder nor a revision of this repository") from error
    reader = Revision(sha, root)
    lock, metrics, run = (reader.optional(path) for path in (LOCK, METRICS, RUN))
    if lock is None:
        raise DarkroomError(f"{revision} ({sha}) holds no {LOCK}; run `dvc repro` there, and commit what it wrote")
    stages = stages_of(lock, sha)
    return _results(sha, stages, metrics, run, _answers(reader, stages))


def _results(
    name: str, stages: dict[str, dict[str, Any]], metrics: str | None, run: str | None, found: tuple[str | None, str]
) -> Results:
    answers, absent = found
    wanted = locked_md5({"stages": stages}, PREDICTIONS)
    if answers is not None and wanted and md5(answers.encode()) != wanted:
        answers, absent = None, f"{PREDICTIONS} is not what dvc.lock says; `dvc checkout` or `dvc repro` there"
    predictions = read_predictions(io.StringIO(answers, newline=""), f"{PREDICTIONS} of {name}") if answers else None
    try:
        return Results(name, stages, json.loads(metrics or "{}"), json.loads(run or "{}"), predictions, absent)
    except json.JSONDecodeError as error:
        raise DarkroomError(f"{METRICS} or {RUN} of {name} is not valid JSON: {error}") from error


def stages_of(lock: str, name: str) -> dict[str, dict[str, Any]]:
    """Return the stages in the text of the dvc.lock of `name`. Raises DarkroomError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(lock)["stages"]
    except (YAMLError, KeyError, TypeError) as error:
        raise DarkroomError(f"{LOCK} of {name} is not a DVC lock: {' '.join(str(error).split())}") from error


def _answers(reader: Revision, stages: dict[str, dict[str, Any]]) -> tuple[str | None, str]:
    """Return predictions.csv of a commit, or None and the reason.

    It is the workspace's when that is the same file, else from DVC's cache or remote.
    """
    here = reader.root / PREDICTIONS
    if here.exists() and md5(here.read_bytes()) == locked_md5({"stages": stages}, PREDICTIONS):
        return _read(here), ""
    try:
        return reader.text(PREDICTIONS), ""
    except CompareError as error:
        return None, str(error)


def _read(path: Path) -> str | None:
    # Not read_text: it would turn line ends inside a class's name into others, and the MD5 with them.
    return path.read_bytes().decode("utf-8") if path.exists() else None
