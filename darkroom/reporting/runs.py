"""Read a run's params, metrics and predictions from the workspace, Git, DVC's cache or its remote."""

import hashlib
import io
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.git import git_output
from darkroom.metrics.predictions import KEYS, Predictions, read_predictions
from darkroom.splits.groups import groups_of

PREDICTIONS, METRICS, LOCK, PARAMS = "plots/predictions.csv", "metrics/test.json", "dvc.lock", "params.yaml"
IN_GIT = (METRICS, LOCK, PARAMS)
SAMPLES = "data/shards/test/samples.csv"
INDEX, SPLIT = "data/index.csv", "data/split.csv"
ENOUGH = 0.8  # share of each run's test images that both must have
MANY_MODELS = 10  # that have answered a test set: the best of many looks better on it than it is
MOST_VERSIONS = 2000  # of the predictions, that are read


class CompareError(DarkroomError):
    """Report that two runs cannot be compared: one is missing, or they answer different questions."""


@dataclass(frozen=True)
class Run:
    """A run's params (those that it used, by dvc.lock), metrics and predictions; `reader` reads its other files."""

    name: str
    params: dict[str, Any]
    metrics: dict[str, Any]
    predictions: Predictions
    reader: "Revision | None" = field(default=None, compare=False, repr=False)


def load_run(rev: str | None, root: Path) -> Run:
    """Return the run at a branch, tag, commit or DVC experiment; None is the workspace. Raises CompareError."""
    reader = Revision(rev, root)
    predictions = read_predictions(io.StringIO(reader.text(PREDICTIONS)), f"{PREDICTIONS} of {reader.name}")
    params = flatten(reader.mapping(PARAMS)) | used_params(reader.lock)
    return Run(reader.name, params, reader.metrics(), predictions, reader)


def used_params(lock: dict[str, Any]) -> dict[str, Any]:
    """Return the params that the stages ran with, by dvc.lock."""
    found: dict[str, Any] = {}
    for stage in lock.get("stages", {}).values():
        for values in stage.get("params", {}).values():
            found |= flatten(values)
    return found


def params_not_run(reader: "Revision") -> dict[str, tuple[Any, Any]]:
    """Return the params whose values in params.yaml are not those that the stages ran with: (used, now) by key."""
    now, used = flatten(reader.mapping(PARAMS)), used_params(reader.lock)
    return {key: (used[key], now[key]) for key in sorted(now.keys() & used.keys()) if now[key] != used[key]}


def locked_md5(lock: dict[str, Any], path: str) -> str | None:
    """Return the MD5 of an output in a dvc.lock; None without one."""
    outs = [out for stage in (lock.get("stages") or {}).values() for out in stage.get("outs") or []]
    return next((out.get("md5") for out in outs if out["path"] == path), None)


def md5(data: bytes) -> str:
    """Return the hex MD5 of a file's bytes, as DVC computes it."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as a flat one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def locations(root: Path) -> dict[str, str]:
    """Return the location of each test image, by id, from the workspace; {} without shards."""
    path = root / SAMPLES
    return {row["id"]: row["location"] for row in files.read_csv(path)} if path.exists() else {}


def groups(root: Path) -> dict[str, str]:
    """Return the group of each image that belongs to one, by id; {} without data/index.csv and data/split.csv."""
    if not (root / INDEX).exists() or not (root / SPLIT).exists():
        return {}
    return groups_of(files.read_csv(root / INDEX), files.read_csv(root / SPLIT))


def models_that_answered(root: Path) -> int:
    """Count the models that have answered the workspace's test set, in all branches, tags and experiments.

    The answers of each run are in Git; those to ENOUGH of the workspace's images are of the same test set, so that a
    corrected or excluded test image does not begin the count again. 0 without Git or answers.
    """
    path = root / PREDICTIONS
    if not path.exists():
        return 0
    here = _answers(path.read_bytes())
    history = ("log", "--all", "--format=", "--raw", "--no-abbrev", "--no-renames", "--", PREDICTIONS)
    raw = git_output(root, *history) or b""
    versions = dict.fromkeys(line.split()[3] for line in raw.decode().splitlines() if line.startswith(":"))
    names = [name for name in versions if name.strip("0")][:MOST_VERSIONS]
    others = set()
    for there in map(_answers, _contents(root, names)):
        both = sorted(here.keys() & there.keys())
        answers = [there[sample] for sample in both]
        if len(both) >= ENOUGH * max(len(here), len(there)) and answers != [here[sample] for sample in both]:
            others.add(hashlib.sha256(b"\n".join(answers)).digest())
    return 1 + len(others)


def warning_of_many(count: int) -> str:
    """Return a warning where many models have answered the test set; "" where few have."""
    if count < MANY_MODELS:
        return ""
    return (f"{count:,} different models have answered this test set, by Git: the best of them looks better on it than "
            "it is; choose by validation, and keep images aside that nobody has looked at.")  # fmt: skip


def _answers(text: bytes) -> dict[bytes, bytes]:
    """Return the last probability of each row of a file of answers, by id, which tells models apart; {} for others.

    The label and the group of an image say nothing about the model.
    """
    lines = text.splitlines()
    if not lines or not lines[0].startswith(",".join(KEYS).encode()):
        return {}
    return {line.partition(b",")[0]: line.rpartition(b",")[2] for line in lines[1:]}


def _contents(root: Path, names: list[str]) -> list[bytes]:
    """Return the contents of Git's objects `names`."""
    asked = "".join(f"{name}\n" for name in names).encode()
    output, found = git_output(root, "cat-file", "--batch", given=asked) or b"", []
    while output:
        head, _, rest = output.partition(b"\n")
        if head.endswith(b" missing"):  # of a shallow clone
            output = rest
            continue
        size = int(head.split()[2])
        found.append(rest[:size])
        output = rest[size + 1 :]
    return found


class Revision:
    """Read the files of one revision as text, whether DVC or Git tracks them, from disk, cache or remote."""

    def __init__(self, rev: str | None, root: Path) -> None:
        from dvc.exceptions import DvcException, NotDvcRepoError
        from dvc.repo import Repo

        try:
            self.repo = Repo(str(root))
        except NotDvcRepoError as error:
            raise CompareError(f"{root} is not a DVC project; run from the project's root") from error
        except DvcException as error:
            raise CompareError(f"{root} cannot be read as a DVC project in Git: {_last_line(error)}") from error
        if Path(self.repo.root_dir).resolve() != root.resolve():
            raise CompareError(f"{root} lies inside a project; run from the project's root, {self.repo.root_dir}")
        self.root, self.rev, self.name = Path(self.repo.root_dir), rev, rev or "workspace"
        self.commit = "workspace" if rev is None else self._resolved(rev)

    def _resolved(self, rev: str) -> str:
        from dvc.exceptions import DvcException
        from dvc.scm import resolve_rev

        # Git first: a killed `dvc exp run` leaves a mark behind by which DVC takes the commit before it for HEAD.
        known = git_output(self.root, "rev-parse", "--quiet", "--verify", "--end-of-options", f"{rev}^{{commit}}")
        try:
            commit = known.decode().strip() if known else resolve_rev(self.repo.scm, rev)
            self.repo.scm.resolve_commit(commit)
        # AttributeError: scmrepo's, of a tree or a file (main^{tree}); NotImplementedError: of core.no_scm
        except (DvcException, AttributeError, NotImplementedError) as error:
            raise CompareError(
                f"{rev} is not a branch, tag, commit or experiment here; `git branch -a` and `dvc exp list` name them,"
                " `git fetch` and `dvc exp pull` get them"
            ) from error
        if not commit.startswith(rev):
            self.name = f"{rev} ({commit[:7]})"
        return commit

    def text(self, path: str) -> str:
        """Return a file's text. Raises CompareError when it is missing, or in the workspace differs from dvc.lock."""
        from dvc.exceptions import DvcException
        from dvc.repo.brancher import switch

        if self.rev is None and (self.root / path).exists():
            return self._here(path)
        remotes = self.repo.config  # today's: a remote may have been added, or have moved, since that commit
        with switch(self.repo, self.commit):
            # The cached property itself: `switch` clears it, DVC then reads that commit's, and offers no setter.
            self.repo.__dict__["config"] = remotes
            try:
                return self.repo.dvcfs.read_text(path, encoding="utf-8", newline="")
            except (FileNotFoundError, DvcException) as error:
                raise CompareError(self._why_absent(path)) from error
            except Exception as error:  # a remote's own: no credentials, no plugin, no network
                raise CompareError(
                    f"{path} of {self.name} cannot be read: {_last_line(error)}; make `dvc fetch {path}` work first"
                ) from error

    def _here(self, path: str) -> str:
        """Return the text of a file of the workspace."""
        data = (self.root / path).read_bytes()
        # Without `dvc checkout`, an output on disk may be that of another commit.
        wanted = None if path in IN_GIT else locked_md5(self.lock, path)
        if wanted and (found := md5(data)) != wanted:
            raise CompareError(
                f"{path} is not what dvc.lock says (its md5 is {found[:8]}…, there it is {wanted[:8]}…): "
                "run `dvc checkout` or `dvc repro`"
            )
        return data.decode("utf-8")

    @cached_property
    def lock(self) -> dict[str, Any]:
        """Return dvc.lock's mapping, which is slow to parse."""
        return self.mapping(LOCK)

    def metrics(self) -> dict[str, Any]:
        """Return metrics/test.json; empty where there is none."""
        text = self.optional(METRICS)
        try:
            found = json.loads(text or "{}")
        except json.JSONDecodeError as error:
            raise CompareError(
                f"{METRICS} of {self.name} is not valid JSON: {error}; solve the conflict, or run `dvc repro` with -f"
            ) from error
        return found if isinstance(found, dict) else {}

    def optional(self, path: str) -> str | None:
        """Return a file's text, or None where there is none."""
        try:
            return self.text(path)
        except CompareError:
            return None

    def mapping(self, path: str) -> dict[str, Any]:
        """Return a YAML file's mapping; empty where there is none."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        try:
            found = YAML(typ="safe", pure=True).load(self.optional(path) or "{}")
        except YAMLError as error:
            raise CompareError(f"{path} of {self.name} is not valid YAML: {' '.join(str(error).split())}") from error
        return found if isinstance(found, dict) else {}

    def _why_absent(self, path: str) -> str:
        if self.rev is None:
            return f"the workspace has no {path}; run `dvc repro`, or `dvc pull` where a remote holds it"
        lock = self.repo.dvcfs.read_text(LOCK) if self.repo.dvcfs.exists(LOCK) else ""
        if path not in lock:
            return f"{self.name} has no {path}: it holds no finished run of this pipeline"
        known, push = "the remote does not hold it", "`dvc push`"
        if not self.repo.config["core"].get("remote"):
            known, push = "there is no remote", "add one (docs/ci.md) and `dvc push`"
        return (
            f"{path} of {self.name} is not in the DVC cache and {known}; in the clone that ran it: {push},"
            f" or here: `git checkout {self.rev} && dvc repro`"
        )


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
