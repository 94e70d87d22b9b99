"""Wrap every request: id, log line, counters, security headers, API key, limits on its body, rejections."""

import asyncio
import json
import logging
import re
import secrets
import time
import traceback
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from darkroom.core.errors import DarkroomError
from darkroom.serve.service import Metrics, State
from darkroom.serve.settings import Settings

log = logging.getLogger("darkroom.serve")
ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
ABSOLUTE = re.compile("https?://[^/]*", re.IGNORECASE)  # the target of a request as one sends it to a proxy
OPEN = frozenset({"/", "/healthz", "/readyz", "/docs", "/page.js", "/page.css", "/docs.js", "/icon.svg", "/card.js"})
SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Problem(DarkroomError):
    """End a request with `status` and a JSON body {"error": reason, "request_id": …}."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers or {}


class Envelope:
    """Wrap the whole application as its outermost ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics, state: State) -> None:
        self.app, self.settings, self.metrics, self.state = app, settings, metrics, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, method = Headers(scope=scope), scope["method"]
        asked = headers.get("x-request-id", "")
        request_id = asked if ID.fullmatch(asked) else secrets.token_hex(8)
        if method == "HEAD":
            scope = {**scope, "method": "GET"}  # every page that can be had has a head; the server sends no body then
        if whole := ABSOLUTE.match(scope["path"]):  # which a server must accept (RFC 9112, section 3.2.2)
            scope = {**scope, "path": scope["path"][whole.end() :] or "/"}
        scope.setdefault("state", {})["request_id"] = request_id
        body = _Body(receive, headers, self.settings, self.state)
        answer = _Answer(send, request_id, self.state, body)
        started = time.perf_counter()
        try:
            await self.app(scope, body.receive, answer.send)
        finally:
            body.release()
            seconds = time.perf_counter() - started
            path = _route(scope)
            self.metrics.request(path, answer.status, seconds)
            facts = {"request_id": request_id, "method": method, "path": path, "status": answer.status}
            facts |= {"ms": round(1000 * seconds, 1), "bytes": body.size} | scope["state"].get("facts", {})
            log.info("request", extra={"facts": facts})


class Rejections:
    """Check the API key, as ASGI middleware; log an exception that gets here, and answer it with 500."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or reject it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            headers = Headers(scope=scope)
            if "content-length" in headers and "transfer-encoding" in headers:
                # Two lengths: a proxy may go by the other one, and see two requests in one (RFC 9112, 6.1).
                reason = "Content-Length and Transfer-Encoding exclude each other; send one of them"
                raise Problem(400, reason, {"connection": "close"})
            if scope["http_version"] == "1.0" and "transfer-encoding" in headers:  # a proxy of then forwards it unread
                reason = "HTTP/1.0 has no Transfer-Encoding; send Content-Length"
                raise Problem(400, reason, {"connection": "close"})
            self._check_key(scope, headers)
            await self.app(scope, receive, watched)
            return
        except Problem as error:
            problem = error
        except Exception as error:
            facts = {"request_id": scope["state"]["request_id"], "trace": "".join(traceback.format_exception(error))}
            log.error("failed", extra={"facts": facts})
            problem = Problem(500, "an internal error; its trace is in the log, under this request id")
        if not begun:  # otherwise it is too late
            await problem_response(problem, scope["state"]["request_id"])(scope, receive, send)

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        if not self.settings.keys or scope["path"] in OPEN or scope["method"] == "OPTIONS":
            return
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        key = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not self.settings.accepts(key):
            reason = "the API key is unknown" if key else "an API key is needed: send `Authorization: Bearer KEY`"
            raise Problem(401, reason, {"www-authenticate": "Bearer"})


class _Body:
    """Count the request's body on its way in, also when it is chunked and announces no length."""

    def __init__(self, receive: Receive, headers: Headers, settings: Settings, state: State) -> None:
        self._receive, self._settings, self._state = receive, settings, state
        self.size = self._held = 0
        length = headers.get("content-length", "")
        self._declared = int(length) if length.isascii() and length.isdigit() else 0
        # Who waits for `100 Continue` has sent nothing yet.
        self._ended = headers.get("expect", "").lower() == "100-continue"

    async def receive(self) -> Message:
        limit = self._settings.max_body
        # Rejected when it is read, so that a request that needs no body is not rejected for its length.
        if self._declared > limit:
            raise self._too_large()
        message = await self._receive()
        self._ended = not message.get("more_body", False)
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            self.size += count
            self._held += count
            self._state.held += count
            if self.size > limit:
                raise self._too_large()
            if self._state.held > self._settings.max_held:
                raise Problem(503, "too many large bodies are under way; try again in 1 s", {"retry-after": "1"})
        return message

    async def drop(self) -> None:
        """Read the rest of the body and discard it: closing the connection before its end would lose the answer."""
        if self._declared > self._settings.max_body:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.timeout):
                while not self._ended and self.size <= self._settings.max_body:
                    message = await self._receive()
                    self._ended = not message.get("more_body", False)
                    self.size += len(message.get("body", b""))

    def release(self) -> None:
        self._state.held -= self._held
        self._held = 0

    def _too_large(self) -> Problem:
        return Problem(413, f"the body is larger than the {self._settings.max_body:,} bytes allowed")


class _Answer:
    """Add to the response, on its way out, the headers that all responses have."""

    def __init__(self, send: Send, request_id: str, state: State, body: _Body) -> None:
        self._send, self._request_id, self._state, self._body = send, request_id, state, body
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._body.release()  # the answer is made: a client that reads it slowly holds no body
            self.status = message["status"]
            if self.status >= 400 and self.status not in (408, 413):  # those that are about the body itself
                await self._body.drop()
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
            if self._state.stopping:
                headers["connection"] = "close"
        await self._send(message)


def problem_response(problem: Problem, request_id: str) -> JSONResponse:
    """Return a rejection as JSON."""
    return JSONResponse({"error": problem.reason, "request_id": request_id}, problem.status, problem.headers)


class JsonLines(logging.Formatter):
    """Format a log line as one JSON object: time (UTC), level, event, and the facts given as `extra={"facts": …}`."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line | getattr(record, "facts", {}), ensure_ascii=False)


def _route(scope: Scope) -> str:
    """Return the path of the route that was found: one that a client made up must not become a label or log line."""
    return getattr(scope.get("route"), "path", "other")
