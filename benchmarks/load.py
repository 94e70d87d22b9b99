"""A load generator for the service's benchmarks: raw HTTP/1.1 over asyncio, cheap enough to share the machine.

`closed` keeps a number of requests under way and so finds what a service can carry. `open_loop` sends at a fixed rate
whatever the answers do, as independent clients would, and counts latency from the time a request was due: a service
that falls behind cannot slow its clients down and look good by it.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

TIMEOUT = 30.0


@dataclass
class Outcome:
    """Answers by status (0: none came), seconds from due time to answer of the 200s, and how long it took in all."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers with 200, a second."""
        return self.statuses[200] / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds within which `share` percent of the 200s were answered."""
        return float(np.percentile(self.latencies, share)) * 1000 if self.latencies else float("nan")


def request(body: bytes, path: str = "/predict", kind: str = "image/jpeg") -> bytes:
    """One POST as bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def form(body: bytes, path: str = "/predict") -> bytes:
    """One POST of a form with one file, as bytes."""
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    return request(part + body + b"\r\n--b--\r\n", path, "multipart/form-data; boundary=b")


class Client:
    """Connections that are kept and used again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, data: bytes) -> int:
        """Return the status of the answer, 0 when the connection ended without one."""
        fresh = not self.idle
        try:
            reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return 0
        try:
            writer.write(data)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT)
            lower = head.lower()
            length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in lower else 0
            await reader.readexactly(length)
            if b"connection: close" in lower:
                writer.close()
            else:
                self.idle.append((reader, writer))
            return int(head.split(b" ", 2)[1])
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            writer.close()
            # A kept connection may have been closed while it was idle: HTTP lets the client try once more.
            return 0 if fresh else await self.send(data)

    def close(self) -> None:
        """Close what is idle."""
        for _, writer in self.idle:
            writer.close()


async def closed(port: int, requests: list[bytes], at_once: int, seconds: float) -> Outcome:
    """Keep `at_once` requests under way for `seconds`."""
    outcome, client = Outcome(), Client(port)
    started = time.perf_counter()

    async def one(offset: int) -> None:
        turn = offset
        while (due := time.perf_counter()) - started < seconds:
            status = await client.send(requests[turn % len(requests)])
            outcome.statuses[status] += 1
            if status == 200:
                outcome.latencies.append(time.perf_counter() - due)
            turn += at_once

    await asyncio.gather(*(one(index) for index in range(at_once)))
    outcome.seconds = time.perf_counter() - started
    client.close()
    return outcome


async def open_loop(port: int, requests: list[bytes], rate: float, seconds: float) -> Outcome:
    """Send `rate` requests a second, at exponential intervals, for `seconds`; wait for every answer."""
    outcome, client = Outcome(), Client(port)
    gaps = np.random.default_rng(0).exponential(1 / rate, int(rate * seconds))
    started = time.perf_counter()
    dues = started + np.cumsum(gaps)

    async def one(data: bytes, due: float) -> None:
        status = await client.send(data)
        outcome.statuses[status] += 1
        if status == 200:
            outcome.latencies.append(time.perf_counter() - due)

    tasks = []
    for turn, due in enumerate(dues.tolist()):
        left = due - time.perf_counter()
        if left > 0:
            await asyncio.sleep(left)
        tasks.append(asyncio.create_task(one(requests[turn % len(requests)], due)))
        if turn % 200 == 0:
            tasks = [task for task in tasks if not task.done()]
    await asyncio.gather(*tasks)
    outcome.seconds = time.perf_counter() - started
    client.close()
    return outcome
