"""Twice what `darkroom serve` can carry, for a minute, with hostile clients among the honest ones.

    python -m benchmarks.overload models/export PHOTOS [--seconds 60]

Honest clients send photos at twice the measured capacity. Beside them, some send requests and never read the answers,
and some send progressive JPEGs of 10,000 scans. Printed: what the honest ones got, health, and memory by the second.
"""

import argparse
import asyncio
import socket
import struct
from collections import Counter
from pathlib import Path

from benchmarks import load
from benchmarks.serving import darkroom, resident

READERS = 8
BOMBERS = 2
ASK = b"GET /page.js HTTP/1.1\r\nHost: x\r\n\r\n"


def main() -> None:
    """Measure the capacity, then overload."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    photos = [path.read_bytes() for path in sorted(options.photos.rglob("*.jpg"))[:64]]
    requests = [load.request(photo) for photo in photos]
    with darkroom(options.model) as (port, process):
        capacity = asyncio.run(load.closed(port, requests, 16, 10)).rate
        print(f"capacity: {capacity:.1f} images/s; now {2 * capacity:.1f} a second for {options.seconds:g} s")
        watched = asyncio.run(overload(port, process.pid, requests, 2 * capacity, options.seconds))
        process.terminate()
        print(f"stopped with status {process.wait(30)}")
    outcome, memory, health, bombs = watched
    print(f"honest: {dict(sorted(outcome.statuses.items()))}, 95 % of the 200s within {outcome.percentile(95):.0f} ms")
    print(f"bombs: {dict(sorted(bombs.items()))}; health: {dict(health)}")
    quarter = max(1, len(memory) // 4)
    print(
        "memory by quarters, at most:",
        [max(memory[start : start + quarter]) for start in range(0, len(memory), quarter)],
    )
    assert set(outcome.statuses) <= {200, 503}
    assert set(health) == {200}


async def overload(
    port: int, pid: int, requests: list[bytes], rate: float, seconds: float
) -> tuple[load.Outcome, list[int], Counter[int], Counter[int]]:
    """Send everything at once; what the honest clients got, MB of memory, answers of /healthz and of the bombs."""
    memory: list[int] = []
    health: Counter[int] = Counter()
    bombs: Counter[int] = Counter()
    others = [asyncio.create_task(never_read(port)) for _ in range(READERS)]
    others += [asyncio.create_task(send_bombs(port, bombs)) for _ in range(BOMBERS)]
    others.append(asyncio.create_task(watch(port, pid, memory, health)))
    outcome = await load.open_loop(port, requests, rate, seconds)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return outcome, memory, health, bombs


async def never_read(port: int) -> None:
    """Ask for pages until nothing more is taken, and read none; once cut off, do it again."""
    loop = asyncio.get_running_loop()
    while True:
        with socket.socket() as client:
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            try:
                await loop.sock_connect(client, ("127.0.0.1", port))
                while True:
                    await loop.sock_sendall(client, ASK * 200)
            except OSError:
                await asyncio.sleep(0.1)


async def send_bombs(port: int, statuses: Counter[int]) -> None:
    """Send one bomb after the other."""
    client, data = load.Client(port), load.request(scans())
    while True:
        statuses[await client.send(data)] += 1


async def watch(port: int, pid: int, memory: list[int], health: Counter[int]) -> None:
    """Note memory and health every second."""
    client = load.Client(port)
    while True:
        memory.append(round(resident(pid)))
        health[await client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")] += 1
        await asyncio.sleep(1)


def scans(side: int = 4096, count: int = 10_000) -> bytes:
    """Return a small progressive JPEG, grey, `side` px square: every scan says of all blocks that nothing changes in
    them."""

    def segment(marker: int, body: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body

    table = segment(0xDB, b"\x00" + b"\x01" * 64)
    frame = segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00")
    codes = segment(0xC4, b"\x00" + bytes([1] + [0] * 15) + b"\x00")
    codes += segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0")  # `0` and 14 bits: 16,384 blocks
    blocks = (side // 8) ** 2
    bits = "0" * 15 * (blocks // 16_384)
    bits += "1" * (-len(bits) % 8)
    first = segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(-(-blocks // 8))
    other = segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"\xff\xd8" + table + frame + codes + first + other * count + b"\xff\xd9"


if __name__ == "__main__":
    main()
