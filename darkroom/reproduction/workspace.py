"""Put the workspace back as it was where DVC was ended while it prepared an experiment.

`dvc exp run --temp` stashes what is not committed, leaves the branch, writes the params into params.yaml, commits all
that as the experiment, and takes it back: a second in which a kill, Ctrl-C or a full disk leaves the user's changes in
Git's stash, params of a trial in the workspace, and no branch checked out. `prepared` notes the workspace before, and
`mend` returns to it; what it finds in the workspace is kept under a Git ref.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.git import git, git_output

FOLDER = Path(".darkroom/workspace")
NOTE, LOCK = FOLDER / "before.json", FOLDER / "lock"
KEPT = "refs/darkroom/found"  # what `mend` found in the workspace
STASH = "refs/stash"
PREPARES = 300  # seconds, at most: a stash that is made later is the user's own


@contextmanager
def prepared(root: Path) -> Iterator[None]:
    """Note the workspace at `root` for as long as DVC prepares an experiment in it, and mend it at the end.

    Another search waits meanwhile: it would note what DVC has changed.
    """
    with _locked(root):
        _mend(root)
        files.write_json(root / NOTE, {"head": _head(root), "stash": _stash(root), "time": time.time()})
        try:
            yield
        finally:
            _mend(root)


def mend(root: Path) -> list[str]:
    """Return the workspace to its state before an experiment that a kill has cut short; return lines that say so."""
    if not (root / NOTE).exists():
        return []
    with _locked(root):
        return _mend(root)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    with (root / LOCK).open("w") as lock:
        with suppress(OSError):  # of file systems that know no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _mend(root: Path) -> list[str]:
    try:
        before = files.read_json(root / NOTE)
    except (OSError, ValueError):  # none, or cut short: it is written before DVC starts
        return []
    stash, head = _stash(root), _head(root)
    left = stash if stash != before["stash"] else ""  # DVC's stash of the user's changes
    if left and int(git(root, "show", "-s", "--format=%ct", left)) >= before["time"] + PREPARES:
        left = ""
    gone_on = head.startswith("refs/") and head != before["head"]  # the user, on another branch
    if gone_on or (not left and head == before["head"]):
        (root / NOTE).unlink()
        lines = ["DVC was ended while it prepared an experiment: what you had changed before lies in `git stash list`"]
        return lines if left else []
    if found := git(root, "stash", "create"):
        git(root, "update-ref", KEPT, found)
    if before["head"].startswith("refs/"):
        git(root, "symbolic-ref", "HEAD", before["head"])
    git(root, "reset", "-q", "--hard")
    if left:
        _remove_copies(root, left)
        git(root, "stash", "pop", "-q", "--index")
    (root / NOTE).unlink()
    what = "branch, params and changes are as before" if left else "branch and params are as before"
    return [f"DVC was ended while it prepared an experiment: {what} (what was found is kept as {KEPT})"]


def _remove_copies(root: Path, stash: str) -> None:
    """Remove the untracked files that the stash brings back. Raises DarkroomError where one has changed since."""
    listed = git_output(root, "ls-tree", "-r", "-z", "--full-name", f"{stash}^3") or b""
    top = Path(git(root, "rev-parse", "--show-toplevel"))
    copies = []
    for row in filter(None, listed.decode().split("\0")):
        facts, name = row.split("\t", 1)
        path = top / name
        if path.is_symlink() or not path.exists():
            continue
        if git(root, "hash-object", "--", str(path)) != facts.split()[2]:
            raise DarkroomError(
                f"{name} has changed since DVC put its earlier state into Git's stash; move it away, and run"
                " `git stash pop --index`"
            )
        copies.append(path)
    for path in copies:
        path.unlink()


def _head(root: Path) -> str:
    """Return the branch that is checked out, such as refs/heads/main; where there is none, the commit."""
    branch = git_output(root, "symbolic-ref", "-q", "HEAD")
    return branch.decode().strip() if branch else git(root, "rev-parse", "HEAD")


def _stash(root: Path) -> str:
    return (git_output(root, "rev-parse", "-q", "--verify", STASH) or b"").decode().strip()
