import asyncio
import threading
import time

import numpy as np
import pytest

from darkroom.serve.batching import Batcher, QueueFull, best_batch


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
        assert [int(answer[0, 0]) for answer in answers] == list(range(20))
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
    def slow(images):
        time.sleep(0.02 * len(images))
        return mean(images)

    async def work(batcher):
        await one(batcher)
        assert 0.02 <= batcher.pace < 0.1
        tasks = [asyncio.create_task(one(batcher)) for _ in range(100)]
        await asyncio.sleep(0)
        assert 2 <= batcher.working <= 10
        with pytest.raises(QueueFull):
            batcher.begin(20)
        refused = [error for error in await asyncio.gather(*tasks, return_exceptions=True) if error]
        assert len(refused) >= 90
        assert all(isinstance(error, QueueFull) for error in refused)
        batcher.begin(50)  # alone, a large request may take as long as it needs

    asyncio.run(with_batcher(work, predict=slow, patience=0.2))


def test_the_largest_batch_that_is_cheap_is_chosen():
    def caches_hold_four(images):
        time.sleep(0.002 * len(images) * (1 if len(images) <= 4 else 1.5) + 0.001)
        return mean(images)

    assert best_batch(caches_hold_four, 2, 32) == 4
    assert best_batch(caches_hold_four, 2, 2) == 2
    assert best_batch(lambda images: time.sleep(0.003) or mean(images), 2, 32) == 32
    assert best_batch(lambda images: time.sleep(0.05) or mean(images), 2, 32, seconds=0.1) == 1


def test_batches_of_a_slow_model_are_smaller():
    sizes = []

    def slow(images):
        sizes.append(len(images))
        time.sleep(0.01 * len(images))
        return mean(images)

    async def work(batcher):
        batcher.pace = 0.01
        batcher.begin(64)
        await batcher.submit([picture(n) for n in range(64)])

    asyncio.run(with_batcher(work, predict=slow, batch=32, patience=0.2))
    assert max(sizes) <= 10


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
        assert (await batcher.submit([picture(4)]))[0, 0] == 4

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
        return [int((await asyncio.wait_for(task, 1))[0, 0]) for task in tasks]

    assert asyncio.run(work()) == [0, 1, 2, 3, 4]


async def one(batcher, decoding: float = 0.0):
    """A request for one picture, which takes `decoding` seconds to decode."""
    batcher.begin(1)
    try:
        await asyncio.sleep(decoding)
        await batcher.submit([picture(1)])
    finally:
        batcher.end(1)


def test_a_picture_that_was_long_in_decoding_does_not_make_a_free_server_refuse_the_next_ones():
    async def work(batcher):
        await one(batcher)
        await one(batcher, decoding=0.4)
        await asyncio.gather(*(one(batcher) for _ in range(16)))

    asyncio.run(with_batcher(work))


def test_an_overload_of_decoding_is_noticed_within_a_few_batches():
    async def work(batcher):
        batcher.pace, decoder = 0.001, asyncio.Semaphore(1)
        answered = []

        async def decoded():
            batcher.begin(1)
            try:
                async with decoder:
                    await asyncio.sleep(0.05)
                await batcher.submit([picture(1)])
                answered.append(1)
            finally:
                batcher.end(1)

        tasks = [asyncio.create_task(decoded()) for _ in range(60)]
        while len(answered) < 5:
            await asyncio.sleep(0.01)
        assert batcher.pace > 0.02
        with pytest.raises(QueueFull):
            batcher.begin(1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(with_batcher(work))


def test_what_runs_alone_is_not_part_of_the_pace():
    async def work(batcher):
        await one(batcher)
        batcher.begin(1)
        alone = asyncio.create_task(batcher.run_alone(lambda: time.sleep(0.6) or np.zeros(1)))
        await asyncio.sleep(0.01)
        await asyncio.gather(*(one(batcher) for _ in range(3)))
        await alone
        batcher.end(1)
        assert batcher.pace < 0.1  # 0.6 s for 3 pictures would be 0.2

    asyncio.run(with_batcher(work))
