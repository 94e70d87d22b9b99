"""dvc.yaml against the stages: links equal imports, params equal the params classes, paths are written once."""

import json
from pathlib import Path

import pytest
import yaml

from tools import wiring

STAGES = [pytest.param(name, folder, body, id=name) for name, folder, body in wiring.stages()]


@pytest.mark.parametrize(("name", "folder", "body"), STAGES)
def test_the_one_code_dep_of_a_stage_links_what_its_script_imports(name, folder, body):
    up = "" if folder == wiring.ROOT else "../"
    assert [dep for dep in body["deps"] if "stages/" in dep] == [f"{up}{wiring.CODE}/{name}"]
    assert wiring.written_links(name) == wiring.links(name), "run `make wire`"
    for link, target in wiring.links(name).items():
        pointed = (wiring.ROOT / wiring.CODE / name / target).resolve()
        module = pointed.relative_to(wiring.ROOT).with_suffix("").as_posix().replace("/", ".")
        assert pointed.is_file()
        assert link in (pointed.name, module)


def test_no_stage_has_links_that_is_not_in_a_pipeline():
    assert {path.name for path in (wiring.ROOT / wiring.CODE).iterdir()} == {name for name, _, _ in wiring.stages()}


def test_no_stage_depends_on_a_part_of_an_output():
    """`dvc exp run` would look for the rest of it, and fail in a clone whose cache is without the committed run's."""
    stages = yaml.safe_load((wiring.ROOT / "dvc.yaml").read_text())["stages"].values()
    outs = [next(iter(out)) if isinstance(out, dict) else out for stage in stages for out in stage.get("outs", [])]
    deps = {dep for stage in stages for dep in stage["deps"]}
    assert {(dep, out) for dep in deps for out in outs if dep.startswith(f"{out}/")} == set()


@pytest.mark.parametrize(("name", "folder", "body"), STAGES)
def test_params_equal_the_fields_of_the_params_class(name, folder, body):
    keys = wiring.fields(name)
    wanted = keys if folder == wiring.ROOT or not keys else [{"../params.yaml": keys}]
    assert body.get("params", []) == wanted, "run `make wire`"


@pytest.mark.parametrize(("name", "folder", "body"), STAGES)
def test_outputs_are_not_written_in_the_stage_scripts(name, folder, body):
    script = (wiring.ROOT / f"stages/{name}.py").read_text()
    for kind in ("outs", "metrics", "plots"):
        for out in body.get(kind, []):
            path = out if isinstance(out, str) else next(iter(out))
            assert f'"{path}"' not in script


def test_params_schema_is_that_of_the_stages():
    assert json.loads((wiring.ROOT / "params.schema.json").read_text()) == wiring.whole_schema(), "run `make wire`"


def test_params_yaml_has_every_key_once_and_a_comment_above_each():
    lines = (wiring.ROOT / "params.yaml").read_text().splitlines()
    keys = [number for number, line in enumerate(lines) if line and line[0] not in "# "]
    assert sorted(lines[number].split(":")[0] for number in keys) == sorted(wiring.whole_schema()["properties"])
    assert [lines[number] for number in keys if not lines[number - 1].startswith("# ") or "#" in lines[number]] == []


def test_neither_train_nor_any_stage_before_it_that_it_reads_depends_on_the_test_split_alone():
    """What train can see is what its deps hold: none of them is, or contains, the test split's shards or features."""
    bodies = {name: body for name, folder, body in wiring.stages() if folder == wiring.ROOT}
    unseen = [Path("data/shards/test"), Path("data/features/test"), Path("data/labels/test.json")]
    for dep in bodies["train"]["deps"]:
        assert not [path for path in unseen if Path(dep) in (path, *path.parents)]


def test_what_takes_long_can_come_from_the_run_cache():
    """DVC keeps no stage there that has an output with `cache: false`, unless it is a metric or a plot."""
    bodies = {name: body for name, folder, body in wiring.stages() if folder == wiring.ROOT}
    in_git = [name for name, body in bodies.items() if not all(isinstance(out, str) for out in body["outs"])]
    assert in_git == ["evaluate", "export"]


def test_packages_that_shape_the_numbers_are_deps_where_they_compute():
    for stage in ("framing", "preprocess", "embed", "train", "evaluate", "export", "fold"):
        assert wiring.written_links(stage)["requirements.lock"] == "../../../requirements.lock"
    assert "requirements.lock" not in wiring.written_links("fetch")


@pytest.mark.parametrize(("stage", "untouched"), [
    ("split", ("darkroom.images.decode", "darkroom.sources.layouts")),
    ("preprocess", ("darkroom.sources.layouts", "darkroom.sources.index", "darkroom.images.hashes")),
    ("embed", ("darkroom.images.decode", "darkroom.images.preprocess", "darkroom.sources.trees")),
    ("train", ("darkroom.images.decode", "darkroom.metrics.summary")),
])  # fmt: skip
def test_an_edit_of_one_stage_s_work_does_not_run_another_again(stage, untouched):
    assert [name for name in untouched if name in wiring.written_links(stage)] == []


def test_a_template_is_a_dep_of_the_stage_that_fills_it():
    assert "card.md.j2" in wiring.written_links("export")
    assert "card.md.j2" not in wiring.written_links("evaluate")


def test_darkroom_never_imports_stages():
    for path in (wiring.ROOT / "darkroom").rglob("*.py"):
        assert not [module for module in wiring.imports(path) if module.parent.name == "stages"], path


def test_package_markers_are_empty_so_that_they_need_not_be_deps():
    markers = [*(wiring.ROOT / "darkroom").rglob("__init__.py"), *(wiring.ROOT / "stages").rglob("__init__.py")]
    assert [path for path in markers if path.read_text().strip()] == []


def test_every_stage_says_what_it_does():
    pipeline = yaml.safe_load((wiring.ROOT / "dvc.yaml").read_text())
    assert [name for name, stage in pipeline["stages"].items() if len(stage.get("desc", "").split()) < 5] == []


def test_every_plot_is_an_output_by_itself():
    """DVC resolves all plots at the end of an experiment: one inside a folder that the cache lacks would stop it, as in
    every fresh clone."""
    pipeline = yaml.safe_load((wiring.ROOT / "dvc.yaml").read_text())
    made = {out if isinstance(out, str) else next(iter(out)) for body in pipeline["stages"].values()
            for out in body.get("outs", [])}  # fmt: skip
    shown = {plot for plot in pipeline["plots"] if isinstance(plot, str)}
    drawn = {path for plot in pipeline["plots"] if isinstance(plot, dict)
             for path in next(iter(plot.values()))["y"]}  # fmt: skip
    assert shown
    assert shown | drawn <= made
