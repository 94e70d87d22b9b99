"""A project of one's own: its history, its params, and the merge of a later version with changed params kept."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.git import git
from darkroom.core.params import read_yaml
from darkroom.reporting.report import write_numbers
from darkroom.reproduction.new import BRANCH, FOR_PHOTOS, LEFT_OUT, PIN, make_project
from darkroom.reproduction.upgrade import upgrade
from tests.project import Project

UNTAGGED = "474a17d8bcdd2c1cfa14af6a1136c304285f7320"  # of 2026-11-28; upgraded from until there is a tag


@pytest.fixture(autouse=True)
def committer(monkeypatch):
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "A user")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "user@example.com")


@pytest.fixture
def template(tmp_path):
    """Return a repository with the files of this checkout."""
    return Project(tmp_path / "template").folder


@pytest.fixture
def photos(tmp_path):
    for label in ("ant", "bee"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (9, 9), (number, 2, 3)).save(tmp_path / "photos" / label / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def birds(tmp_path, template, photos):
    make_project(tmp_path / "birds", str(photos), template)
    return tmp_path / "birds"


def commit_all(folder, message):
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_new_project_has_its_own_history_params_readme_and_workflows(birds, template, photos):
    assert git(birds, "status", "--porcelain") == ""
    assert git(birds, "branch", "--show-current") == "main"
    assert len(git(birds, "log", "--format=%h", "main").split()) == 2
    params = read_yaml(birds / "params.yaml")
    assert params == read_yaml(template / "params.yaml") | FOR_PHOTOS | {"source": str(photos)}
    assert json.loads((birds / PIN).read_text())["commit"] == git(template, "rev-parse", "HEAD")
    readme = (birds / "README.md").read_text()
    assert readme.startswith("# birds\n")
    assert git(template, "rev-parse", "HEAD")[:12] in readme
    for document in re.findall(r"\((docs/\S+?)[:)]", readme):
        assert (birds / document).exists()
    assert {path.name for path in (birds / ".github/workflows").iterdir()} >= {"report.yml", "comment.yml"}
    assert not [name for name in LEFT_OUT if name != "README.md" and (birds / name).exists()]
    # The two branches differ by what makes it this project, and by nothing else.
    assert git(birds, "diff", "--name-only", BRANCH, "main", "--").split() == ["README.md", "params.yaml"]


def test_the_numbers_of_the_last_report_stand_in_the_readme(birds, template):
    before = (birds / "README.md").read_text()
    assert "not known before the first run" in before
    metrics = json.loads((template / "metrics/test.json").read_text())
    for changed in ({"accuracy": None}, {}, {"accuracy": 0.75}):
        files.write_json(birds / "metrics/test.json", metrics | changed)
        known = write_numbers(birds / "README.md", birds / "metrics/test.json")
        assert known is ("accuracy" not in changed or changed["accuracy"] is not None)
        assert ("not known" in (birds / "README.md").read_text()) is not known
    after = (birds / "README.md").read_text()
    assert f"75.0 % of {metrics['n']} test images are answered right (95 % interval " in after
    assert "98.1 %" not in after
    assert [line for line in before.splitlines() if line not in after] == [
        "How good it is: not known before the first run."
    ]
    assert not write_numbers(template / "docs/ci.md", birds / "metrics/test.json")
    assert not write_numbers(birds / "no.md", birds / "metrics/test.json")


def test_an_upgrade_brings_what_is_new_and_keeps_changed_params(birds, template, tmp_path):
    change(birds / "params.yaml", "\nseed: ", "\nseed: 7")
    (birds / "notes.md").write_text("mine\n")
    commit_all(birds, "Mine")
    change(template / "params.yaml", "\nepochs: ", "\n# said better\nepochs: ")
    change(template / "darkroom/cli.py", '"""The', '"""Later: the')
    (template / "docs/later.md").write_text("new\n")
    (template / "README.md").write_text("another\n")
    shutil.rmtree(template / "sweeps")
    commit_all(template, "Later")
    mine = (birds / "README.md").read_text()

    before, after = upgrade(birds, str(template))

    assert (before, after) == (git(template, "rev-parse", "HEAD~1"), git(template, "rev-parse", "HEAD"))
    assert git(birds, "status", "--porcelain") == ""
    assert str(read_yaml(birds / "params.yaml")["seed"]).startswith("7")
    assert read_yaml(birds / "params.yaml")["source"] == str(tmp_path / "photos")
    assert "# said better" in (birds / "params.yaml").read_text()
    assert (birds / "darkroom/cli.py").read_text().startswith('"""Later: the')
    assert (birds / "docs/later.md").exists()
    assert (birds / "notes.md").exists()
    assert not (birds / "sweeps").exists()
    assert (birds / "README.md").read_text() == mine
    assert json.loads((birds / PIN).read_text())["commit"] == after
    assert upgrade(birds, str(template)) == (after, after)
    assert git(birds, "log", "-1", "--format=%s", BRANCH, "--") == f"Darkroom at {after[:12]}"


def test_an_upgrade_from_the_newest_tag_to_this_commit_keeps_changed_params(photos, tmp_path):
    root = Path(__file__).parents[2]
    told = subprocess.run(["git", "describe", "--tags", "--abbrev=0"], cwd=root, capture_output=True, text=True)
    base = told.stdout.strip() or UNTAGGED
    if subprocess.run(["git", "cat-file", "-e", base], cwd=root, capture_output=True).returncode:
        pytest.skip(f"this clone holds no tag, and not the commit {base}")
    earlier, birds = tmp_path / "darkroom", tmp_path / "birds"
    subprocess.run(["git", "clone", "-q", "--no-checkout", root, earlier], check=True)
    git(earlier, "checkout", "-q", "--detach", base)
    make_project(birds, str(photos), earlier)
    change(birds / "params.yaml", "\nlr: ", "\nlr: 0.5")
    commit_all(birds, "Mine")
    upgrade(birds, str(root))
    git(earlier, "checkout", "-q", "--detach", git(root, "rev-parse", "HEAD"))
    now = read_yaml(birds / "params.yaml")
    assert now == read_yaml(earlier / "params.yaml") | {"source": str(photos), "lr": now["lr"]} | FOR_PHOTOS
    assert str(now["lr"]).startswith("0.5")
    assert git(birds, "diff", "--name-only", BRANCH, "main", "--").split() == ["README.md", "params.yaml"]


def test_a_clone_of_the_project_upgrades_too(birds, template, tmp_path):
    (template / "docs/later.md").write_text("new\n")
    commit_all(template, "Later")
    subprocess.run(["git", "clone", "-q", birds, tmp_path / "clone"], check=True)
    upgrade(tmp_path / "clone", str(template))
    assert (tmp_path / "clone/docs/later.md").exists()


def test_lines_that_both_sides_changed_are_left_to_the_user_by_name(birds, template):
    for folder, value in ((birds, "5"), (template, "6")):
        change(folder / "params.yaml", "\nepochs: ", f"\nepochs: {value}")
        commit_all(folder, "Epochs")
    with pytest.raises(DarkroomError, match=r"changed the same lines of params.yaml; choose .* `git merge --abort`"):
        upgrade(birds, str(template))


def test_a_file_of_yours_that_a_later_version_has_too_is_named_and_kept(birds, template):
    (template / "docs/later.md").write_text("theirs\n")
    commit_all(template, "Later")
    (birds / "docs/later.md").write_text("mine\n")  # not in Git
    with pytest.raises(
        DarkroomError, match=r"untracked working tree files .* docs/later.md .* before you merge"
    ) as found:
        upgrade(birds, str(template))
    assert "\n" not in str(found.value)
    assert (birds / "docs/later.md").read_text() == "mine\n"
    (birds / "docs/later.md").unlink()
    upgrade(birds, str(template))
    assert (birds / "docs/later.md").read_text() == "theirs\n"


def test_an_upgrade_that_was_killed_does_not_stop_the_next_one(birds, template, tmp_path):
    git(birds, "worktree", "add", "-q", "--no-checkout", str(tmp_path / "killed"), BRANCH)
    (template / "docs/later.md").write_text("new\n")
    commit_all(template, "Later")
    upgrade(birds, str(template))
    assert (birds / "docs/later.md").exists()


def test_a_revision_is_never_an_option_of_git(birds, template, tmp_path):
    with pytest.raises(DarkroomError, match="git fetch"):
        upgrade(birds, str(template), f"--upload-pack=touch {tmp_path / 'ran'}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda folder: (folder / PIN).unlink(), "is missing or damaged; upgrade runs in a folder that"),
        (lambda folder: (folder / PIN).write_text("[" * 20_000), "is missing or damaged"),
        (lambda folder: (folder / "params.yaml").write_text("source: x\n"), "not committed; commit or stash them"),
    ],
)
def test_what_cannot_be_upgraded_is_said(birds, template, prepare, reason):
    prepare(birds)
    with pytest.raises(DarkroomError, match=reason):
        upgrade(birds, str(template))


def test_what_cannot_become_a_project_is_said(birds, template, photos, tmp_path):
    with pytest.raises(DarkroomError, match="birds exists already"):
        make_project(birds, str(photos), template)
    os.mkfifo(photos / "pipe")
    for folder, source, reason in (
        (tmp_path / "other", "nowhere", "--source nowhere does not exist"),
        (tmp_path / "other", "", "--source  does not exist"),
        (tmp_path / "other", str(photos), "pipe is a pipe between programs"),
        (template / "birds", str(photos), "lies in Darkroom's own folder; name one beside it, such as ../birds"),
    ):
        with pytest.raises(DarkroomError, match=reason):
            make_project(folder, source, template)
        assert not folder.exists()


def test_who_is_unknown_to_git_is_told_so_in_one_line_and_tries_again(template, photos, tmp_path, monkeypatch):
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{who}_NAME")
        monkeypatch.delenv(f"GIT_{who}_EMAIL")
    for name in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", os.devnull)
    monkeypatch.setenv("EMAIL", "")
    with pytest.raises(
        DarkroomError, match=r"^Git does not know who commits; run `git config --global user.name \S+"
    ) as found:
        make_project(tmp_path / "birds", str(photos), template)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "birds").exists()


def test_a_card_of_darkroom_keeps_its_network(template, tmp_path):
    make_project(tmp_path / "digits", "sources/digits.yaml", template)
    assert read_yaml(tmp_path / "digits/params.yaml") == read_yaml(template / "params.yaml")


def test_a_source_with_signs_of_yaml_is_written_as_a_text(template, tmp_path, monkeypatch):
    name = "photos: 'a' \\1 #é"
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path / "odd", name, template)
    assert read_yaml(tmp_path / "odd/params.yaml")["source"] == str(tmp_path / name)
