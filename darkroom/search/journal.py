"""Keep the finished trials of a sweep on disk, one line each, so that an interruption loses only the running ones."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from darkroom.core import files
from darkroom.search.space import Params, Space, SweepError

COMPLETE, FAILED, PRUNED = "complete", "failed", "pruned"
SHOWN = 5  # changes of the state that the error names


@dataclass(frozen=True)
class Trial:
    """One finished trial.

    `curve`: the metric after each epoch, as far as it is known; `commit`: its experiment's; `val`: the block of the
    validation set in train.json.
    """

    number: int
    params: Params
    state: str
    value: float | None = None
    curve: list[float] = field(default_factory=list)
    seconds: float = 0.0
    commit: str | None = None
    log: str = ""
    val: dict[str, Any] = field(default_factory=dict)


class Journal:
    """The folder of a sweep: `space.json`, `trials.jsonl`, `logs/`.

    `state`: what decides a trial besides its own params, by name: other params, data and code. `retry`: whether failed
    trials run again.
    """

    def __init__(self, folder: Path, space: Space, state: Mapping[str, str], retry: bool = False) -> None:
        self.folder = folder
        self.path = folder / "trials.jsonl"
        self.trials = self._read()
        if retry:
            self.trials = {number: trial for number, trial in self.trials.items() if trial.state != FAILED}
        facts = folder / "space.json"
        if facts.exists() and self.trials:  # without one, nothing of another state can be mixed in
            self._check(files.read_json(facts), space, state)
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        files.write_json(facts, {"digest": space.digest, "name": space.name, "state": dict(state)})

    def _check(self, facts: dict[str, Any], space: Space, state: Mapping[str, str]) -> None:
        known = facts.get("state", {})
        differs = sorted(name for name in {*known, *state} if known.get(name) != state.get(name))
        if facts["digest"] != space.digest:
            what = "over another space"
        elif "state" not in facts:
            what = "that has not noted which state of the project it searches"
        elif differs:
            more = f" and {len(differs) - SHOWN} more" if len(differs) > SHOWN else ""
            what = f"of another state of the project ({', '.join(differs[:SHOWN])}{more} changed since)"
        else:
            return
        failed = all(trial.state == FAILED for trial in self.trials.values())
        again = "run its trials, which all failed, again with --retry, " if failed else ""
        raise SweepError(
            f"{self.folder} holds a sweep {what}; {again}give this one another name with --name,"
            f" or remove that folder to begin again"
        )

    def _read(self) -> dict[int, Trial]:
        if not self.path.exists():
            return {}
        found: dict[int, Trial] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                trial = Trial(**json.loads(line))
            except (ValueError, TypeError):
                continue  # a line that a crash cut short: that trial runs again
            found[trial.number] = trial
        return found

    def add(self, trial: Trial) -> None:
        """Append a finished trial and make sure that it is on disk."""
        whole = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if whole else "") + json.dumps(asdict(trial), sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.trials[trial.number] = trial

    def log(self, number: int) -> Path:
        """Return where a trial's output goes."""
        return self.folder / "logs" / f"{number:04d}.log"

    def ordered(self) -> list[Trial]:
        """Return the finished trials by number."""
        return [self.trials[number] for number in sorted(self.trials)]

    def complete(self) -> list[Trial]:
        """Return the trials that have a value, by number."""
        return [trial for trial in self.ordered() if trial.state == COMPLETE and trial.value is not None]


def best(trials: list[Trial], space: Space) -> Trial | None:
    """Return the best complete trial, the first of equals."""
    found: Trial | None = None
    for trial in trials:
        known: Any = trial.value
        if known is not None and trial.state == COMPLETE:
            found = trial if found is None or found.value is None or space.better(known, found.value) else found
    return found
