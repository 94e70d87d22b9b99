"""The web service: the exported model behind HTTP, with a page to try it on."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from darkroom.core.errors import BadImage
from darkroom.model.session import cores
from darkroom.serve import explain as heat_maps
from darkroom.serve.batching import Batcher, QueueFull, best_batch
from darkroom.serve.counters import Metrics
from darkroom.serve.envelope import Envelope, Refusals, State
from darkroom.serve.openapi import class_parameter, content, predictions_schema, upload_body
from darkroom.serve.predictor import Prediction, Predictor
from darkroom.serve.problems import Problem, responses
from darkroom.serve.settings import Settings
from darkroom.serve.uploads import Upload, check_size, problem_of, read_uploads

PAGE = Path(__file__).parent / "page"
MEDIA = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
STATIC = {"/": "index.html", "/docs": "docs.html"} | {
    f"/{name}": name for name in ("page.js", "card.js", "docs.js", "page.css", "icon.svg")
}
TITLE = "Darkroom"


class Service:
    """The model, its queue and its decoding threads, for the endpoints."""

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        self.predictor, self.settings, self.state = predictor, settings, State()
        self.batcher = Batcher(self._predict, settings.batch, settings.wait, settings.queue, settings.patience)
        self.metrics = Metrics(
            predictor.version, predictor.config["backbone"], lambda: self.batcher.reserved, lambda: self.state.held
        )
        self.decoders = ThreadPoolExecutor(cores(), "decoder")
        self.ready = False

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Warm the model up, serve, and finish what was taken."""
        size = self.predictor.framing.size
        self.batcher.batch = best_batch(self.predictor.predict, size, self.settings.batch)
        self.batcher.start()
        for _turn in range(2):  # the first run of a model also allocates: the second tells its pace
            self.batcher.pace = 0.0
            self.batcher.begin(1)
            await self.batcher.submit([np.zeros((size, size, 3), np.uint8)])
            self.batcher.end(1)
        self.ready = True
        yield
        self.ready = False
        await self.batcher.stop()
        self.decoders.shutdown()

    async def classify(self, uploads: list[Upload]) -> list[Prediction | BadImage]:
        """The answer to each upload, in order."""
        decoded = await self.decode(uploads)
        good = [pixels for pixels in decoded if isinstance(pixels, np.ndarray)]
        answers = iter(await self.batcher.submit(good) if good else ())
        self.metrics.images("classified", len(good))
        self.metrics.images("bad", len(decoded) - len(good))
        classes = self.predictor.classes
        return [item if isinstance(item, BadImage) else Prediction(classes, next(answers)) for item in decoded]

    async def decode(self, uploads: list[Upload]) -> list[np.ndarray | BadImage]:
        """Each upload as the model wants it, or why it cannot be."""
        loop = asyncio.get_running_loop()
        return list(await asyncio.gather(*(loop.run_in_executor(self.decoders, self._decode, u.data) for u in uploads)))

    async def explain(self, pixels: np.ndarray, label: int | None) -> bytes:
        """A PNG of where the model looks for the class `label`, by default the most probable one."""
        heat = await self.batcher.run_alone(lambda: heat_maps.heat(self.predictor, pixels, label))
        png = await asyncio.get_running_loop().run_in_executor(self.decoders, heat_maps.picture, pixels, heat)
        self.metrics.images("explained")
        return png

    def _decode(self, data: bytes) -> np.ndarray | BadImage:
        try:
            check_size(data, self.settings.max_pixels)
            return self.predictor.pixels(data)
        except BadImage as error:
            return error

    def _predict(self, images: np.ndarray) -> np.ndarray:
        self.metrics.batch(len(images))
        return self.predictor.predict(images)


def create_app(predictor: Predictor, settings: Settings | None = None) -> FastAPI:
    """The ASGI application; `app.state.service` is its Service."""
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
    # The last one added is the outermost: a refusal passes through CORS, so that a page may read it.
    app.add_middleware(Refusals, settings=settings)
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
    _add_pages(app)
    return app


def _add_model_routes(app: FastAPI, service: Service) -> None:
    classes = service.predictor.classes

    @app.post(
        "/predict",
        summary="Classify pictures",
        openapi_extra=upload_body(several=True),
        responses=predictions_schema(classes) | responses(*_refusals(service)),
    )
    async def predict(request: Request, top: int = Query(5, ge=1, le=1000, description="How many classes")) -> Response:
        async with _admitted(service) as places:
            uploads = await read_uploads(request, service.settings)
            places.take(len(uploads) - 1)
            async with _in_time(service, len(uploads)):
                answers = await service.classify(uploads)
        request.state.facts = {"pictures": len(answers)}
        if all(isinstance(answer, BadImage) for answer in answers):
            raise _worst([answer for answer in answers if isinstance(answer, BadImage)])
        body = [
            {"file": upload.name} | _facts(answer, min(top, len(classes)))
            for upload, answer in zip(uploads, answers, strict=True)
        ]
        facts = {"model_version": service.predictor.version, "request_id": request.state.request_id}
        return JSONResponse({"predictions": body} | facts)

    @app.post(
        "/explain",
        summary="Where the model looks: the picture with a map over it, the brighter, the more it counted",
        openapi_extra=upload_body(several=False) | {"parameters": [class_parameter(classes)]},
        response_class=Response,
        responses=content("A picture", "image/png") | responses(*_refusals(service)),
    )
    async def explain(request: Request) -> Response:
        label = request.query_params.get("class")
        if label is not None and label not in classes:
            raise Problem(422, f"class {label!r} is none of this model's; see GET /model")
        async with _admitted(service) as places:
            uploads = await read_uploads(request, service.settings)
            if len(uploads) > 1:
                raise Problem(422, f"{len(uploads)} files were sent; explain takes one")
            # A queue that is shorter than what a map costs is taken whole.
            places.take(min(heat_maps.cost(service.predictor), service.batcher.capacity) - 1)
            async with _in_time(service, 1):
                (pixels,) = await service.decode(uploads)
                if isinstance(pixels, BadImage):
                    service.metrics.images("bad")
                    raise problem_of(pixels)
                png = await service.explain(pixels, None if label is None else classes.index(label))
        return Response(png, media_type="image/png")

    @app.get("/model", summary="What the model is: classes, version, card", responses=responses(*_key_refusal(service)))
    async def model() -> dict[str, Any]:
        shown = ("backbone", "classes", "explain", "image_size", "quantized", "version")
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
        responses=content("Prometheus's text format", "text/plain") | responses(*_key_refusal(service)),
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_pages(app: FastAPI) -> None:
    for path, name in STATIC.items():
        content = (PAGE / name).read_bytes()

        async def page(content: bytes = content, media: str = MEDIA[Path(name).suffix]) -> Response:
            return Response(content, media_type=media, headers={"cache-control": "no-cache"})

        app.add_api_route(path, page, include_in_schema=False)


class _Places:
    """The places that one request holds in the queue."""

    def __init__(self, batcher: Batcher) -> None:
        self.batcher, self.held = batcher, 0

    def take(self, count: int) -> None:
        if self.held + count > self.batcher.capacity:
            asked, places = self.held + count, self.batcher.capacity
            raise Problem(413, f"{asked} pictures in one request, and the queue has {places} places; send fewer")
        self.batcher.reserve(count)
        self.held += count


@asynccontextmanager
async def _admitted(service: Service) -> AsyncIterator[_Places]:
    """A place in the queue, taken before the body is read; given back when the request is answered."""
    places = _Places(service.batcher)
    places.take(1)
    try:
        yield places
    finally:
        service.batcher.release(places.held)


@asynccontextmanager
async def _in_time(service: Service, pictures: int) -> AsyncIterator[None]:
    """Work on pictures that should not have to wait long, and has `timeout` seconds; 503 otherwise."""
    service.batcher.begin(pictures)
    try:
        async with asyncio.timeout(service.settings.timeout):
            yield
    except TimeoutError:
        seconds = service.batcher.retry_after()
        reason = f"no answer within {service.settings.timeout:g} s; try again in {seconds} s"
        raise Problem(503, reason, {"retry-after": str(seconds)}) from None
    finally:
        service.batcher.end(pictures)


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
    body = {"error": error.reason, "request_id": request.state.request_id}
    return JSONResponse(body, error.status, error.headers)


def _facts(answer: Prediction | BadImage, top: int) -> dict[str, Any]:
    from darkroom.serve.predict import facts

    return facts(answer, top)


def _worst(errors: list[BadImage]) -> Problem:
    found = problem_of(errors[0])
    if len(errors) > 1:
        return Problem(422, "none of the files can be used: " + "; ".join(str(error) for error in errors))
    return found


def _key_refusal(service: Service) -> tuple[int, ...]:
    return (401,) if service.settings.keys else ()


def _refusals(service: Service) -> tuple[int, ...]:
    return (400, *_key_refusal(service), 408, 413, 415, 422, 503)
