import asyncio
import os
import signal
import time

import numpy as np
import pytest

from darkroom.core.errors import BadImage
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.serve.decoders import Decoders

FRAMING = Framing(32, "crop", 32)


async def with_decoders(work, seconds: float = 20.0, count: int = 2):
    decoders = Decoders(FRAMING, 50_000_000, seconds, count)
    await decoders.start()
    try:
        return await work(decoders)
    finally:
        await decoders.stop()


def test_pictures_are_decoded_as_the_pipeline_decodes_them(photos):
    files = [(photos / name).read_bytes() for name in ("china.jpg", "more/flower.png", "more/china.webp")] * 4

    async def work(decoders):
        return await asyncio.gather(*(decoders.decode(data) for data in files))

    for data, pixels in zip(files, asyncio.run(with_decoders(work)), strict=True):
        np.testing.assert_array_equal(pixels, decode(data, FRAMING))


def test_a_bad_picture_is_its_reason_and_the_next_one_is_decoded(photos):
    async def work(decoders):
        bad = await decoders.decode((photos / "cut.jpg").read_bytes())
        return bad, await decoders.decode((photos / "china.jpg").read_bytes())

    bad, good = asyncio.run(with_decoders(work, count=1))
    assert (type(bad), str(bad)) == (BadImage, "truncated")
    assert isinstance(good, np.ndarray)


@pytest.mark.parametrize(
    ("how", "reason"),
    [(signal.SIGSTOP, "takes longer than 1 s to decode"), (signal.SIGKILL, "damaged: the decoder has ended")],
)
def test_a_decoder_that_hangs_or_dies_is_replaced(photos, how, reason):
    data = (photos / "china.jpg").read_bytes()

    async def work(decoders):
        (process,) = decoders._running
        os.kill(process.pid, how)
        answer = await decoders.decode(data)
        assert (type(answer), str(answer)) == (BadImage, reason)
        assert isinstance(await decoders.decode(data), np.ndarray)

    asyncio.run(with_decoders(work, seconds=1.0 if how == signal.SIGSTOP else 20.0, count=1))


def test_a_request_that_has_gone_does_not_leave_its_picture_to_the_next_one(photos):
    first, second = ((photos / name).read_bytes() for name in ("china.jpg", "flower.jpg"))

    async def work(decoders):
        (process,) = decoders._running
        os.kill(process.pid, signal.SIGSTOP)
        task = asyncio.create_task(decoders.decode(first))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return await decoders.decode(second)

    np.testing.assert_array_equal(asyncio.run(with_decoders(work, count=1)), decode(second, FRAMING))


def test_stopping_does_not_wait_for_a_picture(photos):
    async def work(decoders):
        for process in decoders._running:
            os.kill(process.pid, signal.SIGSTOP)
        task = asyncio.create_task(decoders.decode((photos / "china.jpg").read_bytes()))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        await decoders.stop()
        assert time.monotonic() - started < 5
        await task

    asyncio.run(with_decoders(work))


def test_a_request_that_goes_while_its_decoder_is_being_ended_leaves_a_slot_that_works(photos):
    good, seconds = (photos / "china.jpg").read_bytes(), 0.3

    async def work(decoders):
        found = []
        for late in (-0.001, 0.0, 0.0005, 0.001, 0.002, 0.004):
            decoders.seconds = seconds
            for process in decoders._running:
                if process.returncode is None:
                    os.kill(process.pid, signal.SIGSTOP)
            task = asyncio.create_task(decoders.decode(good))
            await asyncio.sleep(seconds + late)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            decoders.seconds = 20.0
            found.append(await decoders.decode(good))
        return found

    for pixels in asyncio.run(with_decoders(work, count=1)):
        np.testing.assert_array_equal(pixels, decode(good, FRAMING))
