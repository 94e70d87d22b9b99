"""`make wire`: write the links in stages/code/ and params.schema.json, from the stages' imports and params classes.

Every stage of `dvc.yaml` has one code dep, the folder `stages/code/<stage>`. It holds a symbolic link to each module of
the project that the stage's script reaches by imports, named by the module; to the templates that these modules name;
and to requirements.lock, where versions of libraries can change what the stage writes. DVC hashes the targets of links,
so that an edit of a module runs exactly the stages that use it, in `dvc repro`, in `-s STAGE` and in `make lock-check`.
Only the set of links can become outdated, by a new import: a test compares it with the imports, and a stage reports
modules that it used without a link (`darkroom.core.stage`). docs/decisions/code-links.md has the alternatives.
"""

import ast
import dataclasses
import importlib
import inspect
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from darkroom.core import files
from darkroom.core.params import schema

ROOT = Path(__file__).resolve().parents[1]
CODE = "stages/code"
LOCK = Path("requirements.lock")
TEMPLATES = Path("darkroom/reporting/templates")
# Stages that only count, compare and copy: a new version of a library need not make them read a million files again.
INDIFFERENT_TO_LIBRARIES = ("fetch", "split", "labels", "crossval")
PIPELINES = (Path("dvc.yaml"), Path("crossval/dvc.yaml"))


def main() -> None:
    """Update the links of every stage, and write params.schema.json."""
    for name, _, _ in stages():
        write_links(name)
    known = {name for name, _, _ in stages()}
    for folder in (ROOT / CODE).iterdir():
        if folder.name not in known:
            shutil.rmtree(folder)
    files.write_json(ROOT / "params.schema.json", whole_schema())


def stages() -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Yield each stage's name, its pipeline's folder, and its entry in dvc.yaml (the body of a matrix or foreach)."""
    for path in filter(Path.exists, (ROOT / pipeline for pipeline in PIPELINES)):
        for name, stage in yaml.safe_load(path.read_text())["stages"].items():
            yield name, path.parent, stage.get("do", stage)


def links(stage: str) -> dict[str, str]:
    """Return the links that a stage's folder must hold: name (a module's is dotted), and where the link points."""
    modules = [path.relative_to(ROOT) for path in sorted(reached(ROOT / f"stages/{stage}.py"))]
    targets = {path.with_suffix("").as_posix().replace("/", "."): path for path in modules}
    targets |= {path.name: path for module in modules for path in templates(ROOT / module)}
    if stage not in INDIFFERENT_TO_LIBRARIES:
        targets[LOCK.name] = LOCK
    up = "../" * (CODE.count("/") + 2)
    return {name: up + path.as_posix() for name, path in targets.items()}


def written_links(stage: str) -> dict[str, str]:
    """Return the links that a stage's folder holds."""
    folder = ROOT / CODE / stage
    return {path.name: str(path.readlink()) for path in sorted(folder.iterdir())} if folder.is_dir() else {}


def write_links(stage: str) -> None:
    """Make a stage's folder hold exactly `links(stage)`."""
    folder, wanted, found = ROOT / CODE / stage, links(stage), written_links(stage)
    folder.mkdir(parents=True, exist_ok=True)
    for name in found.keys() | wanted.keys():
        if found.get(name) != wanted.get(name):
            (folder / name).unlink(missing_ok=True)
            if name in wanted:
                (folder / name).symlink_to(wanted[name])


def reached(start: Path) -> set[Path]:
    """Return the project's own modules that the script `start` reaches by imports, late ones too, itself included."""
    found, waiting = set(), [start]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imports(path)
    return found


def imports(path: Path) -> Iterator[Path]:
    """Yield the project's own modules that the module at `path` imports by name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            module = ROOT / (name.replace(".", "/") + ".py")
            if name.split(".")[0] in ("darkroom", "stages") and module.exists():
                yield module


def templates(module: Path) -> Iterator[Path]:
    """Yield the templates that a module names in a string, relative to ROOT."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".j2"):
            yield TEMPLATES / node.value


def fields(stage: str) -> list[str]:
    """Return the keys of a stage's params class, in its order."""
    cls = params_class(stage)
    return [field.name for field in dataclasses.fields(cls)] if cls else []


def params_class(stage: str) -> Any:
    """Return the one params class that a stage's module defines, or None."""
    module = importlib.import_module(f"stages.{stage}")
    own = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__]
    found = [cls for cls in own if dataclasses.is_dataclass(cls) and cls.__name__.endswith("Params")]
    assert len(found) <= 1, f"stages/{stage}.py has several params classes: {found}"
    return found[0] if found else None


def whole_schema() -> dict[str, Any]:
    """Return the JSON Schema of params.yaml: the keys of all stages."""
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


if __name__ == "__main__":
    main()
