"""Choose the params of the next trial, and the trials to prune."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from darkroom.search.journal import COMPLETE, PRUNED, Trial
from darkroom.search.space import Params, Range, Space, SweepError

STARTUP = 5  # random trials before TPE has something to learn from, and complete ones before any is pruned
WARMUP = 2  # epochs that every trial gets


def count(space: Space) -> int:
    """Return how many trials the sweep has: no more than there are different ones."""
    if space.method == "grid":
        return len(space.grid())
    return min(space.trials, space.combinations or space.trials)


def choose(space: Space, number: int, done: list[Trial], running: Mapping[int, Params]) -> Params:
    """Return the params of trial `number`, a function of the space, the number and the finished trials.

    `running`: params of the trials that have no value yet; TPE avoids them.
    """
    if space.method == "grid":
        return space.grid()[number]
    if space.method == "random" or number < STARTUP:
        return space.draw(number)
    return _tpe(space, number, done, running)


def hopeless(space: Space, curve: list[float], done: list[Trial]) -> bool:
    """Return whether this trial's best so far is worse than the median of the others' at this epoch (median rule)."""
    epochs = len(curve)
    others = [trial.curve[:epochs] for trial in done if trial.state == COMPLETE and len(trial.curve) >= epochs]
    if space.pruning == "none" or epochs <= WARMUP or len(others) < STARTUP:
        return False
    best_of = min if space.goal == "minimize" else max
    return space.better(median(best_of(other) for other in others), best_of(curve))


def _tpe(space: Space, number: int, done: list[Trial], running: Mapping[int, Params]) -> Params:
    try:
        import optuna
    except ImportError as error:
        raise SweepError(
            "method is tpe, and Optuna is not installed; run `.venv/bin/pip install -e '.[search]'`, or use"
            " method: random"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds = {key: _distribution(value) for key, value in space.params.items()}
    states = {COMPLETE: optuna.trial.TrialState.COMPLETE, PRUNED: optuna.trial.TrialState.PRUNED}
    # Each trial has its own sampler, seeded by its number: its params do not depend on when they are chosen.
    sampler = optuna.samplers.TPESampler(
        seed=(space.seed * 100_003 + number) % 2**32, n_startup_trials=0, constant_liar=True
    )
    direction = optuna.study.StudyDirection[space.goal.upper()]
    study = optuna.create_study(direction=direction, sampler=sampler)
    for trial in done:
        if trial.state in states:
            study.add_trial(
                optuna.trial.create_trial(
                    params=_searched(space, trial.params),
                    distributions=kinds,
                    value=trial.value if trial.state == COMPLETE else None,
                    intermediate_values=dict(enumerate(trial.curve)),
                    state=states[trial.state],
                )
            )
    for params in running.values():
        waiting = optuna.trial.create_trial(
            params=_searched(space, params), distributions=kinds, state=optuna.trial.TrialState.RUNNING
        )
        study.add_trial(waiting)
    asked = study.ask(kinds).params
    kinds_of = space.params.items()
    return {key: kind.tidy(asked[key]) if isinstance(kind, Range) else asked[key] for key, kind in kinds_of}


def _searched(space: Space, params: Params) -> Params:
    return {key: params[key] for key in space.params}


def _distribution(value: Range | list[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(value, list):
        return CategoricalDistribution(value)
    if value.integer:
        return IntDistribution(int(value.low), int(value.high), log=value.log)
    return FloatDistribution(value.low, value.high, log=value.log)
