"""The web application: the endpoints of the service, its page, and how it rejects a request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from darkroom.core.errors import BadImage
from darkroom.serve.batching import QueueFull
from darkroom.serve.middleware import Envelope, Problem, Rejections, problem_response
from darkroom.serve.openapi import class_parameter, content, predictions_schema, responses, upload_body
from darkroom.serve.predictor import Predictor, answer_facts
from darkroom.serve.service import Service
from darkroom.serve.settings import Settings
from darkroom.serve.uploads import Upload, problem_of, read_uploads

PAGE = Path(__file__).parent / "page"
MEDIA = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
STATIC = {"/": "index.html", "/docs": "docs.html"} | {
    f"/{name}": name for name in ("page.js", "card.js", "docs.js", "page.css", "icon.svg")
}
TITLE = "Darkroom"


def create_app(predictor: Predictor, settings: Settings | None = None) -> FastAPI:
    """Return the ASGI application; `app.state.service` is its Service."""
    settings = settings or Settings()
    service = Service(predictor, settings)
    app = FastAPI(
        title=TITLE,
        version=predictor.version,
        description=f"An image classifier ({predictor.config['backbone']}) of {len(predictor.classes)} classes.",
        docs_url=None,
        redoc_url=None,
        lifespan=service.running,
    )
    app.state.service = service
    app.add_exception_handler(QueueFull, _queue_full)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    # The last one added is the outermost: a rejection passes through CORS, so that a page may read it.
    app.add_middleware(Rejections, settings=settings)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )
    app.add_middleware(Envelope, settings=settings, metrics=service.metrics, state=service.state)
    _add_model_routes(app, service)
    _add_watch_routes(app, service)
    _add_pages(app, service)
    return app


def _add_model_routes(app: FastAPI, service: Service) -> None:
    classes = service.predictor.classes

    @app.post(
        "/predict",
        summary="Classify pictures",
        openapi_extra=upload_body(several=True),
        responses=predictions_schema(classes) | responses(*_statuses(service)),
    )
    async def predict(request: Request, top: int = Query(5, ge=1, le=1000, description="How many classes")) -> Response:
        uploads = await _read(request, service)
        async with _admitted(service, len(uploads)):
            answers = await service.classify([upload.data for upload in uploads])
        request.state.facts = {"pictures": len(answers)}
        if all(isinstance(answer, BadImage) for answer in answers):
            raise _worst([answer for answer in answers if isinstance(answer, BadImage)])
        body = [
            {"file": upload.name} | answer_facts(answer, min(top, len(classes)), service.predictor.limits.level)
            for upload, answer in zip(uploads, answers, strict=True)
        ]
        facts = {"model_version": service.predictor.version, "request_id": request.state.request_id}
        return JSONResponse({"predictions": body} | facts)

    @app.post(
        "/explain",
        summary="Where the model looks: the picture with a map over it, the brighter, the more it counted",
        openapi_extra=upload_body(several=False) | {"parameters": [class_parameter(classes)]},
        response_class=Response,
        responses=content("A picture", "image/png") | responses(*_statuses(service)),
    )
    async def explain(request: Request) -> Response:
        label = request.query_params.get("class")
        if label is not None and label not in classes:
            raise Problem(422, f"class {label[:100]!r} is none of this model's; see GET /model")
        uploads = await _read(request, service)
        if len(uploads) > 1:
            raise Problem(422, f"{len(uploads)} files were sent; explain takes one")
        async with _admitted(service, service.explain_cost):
            (pixels,) = await service.decode([uploads[0].data])
            if isinstance(pixels, BadImage):
                service.metrics.images("bad")
                raise problem_of(pixels)
            png = await service.explain(pixels, None if label is None else classes.index(label))
        return Response(png, media_type="image/png")

    @app.get(
        "/model", summary="What the model is: classes, version, card", responses=responses(*_key_statuses(service))
    )
    async def model() -> dict[str, Any]:
        shown = ("backbone", "classes", "explain", "image_size", "limits", "quantized", "version")
        card = service.predictor.folder / "README.md"
        facts = {name: service.predictor.config.get(name) for name in shown}
        limits = {"max_body": service.settings.max_body, "max_files": service.settings.max_files}
        return facts | limits | {"card": card.read_text(encoding="utf-8") if card.exists() else ""}


def _add_watch_routes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Is the process alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="May it be sent requests?", responses=responses(503))
    async def readyz() -> dict[str, str]:
        if not service.ready or service.state.stopping:
            raise Problem(503, "starting or stopping", {"retry-after": "1"})
        return {"status": "ready", "model_version": service.predictor.version}

    @app.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=Response,
        responses=content("Prometheus's text format", "text/plain") | responses(*_key_statuses(service)),
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_pages(app: FastAPI, service: Service) -> None:
    templates = Environment(loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined)
    predictor, needs_key = service.predictor, bool(service.settings.keys)
    # Who has no key may not know the classes either: the page asks for them once it has one.
    facts = {
        "title": TITLE,
        "classes": [] if needs_key else predictor.classes,
    }
    for path, name in STATIC.items():
        text = (PAGE / name).read_text(encoding="utf-8")
        if name.endswith(".html"):
            text = templates.get_template(name).render(facts)

        async def page(text: str = text, media: str = MEDIA[Path(name).suffix]) -> Response:
            return Response(text, media_type=media, headers={"cache-control": "no-cache"})

        app.add_api_route(path, page, methods=["GET"], include_in_schema=False)


async def _read(request: Request, service: Service) -> list[Upload]:
    """Read the files of a request. Raises Problem, or QueueFull before the body is read: it would have come in vain."""
    service.batcher.check()
    return await read_uploads(request, service.settings)


@asynccontextmanager
async def _admitted(service: Service, slots: int) -> AsyncIterator[None]:
    """Hold slots in the queue while a request is worked on, which has `timeout` seconds. Raises Problem, QueueFull.

    They are taken once its body has arrived, so that a slow sender holds none.
    """
    batcher = service.batcher
    if slots > batcher.capacity:
        raise Problem(413, f"{slots} pictures in one request, and the queue has {batcher.capacity} places; send fewer")
    batcher.reserve(slots)
    try:
        async with asyncio.timeout(service.settings.timeout):
            yield
    except TimeoutError:
        seconds = batcher.retry_after()
        reason = f"no answer within {service.settings.timeout:g} s; try again in {seconds} s"
        raise Problem(503, reason, {"retry-after": str(seconds)}) from None
    finally:
        batcher.release(slots)


async def _queue_full(request: Request, error: Exception) -> Response:
    assert isinstance(error, QueueFull)
    return await _problem(request, Problem(503, str(error), {"retry-after": str(error.retry_after)}))


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return await _problem(request, Problem(error.status_code, str(error.detail), dict(error.headers or {})))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    reasons = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
    return await _problem(request, Problem(422, "; ".join(reasons)))


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error, request.state.request_id)


def _worst(errors: list[BadImage]) -> Problem:
    if len(errors) > 1:
        return Problem(422, "none of the files can be used: " + "; ".join(str(error) for error in errors))
    return problem_of(errors[0])


def _key_statuses(service: Service) -> tuple[int, ...]:
    return (401,) if service.settings.keys else ()


def _statuses(service: Service) -> tuple[int, ...]:
    return (400, *_key_statuses(service), 408, 413, 415, 422, 503)
