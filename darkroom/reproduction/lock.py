"""A dvc.lock that a kill left half written is put back before DVC reads it.

DVC writes its lock in place, once a stage: a kill -9 in one of those moments (1.4 % of a run of the default) leaves a
part of the file, and every later DVC command stops at it. Git's index holds the lock of the last command that ended
(core.autostage), and DVC's run cache the stages that were done since: nothing is lost.
"""

import json
import re
import sys
from pathlib import Path

from darkroom.core.errors import DarkroomError
from darkroom.reporting.runs import LOCK
from darkroom.reproduction.results import git

KEPT = ".dvc/tmp"
RWLOCK = ".dvc/tmp/rwlock"  # who reads and writes which output; DVC writes it in place
CONFLICT = re.compile(rb"^<<<<<<< ", re.MULTILINE)


def mend(root: Path) -> list[str]:
    """Put back each lock of the project at `root` that DVC cannot read, and remove a broken rwlock; a line about each.

    It comes from Git's index, or is gone where Git never had it: DVC then takes what is done from its run cache. The
    broken file is kept in .dvc/tmp. One with a merge's conflict is the user's to solve, and stays.
    """
    rwlock = root / RWLOCK
    mended = []
    if rwlock.exists() and not _is_json(rwlock):
        rwlock.unlink()
        mended.append(f"{RWLOCK} was half written, as a kill of DVC or a full disk leaves it: removed")
    return mended + [_mend(root, path) for path in sorted([root / LOCK, *root.glob(f"*/{LOCK}")]) if _broken(path)]


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _broken(path: Path) -> bool:
    if not path.exists():
        return False
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from voluptuous import Invalid

    text = path.read_bytes()
    if CONFLICT.search(text):
        return False
    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text))
    except (YAMLError, Invalid, UnicodeDecodeError):
        return True
    return False


def _mend(root: Path, path: Path) -> str:
    name = path.relative_to(root).as_posix()
    kept = root / KEPT / f"{name.replace('/', '-')}.broken"
    kept.parent.mkdir(parents=True, exist_ok=True)
    path.replace(kept)
    try:
        git(root, "checkout-index", "--", name)
    except DarkroomError:  # not in Git's index, or no Git here
        what = "removed; what is done comes from DVC's run cache"
    else:
        what = "put back from Git's index"
        if _broken(path):
            path.unlink()
            what = "removed, and Git's is broken, too"
    return f"{name} was half written, as a kill of DVC leaves it: {what} (kept as {kept.relative_to(root).as_posix()})"


def main() -> None:
    """Mend the project here."""
    for line in mend(Path.cwd()):
        print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
