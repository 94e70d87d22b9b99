"""Batch requests: those within a few milliseconds share one run of the model, behind a bounded queue."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from darkroom.core.errors import DarkroomError

T = TypeVar("T")


class QueueFull(DarkroomError):
    """Report that the queue has no slot left; `retry_after` is when it should have one, in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True)
class Speed:
    """The batch size that suits this machine, and its seconds an image."""

    batch: int
    seconds: float


def measure_speed(predict: Callable[[np.ndarray], object], size: int, largest: int, seconds: float = 1.0) -> Speed:
    """Measure the largest batch, up to `largest`, that costs at most a tenth more an image than the cheapest one.

    On a processor large batches fall out of its caches: mobilenet_v2 at 224 px took 3.9 ms an image in batches of 4 and
    5.7 in batches of 32. Sizes are doubled until they cost clearly more, or `seconds` are used up.
    """
    started, costs, batch = time.perf_counter(), dict[int, float](), 1
    while batch <= largest and time.perf_counter() - started < seconds:
        images = np.zeros((batch, size, size, 3), np.uint8)
        times = []
        for _ in range(4):  # the first of a size also allocates
            before = time.perf_counter()
            predict(images)
            times.append(time.perf_counter() - before)
        costs[batch] = min(times) / batch
        if costs[batch] > 1.3 * min(costs.values()):
            break
        batch *= 2
    chosen = max(batch for batch, cost in costs.items() if cost <= 1.1 * min(costs.values()))
    return Speed(chosen, costs[chosen])


@dataclass
class Stats:
    """Count what the queue has done since it was opened."""

    batches: int = 0
    images: int = 0
    seconds: float = 0.0  # in the model
    sizes: deque[int] = field(default_factory=lambda: deque(maxlen=1000))  # of the latest batches


@dataclass(frozen=True)
class _Waiting:
    image: np.ndarray
    since: float  # by the loop's clock
    answer: asyncio.Future[Any]


class Batcher(Generic[T]):
    """Give pictures of many requests to `predict` together: uint8 (b, S, S, 3) -> b answers, b <= `batch`.

    Lives in one event loop; the model runs in one thread of its own. A batch starts as soon as the model is free and
    either it is full or its oldest picture has waited `wait` seconds.

    An overload is rejected while it is still cheap: `reserve` hands out as many slots as the model, at the speed that
    was measured when the service started, answers within `patience` seconds, and never more than `capacity`. A longer
    queue would only make every answer late.
    """

    def __init__(
        self,
        predict: Callable[[np.ndarray], Sequence[T]],
        batch: int = 32,
        wait: float = 0.003,
        capacity: int = 128,
        patience: float = 0.4,
    ) -> None:
        self._predict, self.batch, self.wait = predict, batch, wait
        self.capacity, self.patience = capacity, patience
        self.depth, self.seconds = capacity, 0.0  # slots, and seconds an image
        self._queue: deque[_Waiting] = deque()
        self._running = 0
        self._filled = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")
        self._worker: asyncio.Task[None] | None = None
        self.reserved = 0
        self.stats = Stats()

    def set_speed(self, speed: Speed) -> None:
        """Bound the queue by `patience`, and a batch by half of it, the time that a picture spends in its own batch."""
        self.seconds = speed.seconds
        self.depth = min(self.capacity, max(1, int(self.patience / speed.seconds)))
        self.batch = max(1, min(speed.batch, int(self.patience / 2 / speed.seconds)))

    def start(self) -> None:
        """Start serving the queue, in the running event loop."""
        self._worker = asyncio.get_running_loop().create_task(self._work(), name="batcher")

    async def stop(self) -> None:
        """Answer what is in the queue, then stop."""
        while self._queue or self._running:
            await asyncio.sleep(0.005)
        if self._worker:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        self._thread.shutdown()

    def check(self, slots: int = 1) -> None:
        """Raise QueueFull unless so many slots are free; in an empty queue a request may take up to `capacity`."""
        if self.is_full(slots):
            raise QueueFull(self.retry_after())

    def is_full(self, slots: int = 1) -> bool:
        """Return whether fewer slots than these are free."""
        return self.reserved + slots > (self.depth if self.reserved else self.capacity)

    def reserve(self, slots: int = 1) -> None:
        """Take slots in the queue; give them back with `release`. Raises QueueFull."""
        self.check(slots)
        self.reserved += slots

    def release(self, slots: int = 1) -> None:
        """Give slots back, once the request is answered."""
        self.reserved -= slots

    def retry_after(self) -> int:
        """Return the seconds in which the pictures under way should be answered, 1 to 60."""
        return int(min(max(self.reserved * self.seconds + 0.5, 1), 60))

    async def submit(self, images: Sequence[np.ndarray]) -> list[T]:
        """Return the answers to decoded pictures (S, S, 3)."""
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(image, loop.time(), loop.create_future()) for image in images]
        self._queue.extend(waiting)
        self._filled.set()
        return await asyncio.gather(*(entry.answer for entry in waiting))

    async def run_alone(self, job: Callable[[], np.ndarray]) -> np.ndarray:
        """Run `job` in the model's thread, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._filled.wait()
            deadline = self._queue[0].since + self.wait
            while len(self._queue) < self.batch and (left := deadline - loop.time()) > 0:
                self._filled.clear()
                try:
                    await asyncio.wait_for(self._filled.wait(), left)
                except TimeoutError:
                    break
            taken = [self._queue.popleft() for _ in range(min(self.batch, len(self._queue)))]
            if not self._queue:
                self._filled.clear()
            # A request that has timed out, or whose client has gone, has cancelled its pictures.
            waiting = [entry for entry in taken if not entry.answer.done()]
            if waiting:
                self._running = len(waiting)
                await self._answer(waiting)
                self._running = 0

    async def _answer(self, waiting: list[_Waiting]) -> None:
        def timed() -> tuple[Sequence[T], float]:
            started = time.perf_counter()
            return self._predict(images), time.perf_counter() - started

        try:
            images = np.stack([entry.image for entry in waiting])
            answers, seconds = await asyncio.get_running_loop().run_in_executor(self._thread, timed)
        except Exception as error:
            for entry in waiting:
                if not entry.answer.done():
                    entry.answer.set_exception(error)
            return
        self.stats.batches += 1
        self.stats.images += len(waiting)
        self.stats.seconds += seconds
        self.stats.sizes.append(len(waiting))
        for entry, answer in zip(waiting, answers, strict=True):
            if not entry.answer.done():
                entry.answer.set_result(answer)
