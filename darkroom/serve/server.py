"""`darkroom serve`: the web service as a process that can be exposed, watched and stopped without losing a request."""

import argparse
import logging
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.core import runtime
from darkroom.core.errors import DarkroomError
from darkroom.core.progress import say
from darkroom.serve.predictor import Predictor

if TYPE_CHECKING:
    from darkroom.serve.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")
BACKLOG = 512
STOP_WITHIN = 10  # seconds for the answers that are under way when it is asked to stop


def main(arguments: list[str]) -> int:
    """Serve until SIGINT or SIGTERM."""
    try:
        from darkroom.serve.application import create_app
    except ModuleNotFoundError as error:
        raise DarkroomError(f"{error.name} is not installed; run `make setup-serve` in the project's folder") from error
    options, settings = _options(arguments)
    _log_as_json()
    runtime.open_files()
    # Busy waiting of the model's threads would starve decoding and the event loop.
    app = create_app(Predictor(options.model, options.threads, spin=False), settings)
    listener = _bind(options.host, options.port)
    host, port = listener.getsockname()[:2]
    if options.host not in LOOPBACK and not settings.keys:
        say(f"darkroom serve: anyone who reaches {host}:{port} may use it; ask for a key with --api-key-file")
    shown = f"[{host}]" if ":" in host else host
    say(f"darkroom serve: http://{shown}:{port} (Ctrl+C stops it)")
    make_server(app).run(sockets=[listener])
    return 0


def make_server(app: Any) -> Any:
    """Return a uvicorn server that bounds connections, slow senders and slow readers, and drains before it stops."""
    import uvicorn

    from darkroom.serve.connections import Protocol, Server

    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STOP_WITHIN,
        h11_max_incomplete_event_size=16 << 10,
    )
    return Server(config)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        # Not os.strerror: a name that is not found has a number of its own kind. Python appends the address.
        reason = str(getattr(error, "strerror", None) or error).partition(" (while")[0]
        raise DarkroomError(f"cannot listen on {host}:{port}: {reason}; choose another --host or --port") from error


def _log_as_json() -> None:
    from darkroom.serve.middleware import JsonLines

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("darkroom").setLevel(logging.INFO)


def _options(arguments: list[str]) -> "tuple[argparse.Namespace, Settings]":
    """Return the options and the settings that follow from them; a value out of range is a wrong usage."""
    from pydantic import ValidationError

    from darkroom.serve.settings import Settings, read_keys, wrong_value

    default = Settings()
    parser = argparse.ArgumentParser(
        prog="darkroom serve",
        description="Serve the exported model over HTTP, with a page to try it on. It listens on this machine alone "
        "unless --host says otherwise.",
    )
    add = parser.add_argument
    add("--model", default="models/export", metavar="DIR", help="an exported model (models/export)")
    add("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    add("--port", type=_port, default=8000, help="the port, 0 for any free one (8000)")
    add("--threads", type=_positive, default=0, help="threads of the model (one a core)")
    add("--batch", type=int, default=default.batch, help=f"largest batch ({default.batch})")
    add("--wait-ms", type=float, default=1000 * default.wait, help="wait for a batch to fill (3)")
    add("--queue", type=int, default=default.queue, help=f"pictures under way ({default.queue})")
    add("--patience", type=float, default=default.patience, metavar="S", help="longest queue (0.4)")
    text = "seconds for a body to arrive, for its answer, and for the client to read it (10)"
    add("--timeout", type=float, default=default.timeout, metavar="S", help=text)
    text = "seconds for one picture to be decoded (4)"
    add("--decode-seconds", type=float, default=default.decode_seconds, metavar="S", help=text)
    add("--max-body-mb", type=int, default=default.max_body >> 20, help="MiB a request (32)")
    add("--max-megapixels", type=int, default=50, help="millions of pixels a picture (50)")
    add("--api-key-file", type=Path, metavar="FILE", help="ask for one of the keys in FILE, one a line")
    add("--cors-origin", action="append", default=[], metavar="URL", help="let pages of URL call it")
    text = "keep counts of the answers in FILE, and no picture, for `darkroom drift FILE`"
    add("--watch", type=Path, metavar="FILE", help=text)
    options = parser.parse_args(arguments)
    values = {
        "batch": options.batch,
        "wait": options.wait_ms / 1000,
        "queue": options.queue,
        "patience": options.patience,
        "timeout": options.timeout,
        "decode_seconds": options.decode_seconds,
        "max_body": options.max_body_mb << 20,
        "max_pixels": options.max_megapixels * 1_000_000,
        "watch": options.watch,
    }
    keys = read_keys(options.api_key_file) if options.api_key_file else frozenset()
    try:
        return options, Settings(**values, keys=keys, origins=tuple(options.cors_origin))
    except ValidationError as error:
        field, wrong = wrong_value(error)
        names = {"wait": "wait-ms", "max_body": "max-body-mb", "max_pixels": "max-megapixels"}
        parser.error(f"argument --{names.get(field, field.replace('_', '-'))}: {wrong}")


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text[:100]!r} is not a whole number of at least 1")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text[:100]!r} is not a port; expected 0 to 65535")
    return int(text)
