"""What a service allows: limits with defaults that suit one small machine, and the keys of those who may ask."""

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

from darkroom.core.errors import DarkroomError

SHORTEST_KEY = 16


@dataclass(frozen=True)
class Settings:
    """Limits of one service.

    `batch` pictures at most share a run of the model (fewer where that is cheaper), after at most `wait` seconds.
    `queue` may be under way, as long as a picture need not wait longer than `patience` seconds for those before it.
    `max_body` bytes and `max_files` a request, `max_pixels` a picture; `max_held` bytes of all requests' bodies
    together; `timeout` seconds for a body to arrive, and as many for the answer to it. `keys`: digests of the accepted
    API keys, empty when none is asked for.
    `origins`: web origins whose pages may call this service.
    """

    batch: int = 32
    wait: float = 0.003
    queue: int = 128
    patience: float = 0.4
    max_body: int = 32 << 20
    max_files: int = 32
    max_pixels: int = 50_000_000
    max_held: int = 256 << 20
    timeout: float = 10.0
    keys: frozenset[bytes] = frozenset()
    origins: tuple[str, ...] = ()

    def accepts(self, key: str) -> bool:
        """Whether `key` is one of the keys; takes the same time for every wrong one."""
        digest = _digest(key)
        return sum(hmac.compare_digest(digest, known) for known in self.keys) > 0  # compares with every one


def read_keys(path: Path) -> frozenset[bytes]:
    """The digests of the keys in a file: one a line, `#` starts a comment. Raises DarkroomError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DarkroomError(f"--api-key-file {path} cannot be read: {error}") from error
    keys = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise DarkroomError(f"--api-key-file {path} holds no key; write one a line (`openssl rand -hex 32`)")
    short = [number for number, key in enumerate(keys, start=1) if len(key) < SHORTEST_KEY]
    if short:
        raise DarkroomError(
            f"--api-key-file {path}: key {short[0]} has fewer than {SHORTEST_KEY} characters and could be guessed; "
            "use `openssl rand -hex 32`"
        )
    return frozenset(_digest(key) for key in keys)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
