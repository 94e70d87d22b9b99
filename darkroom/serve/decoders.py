"""Decode uploads in processes of their own: one that takes too long, or dies, is replaced, and the service goes on.

A thread that decodes cannot be stopped, and a malicious picture can keep a decoder busy for minutes. `python -m
darkroom.serve.decoders FRAMING MAX_PIXELS` is such a process: it reads pictures on standard input and writes their
pixels, or the reason why there are none, on standard output, until the input ends.
"""

import asyncio
import json
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from darkroom.core.errors import BadImage
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.images.headers import stored_size

ROOT = Path(__file__).resolve().parents[2]
LENGTH = struct.Struct("<Q")  # before a picture
ANSWER = struct.Struct("<?Q")  # before an answer: whether it is pixels, and how many bytes follow
STREAM = 1 << 20  # bytes that are read ahead from a decoder


class Decoders:
    """Run `count` processes that turn the bytes of a file into (S, S, 3) uint8, each at most `seconds` a picture."""

    def __init__(self, framing: Framing, max_pixels: int, seconds: float, count: int) -> None:
        self.framing, self.max_pixels, self.seconds, self.count = framing, max_pixels, seconds, count
        self._idle: asyncio.Queue[asyncio.subprocess.Process | None] = asyncio.Queue()
        self._running: set[asyncio.subprocess.Process] = set()

    async def start(self) -> None:
        """Start the processes."""
        for process in await asyncio.gather(*(self._start() for _ in range(self.count))):
            await self._ask(process, b"")  # answered once its libraries are there
            self._idle.put_nowait(process)

    async def stop(self) -> None:
        """End the processes, whatever they are doing."""
        await asyncio.gather(*(self._end(process) for process in [*self._running]))

    async def decode(self, data: bytes) -> np.ndarray | BadImage:
        """Return the picture, framed for the model, or why there is none."""
        process = await self._idle.get()
        whole = False
        try:
            # A slot whose process has ended gets a new one here, from the request that needs it.
            if process is None or process.returncode is not None:
                process = await self._start()
                await self._ask(process, b"")  # its libraries take time, which is not the picture's
            async with asyncio.timeout(self.seconds):
                answer = await self._ask(process, data)
            whole = True
        except TimeoutError:
            answer = BadImage(f"takes longer than {self.seconds:g} s to decode")
        except (asyncio.IncompleteReadError, OSError, RuntimeError):  # the last from uvloop, for a pipe that is closed
            answer = BadImage("damaged: the decoder has ended")  # killed for its memory, or a fault in a library
        finally:
            # An interrupted process would answer the next request with this one's picture. Nothing is awaited here:
            # a second interruption would leave the process in its slot.
            if process is not None and not whole:
                self._kill(process)
            self._idle.put_nowait(process if whole else None)
        return answer

    async def _ask(self, process: asyncio.subprocess.Process, data: bytes) -> np.ndarray | BadImage:
        assert process.stdin
        assert process.stdout
        process.stdin.write(LENGTH.pack(len(data)))
        process.stdin.write(data)
        await process.stdin.drain()
        decoded, length = ANSWER.unpack(await process.stdout.readexactly(ANSWER.size))
        answer = await process.stdout.readexactly(length)
        if not decoded:
            return BadImage(answer.decode())
        return np.frombuffer(answer, np.uint8).reshape(self.framing.size, self.framing.size, 3)

    async def _start(self) -> asyncio.subprocess.Process:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "darkroom.serve.decoders", json.dumps(self.framing.facts()), str(self.max_pixels)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=STREAM,
            env=os.environ | {"PYTHONPATH": path},  # the very package that serves, also where it is not installed
            start_new_session=True,  # Ctrl+C is for the service, which first answers what it has taken
        )
        self._running = {one for one in self._running if one.returncode is None} | {process}
        return process

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        self._kill(process)
        await process.wait()
        self._running.discard(process)

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            process.kill()


def check_size(data: bytes, most: int) -> None:
    """Raise BadImage when the picture's header announces more than `most` pixels; what has none is the decoder's."""
    width, height = stored_size(data)
    if width * height > most:
        raise BadImage(f"too large: {width} x {height} pixels, at most {most:,} are allowed")


def main(framing: Framing, max_pixels: int, incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Answer one picture after the other, until `incoming` ends."""
    while len(head := incoming.read(LENGTH.size)) == LENGTH.size:
        data = incoming.read(LENGTH.unpack(head)[0])
        try:
            check_size(data, max_pixels)
            decoded, answer = True, decode(data, framing).tobytes()
        except BadImage as error:
            decoded, answer = False, str(error).encode("utf-8", "replace")
        del data
        outgoing.write(ANSWER.pack(decoded, len(answer)))
        outgoing.write(answer)
        outgoing.flush()


if __name__ == "__main__":
    main(Framing(**json.loads(sys.argv[1])), int(sys.argv[2]), sys.stdin.buffer, sys.stdout.buffer)
