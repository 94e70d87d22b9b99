"""Define the limits of a service, with defaults for one small machine, and read its API keys."""

import hashlib
import hmac
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from darkroom.core.errors import DarkroomError

SHORTEST_KEY = 16


class Settings(BaseModel):
    """The limits of one service; each field is an option of `darkroom serve`, or follows from one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    batch: int = Field(default=32, ge=1, description="pictures in a run of the model, at most")
    wait: float = Field(default=0.003, ge=0, description="seconds that a picture waits for others to share its run")
    queue: int = Field(default=128, ge=1, description="pictures under way, at most")
    patience: float = Field(default=0.4, ge=0.001, description="seconds of the model's work that may be under way")
    timeout: float = Field(
        default=10.0,
        ge=0.001,
        description="seconds for a request to arrive, for its answer, and for it to be read",
    )
    decode_seconds: float = Field(default=4.0, ge=0.001, description="seconds for one picture to be decoded")
    max_body: int = Field(default=32 << 20, ge=1, description="bytes of a request's body")
    max_files: int = Field(default=32, ge=1, description="pictures in a request")
    max_pixels: int = Field(default=50_000_000, ge=1, description="pixels of a picture")
    max_held: int = Field(default=256 << 20, ge=1, description="bytes of all bodies that are held at once")
    keys: frozenset[bytes] = Field(
        default=frozenset(), description="sha256 of the accepted API keys; empty: none needed"
    )
    watch: Path | None = Field(default=None, description="a file for counts of the answers; None: nothing is kept")
    origins: tuple[str, ...] = Field(default=(), description="web origins whose pages may call this service")

    def accepts(self, key: str) -> bool:
        """Return whether `key` is one of the keys, in the same time for every wrong one."""
        digest = _digest(key)
        return sum(hmac.compare_digest(digest, known) for known in self.keys) > 0  # compares with every one


def wrong_value(error: ValidationError) -> tuple[str, str]:
    """Return the first field that a ValidationError names, and what is wrong with its value."""
    first = error.errors()[0]
    return str(first["loc"][0]), f"{str(first['input'])[:100]}: {first['msg'][0].lower()}{first['msg'][1:]}"


def read_keys(path: Path) -> frozenset[bytes]:
    """Return the digests of the keys in a file: one a line, `#` starts a comment. Raises DarkroomError."""
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
