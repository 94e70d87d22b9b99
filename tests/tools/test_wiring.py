"""dvc.yaml against the stages: code deps equal imports, params equal the params classes, paths are written once."""

import json

import pytest
from ruamel.yaml import YAML

from tools import wiring

STAGES = [pytest.param(name, folder, body, id=name) for name, folder, body in wiring.stages()]


@pytest.mark.parametrize(("name", "folder", "body"), STAGES)
def test_code_deps_equal_imports(name, folder, body):
    assert wiring.declared_code_deps(body) == wiring.code_deps(name, folder), "run `make wire`"


def test_a_stage_whose_code_another_one_carries_reads_what_that_one_writes():
    bodies = {name: body for name, _, body in wiring.stages()}
    for carrier, scripts in wiring.CARRIED.items():
        for name in {*scripts} - {carrier}:
            assert next(iter(bodies[carrier]["outs"][0])) in bodies[name]["deps"]


@pytest.mark.parametrize(("name", "folder", "body"), STAGES)
def test_params_equal_the_fields_of_the_params_class(name, folder, body):
    assert body.get("params", []) == (wiring.params_of(name, folder) if wiring.fields(name) else []), "run `make wire`"


@pytest.mark.parametrize(("name", "folder", "body"), STAGES)
def test_outputs_are_not_written_in_the_stage_scripts(name, folder, body):
    script = (wiring.ROOT / f"stages/{name}.py").read_text()
    for kind in ("outs", "metrics", "plots"):
        for out in body.get(kind, []):
            path = out if isinstance(out, str) else next(iter(out))
            assert f'"{path}"' not in script


def test_params_schema_is_that_of_the_stages():
    assert json.loads((wiring.ROOT / "params.schema.json").read_text()) == wiring.whole_schema(), "run `make wire`"


def test_the_readme_s_file_map_is_that_of_the_files():
    readme = (wiring.ROOT / "README.md").read_text()
    assert readme == wiring.with_file_map(readme), "run `make wire`"


def test_params_yaml_has_every_key_once_and_a_comment_for_each():
    lines = [line for line in (wiring.ROOT / "params.yaml").read_text().splitlines() if line and line[0] not in "# "]
    assert sorted(line.split(":")[0] for line in lines) == sorted(wiring.whole_schema()["properties"])
    assert [line for line in lines if "#" not in line] == []


def test_train_never_sees_the_test_set():
    body = next(body for name, folder, body in wiring.stages() if name == "train" and folder == wiring.ROOT)
    assert not [dep for dep in body["deps"] if "test" in dep]


def test_packages_that_shape_the_numbers_are_deps_where_they_compute():
    for name, folder, body in wiring.stages():
        if folder == wiring.ROOT and name in ("preprocess", "embed", "train", "evaluate", "export"):
            assert "requirements.lock" in body["deps"]


def test_darkroom_never_imports_stages():
    for path in (wiring.ROOT / "darkroom").rglob("*.py"):
        assert not [module for module in wiring._imports(path) if module.parent.name == "stages"], path


def test_package_markers_are_empty_so_that_they_need_not_be_deps():
    markers = [*(wiring.ROOT / "darkroom").rglob("__init__.py"), *(wiring.ROOT / "stages").rglob("__init__.py")]
    # darkroom/app hands out Predictor, by its promised name; no stage may import from it.
    app = wiring.ROOT / "darkroom/app/__init__.py"
    assert [path for path in markers if path.read_text().strip() and path != app] == []
    deps = [dep for _, _, body in wiring.stages() for dep in wiring.declared_code_deps(body)]
    assert not [dep for dep in deps if "darkroom/app/" in dep]


def test_every_stage_says_what_it_does():
    pipeline = YAML(typ="safe", pure=True).load((wiring.ROOT / "dvc.yaml").read_text())
    assert list(pipeline["stages"]) == ["fetch", "split", "preprocess", "embed", "train", "evaluate", "export"]
    assert all(stage["desc"] for stage in pipeline["stages"].values())
