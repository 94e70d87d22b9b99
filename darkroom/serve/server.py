"""`darkroom serve`: the web service as a process that can be exposed, watched and stopped without losing a request."""

import argparse
import asyncio
import ctypes
import logging
import math
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darkroom.core.errors import DarkroomError
from darkroom.core.progress import say
from darkroom.serve.envelope import JsonLines, State
from darkroom.serve.predictor import Predictor
from darkroom.serve.settings import Settings, read_keys

LOOPBACK = ("127.0.0.1", "::1", "localhost")
CONNECTIONS = 1000  # at most: each is a file descriptor
BACKLOG = 512
IDLE_GRACE = 1.0  # seconds that a client may take to notice `Connection: close` before idle connections are closed
STOP_WITHIN = 30
SO_ATTACH_FILTER = 26  # Linux; Python's socket module does not name it


def main(arguments: list[str]) -> int:
    """Serve until SIGINT or SIGTERM."""
    options = _parser().parse_args(arguments)
    settings = Settings(
        batch=options.batch,
        wait=options.wait_ms / 1000,
        queue=options.queue,
        patience=options.patience,
        max_body=options.max_body_mb << 20,
        max_pixels=options.max_megapixels * 1_000_000,
        timeout=options.timeout,
        keys=read_keys(options.api_key_file) if options.api_key_file else frozenset(),
        origins=tuple(options.cors_origin),
    )
    try:
        from darkroom.serve.service import create_app
    except ModuleNotFoundError as error:
        raise DarkroomError(f"{error.name} is not installed; run `make setup-serve` in the project's folder") from error
    _log_as_json()
    # Busy waiting of the model's threads would starve decoding and the event loop.
    app = create_app(Predictor(options.model, options.threads, spin=False), settings)
    listener = _bind(options.host, options.port)
    host, port = listener.getsockname()[:2]
    if options.host not in LOOPBACK and not settings.keys:
        say(f"darkroom serve: anyone who reaches {host}:{port} may use it; ask for a key with --api-key-file")
    shown = f"[{host}]" if ":" in host else host
    say(f"darkroom serve: http://{shown}:{port} (Ctrl+C stops it)")
    make_server(app, settings).run(sockets=[listener])
    return 0


def make_server(app: Any, settings: Settings) -> Any:
    """A uvicorn server that bounds connections and slow senders, and drains before it stops."""
    import h11
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Protocol(H11Protocol):
        """HTTP/1.1 with a limit on connections, and on the time that a request may take from its first byte on."""

        _late: asyncio.TimerHandle | None = None
        _arriving = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > CONNECTIONS:
                transport.abort()
                return
            self._expect()  # ends a connection on which nothing is ever sent

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()  # the next request may be here already, whole or in part

        def connection_lost(self, exc: Exception | None) -> None:
            self._relax()
            super().connection_lost(exc)

        def _watch(self) -> None:
            # Bytes that come while a request is being answered wait for us, not we for them.
            begun = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
            arriving = begun or self.conn.their_state is h11.SEND_BODY
            if arriving and not self._arriving:
                self._expect()
            elif not arriving:
                self._relax()
            self._arriving = arriving

        def _expect(self) -> None:
            # The application answers a slow body with 408; this ends what never becomes a request, a little later.
            self._relax()
            self._late = self.loop.call_later(settings.timeout + 1, self.transport.abort)

        def _relax(self) -> None:
            if self._late:
                self._late.cancel()
                self._late = None

    class Server(uvicorn.Server):
        """Stops in order: takes no new connection, answers what was sent on the open ones, then closes them."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            state: State = app.state.service.state
            state.stopping = True
            for listener in sockets or []:
                _let_nobody_in_line(listener)
            for _ in range(20):  # who stands in line is let in, however busy the loop is
                await asyncio.sleep(0.005)
            for server in self.servers:
                server.close()
            until = time.monotonic() + IDLE_GRACE
            while self.server_state.connections and time.monotonic() < until and not self.force_exit:
                await asyncio.sleep(0.02)
            await super().shutdown(sockets)
            self._captured_signals.clear()  # it would raise them again: what was asked for has been done

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


def _let_nobody_in_line(listener: socket.socket) -> None:
    """New connections wait outside, until the socket is closed and their next knock is refused.

    Closing it at once would reset those that the kernel has accepted and this process has not yet seen.
    """
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0 bytes of every packet
    try:
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(drop_all)))
    except OSError:
        listener.listen(0)  # another system: one connection may still get in line


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("darkroom").setLevel(logging.INFO)


def _parser() -> argparse.ArgumentParser:
    default = Settings()
    parser = argparse.ArgumentParser(
        prog="darkroom serve",
        description="Serve the exported model over HTTP, with a page to try it on. It listens on this machine alone "
        "unless --host says otherwise.",
    )
    parser.add_argument("--model", default="models/export", metavar="DIR", help="an exported model (models/export)")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=_port, default=8000, help="the port, 0 for any free one (8000)")
    parser.add_argument("--threads", type=_positive, default=0, help="threads of the model (one a core)")
    parser.add_argument("--batch", type=_positive, default=default.batch, help=f"largest batch ({default.batch})")
    parser.add_argument(
        "--wait-ms", type=_at_least(0), default=1000 * default.wait, help="wait for a batch to fill (3)"
    )
    parser.add_argument("--queue", type=_positive, default=default.queue, help=f"pictures under way ({default.queue})")
    parser.add_argument(
        "--patience", type=_at_least(0.001), default=default.patience, metavar="S", help="longest queue (0.4)"
    )
    parser.add_argument(
        "--timeout",
        type=_at_least(0.001),
        default=default.timeout,
        metavar="S",
        help="seconds for a body to arrive, and for its answer (10)",
    )
    parser.add_argument("--max-body-mb", type=_positive, default=default.max_body >> 20, help="MiB a request (32)")
    parser.add_argument("--max-megapixels", type=_positive, default=50, help="millions of pixels a picture (50)")
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help="ask for one of the keys in FILE, one a line")
    parser.add_argument("--cors-origin", action="append", default=[], metavar="URL", help="let pages of URL call it")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected 0 to 65535")
    return int(text)


def _at_least(least: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(f"{text!r} is no number of at least {least:g}")
        return value

    return number
