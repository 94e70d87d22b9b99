"""What a sweep ends with: a table, a figure, the command that repeats the best trial, and its test score."""

import threading
from collections.abc import Mapping
from pathlib import Path
from shlex import quote

from darkroom.core import files
from darkroom.core.progress import say
from darkroom.reporting.figures import save
from darkroom.search.figure import figure
from darkroom.search.journal import FAILED, PRUNED, Journal, Trial, best
from darkroom.search.space import Space
from darkroom.search.trial import Experiment, setting

SHOWN = 10


def line(trial: Trial, space: Space, done: int, total: int, leader: Trial | None) -> str:
    """One finished trial for the person who watches."""
    said = {FAILED: f"failed, see {trial.log}", PRUNED: f"pruned after {len(trial.curve)} epochs"}.get(
        trial.state, f"{space.metric} {number(trial.value)}"
    )
    ahead = f" (best {number(leader.value)}: trial {leader.number})" if leader else ""
    return f"{done}/{total}  trial {trial.number}  {words(trial)}  {said}{ahead}  {trial.seconds:.1f} s"


def conclude(
    space: Space, journal: Journal, root: Path, state: Mapping[str, str] | None, environment: Mapping[str, str]
) -> int:
    """Print and write everything; run the best trial once more, with evaluate and export. The exit status.

    `state`: what decides the whole pipeline's result beside the space's params; None leaves out the run of the best.
    """
    trials, leader = journal.ordered(), best(journal.ordered(), space)
    files.write_csv(journal.folder / "trials.csv", *_csv(space, trials))
    print(table(space, trials))
    failed = [trial for trial in trials if trial.state == FAILED]
    for trial in failed:
        log = Experiment(root, "", {}, None, Path(trial.log))
        print(f"failed: trial {trial.number}  {words(trial)}: {log.last_words()}  ({trial.log})")
    if leader is None:
        print("no trial is complete")
        return 1
    save(journal.folder / "sweep.png", figure(space, journal.complete()))
    params = space.fixed | leader.params
    print(f"\nfigure: {(journal.folder / 'sweep.png').relative_to(root)}")
    print(f"best: trial {leader.number}, {space.metric} {number(leader.value)}; to repeat it:")
    print("  dvc exp run " + " ".join(f"-S {quote(f'{key}={setting(value)}')}" for key, value in params.items()))
    return 0 if state is None else _final(space, journal, root, params, files.digest(dict(state)), environment)


def _final(
    space: Space, journal: Journal, root: Path, params: dict[str, object], state: str, environment: Mapping[str, str]
) -> int:
    """The one look at the test set; it is not repeated when the sweep is concluded again with the same best and the
    same state of the project."""
    kept = journal.folder / "test.json"
    known = files.read_json(kept) if kept.exists() else {}
    name = f"{space.name}-best"
    if (known.get("params"), known.get("state")) != (params, state):
        say("sweep: evaluating the best trial on the test set")
        experiment = Experiment(root, name, params, None, journal.folder / "logs" / "best.log", environment)
        status = experiment.run(lambda _: False, threading.Event())
        commit = experiment.commit()
        if status or commit is None:
            print(f"the final evaluation failed: {experiment.last_words()}  ({experiment.log})")
            return 1
        known = {"params": params, "state": state, "test": experiment.read(commit, "metrics/test.json")}
        files.write_json(kept, known)
    found = known["test"]
    if found.get("accuracy") is None:
        print(f"test: no accuracy, on {found.get('n', 0)} images; keep it with `dvc exp apply {name}`")
        return 0
    print(
        f"test: accuracy {number(found['accuracy'])} (95 % interval {number(found['accuracy_low'])} to"
        f" {number(found['accuracy_high'])}) on {found['n']:,} images; keep it with `dvc exp apply {name}`"
    )
    return 0


def table(space: Space, trials: list[Trial]) -> str:
    """The best trials, the best first, then how many were pruned or failed."""
    keys = list(space.params)
    ranked = sorted(
        (trial for trial in trials if trial.value is not None),
        key=lambda trial: (trial.value or 0.0) * (1 if space.goal == "minimize" else -1),
    )
    rows = [["trial", *keys, space.metric, "seconds"]]
    rows += [
        [str(t.number), *(setting(t.params[key]) for key in keys), number(t.value), f"{t.seconds:.1f}"]
        for t in ranked[:SHOWN]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    states = [trial.state for trial in trials]
    more = f"{len(ranked)} complete, {states.count(PRUNED)} pruned, {states.count(FAILED)} failed"
    return "\n".join([*lines, more])


def _csv(space: Space, trials: list[Trial]) -> tuple[list[str], list[list[object]]]:
    keys = list(space.params)
    head = ["trial", "state", *keys, space.metric, "epochs", "seconds", "commit", "log"]
    rows: list[list[object]] = []
    for t in trials:
        settings = [setting(t.params[key]) for key in keys]
        value = "" if t.value is None else t.value
        rows.append([t.number, t.state, *settings, value, len(t.curve), t.seconds, t.commit or "", t.log])
    return head, rows


def words(trial: Trial) -> str:
    """The params of a trial in one line."""
    return " ".join(f"{key}={setting(value)}" for key, value in trial.params.items())


def number(value: float | None) -> str:
    """Four digits after the point; a dash for None."""
    return "–" if value is None else f"{value:.4f}"
