"""The order of the house: a module imports from its own floor or one below, and no imports form a cycle."""

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tools.wiring import ROOT, imports

FLOORS = (
    {"core"},
    {"cluster", "sources", "images", "splits"},
    {"model"},
    {"training", "metrics"},
    {"export", "reporting", "serve"},
    {"search", "reproduction", "review"},
    {"app", "cli"},
)
MODULES = sorted(path for path in (ROOT / "darkroom").rglob("*.py") if path.name != "__init__.py")
SERVE_NEEDS = {"serve", "images", "core", "sources"}


def floor(module: Path) -> int:
    """Return the number of a module's floor, from the ground."""
    room = module.relative_to(ROOT / "darkroom").parts[0].removesuffix(".py")
    found = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    assert found, f"{module} is in no room of FLOORS"
    return found[0]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_imports_from_its_own_floor_or_below(module):
    above = [path.relative_to(ROOT).as_posix() for path in imports(module) if floor(path) > floor(module)]
    assert above == []


def test_no_imports_form_a_cycle_not_even_late_ones():
    graph = {module: {path for path in imports(module) if path != module} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        names = [path.relative_to(ROOT).as_posix() for path in error.args[1]]
        pytest.fail("these import each other: " + " -> ".join(names))
