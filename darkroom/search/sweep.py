"""`darkroom sweep SPACE`: search params, every trial a DVC experiment, on the validation set alone."""

import argparse
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from darkroom.core import files
from darkroom.core.errors import ParamsError
from darkroom.core.params import read_yaml
from darkroom.core.progress import say
from darkroom.core.runtime import from_environment
from darkroom.core.text import counted
from darkroom.reproduction import preflight
from darkroom.search import project, results
from darkroom.search.experiment import Experiment
from darkroom.search.journal import COMPLETE, FAILED, PRUNED, Journal, Trial, best
from darkroom.search.sampler import choose, count, hopeless
from darkroom.search.space import MOST_TRIALS, Params, Space, SweepError, read_space
from darkroom.training.recipe import FINETUNE, SCHEMA, declared, epochs_needed

FOLDER = Path(".darkroom/sweeps")
INTERRUPTED = 130
ENDING = 0.75  # of the epochs: from here on a trial is not pruned


class Sweep:
    """A search under way: finished trials are in the journal, the others in `running`."""

    def __init__(
        self, space: Space, journal: Journal, root: Path, jobs: int, defaults: Params, environment: dict[str, str]
    ) -> None:
        self.space, self.journal, self.root, self.jobs, self.defaults = space, journal, root, jobs, defaults
        self.environment = environment
        self.running: dict[int, Params] = {}
        self.stopping = threading.Event()
        self.total = count(space)
        self.shared_params = project.shared_params(root)
        self.shared: dict[str, str | None] = {}  # by its params: why what trials share could not be made, None: it was
        self.sharing = threading.Lock()
        self.images: int | None = None  # that each trial learns from

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

    def experiment(self, name: str, params: Params, target: str | None, log: Path) -> Experiment:
        """Return the experiment `name` of this sweep with `params` beside those that are fixed."""
        settings = self.space.fixed | params
        copies = project.copies(self.root, self.defaults | settings)
        return Experiment(self.root, name, settings, target, log, self.environment, copies)

    def epochs(self, params: Params) -> int:
        """Return the epochs that a trial with `params` trains for: `epochs`, or what `min_steps` makes of them.

        The number of images is that of a complete trial: none is pruned before there are some.
        """
        recipe = declared(self.root, self.space.fixed | params)
        if recipe is None or not recipe.first.only_head:
            return (self.defaults | self.space.fixed | params)["epochs"]
        if self.images is None:
            trial = self.journal.complete()[0]
            experiment = Experiment(self.root, "", {}, None, self.root / trial.log)
            self.images = int(experiment.training(str(trial.commit))["train"]["n"])
        tuned = recipe.epochs if recipe.recipe == FINETUNE else 0  # which follow those of the head
        return epochs_needed(recipe.first, self.images) + tuned

    def _finished(self, trial: Trial) -> None:
        del self.running[trial.number]
        self.journal.add(trial)
        leader = best(self.journal.ordered(), self.space)
        say(results.line(trial, self.space, len(self.journal.trials), self.total, leader))

    def _trial(self, number: int, params: Params) -> Trial:
        started = time.monotonic()
        log = self.journal.log(number)
        curve: list[float] = []

        def watch(rows: list[dict[str, str]]) -> bool:
            curve[:] = curve_of(rows, self.space.metric)
            return hopeless(self.space, curve, self.journal.ordered()) and len(curve) <= ENDING * self.epochs(params)

        def ended(state: str, value: float | None = None, **found: Any) -> Trial:
            took, logged = round(time.monotonic() - started, 1), str(log.relative_to(self.root))
            return Trial(number, params, state, value, curve, took, log=logged, **found)

        try:
            if recipe := declared(self.root, self.space.fixed | params):
                recipe.check()
        except ParamsError as error:  # train would find it too, after embed
            log.write_text(f"{error}\n")
            return ended(FAILED)
        if not self._share(params, log):
            return ended(FAILED)
        started = time.monotonic()
        experiment = self.experiment(f"{self.space.name}-{number:04d}", params, project.TRIAL, log)
        status = experiment.run(watch, self.stopping)
        if self.stopping.is_set():
            raise SweepError("stopped")
        if status is None:
            return ended(PRUNED)
        commit = experiment.commit() if status == 0 else None
        if commit is None:
            return ended(FAILED)
        curve[:] = curve_of(experiment.history(commit), self.space.metric)
        metrics = experiment.training(commit)
        value = value_of(metrics, self.space.metric)
        if value is None:  # of every trial, so none of the others is worth its time
            there = ", ".join(f"{part}.{key}" for part in ("train", "val") for key in metrics.get(part) or {})
            raise SweepError(f"metric is {self.space.metric}, which no training here measures; it has {there}")
        return ended(COMPLETE, value, commit=commit, val=metrics.get("val", {}))

    def _share(self, params: Params, log: Path) -> bool:
        """Compute once what this trial shares with others (shards, features), for DVC's run cache.

        One at a time, since each takes the whole machine or cluster. Returns False where it fails, with the reason in
        `log`. Where trials run one after the other, the first of them does this itself.
        """
        if self.jobs == 1 or self.shared_params is None:
            return True
        settings = {key: value for key, value in (self.space.fixed | params).items() if key in self.shared_params}
        key = files.digest(settings)
        with self.sharing:
            if key not in self.shared and not self.stopping.is_set():
                said = results.words(settings) or "the project's params"
                say(f"sweep: preparing what trials share: {said}")
                name, shared_log = f"{self.space.name}-shared", self.journal.folder / "logs" / f"shared-{key[:8]}.log"
                experiment = self.experiment(name, settings, project.SHARED, shared_log)
                status = experiment.run(lambda _: False, self.stopping)
                self.shared[key] = shared_log.read_text(errors="replace") if status else None
                experiment.remove()
            failure = self.shared.get(key)
        if failure is not None:
            log.write_text(failure)
        return failure is None


def curve_of(rows: list[dict[str, str]], metric: str) -> list[float]:
    """Return the metric after each epoch, from the training curve; "val.loss" is its column val_loss."""
    column = metric.replace(".", "_")
    return [float(row[column]) for row in rows if row.get(column)]


def value_of(metrics: dict[str, Any], metric: str) -> float | None:
    """Return the number at a dotted key of train.json; None where there is none."""
    found: Any = metrics
    for key in metric.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def spread() -> tuple[dict[str, str], int]:
    """Return the environment variables of trials, and how many run at once without --jobs.

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


def main(arguments: list[str]) -> int:
    """Return 0: at least one trial is complete.

    1: none is, or the final evaluation failed; 130: stopped, goes on later.
    """
    asked = _parser().parse_args(arguments)
    root = Path.cwd()
    for line in preflight.mend(root):
        say(f"sweep: {line}")
    defaults = read_yaml(root / "params.yaml")
    deciding, late = project.stage_params(root, *project.DECIDING), project.late_params(root)
    schema = root / SCHEMA
    specs = files.read_json(schema)["properties"] if schema.exists() else {}
    space = read_space(asked.space, defaults, deciding, late, specs)
    if asked.trials and space.method == "grid":
        raise SweepError(
            f"--trials is {asked.trials}, and a grid tries each of its {count(space)} combinations; leave --trials out,"
            f" or set method: random in {asked.space}"
        )
    changes = {"name": asked.name, "trials": asked.trials}
    space = space.model_copy(update={key: value for key, value in changes.items() if value})
    project.require_name(root, space.name, "sweep", "rename its file, or give a name with --name")
    declared(root, space.fixed | choose(space, 0, [], {}))  # what no trial could run with in the rest of params.yaml
    with project.alone(root / FOLDER / space.name):
        return _search(root, space, defaults, asked)


def _search(root: Path, space: Space, defaults: Params, asked: argparse.Namespace) -> int:
    begun = project.state(root, space, defaults, project.TRIAL)
    journal = Journal(root / FOLDER / space.name, space, begun, asked.retry)
    environment, room = spread() if len(journal.trials) < count(space) else ({}, 1)
    sweep = Sweep(space, journal, root, asked.jobs or room, defaults, environment)
    done = f", done already: {len(journal.trials)}" if journal.trials else ""
    say(f"sweep: {counted(sweep.total, 'trial')}{done}; logs in {(journal.folder / 'logs').relative_to(root)}")
    try:
        sweep.run()
        return _conclude(sweep, asked.no_test)
    except KeyboardInterrupt:
        say(f"sweep: stopped after {len(journal.trials)} of {sweep.total} trials; the same command goes on from here")
        return INTERRUPTED


def _conclude(sweep: Sweep, no_test: bool) -> int:
    space, journal, root = sweep.space, sweep.journal, sweep.root
    leader = best(journal.ordered(), space)
    if no_test or leader is None:
        return results.conclude(space, journal, root, None, {})
    final = sweep.experiment(f"{space.name}-best", leader.params, None, journal.folder / "logs" / "best.log")
    # The test also depends on how evaluate judges, which no trial does.
    return results.conclude(space, journal, root, final, project.state(root, space, sweep.defaults, None))


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
    parser.add_argument("--trials", type=_positive, help="so many in all, instead of what the file says; not of a grid")
    parser.add_argument("--name", help="of the sweep and its experiments (default: the file's)")
    parser.add_argument("--retry", action="store_true", help="run failed trials again")
    parser.add_argument("--no-test", action="store_true", help="leave out the final evaluation on the test set")
    return parser


def _positive(text: str) -> int:
    if not (text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MOST_TRIALS):
        raise argparse.ArgumentTypeError(f"{text[:100]!r} is not a whole number from 1 to {MOST_TRIALS:,}")
    return int(text)
