"""`darkroom sweep SPACE`: search params, every trial a DVC experiment, on the validation set alone."""

import argparse
import json
import subprocess
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.core.params import read_yaml
from darkroom.core.progress import say
from darkroom.core.runtime import from_environment
from darkroom.reproduction import lock
from darkroom.search import results
from darkroom.search.choosing import choose, count, hopeless
from darkroom.search.journal import COMPLETE, FAILED, PRUNED, Journal, Trial, best
from darkroom.search.space import Params, Space, SweepError, read_space
from darkroom.search.trial import Experiment, dvc

if TYPE_CHECKING:
    from dvc.dependency import Dependency

FOLDER = Path(".darkroom/sweeps")
INTERRUPTED = 130
ENDING = 0.75  # of the epochs: a trial that has come so far may finish


class Sweep:
    """A search under way: what is known is in the journal, what runs is in `running`."""

    def __init__(
        self, space: Space, journal: Journal, root: Path, jobs: int, defaults: Params, environment: dict[str, str]
    ) -> None:
        self.space, self.journal, self.root, self.jobs, self.defaults = space, journal, root, jobs, defaults
        self.environment = environment
        self.running: dict[int, Params] = {}
        self.stopping = threading.Event()
        self.total = count(space)

    def run(self) -> None:
        """Run the trials that are missing, `jobs` at a time."""
        waiting = [number for number in range(self.total) if number not in self.journal.trials]
        futures: set[Future[Trial]] = set()
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                while waiting or futures:
                    while waiting and len(futures) < self.jobs:
                        number = waiting.pop(0)
                        self.running[number] = choose(self.space, number, self.journal.ordered(), self.running)
                        futures.add(pool.submit(self._trial, number, self.running[number]))
                    done, futures = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in done:
                        self._finished(future.result())
            except BaseException:
                self.stopping.set()
                raise

    def _finished(self, trial: Trial) -> None:
        del self.running[trial.number]
        self.journal.add(trial)
        leader = best(self.journal.ordered(), self.space)
        say(results.line(trial, self.space, len(self.journal.trials), self.total, leader))

    def _trial(self, number: int, params: Params) -> Trial:
        started = time.monotonic()
        name, log = f"{self.space.name}-{number:04d}", self.journal.log(number)
        experiment = Experiment(self.root, name, self.space.fixed | params, "train", log, self.environment)
        curve: list[float] = []
        epochs = (self.defaults | self.space.fixed | params)["epochs"]

        def watch(rows: list[dict[str, str]]) -> bool:
            curve[:] = curve_of(rows, self.space.metric)
            return len(curve) <= ENDING * epochs and hopeless(self.space, curve, self.journal.ordered())

        status = experiment.run(watch, self.stopping)
        took = round(time.monotonic() - started, 1)
        told = str(log.relative_to(self.root))
        if self.stopping.is_set():
            raise SweepError("stopped")
        if status is None:
            return Trial(number, params, PRUNED, curve=curve, seconds=took, log=told)
        commit = experiment.commit() if status == 0 else None
        if commit is None:
            return Trial(number, params, FAILED, curve=curve, seconds=took, log=told)
        curve[:] = curve_of(experiment.history(commit), self.space.metric)
        value = value_of(experiment.read(commit, "metrics/train.json"), self.space.metric)
        return Trial(number, params, COMPLETE if value is not None else FAILED, value, curve, took, commit, told)


def curve_of(rows: list[dict[str, str]], metric: str) -> list[float]:
    """The metric after each epoch, from the training curve; "val.loss" is its column val_loss."""
    column = metric.replace(".", "_")
    return [float(row[column]) for row in rows if row.get(column)]


def value_of(metrics: dict[str, Any], metric: str) -> float | None:
    """The number at a dotted key of metrics/train.json; None where there is none."""
    found: Any = metrics
    for key in metric.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def spread() -> tuple[dict[str, str], int]:
    """What trials find in their environment, and how many run at once unless --jobs says so.

    On a Ray cluster each trial trains as a task of one node (or as DARKROOM_PROCESSES says), as many at a time as there
    is room for. Its folder, its log and its experiment stay on this machine.
    """
    environment = from_environment()
    if environment.ray is None:
        return {}, 1
    from darkroom.cluster import nodes

    ray = nodes.connect(environment.ray)  # kept until the end: a cluster that starts here ends with this process
    processes = environment.processes or 1
    room = max(1, nodes.shape(environment).room // processes)
    say(f"sweep: the Ray cluster has room for {room} trials at a time")
    return {"DARKROOM_RAY": ray.get_runtime_context().gcs_address, "DARKROOM_PROCESSES": str(processes)}, room


def state(root: Path, space: Space, params: Params, target: str | None) -> dict[str, str]:
    """What decides a trial beside its own params, by name: of the stages up to `target` (None: of all) the other
    `params`, the commands and the hash of each dep that no stage makes, code or data; and of each path that the space
    itself names. Raises SweepError."""
    from dvc.dependency import ParamsDependency, loads_from
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from networkx import descendants

    path = root.resolve() / "dvc.yaml"
    own = space.fixed.keys() | space.params.keys()
    unseen = {str(params[key]) for key in own if isinstance(params.get(key), str)}  # values that no trial runs with
    found: dict[str, str] = {}
    try:
        with Repo(str(root)) as repo:
            graph = repo.index.graph
            ends = [stage for stage in graph if Path(stage.path) == path and target in (None, stage.name)]
            stages = [stage for stage in {*ends}.union(*(descendants(graph, end) for end in ends)) if stage.cmd]
            made = [out.fs_path for stage in stages for out in stage.outs]
            for stage in stages:
                found[f"command of {stage.addressing}"] = _without(str(stage.cmd), unseen)
                for dep in stage.deps:
                    if isinstance(dep, ParamsDependency):
                        found |= {
                            f"param {key}": json.dumps(params.get(key), default=str) for key in {*dep.params} - own
                        }
                    elif dep.def_path not in unseen and not any(_overlap(dep.fs_path, out) for out in made):
                        found.setdefault(dep.def_path, _hash(dep))
            for key, value in _paths(root, space):
                found[f"{key} {value}"] = _hash(loads_from(stages[0], [value])[0])
    except DvcException as error:
        raise SweepError(f"DVC cannot read the pipeline: {error}; make `dvc status` work first") from error
    return found


def _paths(root: Path, space: Space) -> list[tuple[str, str]]:
    """The values of the space that are files or folders here (a `source`, `weights`), by their keys."""
    values = [(key, value) for key, value in space.fixed.items()]
    values += [
        (key, choice) for key, choices in space.params.items() if isinstance(choices, list) for choice in choices
    ]
    return [(key, value) for key, value in values if isinstance(value, str) and value and (root / value).exists()]


def _hash(dep: "Dependency") -> str:
    return dep.get_hash().value if dep.exists else "absent"


def _without(command: str, values: set[str]) -> str:
    for value in sorted(values, key=len, reverse=True):
        command = command.replace(value, "…") if value else command
    return command


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def prepare(root: Path) -> None:
    """Bring everything before train up to date, once: trials that run at the same time would each do it again."""
    dry = subprocess.run([*dvc(), "repro", "--dry", "embed"], cwd=root, capture_output=True, text=True)
    if dry.returncode == 0 and "Running stage" not in dry.stdout:
        return
    say("sweep: bringing the stages before train up to date")
    if subprocess.run([*dvc(), "repro", "embed"], cwd=root).returncode:
        raise SweepError("the stages before train do not run; make `dvc repro embed` work first")


def main(arguments: list[str]) -> int:
    """0: at least one trial is complete; 1: none is, or the final evaluation failed; 130: stopped, goes on later."""
    asked = _parser().parse_args(arguments)
    root = Path.cwd()
    defaults = read_yaml(root / "params.yaml")
    space = read_space(asked.space, defaults)
    if asked.name:
        space = Space(**vars(space) | {"name": asked.name})
    if asked.trials:
        space = Space(**vars(space) | {"trials": asked.trials})
    for line in lock.mend(root):
        say(f"sweep: {line}")
    journal = Journal(root / FOLDER / space.name, space, state(root, space, defaults, "train"), asked.retry)
    environment, room = spread() if len(journal.trials) < count(space) else ({}, 1)
    sweep = Sweep(space, journal, root, asked.jobs or room, defaults, environment)
    if len(journal.trials) < sweep.total:
        prepare(root)
    if journal.trials:
        say(f"sweep: {len(journal.trials)} of {sweep.total} trials are done already")
    try:
        sweep.run()
    except KeyboardInterrupt:
        say(f"sweep: stopped after {len(journal.trials)} of {sweep.total} trials; the same command goes on from here")
        return INTERRUPTED
    # The test also depends on how evaluate judges, which no trial does.
    whole = None if asked.no_test else state(root, space, defaults, None)
    return results.conclude(space, journal, root, whole, environment)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="darkroom sweep",
        description="Search params: every trial is a DVC experiment of the stages up to train, judged on validation.",
        epilog="Stop it whenever you like: the same command goes on. Logs, table and figure lie in .darkroom/sweeps.",
    )
    parser.add_argument("space", type=Path, help="a file such as sweeps/head.yaml")
    parser.add_argument(
        "--jobs",
        type=_positive,
        help="trials at the same time (default: 1, or as many as the Ray cluster of DARKROOM_RAY has room for)",
    )
    parser.add_argument("--trials", type=_positive, help="so many in all, instead of what the file says")
    parser.add_argument("--name", help="of the sweep and its experiments (default: the file's)")
    parser.add_argument("--retry", action="store_true", help="run failed trials again")
    parser.add_argument("--no-test", action="store_true", help="leave out the final evaluation on the test set")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value
