"""An actor on the driver's machine, from which the training processes of a cluster read data and to which they report.

A node without the driver's folders copies shards from the actor, and the first process keeps its checkpoints there. So
nodes need no shared folder, and no checkpoint is lost with a node.
"""

import contextlib
import fcntl
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from darkroom.core import files

BLOCK = 1 << 26  # bytes of a shard that travel at once
FOLLOW_SECONDS = 2.0  # between two questions about the progress of the training
Paths = tuple[Path, Path, Path]  # shards, features, body


class DriverActor:
    """Serve the files below `folders`, keep checkpoints in `checkpoints`, and hold the history and the result."""

    def __init__(self, folders: list[str], checkpoints: str) -> None:
        self.folders, self.checkpoints = [Path(folder) for folder in folders], Path(checkpoints)
        self.rows: list[Any] = []
        self.result: bytes | None = None

    def listing(self, folder: str) -> dict[str, int]:
        """Return the files of one of the folders, with their sizes in bytes."""
        return _listing(self._known(folder))

    def identity(self, folder: str) -> str:
        """Return the digest of a folder's content, as `_identity`."""
        return _identity(self._known(folder))

    def read(self, folder: str, name: str, start: int) -> bytes:
        """Return at most BLOCK bytes of a file in one of the folders, from byte `start` on."""
        with (self._known(folder) / name).open("rb") as file:
            file.seek(start)
            return file.read(BLOCK)

    def write_checkpoint(self, name: str, data: bytes) -> None:
        """Replace the checkpoint `name`."""
        files.write_bytes(self.checkpoints / Path(name).name, data)

    def read_checkpoint(self, name: str) -> bytes | None:
        """Return the checkpoint `name`, None where there is none."""
        path = self.checkpoints / Path(name).name
        return path.read_bytes() if path.exists() else None

    def report(self, rows: list[Any]) -> None:
        """Replace the history by `rows`, one per epoch."""
        self.rows = rows

    def reported(self) -> list[Any]:
        """Return the history so far."""
        return self.rows

    def finish(self, result: bytes) -> None:
        """Set the pickled result: what was trained, or a DarkroomError."""
        self.result = result

    def finished(self) -> bytes | None:
        """Return the pickled result, None before there is one."""
        return self.result

    def _known(self, folder: str) -> Path:
        if Path(folder) not in self.folders:
            raise ValueError(f"{folder} is not one of {self.folders}")
        return Path(folder)


def start(ray: Any, paths: Paths, checkpoints: Path) -> Any:
    """Start a DriverActor on this machine, for the shards, features and body at `paths`."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    known = [str(folder) for folder in (*_splits(paths[0]), *_splits(paths[1]), paths[2])]
    return ray.remote(num_cpus=0, scheduling_strategy=here)(DriverActor).remote(known, str(checkpoints))


def on_this_node(driver: Any, paths: Paths) -> Paths:
    """Return where this process reads the shards, features and body that lie at `paths` on the driver's machine.

    These are the same paths where they hold the same content on this node, otherwise copies on this node. A copy is
    named by its content, so that the trials of a sweep, each in its own folder, share it.
    """
    shards, features, body = paths
    (body_here,) = _here(driver, [body])
    return _here(driver, _splits(shards))[0].parent, _here(driver, _splits(features))[0].parent, body_here


def _splits(parent: Path) -> list[Path]:
    return [parent / split for split in ("train", "val")]


def _here(driver: Any, folders: list[Path]) -> list[Path]:
    """Return `folders`, or copies of them in one folder."""
    import ray

    wanted = [ray.get(driver.identity.remote(str(folder))) for folder in folders]
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
                _copy(driver, folder, copy)
    return copies


def _copy(driver: Any, folder: Path, copy: Path) -> None:
    import ray

    with files.fresh_folder(copy) as temporary:
        for name, size in ray.get(driver.listing.remote(str(folder))).items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            with (temporary / name).open("wb") as file:
                for begin in range(0, size, BLOCK):
                    file.write(ray.get(driver.read.remote(str(folder), name, begin)))


def _listing(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*"))
            if path.is_file()}  # fmt: skip


def _identity(folder: Path) -> str:
    """Digest a folder's names, sizes and contents; shards are not read, because index.json holds their digests."""
    if not folder.is_dir():
        return ""
    listing = _listing(folder)
    digests = [files.sha256(folder / name) for name in listing if not fnmatch(name, "shard-*.safetensors")]
    return files.digest([listing, digests])


@contextlib.contextmanager
def following(ray: Any, driver: Any, after_epoch: Callable[[list[Any]], None]) -> Iterator[None]:
    """Call `after_epoch` with the history while the training runs in the block."""
    done = threading.Event()

    def follow() -> None:
        seen = 0
        while not done.wait(FOLLOW_SECONDS):
            rows = ray.get(driver.reported.remote())
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
