"""Code that a stage runs without a link is reported: nothing that shapes a result stays unseen by DVC."""

from darkroom.core import stage
from tests.core.script import start


def test_a_script_outside_of_a_project_reports_nothing(tmp_path):
    assert stage.unlinked("develop", tmp_path) == []


def test_an_imported_module_without_a_link_is_named(tmp_path):
    folder = tmp_path / "stages/code/develop"
    folder.mkdir(parents=True)
    missing = stage.unlinked("develop", tmp_path)
    assert "darkroom.core.stage" in missing
    (folder / "darkroom.core.stage").symlink_to(stage.__file__)
    assert stage.unlinked("develop", tmp_path) == [name for name in missing if name != "darkroom.core.stage"]


def test_a_stage_says_what_it_ran_without_a_link(tmp_path):
    (tmp_path / "stages/code/develop").mkdir(parents=True)
    process = start(tmp_path, "def main(out: Path) -> str:\n    return 'made it'\n", "out")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "note: DVC does not know that this stage ran darkroom.core.bound, darkroom.core.errors, " in said
    assert said.rstrip().splitlines()[-1].startswith("develop: made it in ")
