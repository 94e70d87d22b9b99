"""The service behind the endpoints: the model, the queue before it, the decoders, and the counters."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, PlatformCollector, ProcessCollector
from prometheus_client import generate_latest as generate

from darkroom.core.errors import BadImage, DarkroomError
from darkroom.model.heatmaps import GRID, picture
from darkroom.model.session import cores
from darkroom.serve.batching import Batcher, measure_speed
from darkroom.serve.decoders import Decoders
from darkroom.serve.predictor import Prediction, Predictor
from darkroom.serve.settings import Settings
from darkroom.serve.watch import VALUES, WatchFile

LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SAVED_EVERY = 5.0  # seconds between two writes of the watch, which a killed service loses
log = logging.getLogger("darkroom.serve")
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass
class State:
    """The state that all requests of one service share.

    `held`: bytes of bodies in memory; `idle`: when each idle connection became so, the longest idle first.
    """

    held: int = 0
    stopping: bool = False
    idle: dict[Any, float] = field(default_factory=dict)


class Service:
    """Run the model, its queue and its decoders, for the endpoints."""

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        self.predictor, self.settings, self.state = predictor, settings, State()
        self.batcher = Batcher(self._answers, settings.batch, settings.wait, settings.queue, settings.patience)
        self.decoders = Decoders(predictor.framing, settings.max_pixels, settings.decode_seconds, cores())
        self.metrics = Metrics(
            predictor.version, predictor.config["backbone"], lambda: self.batcher.reserved, lambda: self.state.held
        )
        self.watch = WatchFile(settings.watch, predictor.version, predictor.classes) if settings.watch else None
        if self.watch:
            self.metrics.watch(self.watch)
        self.ready = False

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Start the decoders, measure the model's speed, serve, and finish what was taken."""
        try:
            await self.decoders.start()
            size = self.predictor.framing.size
            self.batcher.set_speed(measure_speed(self.predictor.predict, size, self.settings.batch))
            self.batcher.start()
            self.ready = True
            saving = asyncio.create_task(self._save(), name="watch") if self.watch else None
            yield
            self.ready = False
            await self.batcher.stop()
            if saving and self.watch:
                saving.cancel()
                await asyncio.gather(saving, return_exceptions=True)
                self.watch.close()
        finally:
            await self.decoders.stop()

    async def classify(self, files: list[bytes]) -> list[Prediction | BadImage]:
        """Return the answer to the bytes of each file, in order."""
        decoded = await self.decode(files)
        good = [pixels for pixels in decoded if isinstance(pixels, np.ndarray)]
        found = await self.batcher.submit(good) if good else []
        self.metrics.images("classified", len(good))
        self.metrics.images("unknown", sum(answer.unknown for answer in found))
        self.metrics.images("bad", len(decoded) - len(good))
        answers = iter(found)
        return [item if isinstance(item, BadImage) else next(answers) for item in decoded]

    async def decode(self, files: list[bytes]) -> list[np.ndarray | BadImage]:
        """Return each file's picture as the model's input, or why it cannot be decoded."""
        return await asyncio.gather(*(self.decoders.decode(data) for data in files))

    @property
    def explain_cost(self) -> int:
        """Return the slots of the queue that a heat map takes: one for each picture that it runs through the model."""
        return min(1 if self.predictor.has_maps else 1 + GRID * GRID, self.settings.queue)

    async def explain(self, pixels: np.ndarray, label: int | None) -> bytes:
        """Return a PNG of where the model looks for the class `label`, by default the most probable one."""
        heat = await self.batcher.run_alone(lambda: self.predictor.heat(pixels, label))
        png = await asyncio.to_thread(picture, pixels, heat)
        self.metrics.images("explained")
        return png

    def _answers(self, images: np.ndarray) -> list[Prediction]:
        self.metrics.batch(len(images))
        answers = self.predictor.answers(images)
        if self.watch:
            self.watch.watch.record(images, answers)
        return answers

    async def _save(self) -> None:
        """Write the watch every few seconds. An error, such as a full disk, is logged."""
        assert self.watch
        while True:
            await asyncio.sleep(SAVED_EVERY)
            try:
                await asyncio.to_thread(self.watch.save)
            except DarkroomError as error:
                log.warning("watch", extra={"facts": {"error": str(error)}})


class Metrics:
    """Count what one service does, for Prometheus, in a registry of their own."""

    def __init__(self, version: str, backbone: str, waiting: Callable[[], int], held: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = self._counter("darkroom_requests", "Requests answered", "path", "status")
        self._seconds = Histogram(
            "darkroom_request_seconds", "From first byte to answer", ["path"], buckets=LATENCIES, registry=self.registry
        )
        self._images = self._counter("darkroom_images", "Pictures, by what became of them", "outcome")
        self._batches = Histogram(
            "darkroom_batch_images", "Pictures in a run of the model", buckets=BATCHES, registry=self.registry
        )
        Info("darkroom_model", "The model that answers", registry=self.registry).info(
            {"version": version, "backbone": backbone}
        )
        self._turned_away = self._counter("darkroom_turned_away", "Requests answered with 503 before they were parsed")
        self._gauge("darkroom_pictures_under_way", "Places of the queue that are taken", waiting)
        self._gauge("darkroom_body_bytes_held", "Bytes of bodies that are held now", held)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request; `path` is a route, `status` 0 when its client was gone before the answer."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def turned_away(self) -> None:
        """Count a request that was turned away unread."""
        self._turned_away.inc()

    def images(self, outcome: str, count: int = 1) -> None:
        """Count pictures: classified, and of these unknown; explained; bad."""
        self._images.labels(outcome).inc(count)

    def batch(self, size: int) -> None:
        """Count a run of the model."""
        self._batches.observe(size)

    def watch(self, file: WatchFile) -> None:
        """Export the counts of the watch, since its file was created."""
        watch = file.watch
        gauges: list[tuple[str, str, str, Sequence[str], Callable[[int], float]]] = [
            ("answers", "Pictures since the watch began, by answer", "class", watch.classes,
             lambda label: watch.total().classes[label]),
            ("unknown", "Of these unlike the training images", "class", watch.classes,
             lambda label: watch.total().unknown[label]),
            ("mean", "Mean of a value of these pictures, 0..1", "value", VALUES, watch.mean),
        ]  # fmt: skip
        for name, doc, kind, names, read in gauges:
            gauge = Gauge(f"darkroom_watched_{name}", doc, [kind], registry=self.registry)
            for index, each in enumerate(names):
                gauge.labels(each).set_function(partial(read, index))

    def text(self) -> bytes:
        """Return all counters, in Prometheus's text format."""
        return generate(self.registry)

    def _counter(self, name: str, doc: str, *labels: str) -> Counter:
        return Counter(name, doc, labels, registry=self.registry)

    def _gauge(self, name: str, doc: str, read: Callable[[], int]) -> None:
        Gauge(name, doc, registry=self.registry).set_function(read)
