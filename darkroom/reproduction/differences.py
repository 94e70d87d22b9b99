"""Find what differs first along the pipeline between two runs: a param, code, data, a version or a setting.

An output that differs while every input of its stage is the same was made with other versions or on another machine:
what metrics/run.json notes of the two tells which.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from graphlib import TopologicalSorter
from typing import Any

# What metrics/run.json notes of a stage that can change its bits, the likeliest first. Folders and seconds cannot.
SETTINGS = ("device", "gpu", "precision", "engine", "micro_batch", "processes", "resumed")
RUNTIME = ("device", "threads")
MACHINE = ("cpu_flags", "cpu", "system", "python", "cores")
Stages = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """Describe one thing that differs. `kind`: stage, command, param, code, input, output, version or setting."""

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


def inputs(reference: Stages, other: Stages) -> list[Difference]:
    """Return commands, params, code and data from outside that differ, in the order of the pipeline."""
    return [difference for name in _both(reference, other) for difference in _inputs(name, reference, other)]


def outputs(reference: Stages, other: Stages) -> list[Difference]:
    """Return outputs whose hashes differ, in the order of the pipeline."""
    return [
        Difference(name, "output", path, one, two)
        for name in _both(reference, other)
        for path, one, two in _unequal(
            *(_hashes(stages.get(name, {}).get("outs", [])) for stages in (reference, other))
        )
    ]


def ways(stage: str, reference: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """Return how two runs of `stage` differ, by their metrics/run.json: versions, then settings, then the machine."""
    one, two = (noted.get("stages", {}).get(stage, {}) for noted in (reference, other))
    if not one or not two:
        return []
    found = [
        Difference(stage, "version", *unequal)
        for unequal in _unequal(*(_of(noted, stage, "versions") for noted in (reference, other)))
    ]
    for names, (first, second) in (
        (SETTINGS, (one, two)),
        (RUNTIME, (one.get("runtime", {}), two.get("runtime", {}))),
        (MACHINE, (_of(reference, stage, "machine"), _of(other, stage, "machine"))),
    ):
        pairs = _unequal(*({name: noted.get(name) for name in names} for noted in (first, second)))
        found += [Difference(stage, "setting", *pair) for pair in sorted(pairs, key=lambda pair: names.index(pair[0]))]
    return found


def first(reference: Any, other: Any) -> list[Difference]:
    """Return the first cause along the pipeline and others of the same stage; [] when nothing differs.

    `reference` and `other` are Results. Where inputs differ, they are the cause; where an output differs alone, the
    versions and settings are; and where none of those is known to differ, the output itself is all there is to name.
    """
    causes, effects = inputs(reference.stages, other.stages), outputs(reference.stages, other.stages)
    changed = {difference.stage for difference in effects}
    for stage in in_order(reference.stages | other.stages):
        mine = [difference for difference in causes if difference.stage == stage]
        if stage in changed:
            return (
                mine
                or ways(stage, reference.run, other.run)
                or [difference for difference in effects if difference.stage == stage]
            )
    return causes


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
    made = {out["path"] for stages in (reference, other) for stage in stages.values() for out in stage.get("outs", [])}
    for path, first_hash, second_hash in _unequal(*(_hashes(stage.get("deps", [])) for stage in (one, two))):
        if not _maker(path, dict.fromkeys(made, path)):  # otherwise the stage that made it is to be named
            yield Difference(
                name,
                "code" if path.endswith(".py") or "stages/code/" in path else "input",
                path,
                first_hash,
                second_hash,
            )


def _both(reference: Stages, other: Stages) -> list[str]:
    return in_order({**other, **reference})


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
    """Return the machine or the versions of a stage: its own where it was not run where the last one was."""
    return noted["stages"].get(stage, {}).get(what) or noted.get(what, {})


def _short(value: Any) -> str:
    text = "none" if value is None else ", ".join(value) if isinstance(value, list) else str(value)
    return text[:12] if len(text) >= 32 and set(text) <= set("0123456789abcdef.dir") else text
