"""Thousands of hostile requests against `darkroom serve`: no 500, no crash, no leak, and health stays 200.

    python -m benchmarks.hostile models/export PICTURES [--count 10000]

PICTURES is a folder of odd and broken images; to these come bombs, random bytes, fuzzed forms, cut uploads, slow
senders, huge headers and malformed HTTP. Everything is drawn from a fixed seed.
"""

import argparse
import asyncio
import io
import struct
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks import load
from benchmarks.serving import darkroom, resident

Attack = Callable[[np.random.Generator], Awaitable[int]]
AT_ONCE = 24
PATIENCE = 20.0


def main() -> None:
    """Attack, and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    with darkroom(options.model, "--timeout", "5") as (port, process):
        attacker = Attacker(port, options.pictures)
        asyncio.run(attacker.run(options.count // 5, seed=1))  # until memory is as large as it gets
        before, files_before = resident(process.pid), open_files(process.pid)
        attacker.statuses.clear()
        asyncio.run(attacker.run(options.count, seed=2))
        after, files_after = resident(process.pid), open_files(process.pid)
        assert process.poll() is None, "it has crashed"
    print(f"{options.count:,} hostile requests: {dict(sorted(attacker.statuses.items()))}")
    print(f"health: {dict(attacker.health)}")
    print(f"memory {before:.0f} -> {after:.0f} MB, open files {files_before} -> {files_after}")
    assert not attacker.statuses[500]
    assert set(attacker.health) == {200}


class Attacker:
    """Sends hostile requests; `statuses` by number (0: the connection ended without an answer), `health` likewise."""

    def __init__(self, port: int, pictures: Path) -> None:
        self.port = port
        self.pictures = [path.read_bytes() for path in sorted(pictures.rglob("*")) if path.is_file()] + bombs()
        self.statuses: Counter[int] = Counter()
        self.health: Counter[int] = Counter()

    async def run(self, count: int, seed: int) -> None:
        """Send `count` requests, some at once, and ask for health all the while."""
        generator = np.random.default_rng(seed)
        kinds: list[Attack] = [self.picture, self.picture_form, self.noise, self.fuzzed_form]
        kinds += [self.cut, self.slow, self.header, self.broken]
        chosen = generator.choice(len(kinds), count, p=[0.3, 0.2, 0.12, 0.2, 0.08, 0.02, 0.04, 0.04])
        seeds = generator.integers(0, 2**32, count)
        todo = iter([(kinds[kind], int(number)) for kind, number in zip(chosen, seeds, strict=True)])
        done = asyncio.Event()
        watch = asyncio.create_task(self.watch(done))
        await asyncio.gather(*(self.work(todo) for _ in range(AT_ONCE)))
        done.set()
        await watch

    async def work(self, todo: "Iterator[tuple[Attack, int]]") -> None:
        """Send one after another."""
        for attack, seed in todo:
            status = await attack(np.random.default_rng(seed))
            self.statuses[status] += 1

    async def watch(self, done: asyncio.Event) -> None:
        """Ask for health ten times a second, on fresh connections."""
        while not done.is_set():
            self.health[await self.exchange(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")] += 1
            await asyncio.sleep(0.1)

    async def picture(self, generator: np.random.Generator) -> int:
        """Return an odd picture as it is, or a little damaged, under any type."""
        kind = str(generator.choice(["image/jpeg", "image/png", "application/octet-stream", "text/html"]))
        path = str(generator.choice(["/predict", "/predict", "/predict", "/explain"]))
        return await self.exchange(load.request(damaged(self.any_picture(generator), generator), path, kind))

    async def picture_form(self, generator: np.random.Generator) -> int:
        """Return the same in a form."""
        return await self.exchange(load.form(damaged(self.any_picture(generator), generator)))

    async def noise(self, generator: np.random.Generator) -> int:
        """Random bytes, some behind a picture's first bytes."""
        start = [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"II*\0", b"BM"]
        data = start[generator.integers(len(start))] + generator.bytes(int(generator.integers(0, 50_000)))
        return await self.exchange(load.request(data))

    async def fuzzed_form(self, generator: np.random.Generator) -> int:
        """Return a form with bytes changed, taken out or doubled in its frame."""
        whole = load.form(self.any_picture(generator)[:2000])
        changed = bytearray(whole.split(b"\r\n\r\n", 1)[1])
        for _ in range(int(generator.integers(1, 8))):
            index = int(generator.integers(0, min(len(changed), 200)))
            change = generator.integers(3)
            if change == 0:
                changed[index] = int(generator.integers(256))
            elif change == 1:
                del changed[index : index + int(generator.integers(1, 20))]
            else:
                changed[index:index] = changed[index : index + 30]
        boundary = str(generator.choice(["; boundary=b", "; boundary=b", "", "; boundary="]))
        return await self.exchange(load.request(bytes(changed), kind=f"multipart/form-data{boundary}"))

    async def cut(self, generator: np.random.Generator) -> int:
        """Return an upload that ends in the middle."""
        whole = load.form(self.any_picture(generator))
        return await self.exchange(whole[: int(generator.integers(1, len(whole)))], then_close=True)

    async def slow(self, generator: np.random.Generator) -> int:
        """Return a sender of a few bytes a second, in the headers or in the body."""
        whole = load.request(self.any_picture(generator)[:500])
        return await self.exchange(whole[: int(generator.integers(20, len(whole) - 20))], then_drip=True)

    async def header(self, generator: np.random.Generator) -> int:
        """Huge, many or odd headers."""
        lines = [b"X-Big: " + b"a" * int(generator.integers(10, 100_000))]
        lines += [b"X-%d: " % n + generator.bytes(8).hex().encode() for n in range(int(generator.integers(0, 300)))]
        return await self.exchange(b"POST /predict HTTP/1.1\r\nHost: x\r\n" + b"\r\n".join(lines) + b"\r\n\r\n")

    async def broken(self, generator: np.random.Generator) -> int:
        """HTTP that is none."""
        forms = [
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
            b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
            b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            b"POST /predict?top=-1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            b"GET /%ff%fe/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
            b"BREW / HTCPCP/1.0\r\n\r\n",
            generator.bytes(300),
        ]
        return await self.exchange(forms[generator.integers(len(forms))], then_close=bool(generator.integers(2)))

    def any_picture(self, generator: np.random.Generator) -> bytes:
        """One of the pictures."""
        return self.pictures[generator.integers(len(self.pictures))]

    async def exchange(self, data: bytes, then_close: bool = False, then_drip: bool = False) -> int:
        """Send on a connection of its own; the answer's status, 0 when none came."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return 0
        try:
            writer.write(data)
            await writer.drain()
            if then_close:
                return 0
            if then_drip:
                await drip(writer, reader)
            line = await asyncio.wait_for(reader.readline(), PATIENCE)
            return int(line.split()[1]) if line else 0
        except (OSError, TimeoutError):
            return 0
        finally:
            writer.close()


async def drip(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
    """Send a byte every half second until the other side has had enough."""
    for _ in range(30):
        await asyncio.sleep(0.5)
        if reader.at_eof() or writer.is_closing():
            return
        writer.write(b"a")


def damaged(data: bytes, generator: np.random.Generator) -> bytes:
    """Return `data` as it is, cut short, or with a few bytes changed."""
    choice = generator.integers(3)
    if choice == 0 or not data:
        return data
    if choice == 1:
        return data[: int(generator.integers(0, len(data)))]
    changed = bytearray(data)
    for index in generator.integers(0, len(data), 5):
        changed[index] = int(generator.integers(256))
    return bytes(changed)


def bombs() -> list[bytes]:
    """Small files that say they are large, and one that is: PNGs of 50,000 and 12,000 px a side, a GIF of 65,535 px."""

    def png(side: int, rows: int) -> bytes:
        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        pixels = zlib.compress(bytes((side // 8 + 1) * rows), 9)
        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")

    gif = io.BytesIO(b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + bytes(6) + b",")
    return [png(50_000, 10), png(12_000, 12_000), png(7_000, 7_000), gif.getvalue() + bytes(500)]


def open_files(pid: int) -> int:
    """How many file descriptors a process holds."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


if __name__ == "__main__":
    main()
