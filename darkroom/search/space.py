"""Read the space that a sweep searches: a small, strictly checked YAML file. docs/comparing.md has an example.

A param is a list of choices or a range; params that are the same in every trial stand under `fixed`. A param that
decides which images validate can only be fixed: the best of three seeds is the one with the easiest validation set.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Set
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    Tag,
    ValidationError,
    model_validator,
)

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.params import check, read_yaml
from darkroom.core.text import quoted

GRID_POINTS = 5  # of a range in a grid, unless it says `points`
MOST_TRIALS = 10_000  # of a sweep
MOST_SHUFFLED = 10_000  # combinations that random trials visit in shuffled order; of more, few come twice
DIGITS = 4  # of a drawn number, which people read and type
METRICS = {"val.loss": "minimize", "val.accuracy": "maximize", "train.loss": "minimize", "train.accuracy": "maximize"}
SEARCHED = "expected a list of choices, or {low: …, high: …} with log, integer, points"
PLAIN = "a text, a finite number, true, false or null"
Params = dict[str, Any]


class SweepError(DarkroomError):
    """The space is not what a sweep can search, or the search cannot go on."""


def _plain(value: Any) -> Any:
    """Return `value` if `-S` can set a param to it. Raises ValueError, also for a date, which YAML knows."""
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"expected {PLAIN}")


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("expected a finite number")
    return value


Plain = Annotated[Any, AfterValidator(_plain)]
Number = Annotated[Any, AfterValidator(_number)]


class Strict(BaseModel):
    """A part of a file whose unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(Strict):
    """Numbers from `low` to `high`, both included; `log`: every decade alike; `points`: how many a grid takes."""

    low: Number
    high: Number
    log: StrictBool = False
    integer: StrictBool = False
    points: Annotated[StrictInt, Field(ge=1)] = GRID_POINTS

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} and high {self.high}, expected low below high")
        if self.integer and (self.low % 1 or self.high % 1):
            raise ValueError(f"low is {self.low} and high {self.high}, expected whole numbers with integer")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}, expected above 0 with log")
        return self

    def at(self, share: float) -> float | int:
        """Return the value at `share`, 0..1, of the way."""
        if self.log:
            return self.tidy(math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low))))
        return self.tidy(self.low + share * (self.high - self.low))

    def tidy(self, value: float) -> float | int:
        """Return the value within the range, whole or with four digits."""
        kept = min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)
        return round(kept) if self.integer else kept

    def grid(self) -> list[float | int]:
        """Return the points of a grid, without repetition."""
        shares = [0.0] if self.points == 1 else [index / (self.points - 1) for index in range(self.points)]
        return list(dict.fromkeys(self.at(share) for share in shares))


def _kind(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "choices"


Searched = Annotated[
    Annotated[Range, Tag("range")] | Annotated[list[Plain], Field(min_length=1), Tag("choices")], Discriminator(_kind)
]


class Space(Strict):
    """A sweep, as its file describes it. `name` is the file's; `metric` is one of METRICS."""

    name: str
    method: Literal["grid", "random", "tpe"] = "random"
    metric: str = "val.loss"
    goal: Literal["minimize", "maximize"] = "minimize"
    trials: Annotated[StrictInt, Field(ge=1, le=MOST_TRIALS)] = 20
    seed: Annotated[StrictInt, Field(ge=0)] = 0
    pruning: Literal["none", "median"] = "none"
    fixed: dict[str, Plain | list[Plain]] = {}
    params: Annotated[dict[str, Searched], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """A digest that changes with the search; more trials continue the same one."""
        return files.digest(self.model_dump(include={"method", "metric", "goal", "seed", "fixed", "params"}))

    def better(self, one: float, two: float) -> bool:
        """Return whether `one` is better than `two`."""
        return one < two if self.goal == "minimize" else one > two

    def grid(self) -> list[Params]:
        """Return every combination, the last param changing fastest."""
        columns = [value.grid() if isinstance(value, Range) else value for value in self.params.values()]
        return [dict(zip(self.params, row, strict=True)) for row in itertools.product(*columns)]

    @property
    def combinations(self) -> int | None:
        """How many different trials there are; None where a param has a range."""
        lists = [value for value in self.params.values() if isinstance(value, list)]
        return math.prod(map(len, lists)) if len(lists) == len(self.params) else None

    def draw(self, number: int) -> Params:
        """Return the random trial of this number: a function of (seed, number), the same after a stop.

        Of choices alone no trial comes twice, for `number` below `combinations`.
        """
        if (count := self.combinations) is not None and count <= MOST_SHUFFLED:
            return self.grid()[int(np.random.default_rng(self.seed).permutation(count)[number % count])]
        rng = np.random.default_rng([self.seed, number])
        return {
            key: value.at(rng.random()) if isinstance(value, Range) else value[int(rng.integers(len(value)))]
            for key, value in self.params.items()
        }


def read_space(
    path: Path,
    known: Params,
    deciding: Set[str] = frozenset(),
    late: Set[str] = frozenset(),
    specs: Mapping[str, dict[str, Any]] = MappingProxyType({}),
) -> Space:
    """Return the sweep in a YAML file. Raises SweepError or ParamsError: the key, the value and what was expected.

    `known`: the project's params, which it may set; `deciding`: those that decide which images validate, which it may
    only fix; `late`: those that act after the training alone, which cannot change a trial; `specs`: what each param may
    be, as in params.schema.json.
    """
    require_file(path, "sweeps")
    values = read_yaml(path)
    try:
        given = {str(key): value for key, value in values.items() if value is not None}
        if "name" in given:
            raise SweepError(f"{path}: there is no key `name`; a sweep has the name of its file, or that of --name")
        space = Space.model_validate(given | {"name": path.stem})
    except ValidationError as error:
        raise SweepError(f"{path}: {reason(error, Space)}") from error
    _check(space, path, known, deciding, late)
    _check_values(space, path, specs)
    return space


def _check_values(space: Space, path: Path, specs: Mapping[str, dict[str, Any]]) -> None:
    """Raise ParamsError for a value that no trial could run with, before the others have run."""
    for key in space.params.keys() & specs.keys():
        kind, types = space.params[key], {option["type"] for option in specs[key].get("anyOf", [specs[key]])}
        if isinstance(kind, Range) and not kind.integer and "integer" in types and "number" not in types:
            raise SweepError(f"{path}: {key} takes whole numbers; add integer: true to its range")
        for value in kind if isinstance(kind, list) else (kind.at(0.0), kind.at(1.0)):
            check(f"{path}: {key}", value, specs[key])
    for key in space.fixed.keys() & specs.keys():
        check(f"{path}: {key}", space.fixed[key], specs[key])


def _check(space: Space, path: Path, known: Params, deciding: Set[str], late: Set[str]) -> None:
    """Raise SweepError for a space whose trials cannot be run, or cannot be compared; see `read_space`."""
    for key in (*space.params, *space.fixed):
        check(f"{path}: a key of params.yaml", key, {"type": "string", "enum": sorted(known)})
    if both := set(space.params) & set(space.fixed):
        raise SweepError(f"{path}: {', '.join(sorted(both))} is fixed and searched at once; remove one of them")
    if moving := [key for key in space.params if key in deciding]:
        raise SweepError(
            f"{path}: {moving[0]} decides which images validate: trials that differ in it answer other questions, and"
            " the best of them has the easiest validation set; move it to `fixed`"
        )
    if idle := [key for key in space.params if key in late]:
        raise SweepError(
            f"{path}: {idle[0]} acts after the training, so that {space.metric} is the same for each of its values;"
            f" move it to `fixed`, or try values by `dvc exp run -S {idle[0]}=…`"
        )
    for key, kind in space.params.items():
        if isinstance(kind, list) and (twice := [one for one, times in Counter(kind).items() if times > 1]):
            raise SweepError(f"{path}: {key} lists {quoted(twice[0])} twice; remove one of them")
    if "train_seed" in space.params:
        raise SweepError(
            f"{path}: train_seed is the luck of a training, and the best of several seeds is chosen by chance; move it"
            " to `fixed`, and let `darkroom repeats` measure how much it matters"
        )
    points = math.prod(kind.points if isinstance(kind, Range) else len(kind) for kind in space.params.values())
    if space.method == "grid" and points > MOST_TRIALS:
        raise SweepError(
            f"{path}: a grid of {points:,} combinations, expected {MOST_TRIALS:,} at most; set method: random with"
            " `trials`, or fewer `points`"
        )
    if space.metric.split(".")[0] == "test":
        raise SweepError(f"{path}: metric is {space.metric}; a search that sees the test set spoils it: use val.…")
    if space.metric not in METRICS:
        raise SweepError(f"{path}: metric is {quoted(space.metric)}, expected one of {', '.join(METRICS)}")
    if space.goal != METRICS[space.metric]:
        raise SweepError(
            f"{path}: goal is {space.goal}, which would choose the worst {space.metric}; set"
            f" goal: {METRICS[space.metric]}"
        )


def reason(error: ValidationError, model: type[BaseModel], item: type[BaseModel] | None = None) -> str:
    """Return the first fault of a file that `model` reads, in one line, with its key and value.

    `item`: the model of the items of its lists, if these have keys of their own.
    """
    faults = error.errors()
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    keys = [str(part) for part in fault["loc"] if part not in ("range", "choices")]
    key, value = ".".join(key for key in keys if not key.startswith("function-")), fault["input"]
    if fault["type"] == "extra_forbidden":
        part = Range if "range" in fault["loc"] else item if len(fault["loc"]) > 1 else None
        allowed = part.model_fields if part else sorted(model.model_fields.keys() - {"name"})
        return f"there is no key `{key}`; the keys are {', '.join(allowed)}"
    if fault["type"] == "missing":
        return f"the key `{key}` is missing" + (f"; {SEARCHED}" if fault["loc"][0] == "params" else "")
    said = fault["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    if fault["type"] == "model_type":
        said = f"expected a name, or {', '.join(item.model_fields)} as `key: value` lines" if item else said
    said = said.replace("a valid dictionary", "`key: value` lines below it").replace("a valid list", "a list")
    if "[key]" in keys:
        key, said = key.removesuffix(".[key]"), "expected the name of a param"
    if fault["type"] == "too_short":
        said = "expected at least one"
    if fault["loc"][0] == "params" and fault["type"] in ("list_type", "too_short"):
        said = SEARCHED
    return f"{key} is {quoted(value)}, {said}"


def require_file(path: Path, what: str) -> None:
    """Raise SweepError, which names the files that are there, where `path` is no file; `what`: such files, in words."""
    if path.is_dir():
        raise SweepError(f"{path} is a folder; the {what} in it are {_here(path)}")
    if not path.exists():
        raise SweepError(f"{path} does not exist; the {what} here are {_here(path.parent)}")


def _here(folder: Path) -> str:
    found = {*folder.glob("[!.]*.yaml"), *folder.glob("sweeps/*.yaml")} - {folder / "dvc.yaml", folder / "params.yaml"}
    return ", ".join(str(path) for path in sorted(found)) or f"none in {folder}"
