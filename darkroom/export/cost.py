"""Measure an exported model on this machine: latency at batch 1 and 32, and the peak memory of a process that runs it.

Measured in a process of its own (`python -m darkroom.export.cost MODEL SIZE THREADS`, which prints JSON), because
the memory of the stage that exports says nothing about the model's.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from darkroom.core.errors import DarkroomError

ROOT = Path(__file__).resolve().parents[2]
BATCHES = (1, 32)
BUDGET = 0.1  # seconds of measuring a batch size; at least 3 runs of it


@dataclass(frozen=True)
class Cost:
    """`latency_ms`: the median milliseconds of one call, by batch size; `peak_memory_mb` of the whole process."""

    latency_ms: dict[str, float]
    peak_memory_mb: int


def measure(model: Path, size: int, threads: int) -> Cost:
    """Run the model file on random pictures (n, size, size, 3) in a fresh process. Raises DarkroomError."""
    command = [sys.executable, "-m", "darkroom.export.cost", str(model), str(size), str(threads)]
    # The fresh process must find this very package, also where it is not installed.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise DarkroomError(f"{model.name} cannot be run in a process of its own: {reason}")
    return Cost(**json.loads(done.stdout))


def main(model: Path, size: int, threads: int) -> Cost:
    """Measure in this process."""
    import numpy as np

    from darkroom.model.session import open_session

    session = open_session(model, threads)
    generator = np.random.default_rng(0)
    latency = {}
    for batch in BATCHES:
        images = generator.integers(0, 256, (batch, size, size, 3), np.uint8)
        session.run(["probabilities"], {"images": images})  # the first call of a shape also allocates
        times: list[float] = []
        while len(times) < 3 or sum(times) < BUDGET:
            started = time.perf_counter()
            session.run(["probabilities"], {"images": images})
            times.append(time.perf_counter() - started)
        latency[str(batch)] = round(statistics.median(times) * 1000, 3)
    return Cost(latency, round(peak_memory()))


def peak_memory() -> float:
    """Return the peak memory of this process in megabytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts into ru_maxrss what the parent held when it started this process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource  # Windows has none

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    print(json.dumps(asdict(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))))
