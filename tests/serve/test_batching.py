import asyncio
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from darkroom.serve.batching import Batcher, QueueFull, Speed, measure_speed


def picture(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def mean(images: np.ndarray) -> np.ndarray:
    return images.mean((1, 2)).astype(np.float32)


async def with_batcher(work, **settings):
    batcher = Batcher(settings.pop("predict", mean), **settings)
    batcher.start()
    try:
        return await work(batcher)
    finally:
        await batcher.stop()


def test_requests_that_come_together_share_a_batch_and_get_their_own_answers():
    async def work(batcher):
        answers = await asyncio.gather(*(batcher.submit([picture(n)]) for n in range(20)))
        assert [int(answer[0][0]) for answer in answers] == list(range(20))
        assert batcher.stats.batches <= 2
        assert batcher.stats.images == 20

    asyncio.run(with_batcher(work))


def test_no_batch_is_larger_than_allowed():
    sizes = []

    def predict(images):
        sizes.append(len(images))
        return mean(images)

    async def work(batcher):
        await batcher.submit([picture(n) for n in range(21)])

    asyncio.run(with_batcher(work, predict=predict, batch=8))
    assert sizes == [8, 8, 5]


def test_a_lone_picture_waits_only_a_few_milliseconds():
    async def work(batcher):
        await batcher.submit([picture(1)])
        started = time.monotonic()
        await batcher.submit([picture(1)])
        assert time.monotonic() - started < 0.1

    asyncio.run(with_batcher(work))


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back():
    async def work(batcher):
        batcher.reserve(3)
        with pytest.raises(QueueFull, match="try again in 1 s") as refused:
            batcher.reserve(2)
        assert refused.value.retry_after == 1
        batcher.reserve(1)
        batcher.release(4)
        batcher.reserve(4)

    asyncio.run(with_batcher(work, capacity=4))


def test_a_queue_that_would_take_too_long_is_full_whatever_its_length():
    batcher = Batcher(mean, capacity=128, patience=0.2)
    batcher.set_speed(Speed(batch=32, seconds=0.02))
    batcher.reserve(50)  # alone, a large request may take as long as it needs
    with pytest.raises(QueueFull, match="try again in 1 s"):
        batcher.reserve(1)
    batcher.release(50)
    for _ in range(10):
        batcher.reserve()
    with pytest.raises(QueueFull):
        batcher.check()
    assert batcher.reserved == 10


def test_the_largest_batch_that_is_cheap_is_chosen(monkeypatch):
    """By a clock that a run of the model puts forward."""
    now = [0.0]
    monkeypatch.setattr("darkroom.serve.batching.time", SimpleNamespace(perf_counter=lambda: now[0]))

    def taking(seconds):
        def predict(images):
            now[0] += seconds(len(images))

        return predict

    caches_hold_four = taking(lambda count: 0.002 * count * (1 if count <= 4 else 1.5) + 0.001)
    found = measure_speed(caches_hold_four, 2, 32)
    assert (found.batch, found.seconds) == (4, pytest.approx(0.002 + 0.001 / 4))
    assert measure_speed(caches_hold_four, 2, 2).batch == 2
    assert measure_speed(taking(lambda _: 0.003), 2, 32).batch == 32
    assert measure_speed(taking(lambda _: 0.05), 2, 32, seconds=0.1).batch == 1


def test_batches_of_a_slow_model_are_smaller():
    batcher = Batcher(mean, patience=0.2)
    batcher.set_speed(Speed(batch=32, seconds=0.01))
    assert batcher.batch == 10
    batcher.set_speed(Speed(batch=32, seconds=10.0))
    assert (batcher.batch, batcher.depth) == (1, 1)
    batcher.set_speed(Speed(batch=32, seconds=0.0001))
    assert (batcher.batch, batcher.depth) == (32, 128)


def test_pictures_of_a_request_that_has_gone_are_not_computed():
    seen, gate = [], threading.Event()

    def predict(images):
        seen.extend(images[:, 0, 0, 0].tolist())
        gate.wait(5)
        return mean(images)

    async def work(batcher):
        first = asyncio.create_task(batcher.submit([picture(1)]))
        while not seen:
            await asyncio.sleep(0.001)
        gone = asyncio.create_task(batcher.submit([picture(2)]))
        stays = asyncio.create_task(batcher.submit([picture(3)]))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, stays)

    asyncio.run(with_batcher(work, predict=predict))
    assert seen == [1, 3]


def test_an_error_of_the_model_reaches_the_requests_of_its_batch_and_no_other():
    def predict(images):
        if images.max() == 9:
            raise ValueError("no")
        return mean(images)

    async def work(batcher):
        with pytest.raises(ValueError, match="no"):
            await batcher.submit([picture(9)])
        assert (await batcher.submit([picture(4)]))[0][0] == 4

    asyncio.run(with_batcher(work, predict=predict))


def test_stopping_answers_what_was_taken():
    def slow(images):
        time.sleep(0.05)
        return mean(images)

    async def work():
        batcher = Batcher(slow, batch=1)
        batcher.start()
        tasks = [asyncio.create_task(batcher.submit([picture(n)])) for n in range(5)]
        await asyncio.sleep(0)
        await batcher.stop()
        return [int((await asyncio.wait_for(task, 1))[0][0]) for task in tasks]

    assert asyncio.run(work()) == [0, 1, 2, 3, 4]
