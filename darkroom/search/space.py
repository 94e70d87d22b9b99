"""What a sweep searches: a small YAML file, read strictly.

method: tpe                 # grid, random or tpe (Optuna)
trials: 20                  # of random and tpe; a grid has as many as it has points
metric: val.loss            # a key of metrics/train.json: only training and validation are there
goal: minimize              # or maximize
pruning: median             # or none: stop a trial that is behind most others at the same epoch
seed: 0
fixed: {epochs: 10}         # params of every trial
params:
  lr: {low: 1e-4, high: 1e-1, log: true}
  hidden: {low: 32, high: 512, log: true, integer: true}
  head: [linear, mlp]       # a list of choices
"""

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.params import read_yaml

METHODS = ("grid", "random", "tpe")
PRUNING = ("none", "median")
GOALS = ("minimize", "maximize")
GRID_POINTS = 5  # of a range in a grid, unless it says `points`
DIGITS = 4  # of a drawn number: a param is to be read and typed
PLAIN = "a text, a finite number, true, false or null"
Params = dict[str, Any]


class SweepError(DarkroomError):
    """The space is not what a sweep can search, or the search cannot go on."""


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; `log`: every decade alike; `points`: how many a grid takes."""

    low: float
    high: float
    log: bool = False
    integer: bool = False
    points: int = GRID_POINTS

    def at(self, share: float) -> float | int:
        """The value at 0..1 of the way."""
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return self.tidy(value)

    def tidy(self, value: float) -> float | int:
        """The value within the range, whole or with four digits."""
        kept = min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)
        return round(kept) if self.integer else kept

    def grid(self) -> list[float | int]:
        """The points of a grid, without repetition."""
        shares = [0.0] if self.points == 1 else [place / (self.points - 1) for place in range(self.points)]
        return list(dict.fromkeys(self.at(share) for share in shares))


@dataclass(frozen=True)
class Space:
    """A sweep as its file says it."""

    name: str
    method: str
    metric: str
    goal: str
    trials: int
    seed: int
    pruning: str
    fixed: Params
    params: dict[str, Range | list[Any]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Changes when the search becomes another one; more trials go on with the same one."""
        ranges = {key: vars(value) if isinstance(value, Range) else value for key, value in self.params.items()}
        return files.digest([self.method, self.metric, self.goal, self.seed, self.fixed, ranges])

    def better(self, one: float, two: float) -> bool:
        """Whether `one` is better than `two`."""
        return one < two if self.goal == "minimize" else one > two

    def grid(self) -> list[Params]:
        """Every combination, the last param changing fastest."""
        columns = [value.grid() if isinstance(value, Range) else value for value in self.params.values()]
        return [dict(zip(self.params, row, strict=True)) for row in itertools.product(*columns)]

    def draw(self, number: int) -> Params:
        """The random trial of this number: a function of (seed, number), so that it is the same after a stop."""
        rng = np.random.default_rng([self.seed, number])
        return {
            key: value.at(rng.random()) if isinstance(value, Range) else value[int(rng.integers(len(value)))]
            for key, value in self.params.items()
        }


def read_space(path: Path, known: Params) -> Space:
    """The sweep in a YAML file. `known`: the project's params, which it may set. Raises SweepError."""
    if path.is_dir():
        raise SweepError(f"{path} is a folder; the sweeps in it are {_here(path)}")
    if not path.exists():
        raise SweepError(f"{path} does not exist; the sweeps here are {_here(path.parent)}")
    values = read_yaml(path)
    allowed = {"method", "trials", "metric", "goal", "pruning", "seed", "fixed", "params"}
    for key in values:
        if key not in allowed:
            raise SweepError(f"{path}: there is no key `{key}`; the keys are {', '.join(sorted(allowed))}")
    params = values.get("params")
    if not isinstance(params, dict) or not params:
        raise SweepError(f"{path}: `params` must name at least one param to search")
    fixed = values.get("fixed") or {}
    if not isinstance(fixed, dict):
        raise SweepError(f"{path}: fixed is {fixed!r}, expected a mapping such as {{epochs: 10}}")
    for key, value in fixed.items():
        if not all(map(_plain, value if isinstance(value, list) else [value])):
            raise SweepError(f"{path}: fixed: {key} is {value!r}, expected {PLAIN}, or a list of these")
    for key in (*params, *fixed):
        if key not in known:
            raise SweepError(f"{path}: `{key}` is no key of params.yaml")
    if both := set(params) & set(fixed):
        raise SweepError(f"{path}: {', '.join(sorted(both))} is fixed and searched at once; remove one of them")
    space = Space(
        name=path.stem,
        method=_chosen(path, values, "method", METHODS, "random"),
        metric=str(values.get("metric", "val.loss")),
        goal=_chosen(path, values, "goal", GOALS, "minimize"),
        trials=_whole(path, values, "trials", 20, least=1),
        seed=_whole(path, values, "seed", 0, least=0),
        pruning=_chosen(path, values, "pruning", PRUNING, "none"),
        fixed=fixed,
        params={key: _range(path, key, value) for key, value in params.items()},
    )
    if space.metric.split(".")[0] == "test":
        raise SweepError(f"{path}: metric is {space.metric}; a search that sees the test set spoils it: use val.…")
    return space


def _chosen(path: Path, values: Params, key: str, choices: tuple[str, ...], default: str) -> str:
    value = values.get(key, default)
    if value not in choices:
        raise SweepError(f"{path}: {key} is {value!r}, expected one of {', '.join(choices)}")
    return value


def _whole(path: Path, values: Params, key: str, default: int, least: int) -> int:
    value = values.get(key, default)
    if type(value) is not int or value < least:
        raise SweepError(f"{path}: {key} is {value!r}, expected a whole number of at least {least}")
    return value


def _range(path: Path, key: str, value: Any) -> Range | list[Any]:
    if isinstance(value, list) and value and not any(isinstance(choice, dict | list) for choice in value):
        if wrong := [choice for choice in value if not _plain(choice)]:
            raise SweepError(f"{path}: {key} has the choice {wrong[0]!r}, expected {PLAIN}")
        return list(value)
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= set(Range.__dataclass_fields__):
        raise SweepError(
            f"{path}: {key} is {value!r}, expected a list of choices, or {{low: …, high: …}} with log, integer, points"
        )
    if any(type(value[end]) not in (int, float) or not math.isfinite(value[end]) for end in ("low", "high")):
        raise SweepError(f"{path}: {key}: low and high must be numbers, found {value!r}")
    if wrong := [name for name in ("log", "integer") if type(value.get(name, False)) is not bool]:
        raise SweepError(f"{path}: {key}: {wrong[0]} is {value[wrong[0]]!r}, expected true or false")
    found = Range(**value)
    if type(found.points) is not int or found.points < 1:
        raise SweepError(f"{path}: {key}: points is {found.points!r}, expected a whole number of at least 1")
    if not found.low < found.high:
        raise SweepError(f"{path}: {key}: low must be below high, found {value!r}")
    if found.integer and (found.low % 1 or found.high % 1):
        raise SweepError(f"{path}: {key}: integer needs whole numbers as low and high, found {value!r}")
    if found.log and found.low <= 0:
        raise SweepError(f"{path}: {key}: log needs a low above 0, found {value['low']!r}")
    return found


def _plain(value: Any) -> bool:
    """Whether `-S` can set a param to it; a date, which YAML also knows, is none of these."""
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _here(folder: Path) -> str:
    return ", ".join(str(path) for path in sorted(folder.glob("*.yaml"))) or f"none in {folder}"
