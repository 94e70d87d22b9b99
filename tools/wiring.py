"""What dvc.yaml must say about code deps and params, read off the stages; `python -m tools.wiring` writes it.

A stage's code deps are the project's own modules that it reaches by imports, also late ones. Its params are the fields
of the `…Params` class in its module. The code of a stage in a matrix is carried by another one (CARRIED), because DVC
reads every dep of every entry of a matrix in each of its commands.
"""

import ast
import dataclasses
import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darkroom.core import files
from darkroom.core.params import schema

ROOT = Path(__file__).resolve().parents[1]
MAP_BEGINS, MAP_ENDS = "<!-- file map, written by `make wire` -->", "<!-- end of the file map -->"
CARRIED = {"recipe": ("recipe", "fold"), "fold": ()}  # whose code a stage has as deps, where not its own alone
PIPELINES = (Path("dvc.yaml"), Path("crossval/dvc.yaml"))


def main() -> None:
    """Rewrite the code deps and params of every pipeline file, params.schema.json, and the README's file map."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 10_000, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    for path in filter(Path.exists, (ROOT / pipeline for pipeline in PIPELINES)):
        pipeline = yaml.load(path.read_text())
        for name, stage in pipeline["stages"].items():
            body = stage.get("do", stage)
            body["deps"] = [*code_deps(name, path.parent), *(dep for dep in body["deps"] if not _is_code(dep))]
            if fields(name):
                body["params"] = params_of(name, path.parent)
        with files.atomic(path) as temporary, temporary.open("w") as file:
            yaml.dump(pipeline, file)
    files.write_json(ROOT / "params.schema.json", whole_schema())
    files.write_text(ROOT / "README.md", with_file_map((ROOT / "README.md").read_text()))


def stages() -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Each stage's name, its pipeline's folder, and its entry in dvc.yaml (the body of a matrix or foreach)."""
    from ruamel.yaml import YAML

    for path in filter(Path.exists, (ROOT / pipeline for pipeline in PIPELINES)):
        for name, stage in YAML(typ="safe", pure=True).load(path.read_text())["stages"].items():
            yield name, path.parent, stage.get("do", stage)


def code_deps(stage: str, folder: Path) -> list[str]:
    """The own modules that a stage's script reaches by imports, itself included, as paths relative to `folder`."""
    prefix = "" if folder == ROOT else "../"
    reached = set().union(*(_reached(ROOT / f"stages/{script}.py") for script in CARRIED.get(stage, (stage,))))
    return [prefix + path.relative_to(ROOT).as_posix() for path in sorted(reached)]


def declared_code_deps(body: dict[str, Any]) -> list[str]:
    """The code deps that dvc.yaml lists for a stage."""
    return [dep for dep in body["deps"] if _is_code(dep)]


def fields(stage: str) -> list[str]:
    """The keys of a stage's params class."""
    cls = params_class(stage)
    return [field.name for field in dataclasses.fields(cls)] if cls else []


def params_of(stage: str, folder: Path) -> list[Any]:
    """A stage's `params:` entry: its keys, in the root's params.yaml."""
    return fields(stage) if folder == ROOT else [{"../params.yaml": fields(stage)}]


def params_class(stage: str) -> Any:
    """The one params class that a stage's module defines, or None."""
    module = importlib.import_module(f"stages.{stage}")
    own = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__]
    found = [cls for cls in own if dataclasses.is_dataclass(cls) and cls.__name__.endswith("Params")]
    assert len(found) <= 1, f"stages/{stage}.py has several params classes: {found}"
    return found[0] if found else None


def whole_schema() -> dict[str, Any]:
    """The JSON Schema of params.yaml: the keys of all stages."""
    properties: dict[str, Any] = {}
    for name, _, _ in stages():
        for key, spec in (schema(params_class(name)) if fields(name) else {}).items():
            known = properties.setdefault(key, spec)
            assert known == spec, f"{name} declares `{key}` unlike another stage: {json.dumps([spec, known])}"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Darkroom's params.yaml",
        "type": "object",
        "additionalProperties": False,
        "required": sorted(properties),
        "properties": properties,
    }


def with_file_map(readme: str) -> str:
    """`readme` with its file map made anew: one line a module, which is the first line of its docstring."""
    before, _, rest = readme.partition(MAP_BEGINS)
    _, _, after = rest.partition(MAP_ENDS)
    lines = []
    for path in sorted([*(ROOT / "stages").rglob("*.py"), *(ROOT / "darkroom").rglob("*.py")]):
        if path.name != "__init__.py":
            said = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0].replace("|", "\\|")
            lines.append(f"| `{path.relative_to(ROOT).as_posix()}` | {said} |")
    table = "\n".join(["| file | what it is |", "|---|---|", *lines])
    return f"{before}{MAP_BEGINS}\n{table}\n{MAP_ENDS}{after}"


def _is_code(dep: str) -> bool:
    return dep.endswith(".py")


def _reached(start: Path) -> set[Path]:
    found, waiting = set(), [start]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imports(path)
    return found


def _imports(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            module = ROOT / (name.replace(".", "/") + ".py")
            if name.split(".")[0] in ("darkroom", "stages") and module.exists():
                yield module


if __name__ == "__main__":
    main()
