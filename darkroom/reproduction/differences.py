"""Find what differs first along the pipeline between two runs: a param, code, data, a version or a setting.

Where an output differs although all inputs of its stage are equal, it was made with other versions or on another
machine: metrics/run.json of both runs shows which.
"""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from darkroom.core import yaml12
from darkroom.core.errors import DarkroomError
from darkroom.core.git import git
from darkroom.metrics.predictions import Predictions, read_predictions
from darkroom.reporting.runs import LOCK, METRICS, PREDICTIONS, CompareError, Revision, locked_md5, md5

RUN = "metrics/run.json"
# The entries of metrics/run.json that can change the bits of a stage's outputs, the likeliest cause first.
SETTINGS = ("device", "gpu", "precision", "engine", "micro_batch", "processes", "resumed")
RUNTIME = ("device", "threads")
MACHINE = ("cpu_flags", "cpu", "system", "python", "cores")
Stages = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """One thing that differs. `kind`: stage, command, param, code, input, output, version or setting."""

    stage: str
    kind: str
    name: str
    reference: Any
    other: Any

    def facts(self) -> dict[str, Any]:
        """Return the difference as plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        shown = " -> ".join(_short(value) for value in (self.reference, self.other))
        return f"{self.stage}: {self.kind} {self.name}: {shown}"


def in_order(stages: Stages) -> list[str]:
    """Return the names of dvc.lock's stages, each after those whose outputs it reads."""
    made = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", [])}
    graph = {
        name: sorted({maker for dep in stages[name].get("deps", []) if (maker := _maker(dep["path"], made))} - {name})
        for name in sorted(stages)
    }
    return list(TopologicalSorter(graph).static_order())


def changed_inputs(reference: Stages, other: Stages) -> list[Difference]:
    """Return the commands, params, code and data from outside that differ, in the order of the pipeline."""
    names = in_order({**other, **reference})
    return [difference for name in names for difference in _inputs(name, reference, other)]


def changed_outputs(reference: Stages, other: Stages) -> list[Difference]:
    """Return the outputs whose hashes differ, in the order of the pipeline."""
    return [
        Difference(name, "output", *unequal)
        for name in in_order({**other, **reference})
        for unequal in _unequal(*(_hashes(stages.get(name, {}).get("outs", [])) for stages in (reference, other)))
    ]


def changed_settings(stage: str, reference: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """Return how the metrics/run.json of two runs of `stage` differ: versions, then settings, then the machine."""
    one, two = (noted.get("stages", {}).get(stage, {}) for noted in (reference, other))
    if not one or not two:
        return []
    versions = _unequal(*(_of(noted, stage, "versions") for noted in (reference, other)))
    found = [Difference(stage, "version", *unequal) for unequal in versions]
    for names, (first, second) in (
        (SETTINGS, (one, two)),
        (RUNTIME, (one.get("runtime", {}), two.get("runtime", {}))),
        (MACHINE, (_of(reference, stage, "machine"), _of(other, stage, "machine"))),
    ):
        pairs = _unequal(*({name: noted.get(name) for name in names} for noted in (first, second)))
        found += [Difference(stage, "setting", *pair) for pair in sorted(pairs, key=lambda pair: names.index(pair[0]))]
    return found


def first_causes(reference: "Results", other: "Results") -> list[Difference]:
    """Return the causes in the first stage whose outputs differ; where none do, all inputs that differ.

    The causes are the inputs that differ, otherwise the versions and settings, otherwise the outputs themselves.
    """
    causes = changed_inputs(reference.stages, other.stages)
    effects = changed_outputs(reference.stages, other.stages)
    if not effects:
        return causes
    stage = effects[0].stage
    inputs, outputs = ([one for one in found if one.stage == stage] for found in (causes, effects))
    return inputs or changed_settings(stage, reference.run, other.run) or outputs


def _inputs(name: str, reference: Stages, other: Stages) -> Iterator[Difference]:
    if name not in reference or name not in other:
        yield Difference(name, "stage", name, *(("present" if name in stages else "absent")
                                               for stages in (reference, other)))  # fmt: skip
        return
    one, two = reference[name], other[name]
    for key, first_value, second_value in _unequal(*(_params(stage) for stage in (one, two))):
        yield Difference(name, "param", key, first_value, second_value)
    if one.get("cmd") != two.get("cmd"):
        yield Difference(name, "command", "cmd", one.get("cmd"), two.get("cmd"))
    made = {out["path"]: name for stages in (reference, other) for name, stage in stages.items()
            for out in stage.get("outs", [])}  # fmt: skip
    for path, first_hash, second_hash in _unequal(*(_hashes(stage.get("deps", [])) for stage in (one, two))):
        if not _maker(path, made):  # otherwise the stage that made it is the one to name
            kind = "code" if path.endswith(".py") or "stages/code/" in path else "input"
            yield Difference(name, kind, path, first_hash, second_hash)


def _maker(path: str, made: Mapping[str, str]) -> str | None:
    parts = path.split("/")
    return next((made[start] for n in range(len(parts), 0, -1) if (start := "/".join(parts[:n])) in made), None)


def _params(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for values in stage.get("params", {}).values() for key, value in values.items()}


def _hashes(entries: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {entry["path"]: entry.get(entry.get("hash", "md5")) for entry in entries}


def _unequal(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(key, one.get(key), two.get(key)) for key in sorted({*one, *two}) if one.get(key) != two.get(key)]


def _of(noted: Mapping[str, Any], stage: str, what: str) -> Mapping[str, Any]:
    """Return the machine or the versions of a stage: its own entry, otherwise that of all stages."""
    return noted["stages"].get(stage, {}).get(what) or noted.get(what, {})


def _short(value: Any) -> str:
    text = "none" if value is None else ", ".join(value) if isinstance(value, list) else str(value)
    return text[:12] if len(text) >= 32 and set(text) <= set("0123456789abcdef.dir") else text


@dataclass(frozen=True)
class Results:
    """The results of one run.

    `stages`: those of dvc.lock; `metrics`: of the test set, {} when absent; `run`: metrics/run.json, {} when absent;
    `predictions`: None where the file is neither here nor in DVC's cache or remote; `absent`: the reason for that.
    """

    name: str
    stages: dict[str, dict[str, Any]]
    metrics: dict[str, Any]
    run: dict[str, Any]
    predictions: Predictions | None
    absent: str = ""


def of_folder(folder: Path, name: str) -> Results:
    """Return the results in the project at `folder`. Raises DarkroomError when there is no dvc.lock."""
    if not (folder / LOCK).exists():
        raise DarkroomError(f"{folder / LOCK} does not exist; expected a project that was run with `dvc repro`")
    lock, metrics, run, answers = (_read(folder / path) for path in (LOCK, METRICS, RUN, PREDICTIONS))
    absent = f"{folder / PREDICTIONS} does not exist; `dvc pull {PREDICTIONS}` there" if answers is None else ""
    return _results(name, stages_of(lock or "", name), metrics, run, (answers, absent))


def of_revision(revision: str, root: Path) -> Results:
    """Return the results of a commit of the repository at `root`, with predictions from DVC. Raises DarkroomError."""
    try:
        sha = git(root, "rev-parse", "--short", "--verify", "--quiet", f"{revision}^{{commit}}")
    except DarkroomError as error:
        what = f"{revision} is neither a folder nor a revision of this repository"
        raise DarkroomError(f"{what}; name a project's folder, a branch, a tag or a commit") from error
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
        what = f"{METRICS} or {RUN} of {name} is not valid JSON: {error}"
        raise DarkroomError(f"{what}; solve the conflict, or run `dvc repro` with -f") from error


def stages_of(lock: str, name: str) -> dict[str, dict[str, Any]]:
    """Return the stages in the text of the dvc.lock of `name`. Raises DarkroomError."""
    try:
        return yaml12.parse(lock)["stages"]
    except (yaml12.YAMLError, KeyError, TypeError) as error:
        what = f"{LOCK} of {name} is not a DVC lock: {' '.join(str(error).split())}"
        raise DarkroomError(f"{what}; solve the conflict in it, or take it back by `git checkout {LOCK}`") from error


def _answers(reader: Revision, stages: dict[str, dict[str, Any]]) -> tuple[str | None, str]:
    """Return predictions.csv of a commit, or None and the reason.

    It is read from the workspace where that is the same file, otherwise from DVC's cache or remote.
    """
    here = reader.root / PREDICTIONS
    if here.exists() and md5(here.read_bytes()) == locked_md5({"stages": stages}, PREDICTIONS):
        return _read(here), ""
    try:
        return reader.text(PREDICTIONS), ""
    except CompareError as error:
        return None, str(error)


def _read(path: Path) -> str | None:
    # Not read_text, which would change line ends within a class's name, and so the MD5.
    return path.read_bytes().decode("utf-8") if path.exists() else None
