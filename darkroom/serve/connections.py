"""Limit the number and time of connections to `darkroom serve`, and answer the one that is too many."""

import asyncio
import contextlib
import ctypes
import json
import select
import socket
import struct
import sys
import time
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from darkroom.serve.service import Service

MOST = 1000  # served at once: each is a file descriptor
TURNED_AWAY = 3000  # beyond them, which get 503; any more are aborted
IDLE_FOR = 1.0  # seconds after which an idle connection may be closed for a new one
CROWD = 64  # requests under way from which a new one is turned away unread while the queue is full
SO_ATTACH_FILTER = 26  # of Linux, which Python's socket module does not name
IDLE_GRACE = 1.0  # seconds that a client may take to notice `Connection: close` before idle connections are closed


def rejection(status: str, reason: str, *headers: str) -> bytes:
    """Return a whole response that needs no request to have been parsed, after which the connection ends."""
    body = json.dumps({"error": reason}).encode()
    lines = [
        f"HTTP/1.1 {status}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


BUSY = rejection("503 Service Unavailable", "too many requests are under way; try again in 1 s", "retry-after: 1")
MALFORMED = rejection("400 Bad Request", "this is not HTTP/1.1 as RFC 9112 has it")


class Protocol(H11Protocol):
    """Speak HTTP/1.1, with limits on connections and on the time in which a request must arrive and be read.

    Where there are too many connections, the one that has been idle longest makes room. Where none is idle, or a crowd
    waits for a queue that is full, a new request gets 503 before it is parsed, which costs little.
    """

    def __init__(self, config: uvicorn.Config, *arguments: Any, **options: Any) -> None:
        super().__init__(config, *arguments, **options)
        self.service: Service = config.app.state.service  # type: ignore[union-attr]
        self._late: asyncio.TimerHandle | None = None  # ends a request that does not arrive
        self._unread: asyncio.TimerHandle | None = None  # ends an answer that is not read
        self._arriving = False
        self._surplus = False  # one connection too many: what it asks is answered with 503
        self._ended = False  # the last answer was sent: what still comes is read and dropped
        self._half_closed = False  # the client sends no more, and reads the answers to what it has sent

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for the connection, or note that there is none."""
        super().connection_made(transport)
        # Every byte that the system does not take at once counts as unread.
        transport.set_write_buffer_limits(0)
        self._expect()  # ends a connection on which nothing is ever sent
        if len(self.connections) > MOST and not self._make_room():
            self._surplus = True
            if len(self.connections) > MOST + TURNED_AWAY:
                transport.abort()
        self._is_idle(True)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request, or turn it away before it is parsed."""
        is_new = self in self.service.state.idle
        self._is_idle(False)
        if self._ended:
            return
        if self._surplus or (is_new and data.startswith(b"POST ") and self._is_crowded()):
            self._turn_away(BUSY)
            return
        super().data_received(data)
        self._watch()

    def eof_received(self) -> bool:  # type: ignore[override] # as asyncio's Protocol has it
        """Answer the requests that have come whole before their sender closed its own side."""
        self._half_closed = self._is_answering() and not self._ended
        return self._half_closed  # keeps the side open that the answers take

    def on_response_complete(self) -> None:
        """Wait for the next request, which may be here already, whole or in part."""
        super().on_response_complete()
        if self._half_closed and not self._is_answering():
            self.transport.close()
        self._watch()
        self._is_idle(not self._arriving and self.conn.their_state is h11.IDLE)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """Reject what is not HTTP; where an answer has been begun, only end the connection."""
        if self.cycle and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()
        else:
            self._turn_away(MALFORMED)

    def shutdown(self) -> None:
        """End the connection when the service stops, once what is under way is answered."""
        if self._ended:
            self.transport.close()
        elif self not in self.service.state.idle or not _has_input(self.transport):
            super().shutdown()
        # Else a request has come just now, which closing would reset: its answer ends the connection.

    def pause_writing(self) -> None:
        """Give the client `timeout` seconds to read what was written."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.service.settings.timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client has read it."""
        super().resume_writing()
        if self._unread:
            self._unread.cancel()
            self._unread = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._is_idle(False)
        self._relax()
        if self._unread:
            self._unread.cancel()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        """Return whether a request has come whole and is not answered yet."""
        whole = self.conn.their_state in (h11.DONE, h11.MUST_CLOSE)  # MUST_CLOSE: `Connection: close`, or HTTP/1.0
        return whole and self.conn.our_state is h11.SEND_RESPONSE

    def _is_idle(self, idle: bool) -> None:
        if idle and not self.transport.is_closing():
            self.service.state.idle[self] = self.loop.time()
        else:
            self.service.state.idle.pop(self, None)

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest, if it is for long enough; return whether one was."""
        for other, since in self.service.state.idle.items():
            if self.loop.time() - since < IDLE_FOR:
                return False
            if not _has_input(other.transport):  # a request that has come just now, and is not read yet
                other.transport.close()
                self.service.state.idle.pop(other)
                return True
        return False

    def _is_crowded(self) -> bool:
        return len(self.tasks) >= CROWD and self.service.batcher.is_full()

    def _turn_away(self, response: bytes) -> None:
        """Send the last answer on this connection, and keep reading: closing it now could lose the answer."""
        self._ended = True
        if response is BUSY:
            self.service.metrics.turned_away()
        if self.cycle and not self.cycle.response_complete:
            self.cycle.disconnected = True  # what it would still send goes nowhere
            self.cycle.message_event.set()
        self._unset_keepalive_if_required()
        self._expect()
        self.transport.write(response)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _watch(self) -> None:
        # Bytes that arrive while a request is answered are not late: they wait for this side.
        begun = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        arriving = begun or self.conn.their_state is h11.SEND_BODY
        if self._ended:
            return
        if arriving and not self._arriving:
            self._expect()
        elif not arriving:
            self._relax()
        self._arriving = arriving

    def _expect(self) -> None:
        # The application answers a slow body with 408; this ends what never becomes a request, a little later.
        self._relax()
        self._late = self.loop.call_later(self.service.settings.timeout + 1, self.transport.abort)

    def _relax(self) -> None:
        if self._late:
            self._late.cancel()
            self._late = None


def _has_input(transport: asyncio.Transport) -> bool:
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), select.POLLIN)
    return bool(poll.poll(0))


def turn_off(listener: socket.socket) -> None:
    """Let nobody else connect, while those who have done so are still there to be accepted.

    Without a backlog the kernel still connects one client at a time, and closing would reset the last of them. A filter
    on Linux drops the segment that opens a connection (SYN), and no other: its sender tries again a second later, and
    finds the port closed, or the next server on it.
    """
    listener.listen(0)
    if sys.platform == "linux":
        # Classic BPF (socket(7)): load byte 13, TCP's flags; keep no byte where bit 2, SYN, is set, else all.
        steps = [(0x30, 0, 0, 13), (0x45, 0, 1, 2), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)]
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
        with contextlib.suppress(OSError):  # a sandbox without filters: the small gap stays
            program = struct.pack("HP", len(steps), ctypes.addressof(code))
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


class Server(uvicorn.Server):
    """Stop in order: take no new connection, answer what was sent on the open ones, then close them."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self.config.app.state.service.state.stopping = True  # type: ignore[union-attr]
        for listener in sockets or []:
            turn_off(listener)  # closing it at once would reset who has connected and is not yet accepted
        for _ in range(20):  # they are accepted now, however busy the loop is
            await asyncio.sleep(0.005)
        for server in self.servers:
            server.close()
        until = time.monotonic() + IDLE_GRACE
        while self.server_state.connections and time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
        self._captured_signals.clear()  # it would raise them again, though they have been obeyed
