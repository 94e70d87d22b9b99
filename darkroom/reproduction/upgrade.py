"""`darkroom upgrade`: merge a later version of Darkroom into a project that `darkroom new` has made."""

import argparse
import tempfile
from pathlib import Path

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.git import git
from darkroom.core.progress import say
from darkroom.reproduction.new import BRANCH, PIN, commit_version


def main(arguments: list[str]) -> int:
    """Upgrade the project in the current folder; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="darkroom upgrade",
        description="Merge a later version of Darkroom into this project; your own changes are kept, by Git.",
    )
    text = "a repository of Darkroom's, a path or an address (the one that the project came from)"
    parser.add_argument("--from", dest="template", metavar="REPOSITORY", help=text)
    parser.add_argument("--rev", default="HEAD", help="a commit, tag or branch of it (HEAD)")
    options = parser.parse_args(arguments)
    before, after = upgrade(Path.cwd(), options.template, options.rev)
    if before == after:
        say(f"this project is at Darkroom {after[:12]} already")
    else:
        say(f"Darkroom {before[:12]} -> {after[:12]}; next: make setup && dvc repro")
    return 0


def upgrade(project: Path, template: str | None = None, revision: str = "HEAD") -> tuple[str, str]:
    """Merge a version of Darkroom into the project's branch; return its commits of Darkroom before and after.

    Raises DarkroomError where the project has changes that are not committed, or where both sides changed a line.
    """
    try:
        pin = files.read_json(project / PIN)
        before, known = str(pin["commit"]), str(pin["from"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DarkroomError(
            f"{PIN} is missing or damaged; upgrade runs in a folder that `darkroom new` made"
        ) from error
    if git(project, "status", "--porcelain", "--untracked-files=no"):
        raise DarkroomError("there are changes that are not committed; commit or stash them first")
    if template is not None and (project / template).is_dir():
        template = str((project / template).resolve())  # the branch is written in another folder
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "darkroom"
        # In a clone of the project only its remote has the branch; --force: an upgrade that was killed still holds it.
        git(project, "worktree", "add", "-q", "--force", "--no-checkout", str(tree), BRANCH)
        try:
            after = commit_version(tree, template or known, revision)
            if after == before:
                git(tree, "reset", "-q", "--soft", "HEAD~1")
                return before, after
        finally:
            git(project, "worktree", "remove", "--force", str(tree))
    try:
        git(project, "merge", "-q", "-m", f"Darkroom {after[:12]}", BRANCH)
    except DarkroomError as error:
        both = git(project, "diff", "--name-only", "--diff-filter=U").replace("\n", ", ")
        if not both:
            raise
        raise DarkroomError(
            f"you and Darkroom have changed the same lines of {both}; choose in each file, `git add` it and "
            "`git commit`, or `git merge --abort`"
        ) from error
    return before, after
