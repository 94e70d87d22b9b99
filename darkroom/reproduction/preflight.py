"""Check a project before DVC runs in it, and mend files that a kill has left half written.

DVC writes its lock in place after each stage. A kill -9 in such a moment (1.4 % of a run of the default) leaves half a
file, at which every later DVC command fails. Git's index holds the lock of the last command that ended
(core.autostage), and DVC's run cache the stages that have finished since, so nothing is lost.

DVC reads every file of a source before fetch starts. It would wait for a pipe and read a device for ever. `make repro`
checks the source each time; under `dvc` alone the first stage, framing, does so when `source` has changed.
"""

import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darkroom.core.errors import DarkroomError, SourceError
from darkroom.core.git import git
from darkroom.core.params import read_yaml
from darkroom.reproduction import workspace

LOCK, PARAMS = "dvc.lock", "params.yaml"
KEPT = ".dvc/tmp"
COPIES = ".dvc/tmp/exps"  # where --queue and --temp run an experiment, in a copy of what Git knows
RWLOCK = ".dvc/tmp/rwlock"  # which process uses which output; DVC writes it in place
KINDS = {
    stat.S_ISFIFO: "pipe between programs",
    stat.S_ISSOCK: "socket",
    stat.S_ISCHR: "device",
    stat.S_ISBLK: "device",
}
TABLES = {"corrections": "corrections.csv", "added": "added/photos.csv"}  # of decisions; both are in Git from the start
CLOSED = "without permission"
BRACES = re.compile(r"\{\w+(\.\.|,)\w+\}")  # of `shard-{000..009}.tar`
CONFLICT = re.compile(rb"^<<<<<<< ", re.MULTILINE)


def check(root: Path) -> None:
    """Raise DarkroomError where DVC could not start in the project, or would never end."""
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        raise DarkroomError(
            f"{root} is not in a Git repository, which DVC needs; a copy without .git becomes one by "
            "`git init && git add -A && git commit -m 'Start'`"
        )
    params = read_yaml(root / PARAMS)
    for key, usual in TABLES.items():
        name = params.get(key)
        if isinstance(name, str) and not os.path.isfile(root / name):  # noqa: PTH113 - DVC would say `Errno 2`
            raise SourceError(
                f"{key} is {name[:200]}, which is not a file; expected a table of decisions, such as {usual}"
            )
    check_source(params.get("source"), root)


def check_source(source: Any, root: Path = Path()) -> None:
    """Raise SourceError where DVC could not read the param `source`, relative to `root`, or would find no end of it."""
    if not isinstance(source, str) or "://" in source:
        return  # fetch reports what is wrong with it, or downloads it
    if not os.path.exists(root / source):  # noqa: PTH110 - Path.exists raises for a name that is too long
        hint = "; `~` is not expanded, write the whole path" if source.startswith("~") else ""
        if BRACES.search(source):
            hint = "; braces are not expanded: name the folder of these files, which are read together"
        if COPIES in root.absolute().as_posix():
            hint = f"; this copy of what Git knows is without it: give an absolute path, or add `-C {source}`"
        expected = "expected a folder, archive, table or card"
        raise SourceError(f"source is {source[:200]}, which does not exist; {expected}{hint}")
    for path, kind in unreadable(root / source):
        if kind == CLOSED:
            raise SourceError(f"{path} may not be read, and DVC reads the whole source first: `chmod u+rX` or move it")
        raise SourceError(f"{path} is a {kind}, which DVC would read without an end; move it out of the source")


def unreadable(source: Path) -> Iterator[tuple[Path, str]]:
    """Yield (path, kind) of each pipe, socket, device and closed file or folder below `source`, links followed."""
    waiting: list[tuple[Path, os.stat_result]] = [(source, source.stat())]
    while waiting:
        path, facts = waiting.pop()
        for is_kind, kind in KINDS.items():
            if is_kind(facts.st_mode):
                yield path, kind
        if not os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(facts.st_mode) else 0)):
            yield path, CLOSED
        elif stat.S_ISDIR(facts.st_mode):
            with os.scandir(path) as entries:
                unusual = [
                    entry
                    for entry in entries
                    if not (entry.is_file(follow_symlinks=False) and os.access(entry.path, os.R_OK))
                ]
            for entry in unusual:
                # A link to a folder is not followed: it may lead back to one above.
                if not (entry.is_symlink() and entry.is_dir()):
                    try:
                        waiting.append((Path(entry.path), entry.stat()))
                    except OSError:
                        continue  # a broken link, which fetch reports


def mend(root: Path) -> list[str]:
    """Restore what a kill of DVC has left in the project at `root`; return a line for each.

    That is the workspace, where an experiment was being prepared in it, each lock that DVC cannot read, and a broken
    rwlock, which is removed.

    A lock is restored from Git's index. Where Git does not have it, it is removed, and DVC finds finished stages in its
    run cache. The broken file is kept in .dvc/tmp. A lock with a merge conflict is left to the user.
    """
    rwlock = root / RWLOCK
    mended = workspace.mend(root)
    if rwlock.exists() and not _is_rwlock(rwlock):
        rwlock.unlink()
        mended.append(f"{RWLOCK} was half written, as a kill of DVC or a full disk leaves it: removed")
    return mended + [_mend(root, path) for path in sorted([root / LOCK, *root.glob(f"*/{LOCK}")]) if _broken(path)]


def _is_rwlock(path: Path) -> bool:
    """Return whether DVC can read its rwlock: a file with an object of objects."""
    try:
        value = json.loads(path.read_bytes()) if path.is_file() else None
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and all(isinstance(entry, dict) for entry in value.values())


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
    """Mend and check the project here; exit with status 1 where DVC must not start."""
    for line in mend(Path.cwd()):
        print(line, file=sys.stderr)
    try:
        check(Path.cwd())
    except DarkroomError as error:
        print(f"repro: {error}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
