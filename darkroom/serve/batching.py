"""Micro-batching: requests that come within a few milliseconds share one run of the model, behind a bounded queue."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from darkroom.core.errors import DarkroomError


class QueueFull(DarkroomError):
    """There is no place left in the queue; `retry_after` is when there should be one, in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


def best_batch(predict: Callable[[np.ndarray], np.ndarray], size: int, most: int, seconds: float = 1.0) -> int:
    """The largest batch, up to `most`, that costs at most a tenth more an image than the cheapest one, measured here.

    On a processor large batches fall out of its caches: mobilenet_v2 at 224 px took 3.9 ms an image in batches of 4 and
    5.7 in batches of 32. Sizes are doubled until they cost clearly more, or `seconds` are used up.
    """
    started, costs, batch = time.perf_counter(), dict[int, float](), 1
    while batch <= most and time.perf_counter() - started < seconds:
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
    return max(batch for batch, cost in costs.items() if cost <= 1.1 * min(costs.values()))


@dataclass
class Stats:
    """What the queue has done since it was opened."""

    batches: int = 0
    images: int = 0
    seconds: float = 0.0  # in the model
    sizes: deque[int] = field(default_factory=lambda: deque(maxlen=1000))  # of the latest batches


@dataclass(frozen=True)
class _Waiting:
    image: np.ndarray
    since: float  # by the loop's clock
    answer: asyncio.Future[np.ndarray]


class Batcher:
    """Gives pictures of many requests to `predict` together: uint8 (b, S, S, 3) -> float32 (b, K), b <= `batch`.

    Lives in one event loop; the model runs in one thread of its own. A batch starts as soon as the model is free and
    either it is full or its oldest picture has waited `wait` seconds.

    An overload is refused while it is still cheap. `reserve` hands out `capacity` places before anything is read;
    `begin` then lets pictures in as long as those before them should be answered within `patience` seconds, by the
    pace of the latest batches: a queue that is longer only makes every answer late.
    """

    def __init__(
        self,
        predict: Callable[[np.ndarray], np.ndarray],
        batch: int = 32,
        wait: float = 0.003,
        capacity: int = 128,
        patience: float = 0.4,
    ) -> None:
        self._predict, self.batch, self.wait = predict, batch, wait
        self.capacity, self.patience = capacity, patience
        self._queue: deque[_Waiting] = deque()
        self._running = 0
        self._filled = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")
        self._worker: asyncio.Task[None] | None = None
        self.reserved = self.working = 0
        self.pace = 0.0  # seconds a picture, from decoding to answer, while there is work
        self._busy_since = 0.0
        self._alone = self._alone_before = 0.0  # seconds in `run_alone`: all of them, and up to `_busy_since`
        self.stats = Stats()

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

    def reserve(self, places: int = 1) -> None:
        """Take places in the queue; give them back with `release`. Raises QueueFull."""
        if self.reserved + places > self.capacity or self.working * self.pace > self.patience:
            raise QueueFull(self.retry_after())
        self.reserved += places

    def release(self, places: int = 1) -> None:
        """Give places back, once the request is answered."""
        self.reserved -= places

    def begin(self, pictures: int) -> None:
        """Let pictures in, to be decoded and answered; `end` them. Raises QueueFull."""
        if self.working and (self.working + pictures) * self.pace > self.patience:
            raise QueueFull(self.retry_after())
        if not self.working:
            self._busy_since, self._alone_before = time.perf_counter(), self._alone
        self.working += pictures

    def end(self, pictures: int) -> None:
        """They are answered, or given up."""
        self.working -= pictures

    def retry_after(self) -> int:
        """In how many seconds the pictures under way should be answered; 1 to 60."""
        return int(min(max(self.working * self.pace + 0.5, 1), 60))

    async def submit(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (n, K) of decoded pictures (S, S, 3)."""
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(image, loop.time(), loop.create_future()) for image in images]
        self._queue.extend(waiting)
        self._filled.set()
        return np.stack(await asyncio.gather(*(entry.answer for entry in waiting)))

    async def run_alone(self, job: Callable[[], np.ndarray]) -> np.ndarray:
        """Run `job` in the model's thread, between two batches; its time is not part of the pace."""

        def timed() -> np.ndarray:
            started = time.perf_counter()
            try:
                return job()
            finally:
                self._alone += time.perf_counter() - started  # only the model's thread writes it

        return await asyncio.get_running_loop().run_in_executor(self._thread, timed)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._filled.wait()
            deadline = self._queue[0].since + self.wait
            batch = self._batch()
            while len(self._queue) < batch and (left := deadline - loop.time()) > 0:
                self._filled.clear()
                try:
                    await asyncio.wait_for(self._filled.wait(), left)
                except TimeoutError:
                    break
            taken = [self._queue.popleft() for _ in range(min(batch, len(self._queue)))]
            if not self._queue:
                self._filled.clear()
            # A request that has timed out or gone has cancelled its pictures: they need not be computed.
            waiting = [entry for entry in taken if not entry.answer.done()]
            if waiting:
                self._running = len(waiting)
                await self._answer(waiting)
                self._running = 0

    def _batch(self) -> int:
        # Half of what a picture may wait is spent in its own batch: on a slow model, batches are smaller.
        return max(1, min(self.batch, int(self.patience / 2 / self.pace))) if self.pace else self.batch

    async def _answer(self, waiting: list[_Waiting]) -> None:
        def timed() -> tuple[np.ndarray, float]:
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
        if self.working:
            self._learn(len(waiting), seconds)
        self.stats.batches += 1
        self.stats.images += len(waiting)
        self.stats.seconds += seconds
        self.stats.sizes.append(len(waiting))
        for entry, answer in zip(waiting, answers, strict=True):
            if not entry.answer.done():
                entry.answer.set_result(answer)

    def _learn(self, pictures: int, seconds: float) -> None:
        """Learn the pace from a batch that is answered now, in which the model spent `seconds`."""
        now, alone = time.perf_counter(), self._alone
        sample = max(now - self._busy_since - (alone - self._alone_before), seconds) / pictures
        if self.pace:
            # How long one large picture took to decode tells the pace only where others had to wait for it: a sample
            # counts more, the more pictures are under way, and beside none it is the model's own time.
            others = self.working > pictures
            sample = min(sample, max(seconds / pictures, self.pace * max(2, self.working) if others else 0.0))
        self.pace = 0.8 * self.pace + 0.2 * sample if self.pace else sample
        self._busy_since, self._alone_before = now, alone
