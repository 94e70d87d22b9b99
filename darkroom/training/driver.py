"""The driver's machine, as the processes of a cluster know it: an actor from which they read, and to which they report.

They read shards from it where they do not see the same folder, and the first of them leaves checkpoints there. So nodes
share no folder, and a lost node takes no checkpoint with it.
"""

import contextlib
import fcntl
import os
import tempfile
import threading
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from darkroom.core import files
from darkroom.training.checkpoint import Checkpoint
from darkroom.training.history import Row
from darkroom.training.launch import AfterEpoch

BLOCK = 1 << 26  # bytes of a shard that travel at once
FOLLOW_SECONDS = 2.0  # between two looks at how far the training is
Paths = tuple[Path, Path, Path]  # shards, features, body


class Home:
    """Runs on the driver's machine. Reads below `folders`, and writes checkpoints into `checkpoints`."""

    def __init__(self, folders: list[str], checkpoints: str) -> None:
        self.folders, self.checkpoints = [Path(folder) for folder in folders], Path(checkpoints)
        self.rows: list[Row] = []
        self.result: bytes | None = None

    def listing(self, folder: str) -> dict[str, int]:
        """The files of one of the folders, with their sizes."""
        return _listing(self._known(folder))

    def identity(self, folder: str) -> str:
        """What tells the content of a folder: see `_identity`."""
        return _identity(self._known(folder))

    def read(self, folder: str, name: str, start: int) -> bytes:
        """At most BLOCK bytes of a file in one of the folders."""
        with (self._known(folder) / name).open("rb") as file:
            file.seek(start)
            return file.read(BLOCK)

    def keep(self, name: str, data: bytes) -> None:
        """Keep a checkpoint."""
        files.write_bytes(self.checkpoints / Path(name).name, data)

    def kept(self, name: str) -> bytes | None:
        """A checkpoint."""
        path = self.checkpoints / Path(name).name
        return path.read_bytes() if path.exists() else None

    def report(self, rows: list[Row]) -> None:
        """The history so far."""
        self.rows = rows

    def reported(self) -> list[Row]:
        """The history so far."""
        return self.rows

    def finish(self, result: bytes) -> None:
        """The pickled result: what was trained, or a DarkroomError."""
        self.result = result

    def finished(self) -> bytes | None:
        """The pickled result."""
        return self.result

    def _known(self, folder: str) -> Path:
        if Path(folder) not in self.folders:
            raise ValueError(f"{folder} is none of {self.folders}")
        return Path(folder)


class HomeCheckpoint(Checkpoint):
    """A checkpoint that is kept on the driver's machine."""

    home: Any = None

    def _write(self, *parts: bytes | memoryview) -> None:
        import ray

        ray.get(self.home.keep.remote(self.path.name, b"".join(parts)))

    def _read(self) -> bytes | None:
        import ray

        return ray.get(self.home.kept.remote(self.path.name))


def start(ray: Any, paths: Paths, checkpoints: Path) -> Any:
    """A Home on this machine, for the shards, features and body at `paths`."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    known = [str(folder) for folder in (*_splits(paths[0]), *_splits(paths[1]), paths[2])]
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Home).remote(known, str(checkpoints))


def on_this_node(home: Any, paths: Paths) -> Paths:
    """Where a process of the cluster reads the shards, features and body that lie at `paths` on the driver's machine.

    There, where this node sees the same content, or in a copy on this node, made once whatever the path: every trial of
    a sweep has a folder of its own.
    """
    shards, features, body = paths
    (body_here,) = _here(home, [body])
    return _here(home, _splits(shards))[0].parent, _here(home, _splits(features))[0].parent, body_here


def _splits(parent: Path) -> list[Path]:
    return [parent / split for split in ("train", "val")]


def _here(home: Any, folders: list[Path]) -> list[Path]:
    """`folders`, or copies of them that lie beside each other as they do."""
    import ray

    wanted = [ray.get(home.identity.remote(str(folder))) for folder in folders]
    if [_identity(folder) for folder in folders] == wanted:
        return folders
    root = Path(tempfile.gettempdir()) / f"darkroom-{os.getuid()}"
    parent = root / files.digest(wanted)[:16]
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    copies = [parent / folder.name for folder in folders]
    with (parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another trial on this node may want the same
        for folder, copy, identity in zip(folders, copies, wanted, strict=True):
            if _identity(copy) != identity:
                _copy(home, folder, copy)
    return copies


def _copy(home: Any, folder: Path, copy: Path) -> None:
    import ray

    with files.fresh_folder(copy) as temporary:
        for name, size in ray.get(home.listing.remote(str(folder))).items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            with (temporary / name).open("wb") as file:
                for begin in range(0, size, BLOCK):
                    file.write(ray.get(home.read.remote(str(folder), name, begin)))


def _listing(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*"))
            if path.is_file()}  # fmt: skip


def _identity(folder: Path) -> str:
    """The digest of a folder's names and sizes, and of its files, but for shards: index.json holds their digests."""
    if not folder.is_dir():
        return ""
    listing = _listing(folder)
    digests = [files.sha256(folder / name) for name in listing if not fnmatch(name, "shard-*.safetensors")]
    return files.digest([listing, digests])


@contextlib.contextmanager
def following(ray: Any, home: Any, after_epoch: AfterEpoch) -> Any:
    """Hand the history to `after_epoch` while the training runs."""
    done = threading.Event()

    def follow() -> None:
        seen = 0
        while not done.wait(FOLLOW_SECONDS):
            rows = ray.get(home.reported.remote())
            if len(rows) > seen:
                seen = len(rows)
                after_epoch(rows)

    thread = threading.Thread(target=follow, name="follow-training", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
