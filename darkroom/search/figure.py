"""The figure of a sweep: parallel coordinates, and how much each param matters."""

from typing import TYPE_CHECKING

import numpy as np

from darkroom.search.journal import Trial
from darkroom.search.space import Range, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 4  # of a numeric param, when its importance is taken
FEWEST = 8  # complete trials from which importance says anything


def importance(space: Space, trials: list[Trial]) -> dict[str, float]:
    """The share of the metric's variance that each param explains alone: epsilon², 0..1. {} for few trials.

    A numeric param is cut into bins of equally many trials. T. Kelley, PNAS 21 (1935): the correction takes away what
    chance alone would explain.
    """
    values = np.array([trial.value for trial in trials], np.float64)
    if len(trials) < FEWEST or not values.std():
        return {}
    ranks = _ranks(values)  # a diverged trial is one rank
    whole = ((ranks - ranks.mean()) ** 2).sum()
    found = {}
    for key, kind in space.params.items():
        column = [trial.params[key] for trial in trials]
        if isinstance(kind, Range):
            groups = (_ranks(np.array(column)) * min(BINS, len(set(column))) // len(column)).astype(np.int64)
        else:
            groups = np.array([kind.index(value) for value in column])
        names = np.unique(groups)
        within = sum(((ranks[groups == name] - ranks[groups == name].mean()) ** 2).sum() for name in names)
        spare = within / max(1, len(ranks) - len(names))
        found[key] = float(np.clip((whole - within - (len(names) - 1) * spare) / whole, 0, 1))
    return found


def _ranks(values: np.ndarray) -> np.ndarray:
    """The place of each value (n,) among all, from 0; equal ones share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def figure(space: Space, trials: list[Trial]) -> "Figure":
    """Parallel coordinates of the complete trials, the better the darker, and the importance of each param."""
    from matplotlib.figure import Figure

    shares = importance(space, trials)
    drawn = Figure(
        figsize=(max(7.0, 1.7 * (len(space.params) + 1)) + (3.6 if shares else 0), 4.8), layout="constrained"
    )
    if shares:
        lines, bars = drawn.subplots(1, 2, width_ratios=[2.4, 1])
        _bars(bars, shares)
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
    columns = [_placed(space.params[key], [trial.params[key] for trial in trials]) for key in keys]
    finite = values[np.isfinite(values)]
    span = np.ptp(finite) or 1.0
    columns.append((values - finite.min()) / span)
    for row in order[::-1]:
        heights = [column[row] for column in columns]
        colour = colormaps["viridis_r"](0.08 + 0.92 * quality[row])
        axes.plot(range(len(columns)), heights, color=colour, linewidth=0.8 + 1.8 * quality[row], alpha=0.85)
    for place, key in enumerate(keys):
        for height, text in _labels(space.params[key]):
            axes.annotate(text, (place, height), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center",
                          bbox={"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none", "alpha": 0.7})  # fmt: skip
    for height, value in ((0.0, finite.min()), (1.0, finite.max())):
        axes.annotate(f"{value:.4g}", (len(keys), height), xytext=(4, 0), textcoords="offset points", fontsize=8)
    for place in range(len(columns)):
        axes.axvline(place, color="#a1a1aa", linewidth=0.8, zorder=0)
    axes.set_xticks(range(len(columns)), [*keys, space.metric])
    axes.set(yticks=[], xlim=(-0.15, len(keys) + 0.45), ylim=(-0.07, 1.07))
    axes.set_title(f"{len(trials)} trials (dark: better)", fontsize=11)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _placed(kind: Range | list[object], values: list[object]) -> np.ndarray:
    if isinstance(kind, list):
        return np.array([kind.index(value) / max(1, len(kind) - 1) for value in values])
    low, high = (np.log(kind.low), np.log(kind.high)) if kind.log else (kind.low, kind.high)
    numbers = np.array(values, np.float64)
    return ((np.log(numbers) if kind.log else numbers) - low) / (high - low)


def _labels(kind: Range | list[object]) -> list[tuple[float, str]]:
    if isinstance(kind, list):
        return [(place / max(1, len(kind) - 1), str(value)) for place, value in enumerate(kind)]
    return [(share, f"{kind.at(share):.3g}") for share in (0.0, 0.5, 1.0)]


def _bars(axes: "Axes", shares: dict[str, float]) -> None:
    order = sorted(shares, key=lambda key: shares[key])
    axes.barh(order, [shares[key] for key in order], color="#2563eb", height=0.55)
    axes.set(xlim=(0, 1))
    axes.set_title("Share of the variance that\neach param explains alone", fontsize=11)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
