"""Serve the review as a web application: its page, pictures and decisions, for one person on this machine.

Every address begins with a random token, so that no other program or page of the browser can guess it; requests whose
Host is not this machine (a name rebound to it) or whose Origin is another page are rejected. What is served is the
page, and pictures of the samples of this run by their ids: no path comes from a request.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from darkroom.core.errors import REASONS, DarkroomError
from darkroom.review.decisions import Change
from darkroom.review.originals import Originals, encode
from darkroom.review.session import Review
from darkroom.serve.middleware import SECURITY_HEADERS

PAGE, HOUSE = Path(__file__).parent / "page", Path(__file__).parents[1] / "serve/page"
MEDIA = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
FILES = {"": PAGE / "index.html"} | {
    name: PAGE / name for name in ("server.js", "inspector.js", "review.js", "review.css")
} | {name: HOUSE / name for name in ("page.css", "icon.svg")}  # fmt: skip
LARGEST_BODY = 8 << 20
MOST_TILES = 500
LONGEST_LABEL = 1000  # characters: a class is called whatever a folder or a cell of a table is
MOST_CHANGES = 100_000
KEPT = "private, max-age=86400, immutable"  # a picture of the shards does not change while this address exists


class ChangeBody(BaseModel):
    """One decision, as the page sends it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: str = Field(max_length=100)
    decision: str = Field(max_length=20)
    becomes: str = Field("", max_length=LONGEST_LABEL)
    queue: str = Field("", max_length=LONGEST_LABEL + 10)
    note: str = Field("", max_length=500)


class RenameBody(BaseModel):
    """Another label for all images that have one now."""

    model_config = ConfigDict(extra="forbid", strict=True)
    label: str = Field(max_length=LONGEST_LABEL)
    becomes: str = Field(max_length=LONGEST_LABEL)
    note: str = Field("", max_length=500)


class UndoBody(BaseModel):
    """A step to take back, by its number; or the decision about the picture `id`, with step 0."""

    model_config = ConfigDict(extra="forbid", strict=True)
    step: int = Field(ge=0)
    id: str = Field("", max_length=100)


class DecideBody(BaseModel):
    """Decisions that are made together."""

    model_config = ConfigDict(extra="forbid", strict=True)
    changes: list[ChangeBody] = Field(min_length=1, max_length=MOST_CHANGES)


def new_token() -> str:
    """Return a token that nobody guesses: 192 random bits."""
    return secrets.token_urlsafe(24)


def create_app(review: Review, originals: Originals, token: str, hosts: Callable[[], set[str]]) -> FastAPI:
    """Return the ASGI application, below `/<token>/`. `hosts`: the values of Host that mean this server."""
    app = FastAPI(title="Darkroom review", docs_url=None, redoc_url=None, openapi_url=None)
    routes = APIRouter(prefix=f"/{token}")
    _add_data(routes, review)
    _add_pictures(routes, review, originals)
    _add_files(routes)
    app.include_router(routes)
    app.add_exception_handler(DarkroomError, _problem)
    app.add_exception_handler(OSError, _unreadable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Guard, token=token, hosts=hosts)
    return app


class Guard:
    """ASGI middleware that lets through what this server's own page asks, and adds the security headers."""

    def __init__(self, app: ASGIApp, token: str, hosts: Callable[[], set[str]]) -> None:
        self.app, self.token, self.hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or reject it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        problem = self._problem(scope, Headers(scope=scope))
        if problem:
            status, reason = problem
            await JSONResponse({"error": reason}, status)(scope, receive, secured)
        else:
            await self.app(scope, receive, secured)

    def _problem(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        hosts = self.hosts()
        if headers.get("host", "") not in hosts:
            return 421, "this address is not the review's; open the one that `darkroom review` printed"
        given = scope["path"].lstrip("/").partition("/")[0]
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return 404, "nothing is here; open the address that `darkroom review` printed"
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if origin is not None and origin not in {f"http://{host}" for host in hosts}:
            return 403, "another page may not use the review"
        if scope["method"] not in ("GET", "HEAD"):
            if origin is None or site != "same-origin":
                return 403, "only the review's own page may decide"
            if headers.get("content-type", "").partition(";")[0] != "application/json":
                return 415, "expected a body of application/json"
            if not headers.get("content-length", "").isdecimal() or int(headers["content-length"]) > LARGEST_BODY:
                return 413, f"expected a body of at most {LARGEST_BODY:,} bytes, with its length"
        elif site not in ("same-origin", "none"):
            return 403, "another page may not use the review"
        return None


def _add_data(routes: APIRouter, review: Review) -> None:
    @routes.get("/state")
    def state() -> dict[str, Any]:
        return review.state() | {"warnings": review.warnings()}

    @routes.get("/version")
    def version() -> dict[str, Any]:
        return {"version": review.version(), "progress": review.progress, "lists": len(review.queues)}

    @routes.get("/queue")
    def queue(
        name: str,
        start: Annotated[int, Query(ge=0)] = 0,
        count: Annotated[int, Query(ge=1, le=MOST_TILES)] = 50,
        is_open: Annotated[bool, Query(alias="open")] = False,
    ) -> dict[str, Any]:
        return review.page(name, start, count, is_open)

    @routes.get("/items")
    def items(id: Annotated[list[str], Query(max_length=MOST_TILES)]) -> dict[str, Any]:
        return {"items": [review.tile(name) for name in id]}

    @routes.get("/sample")
    def sample(id: str, queue: str = "") -> dict[str, Any]:
        return review.detail(id, queue)

    @routes.post("/decide")
    def decide(body: DecideBody) -> dict[str, Any]:
        return review.decide([Change(**change.model_dump()) for change in body.changes])

    @routes.post("/rename")
    def rename(body: RenameBody) -> dict[str, Any]:
        return review.rename(body.label, body.becomes, body.note)

    @routes.post("/undo")
    def undo(body: UndoBody) -> dict[str, Any]:
        return review.undo(body.step, body.id)


def _add_pictures(routes: APIRouter, review: Review, originals: Originals) -> None:
    @routes.get("/picture")
    def picture(id: str) -> Response:
        if review.proposals and id in review.proposals.position:
            data, media = encode(review.proposals.pixels(id))
            return Response(data, media_type=media, headers={"cache-control": KEPT})
        index = review.samples.index(id)
        if index < review.samples.pictured:
            data, media = encode(review.samples.pixels(index))
            return Response(data, media_type=media, headers={"cache-control": KEPT})
        return Response(originals.thumbnail(review.samples.all[index]), media_type="image/png")

    @routes.get("/original")
    def original(id: str) -> Response:
        if review.proposals and id in review.proposals.position:
            data, media = review.proposals.originals.shown(review.proposals.photo(id))
        else:
            data, media = originals.shown(review.samples.all[review.samples.index(id)])
        return Response(data, media_type=media)


def _add_files(routes: APIRouter) -> None:
    for name, path in FILES.items():
        data, media = path.read_bytes(), MEDIA[path.suffix]

        async def page(data: bytes = data, media: str = media) -> Response:
            return Response(data, media_type=media, headers={"cache-control": "no-cache"})

        routes.add_api_route(f"/{name}", page, methods=["GET", "HEAD"])


async def _problem(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 409)


async def _unreadable(_request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    name = f"{error.filename}: " if error.filename else ""
    return JSONResponse({"error": f"{name}{REASONS.get(error.errno or 0, error.strerror or str(error))}"}, 409)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    reasons = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()[:3]]
    return JSONResponse({"error": "; ".join(reasons)}, 422)
