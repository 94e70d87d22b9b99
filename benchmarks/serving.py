"""Throughput and overload of `darkroom serve`, side by side with onnxruntime in a loop and with a tutorial's service.

    python -m benchmarks.serving models/export PHOTOS [--seconds 5] [--overload 60]

The load comes from another process on loopback, on the same processors: what it costs, the service does not get.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

from benchmarks import load

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3


def main() -> None:
    """Measure in turns, so that what else the machine does meets all alike; print the medians and their ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--overload", type=float, default=60)
    options = parser.parse_args()
    photos = [path.read_bytes() for path in sorted(options.photos.rglob("*.jpg"))[:200]]
    print(f"{len(photos)} photos of {statistics.mean(map(len, photos)) / 1000:.0f} kB on average")
    rates: dict[str, list[float]] = {}
    with darkroom(options.model) as (port, process), tutorial() as tutorial_port:
        requests = [load.form(photo) for photo in photos]
        for _ in range(ROUNDS):
            # On a machine that is busy with other work, onnxruntime's busy waiting costs it more than it brings.
            for batch, spin in ((1, True), (1, False), (32, True), (32, False)):
                name = f"onnxruntime, batch {batch}{'' if spin else ', no spinning'}"
                rates.setdefault(name, []).append(loop(options, photos, batch, spin))
            rates.setdefault("darkroom serve", []).append(saturate(port, requests, 16, options.seconds))
            rates.setdefault("tutorial", []).append(saturate(tutorial_port, requests, 16, options.seconds))
        medians = {name: statistics.median(values) for name, values in rates.items()}
        ours = medians["darkroom serve"]
        for name, median in medians.items():
            print(f"{name:35} {median:7.1f} images/s   darkroom serve is {ours / median:.2f} of it")
        overload(port, process.pid, requests, 2 * ours, options.overload)


def overload(port: int, pid: int, requests: list[bytes], rate: float, seconds: float) -> None:
    """Twice what it can carry."""
    asyncio.run(load.open_loop(port, requests, rate, min(5, seconds)))
    memory = [resident(pid)]

    async def watched() -> load.Outcome:
        task = asyncio.create_task(load.open_loop(port, requests, rate, seconds))
        while not task.done():
            await asyncio.wait([task], timeout=seconds / 6)
            memory.append(resident(pid))
        return task.result()

    outcome = asyncio.run(watched())
    late = f"p50 {outcome.percentile(50):.0f} ms, p99 {outcome.percentile(99):.0f} ms"
    print(f"offered {rate:.0f}/s for {seconds:g} s: {dict(outcome.statuses)}, {outcome.rate:.1f} answers/s")
    print(f"of the 200s {late}; memory, MB: {', '.join(f'{held:.0f}' for held in memory)}")


def saturate(port: int, requests: list[bytes], at_once: int, seconds: float) -> float:
    """Answers a second with `at_once` requests under way."""
    return asyncio.run(load.closed(port, requests, at_once, seconds)).rate


def loop(options: argparse.Namespace, photos: list[bytes], batch: int, spin: bool) -> float:
    """Pictures a second of onnxruntime alone, in a process of its own: decode, then run, one batch after another."""
    import json

    code = (
        "import sys, time, json, pathlib; import numpy as np; from itertools import cycle, islice;"
        "from benchmarks.serving import alone; print(json.dumps(alone(*json.loads(sys.argv[1]))))"
    )
    arguments = json.dumps([str(options.model), str(options.photos), batch, options.seconds, len(photos), spin])
    done = subprocess.run([sys.executable, "-c", code, arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def alone(model: str, photos: str, batch: int, seconds: float, count: int, spin: bool) -> float:
    """Return the loop itself."""
    import numpy as np

    from darkroom.core.files import read_json
    from darkroom.images.decode import decode
    from darkroom.images.framing import Framing
    from darkroom.model.session import open_session

    session = open_session(Path(model) / "model.onnx", spin=spin)
    framing = Framing(**read_json(Path(model) / "config.json")["framing"])
    data = cycle([path.read_bytes() for path in sorted(Path(photos).rglob("*.jpg"))[:count]])
    session.run(["probabilities"], {"images": np.zeros((batch, framing.size, framing.size, 3), np.uint8)})
    done, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < seconds:
        images = np.stack([decode(photo, framing) for photo in islice(data, batch)])
        session.run(["probabilities"], {"images": images})
        done += batch
    return done / took


@contextmanager
def darkroom(model: Path, *options: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Yield a `darkroom serve` process and its port."""
    command = [sys.executable, "-m", "darkroom.cli", "serve", "--model", str(model), "--port", "0", *options]
    with tempfile.NamedTemporaryFile("w+") as log:
        process = subprocess.Popen(command, stderr=log, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        try:
            while "http://" not in (said := Path(log.name).read_text()):
                time.sleep(0.05)
            port = int(said.split("http://")[1].split()[0].rsplit(":", 1)[1])
            wait_for(port, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            yield port, process
        finally:
            process.terminate()
            process.wait()


@contextmanager
def tutorial() -> Iterator[int]:
    """Yield the tutorial's service and its port."""
    port = 18000 + os.getpid() % 1000
    command = [sys.executable, "-m", "uvicorn", "benchmarks.tutorial_app:app", "--port", str(port), "--no-access-log"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        yield port
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int, request: bytes) -> None:
    """Return when the service answers 200."""

    async def ask() -> int:
        client = load.Client(port)
        status = await client.send(request)
        client.close()
        return status

    while asyncio.run(ask()) != 200:
        time.sleep(0.1)


def resident(pid: int) -> float:
    """Megabytes of memory that a process holds."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
