"""Keep checkpoints outside DVC's outputs: files from which a training resumes, named by a digest of all that shapes it.

A file is `MAGIC`, the sha256 of the rest, then what torch.save writes. It is replaced atomically, and not used where
its hash does not fit, so that a kill while writing costs only the time since the last checkpoint.
"""

import hashlib
import io
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darkroom.core import files
from darkroom.core.progress import say

MAGIC = b"darkroom-checkpoint-1\n"
DIGEST = hashlib.sha256().digest_size
SHARE = 20  # writing checkpoints takes at most a twentieth of the time


class Checkpoint:
    """One training's checkpoint. `key`: the digest of all that shapes the result; `every`: seconds, 0: each step."""

    def __init__(self, folder: Path, key: str, every: float = 10.0) -> None:
        self.path = folder / f"{key}.ckpt"
        self.key = key
        self._every = self._wait = every
        self._last = time.monotonic()

    def due(self) -> bool:
        """Return whether it is time to save again."""
        return time.monotonic() - self._last >= self._wait

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file by `state`: tensors, numbers, texts, lists and dicts."""
        import torch

        started = time.monotonic()
        buffer = io.BytesIO()
        torch.save({"key": self.key, "state": dict(state)}, buffer)
        payload = buffer.getbuffer()
        self._write(MAGIC, hashlib.sha256(payload).digest(), payload)
        self._last = time.monotonic()
        self._wait = max(self._every, SHARE * (self._last - started)) if self._every else 0.0

    def load(self, device: Any) -> dict[str, Any] | None:
        """Return the saved state, its tensors on `device`; None without an intact file of this key."""
        import torch

        data = self._read()
        if data is None:
            return None
        start = len(MAGIC) + DIGEST
        payload = data[start:]
        if data[: len(MAGIC)] != MAGIC or hashlib.sha256(payload).digest() != data[len(MAGIC) : start]:
            say(f"{self.path}: damaged checkpoint, not used; training starts from the beginning")
            return None
        saved = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
        return saved["state"] if saved["key"] == self.key else None

    def _write(self, *parts: bytes | memoryview) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Not synced to the disk, which would stall the training: a file cut short by a power failure fails the hash.
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            file.writelines(parts)
        temporary.replace(self.path)

    def _read(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None


def discard(folder: Path, key: str) -> None:
    """Delete the checkpoint of this key, and temporary files that a killed writer left beside it."""
    if not key:
        return
    path = folder / f"{key}.ckpt"
    for left in (path, *folder.glob(f".{path.name}.*.tmp")):
        left.unlink(missing_ok=True)


def code_digest() -> str:
    """Return the digest of this project's loaded modules, so that no checkpoint of other code is used."""
    paths = {}
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        script = name == "__main__" and file and Path(file).parent.name == "stages"
        if file and (script or name.split(".")[0] in ("darkroom", "stages")):
            paths[name] = files.sha256(Path(file))
    return files.digest(paths)
