"""Load a stage's typed params from params.yaml, and reject a wrong value in one line that names the allowed ones.

A stage declares a frozen dataclass whose fields are `param(...)`s; `load` fills it. `load` also checks the keys of
other stages, so that a wrong value stops a run before its first stage starts. It finds their types in
`params.schema.json`, the JSON Schema of all stages, which `make wire` writes and editors use for completion.
"""

import dataclasses
import difflib
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from darkroom.core.errors import ParamsError
from darkroom.core.files import read_json
from darkroom.core.text import one_line, quoted

T = TypeVar("T")
TYPE_NAMES: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", types.NoneType: "null"}
WORDS = {"boolean": "true or false", "integer": "a whole number", "number": "a number", "string": "a text",
         "null": "null"}  # fmt: skip
LIMITS = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below", "maximum": "at most"}


def param(
    doc: str,
    *,
    choices: typing.Iterable[str] | None = None,
    also: typing.Iterable[str] = (),
    prefix: str | None = None,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> Any:
    """Return a field of a params class, described by `doc`.

    `choices`: the only texts allowed; `prefix`: beside these, any longer text that starts with it; `also`: texts that
    are allowed beside a number; `above`, `at_least`, `below`, `at_most`: limits of a number.
    """
    limits = zip(LIMITS, (above, at_least, below, at_most), strict=True)
    spec: dict[str, Any] = {"description": doc} | {name: limit for name, limit in limits if limit is not None}
    if choices is not None:
        spec["enum"] = sorted(choices)
    return dataclasses.field(metadata={"spec": spec, "also": tuple(also), "prefix": prefix})


def load(
    cls: type[T], path: Path = Path("params.yaml"), changes: typing.Mapping[str, Any] = types.MappingProxyType({})
) -> T:
    """Return an instance of the params class `cls`, from the keys of the YAML file at `path`. Raises ParamsError.

    `changes`: values in the place of the file's, such as those that an experiment sets.
    """
    values = {**read_yaml(path), **changes}
    specs = schema(cls)
    others = path.parent / "params.schema.json"
    known = (read_json(others)["properties"] if others.exists() else {}) | specs
    for key in values:
        if key not in known:
            raise ParamsError(f"{path}: there is no key `{one_line(str(key))[:100]}`; {_nearest(key, known)}")
    for key, spec in known.items():
        if key not in values:
            raise ParamsError(f"{path}: the key `{key}` is missing ({spec['description']}); add `{key}: …`")
        check(f"{path}: {key}", values[key], spec)
    typed = {key: float(values[key]) if _wants_float(cls, key, values[key]) else values[key] for key in specs}
    return cls(**typed)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file. Raises ParamsError."""
    from darkroom.core import yaml12

    try:
        values = yaml12.read(path)
    except FileNotFoundError as error:
        raise ParamsError(f"{path} does not exist; run from the project's root") from error
    except yaml12.YAMLError as error:
        raise ParamsError(f"{path} is not valid YAML: {error}") from error
    if values is None:
        raise ParamsError(f"{path} is empty; expected `key: value` lines")
    if not isinstance(values, dict):
        raise ParamsError(f"{path}: expected `key: value` lines, found {type(values).__name__}")
    return values


def schema(cls: type) -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each field of a params class, by key."""
    hints = typing.get_type_hints(cls)
    return {field.name: _field_schema(hints[field.name], field.metadata) for field in dataclasses.fields(cls)}


def check(name: str, value: Any, spec: dict[str, Any]) -> None:
    """Raise ParamsError unless `value` fits `spec`, a schema made by `schema`."""
    for option in spec.get("anyOf", [spec]):
        if _fits(value, option):
            return
    allowed = " or ".join(_allowed(option) for option in spec.get("anyOf", [spec]))
    texts = [text for option in spec.get("anyOf", [spec]) for text in option.get("enum", [])]
    near = difflib.get_close_matches(str(value), [str(text) for text in texts], n=1, cutoff=0.5)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    raise ParamsError(f"{name} is {quoted(value)}, expected {allowed}{hint}")


def _field_schema(hint: Any, metadata: typing.Mapping[str, Any]) -> dict[str, Any]:
    spec, also = dict(metadata["spec"]), metadata["also"]
    description = spec.pop("description")
    options: list[dict[str, Any]] = []
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    for member in typing.get_args(hint) if union else (hint,):
        if typing.get_origin(member) in (list, tuple):
            item = TYPE_NAMES[typing.get_args(member)[0]]
            options.append({"type": "array", "items": {"type": item}})
        elif member is str and also:
            options.append({"type": "string", "enum": sorted(also)})
        elif member is types.NoneType:
            options.append({"type": "null"})
        else:
            options.append({"type": TYPE_NAMES[member], **spec})
            if metadata.get("prefix"):
                options.append({"type": "string", "pattern": f"^{re.escape(metadata['prefix'])}."})
    return {"description": description} | (options[0] if len(options) == 1 else {"anyOf": options})


def _fits(value: Any, spec: dict[str, Any]) -> bool:
    if spec["type"] == "array":
        return isinstance(value, list) and all(_fits(item, spec["items"]) for item in value)
    if spec["type"] == "number":
        # Neither infinite nor NaN, nor a whole number that no float can hold.
        right = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    else:
        right = TYPE_NAMES.get(type(value)) == spec["type"] and not (isinstance(value, int) and abs(value) >= 2**63)
    return (
        right
        and ("enum" not in spec or value in spec["enum"])
        and ("pattern" not in spec or re.search(spec["pattern"], value) is not None)
        and ("minimum" not in spec or value >= spec["minimum"])
        and ("maximum" not in spec or value <= spec["maximum"])
        and ("exclusiveMinimum" not in spec or value > spec["exclusiveMinimum"])
        and ("exclusiveMaximum" not in spec or value < spec["exclusiveMaximum"])
    )


def _allowed(spec: dict[str, Any]) -> str:
    if "enum" in spec:
        shown = [str(text) for text in spec["enum"]]
        more = f", … ({len(shown)} in all)" if len(shown) > 12 else ""
        return "one of " + ", ".join(shown[:12]) + more if len(shown) > 1 else f"`{shown[0]}`"
    if "pattern" in spec:
        return f"`{spec['pattern'][1:-1]}…`"
    if spec["type"] == "array":
        return f"a list, each item {WORDS[spec['items']['type']]}"
    bounds = [f"{word} {spec[name]}" for name, word in LIMITS.items() if name in spec]
    return " ".join([WORDS[spec["type"]], " and ".join(bounds)]).strip()


def _nearest(key: str, known: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(str(key), list(known), n=1, cutoff=0.5)  # a key of YAML may be a number
    return f"did you mean `{near[0]}`?" if near else "the keys are " + ", ".join(sorted(known))


def _wants_float(cls: type, key: str, value: Any) -> bool:
    hint = typing.get_type_hints(cls)[key]
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and float in (hint, *typing.get_args(hint))
        and (int not in typing.get_args(hint))
    )
