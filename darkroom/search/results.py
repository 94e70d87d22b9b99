"""Show the results of a sweep: a table, a figure, the command that repeats the best trial, and its test score."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from darkroom.core import files
from darkroom.core.progress import say
from darkroom.reporting.figures import save
from darkroom.reporting.runs import models_that_answered, warning_of_many
from darkroom.search.experiment import Experiment, setting
from darkroom.search.journal import COMPLETE, FAILED, PRUNED, Journal, Trial, best
from darkroom.search.space import Params, Range, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 10
BINS = 4  # of a numeric param, when its importance is taken
FEWEST = 8  # complete trials from which importance says anything


def line(trial: Trial, space: Space, done: int, total: int, leader: Trial | None) -> str:
    """Return one finished trial as a line for the terminal."""
    said = {FAILED: f"failed, see {trial.log}", PRUNED: f"pruned after {len(trial.curve)} epochs"}.get(
        trial.state, f"{space.metric} {trial.value or 0.0:.4f}"
    )
    leading = f" (best {leader.value:.4f}: trial {leader.number})" if leader else ""
    return f"{done}/{total}  trial {trial.number}  {words(trial.params)}  {said}{leading}  {trial.seconds:.1f} s"


def conclude(space: Space, journal: Journal, root: Path, final: Experiment | None, state: Mapping[str, str]) -> int:
    """Print and write everything, run the best trial once more with evaluate and export, and return the exit status.

    `final`: that run, None to leave it out; `state`: what decides its result besides its own params.
    """
    trials, leader = journal.ordered(), best(journal.ordered(), space)
    frame = table(space, trials)
    frame.to_csv(journal.folder / "trials.csv", index=False)
    print(in_words(space, frame))
    for trial in trials:
        if trial.state == FAILED:
            reason = Experiment(root, "", {}, None, root / trial.log).reason()
            print(f"failed: trial {trial.number}  {words(trial.params)}: {reason}  ({trial.log})")
    if leader is None or leader.value is None:
        print("no trial is complete")
        return 1
    save(journal.folder / "sweep.png", figure(space, journal.complete()))
    print(f"\nfigure: {(journal.folder / 'sweep.png').relative_to(root)}")
    print(f"best: trial {leader.number}, {space.metric} {leader.value:.4f}; to repeat it:")
    params = space.fixed | leader.params
    print("  dvc exp run " + " ".join(f"-S {quote(f'{key}={setting(value)}')}" for key, value in params.items()))
    if luck := optimism(len(journal.complete()), leader.val):
        print(luck)
    if final is None:
        return 0
    status = _final(final, journal, params, files.digest(dict(state)), leader.val)
    if many := warning_of_many(models_that_answered(root)):
        print(many)
    return status


def _final(final: Experiment, journal: Journal, params: Params, state: str, val: Mapping[str, Any]) -> int:
    """Look at the test set once; not again where the sweep ends with the same best trial and the same state."""
    kept = journal.folder / "test.json"
    known = files.read_json(kept) if kept.exists() else {}
    if (known.get("params"), known.get("state")) != (params, state):
        say("sweep: evaluating the best trial on the test set")
        test = final.tested()
        if test is None:
            return 1
        known = {"params": params, "state": state, "test": test}
        files.write_json(kept, known)
    found = known["test"]
    accuracy, chosen = found.get("accuracy"), val.get("accuracy")
    gap = ""
    if accuracy is not None and chosen is not None:
        points = 100 * (accuracy - chosen)
        gap = f", {abs(points):.1f} points {'above' if points > 0 else 'below'} the validation accuracy {chosen:.4f}"
    print(score_line(found, final.name, gap))
    return 0


def score_line(test: Mapping[str, Any], name: str, gap: str = "") -> str:
    """Return the accuracy of metrics/test.json in words, and how to keep the experiment `name`."""
    keep = f"keep it with `dvc exp apply {name}`"
    if test.get("accuracy") is None:
        return f"test: no accuracy, on {test.get('n', 0)} images; {keep}"
    return (
        f"test: accuracy {test['accuracy']:.4f} (95 % interval {test['accuracy_low']:.4f} to"
        f" {test['accuracy_high']:.4f}) on {test['n']:,} images{gap}; {keep}"
    )


def optimism(count: int, val: Mapping[str, Any]) -> str:
    """Return how much `val` (`n`, `accuracy`) may flatter the best of `count` trials, in words; "" where unknown.

    The expected largest of so many equal, independent trials, by G. Blom (Statistical Estimates, 1958): an upper bound,
    since trials that see the same images err together. The accuracy less that luck is Wilson's lower end (JASA 22,
    1927): the best accuracy itself is too high to estimate its error from.
    """
    n, accuracy = val.get("n"), val.get("accuracy")
    if count < 2 or not n or accuracy is None:
        return ""
    z = NormalDist().inv_cdf((count - 0.375) / (count + 0.25))
    error = (accuracy * (1 - accuracy) / n + (z / n / 2) ** 2) ** 0.5
    luck = accuracy - (accuracy + z * z / n / 2 - z * error) / (1 + z * z / n)
    return (
        f"validation accuracy {accuracy:.4f} on {n:,} images: the best of {count} trials may look up to"
        f" {100 * luck:.1f} points better than it is; only the test set says how good it is"
    )


def table(space: Space, trials: list[Trial]) -> pd.DataFrame:
    """Return one row a trial: number, state, its params, the metric, epochs run, seconds, commit and log."""
    rows = [
        {"trial": trial.number, "state": trial.state}
        | {key: setting(trial.params[key]) for key in space.params}
        | {space.metric: trial.value, "epochs run": len(trial.curve), "seconds": trial.seconds}
        | {"commit": trial.commit or "", "log": trial.log}
        for trial in trials
    ]
    columns = ["trial", "state", *space.params, space.metric, "epochs run", "seconds", "commit", "log"]
    return pd.DataFrame(rows, columns=columns)


def in_words(space: Space, frame: pd.DataFrame) -> str:
    """Return the best trials of `table` as text, the best first, then how many were pruned or failed."""
    complete = frame[frame.state == COMPLETE].sort_values(
        space.metric, ascending=space.goal == "minimize", kind="stable"
    )
    shown = complete[["trial", *space.params, space.metric, "seconds"]].head(SHOWN)
    formats = {space.metric: "{:.4f}".format, "seconds": "{:.1f}".format}
    counts = [f"{(frame.state == state).sum()} {state}" for state in (COMPLETE, PRUNED, FAILED)]
    text = shown.to_string(index=False, formatters=formats) if len(shown) else ""
    return "\n".join(filter(None, [text, ", ".join(counts)]))


def words(params: Params) -> str:
    """Return the params of a trial in one line."""
    return " ".join(f"{key}={setting(value)}" for key, value in params.items())


def importance(space: Space, trials: list[Trial]) -> dict[str, float]:
    """Return the share of the metric's variance that each param explains alone: epsilon², 0..1. {} for few trials.

    A numeric param is cut into bins of equally many trials. T. Kelley, PNAS 21 (1935): the correction takes away what
    chance alone would explain.
    """
    ranks = pd.Series([trial.value for trial in trials], dtype=float).rank()  # a diverged trial is one rank
    if len(trials) < FEWEST or ranks.nunique() == 1:
        return {}
    whole = ((ranks - ranks.mean()) ** 2).sum()
    found = {}
    for key, kind in space.params.items():
        column = pd.Series([trial.params[key] for trial in trials])
        if isinstance(kind, Range):
            bins = min(BINS, column.nunique())
            groups = ((column.rank() - 0.5) * bins // len(column)).astype(int)
        else:
            groups = pd.Series([kind.index(value) for value in column])
        within = ((ranks - ranks.groupby(groups).transform("mean")) ** 2).sum()
        spare = within / max(1, len(ranks) - groups.nunique())
        found[key] = float(np.clip((whole - within - (groups.nunique() - 1) * spare) / whole, 0, 1))
    return found


def figure(space: Space, trials: list[Trial]) -> "Figure":
    """Draw parallel coordinates of the complete trials, the better the darker, and the importance of each param."""
    from matplotlib.figure import Figure

    shares = importance(space, trials)
    width = max(7.0, 1.7 * (len(space.params) + 1)) + (3.6 if shares else 0)
    drawn = Figure(figsize=(width, 4.8), layout="constrained")
    if shares:
        lines, bars = drawn.subplots(1, 2, width_ratios=[2.4, 1])
        order = sorted(shares, key=lambda key: shares[key])
        bars.barh(order, [shares[key] for key in order], color="#2563eb", height=0.55)
        bars.set(xlim=(0, 1))
        bars.set_title("Share of the variance that\neach param explains alone", fontsize=11)
        bars.spines[["top", "right"]].set_visible(False)
    else:
        lines = drawn.subplots()
    _parallel(lines, space, trials)
    return drawn


def _parallel(axes: "Axes", space: Space, trials: list[Trial]) -> None:
    from matplotlib import colormaps

    values = np.array([trial.value for trial in trials], np.float64)
    order = np.argsort(values if space.goal == "minimize" else -values, kind="stable")
    quality = np.empty(len(values))
    quality[order] = np.linspace(1, 0, len(values)) if len(values) > 1 else 1.0
    keys = list(space.params)
    columns = [_heights(space.params[key], [trial.params[key] for trial in trials]) for key in keys]
    finite = values[np.isfinite(values)]
    columns.append((values - finite.min()) / (np.ptp(finite) or 1.0))
    for row in order[::-1]:
        colour = colormaps["viridis_r"](0.08 + 0.92 * quality[row])
        heights = [column[row] for column in columns]
        axes.plot(range(len(columns)), heights, color=colour, linewidth=0.8 + 1.8 * quality[row], alpha=0.85)
    box = {"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none", "alpha": 0.7}
    ends = [(0.0, f"{finite.min():.4g}"), (1.0, f"{finite.max():.4g}")]
    for index, labels in enumerate([*(_labels(space.params[key]) for key in keys), ends]):
        axes.axvline(index, color="#a1a1aa", linewidth=0.8, zorder=0)
        for height, text in labels:
            at = (index, height)
            axes.annotate(text, at, xytext=(4, 0), textcoords="offset points", fontsize=8, va="center", bbox=box)
    axes.set_xticks(range(len(columns)), [*keys, space.metric])
    axes.set(yticks=[], xlim=(-0.15, len(keys) + 0.45), ylim=(-0.07, 1.07))
    axes.set_title(f"{len(trials)} trials (dark: better)", fontsize=11)
    axes.spines[:].set_visible(False)


def _heights(kind: Range | list[Any], values: list[Any]) -> np.ndarray:
    """Return where `values` stand on the axis of a param, 0..1."""
    if isinstance(kind, list):
        return np.array([kind.index(value) / max(1, len(kind) - 1) for value in values])
    low, high = (np.log(kind.low), np.log(kind.high)) if kind.log else (kind.low, kind.high)
    numbers = np.array(values, np.float64)
    return ((np.log(numbers) if kind.log else numbers) - low) / (high - low)


def _labels(kind: Range | list[Any]) -> list[tuple[float, str]]:
    if isinstance(kind, list):
        return [(index / max(1, len(kind) - 1), str(value)) for index, value in enumerate(kind)]
    return [(share, f"{kind.at(share):.3g}") for share in (0.0, 0.5, 1.0)]
