"""Read through DVC what shapes a trial besides its own params: other params, code and data."""

import errno
import fcntl
import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.core.git import git_output
from darkroom.core.params import read_yaml
from darkroom.core.text import quoted
from darkroom.search.space import Params, Space, SweepError

if TYPE_CHECKING:
    from dvc.dependency import Dependency

TRIAL = "train"  # the stage that a trial ends with
SHARED = "embed"  # the last stage whose outputs trials share; a head is trained on them
LONGEST = 200  # bytes of a name, which files and refs have with a number behind it
MOST_COPIED = 2 << 30  # bytes of photos that are copied into each trial's folder
DECIDING = ("fetch", "split", "labels")  # the stages whose params decide which images validate, and as what


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep the folder of a search for this process, however it ends. Raises SweepError where another has it.

    Two at once would remove each other's pictures, and the folders of trials that still run. SIGTERM, by which machines
    and schedulers stop a process, acts as Ctrl-C meanwhile: trials are stopped, and nothing of them is left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):  # others: file systems that know no locks
                raise SweepError(
                    f"{folder} is in use: the same search runs already; wait for it, or stop it, and this command goes"
                    " on from there"
                ) from error
        earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, earlier)


def require_name(root: Path, name: str, what: str, instead: str) -> None:
    """Raise SweepError for the `name` of a search whose experiments Git could not keep under it; before any has run."""
    taken = git_output(root, "check-ref-format", f"refs/exps/{name}-0000") is not None
    if not taken or "/" in name or name.startswith("-") or len(name.encode()) > LONGEST:
        raise SweepError(
            f"the {what} is called {quoted(name)}, and so would be its experiments, which Git does not allow; expected"
            f" letters, digits, - and _: {instead}"
        )


def stage_params(root: Path, *names: str) -> set[str]:
    """Return the params of these stages of the project's dvc.yaml."""
    stages = read_yaml(root / "dvc.yaml").get("stages", {})
    return {key for name in names for key in stages.get(name, {}).get("params", [])}


def shared_params(root: Path) -> set[str] | None:
    """Return the params of the stages before train: trials with the same values share these stages' outputs.

    None in a pipeline without such stages.
    """
    stages = read_yaml(root / "dvc.yaml").get("stages", {})
    return stage_params(root, *list(stages)[: list(stages).index(SHARED) + 1]) if SHARED in stages else None


def late_params(root: Path) -> set[str]:
    """Return the params that act only after the training: no metric of a trial depends on them."""
    names = list(read_yaml(root / "dvc.yaml").get("stages", {}))
    trained = names.index(TRIAL) + 1 if TRIAL in names else len(names)
    return stage_params(root, *names[trained:]) - stage_params(root, *names[:trained])


def copies(root: Path, params: Mapping[str, Any]) -> list[str]:
    """Return the relative paths among `params` that exist and are not in Git, such as a folder of photos.

    They are copied into the checkout that a trial runs in. Raises SweepError, with the next step, for a path that DVC
    would commit to Git with each trial, for one that is too large to copy, and for one outside the project.
    """
    found = []
    for value in dict.fromkeys(value for value in params.values() if isinstance(value, str) and value.strip("./")):
        path = Path(value)
        if path.is_absolute() or not (root / path).exists():
            continue
        name = path.as_posix()
        if ".." in path.parts:
            raise SweepError(
                f"{name} cannot be found from the folders that trials run in; name it by its absolute path,"
                f" {(root / path).resolve()}"
            )
        if git_output(root, "ls-files", "--", value):
            continue
        if not git_output(root, "check-ignore", "--", value):
            raise SweepError(
                f"{name} is neither in Git nor ignored, and DVC would commit it to Git with every trial; add the line"
                f" `/{name}` to .gitignore, or run `dvc add {name}`"
            )
        if (size := _size(root / path)) > MOST_COPIED:
            raise SweepError(
                f"{name} is not in Git, and its {size / 1e9:.1f} GB would be copied for every trial; run"
                f" `dvc add {name}` and commit the .dvc file that it writes, or name it by its absolute path"
            )
        found.append(name)
    return found


def state(root: Path, space: Space, params: Params, target: str | None) -> dict[str, str]:
    """Return what decides a trial besides the space's own params, by name. Raises SweepError.

    That is, of the stages up to `target` (None: all): the other `params`, the commands, and the hash of each dep that
    no stage makes, code or data; and the hash of each path that the space itself names.
    """
    from dvc.dependency import ParamsDependency, loads_from
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from networkx import descendants

    path = root.resolve() / "dvc.yaml"
    own = space.fixed.keys() | space.params.keys()
    unseen = {str(params[key]) for key in own if isinstance(params.get(key), str)}  # values that no trial runs with
    found: dict[str, str] = {}
    try:
        with Repo(str(root)) as repo:
            graph = repo.index.graph
            ends = [stage for stage in graph if Path(stage.path) == path and target in (None, stage.name)]
            stages = [stage for stage in {*ends}.union(*(descendants(graph, end) for end in ends)) if stage.cmd]
            made = [out.fs_path for stage in stages for out in stage.outs]
            for stage in stages:
                found[f"command of {stage.addressing}"] = str(stage.cmd)
                for dep in stage.deps:
                    if isinstance(dep, ParamsDependency):
                        found |= {
                            f"param {key}": json.dumps(params.get(key), default=str) for key in {*dep.params} - own
                        }
                    elif dep.def_path not in unseen and not any(_overlap(dep.fs_path, out) for out in made):
                        found.setdefault(dep.def_path, _hash(dep))
            for key, value in _paths(root, space):
                found[f"{key} {value}"] = _hash(loads_from(stages[0], [value])[0])
    except DvcException as error:
        raise SweepError(f"DVC cannot read the pipeline: {error}; make `dvc status` work first") from error
    return found


def _size(path: Path) -> int:
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in parts if part.is_file())


def _paths(root: Path, space: Space) -> list[tuple[str, str]]:
    """Return the values of the space that are files or folders here (a `source`, `weights`), with their keys."""
    values = [*space.fixed.items()]
    values += [(key, choice) for key, kind in space.params.items() if isinstance(kind, list) for choice in kind]
    return [(key, value) for key, value in values if isinstance(value, str) and value and (root / value).exists()]


def _hash(dep: "Dependency") -> str:
    return dep.get_hash().value if dep.exists else "absent"


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
