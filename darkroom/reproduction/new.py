"""`darkroom new`: make a project with a Git history of its own, into which later versions of Darkroom can be merged.

Results depend on the pipeline's code, so a project holds a copy of it, pinned to one commit of Darkroom. The branch
`darkroom-upstream` holds only that code, one commit per version. `main` starts from it and adds the project's own
changes, so that `darkroom upgrade` is a plain merge of Git with the right base.
"""

import argparse
import json
import os
import re
import shlex
import shutil
from pathlib import Path

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.git import git
from darkroom.core.progress import say
from darkroom.reproduction.preflight import check_source
from darkroom.sources.trees import address_of

ROOT = Path(__file__).resolve().parents[2]
BRANCH = "darkroom-upstream"
PIN = ".darkroom.json"  # which commit of Darkroom a project holds, and where it came from
# Files of Darkroom that a project does not get: its results, tests and benchmarks.
LEFT_OUT = (
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "dvc.lock", "crossval/dvc.lock", "metrics", "plots", "tests",
    "benchmarks", "docs/images", ".github/workflows/ci.yml", ".github/ISSUE_TEMPLATE",
)  # fmt: skip
FOR_PHOTOS = {"backbone": "timm/tf_efficientnet_lite0", "weights": "package"}
README = """# {name}

An image classifier, developed with Darkroom (commit {commit}, in `{pin}`) from `{source}`.

```sh
make repro report                           # .venv, the pipeline, report.html, and the numbers below
source .venv/bin/activate                   # for `dvc` and `darkroom`
git add -A && git commit -m "First run"     # the lock, the metrics and the answers; the photos stay where they are
```

<!-- numbers: `make report` writes them -->
How good it is: not known before the first run.
<!-- end of numbers -->

All of them are in [metrics/test.json](metrics/test.json), and in the report.

A change becomes a pull request with a verdict:

```sh
git switch -c lower-lr
dvc exp run -S lr=1e-3
darkroom compare main                       # is the difference real, or noise?
git commit -am "A lower learning rate"
git remote add origin URL                   # once: an empty repository of yours
git push -u origin main darkroom-upstream lower-lr
```

`.github/workflows/report.yml` comments with the verdict, params, metrics and flipped answers; it needs the photos in
reach of the workflow: a remote, as in [docs/ci.md](docs/ci.md). `make upgrade` merges a later version of Darkroom and
keeps your changes.
"""


def main(arguments: list[str]) -> int:
    """Make the project; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="darkroom new", description="Make a project of your own, with its own Git history, pinned to this version."
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the project's folder, which must not exist yet")
    parser.add_argument("--source", required=True, help="the photos: what `source` in params.yaml may be")
    options = parser.parse_args(arguments)
    make_project(options.folder.absolute(), options.source)
    say(f"{options.folder} is a project of its own; next: cd {shlex.quote(str(options.folder))} && cat README.md")
    return 0


def make_project(folder: Path, source: str, template: Path = ROOT) -> None:
    """Make the project `folder` from the current commit of the repository `template`. Raises DarkroomError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DarkroomError(f"{folder} exists already; name a folder that does not")
    if folder.resolve().is_relative_to(template.resolve()):
        raise DarkroomError(f"{folder} lies in Darkroom's own folder; name one beside it, such as ../{folder.name}")
    if not source or not (address_of(source) or Path(source).exists() or (template / source).exists()):
        raise DarkroomError(f"--source {source} does not exist; expected a folder, archive, table or card")
    if Path(source).exists():
        check_source(source)
    commit = git(template, "rev-parse", "HEAD")
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _fill(folder, source, template, commit)
    except BaseException:  # half a project would only stop the next attempt
        shutil.rmtree(folder, ignore_errors=True)
        if existed:
            folder.mkdir()
        raise


def _fill(folder: Path, source: str, template: Path, commit: str) -> None:
    """Make the branches of the project in an empty folder."""
    git(folder, "init", "-q", "-b", BRANCH)
    commit_version(folder, str(template), commit)
    git(folder, "checkout", "-q", "-f", "-b", "main")
    seen = _seen_from(folder, source, template)
    changes = {"source": seen} | ({} if seen.endswith((".yaml", ".yml")) else FOR_PHOTOS)
    set_params(folder / "params.yaml", changes)
    text = README.format(name=folder.name, commit=commit[:12], pin=PIN, source=source)
    files.write_text(folder / "README.md", text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", f"A project for {source}")


def commit_version(folder: Path, template: str, revision: str) -> str:
    """Commit the files of a version of Darkroom that a project gets, in the repository at `folder`; return its commit.

    `template` is the path or address of a repository of Darkroom. The index is changed, the working tree is not.
    """
    git(folder, "fetch", "-q", "--no-tags", "--", template, revision)
    commit = git(folder, "rev-parse", "FETCH_HEAD")
    git(folder, "read-tree", commit)
    git(folder, "rm", "-r", "-q", "--cached", "--ignore-unmatch", "--", *LEFT_OUT)
    pin = folder / PIN
    origin = _origin(Path(template)) if Path(template).is_dir() else template
    pin.write_text(json.dumps({"commit": commit, "from": origin}, indent=2) + "\n", encoding="utf-8")
    git(folder, "add", "-f", PIN)
    git(folder, "commit", "-q", "--allow-empty", "-m", f"Darkroom at {commit[:12]}")
    return commit


def set_params(path: Path, values: dict[str, str]) -> None:
    """Replace the values of some keys of a params file, and leave everything else as it is."""
    text = path.read_text(encoding="utf-8")
    for key, value in values.items():
        plain = re.fullmatch(r"[\w./][\w./ -]*[\w./]|\w", value, re.ASCII)
        line = f"{key}: {value if plain else json.dumps(value)}".replace("\\", r"\\")
        text = re.sub(rf"^{key}:.*$", line, text, count=1, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")


def _origin(template: Path) -> str:
    try:
        return git(template, "remote", "get-url", "origin")
    except DarkroomError:
        return str(template)


def _seen_from(folder: Path, source: str, template: Path) -> str:
    """Return `source`, a card of the template or a path from the current folder, as the project's params name it.

    That is absolute outside the project: queued experiments and sweeps run in copies of it, where `../photos` is not.
    """
    if address_of(source) or (not Path(source).is_absolute() and (folder / source).exists()):
        return source
    return os.path.normpath((Path(source) if Path(source).exists() else template / source).absolute())
