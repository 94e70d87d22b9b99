"""What a service counts, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, PlatformCollector, ProcessCollector
from prometheus_client import generate_latest as generate

LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one service, in a registry of their own."""

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
        self._gauge("darkroom_pictures_under_way", "Places of the queue that are taken", waiting)
        self._gauge("darkroom_body_bytes_held", "Bytes of bodies that are held now", held)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request; `path` is a route, `status` 0 when its client was gone before the answer."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def images(self, outcome: str, count: int = 1) -> None:
        """Count pictures: classified, explained, bad."""
        self._images.labels(outcome).inc(count)

    def batch(self, size: int) -> None:
        """Count a run of the model."""
        self._batches.observe(size)

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate(self.registry)

    def _counter(self, name: str, doc: str, *labels: str) -> Counter:
        return Counter(name, doc, labels, registry=self.registry)

    def _gauge(self, name: str, doc: str, read: Callable[[], int]) -> None:
        Gauge(name, doc, registry=self.registry).set_function(read)
