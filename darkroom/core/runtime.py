"""Runtime settings (DARKROOM_*): everything that may differ between machines without changing what is computed.

Only this module reads `DARKROOM_*` from the environment. Each stage records what it used in `metrics/run.json`, which
no stage depends on.
"""

import ctypes
import os
import platform
import re
import resource
import sys
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from darkroom.core.errors import DarkroomError
from darkroom.core.files import read_json, write_json

RUN_RECORD = Path("metrics/run.json")
PACKAGES = ("dvc", "torch", "torchvision", "numpy", "scikit-learn", "pillow", "simplejpeg", "onnxruntime")
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "bf16")


@dataclass(frozen=True)
class Runtime:
    """The settings of this machine, each from the variable in brackets.

    `device`: auto, cpu, cuda or cuda:N (DARKROOM_DEVICE).
    `threads`: threads of one process (DARKROOM_THREADS); another number gives other bits where torch trains.
    `workers`: processes that decode images (DARKROOM_WORKERS); any number gives the same bytes.
    `checkpoints`: the folder of interrupted trainings (DARKROOM_CHECKPOINTS).
    `downloads`: a folder of files that need not be downloaded (DARKROOM_DOWNLOADS).
    `tensorboard`, `dvclive`: folders for their logs (DARKROOM_TENSORBOARD, DARKROOM_DVCLIVE).
    `checkpoint_seconds`: training time that an interruption may cost (DARKROOM_CHECKPOINT_SECONDS).
    `ray`: the Ray cluster that fetch, preprocess, embed, train and `darkroom sweep` use: auto, host:port, or local
    (DARKROOM_RAY).
    `processes`: processes that train one network together (DARKROOM_PROCESSES), by default one, or one for each GPU or
    node of the cluster; another number gives other bits.
    """

    device: str
    threads: int
    workers: int
    checkpoints: Path
    downloads: Path | None
    tensorboard: Path | None
    dvclive: Path | None = None
    checkpoint_seconds: float = 10.0
    ray: str | None = None
    processes: int | None = None


def from_environment() -> Runtime:
    """Return the settings in `DARKROOM_*`, with defaults that suit this machine. Raises DarkroomError."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Runtime(
        device=os.environ.get("DARKROOM_DEVICE", "auto"),
        threads=_count("DARKROOM_THREADS", cores),
        workers=_count("DARKROOM_WORKERS", cores),
        checkpoints=Path(os.environ.get("DARKROOM_CHECKPOINTS", ".darkroom/checkpoints")),
        downloads=_folder("DARKROOM_DOWNLOADS"),
        tensorboard=_folder("DARKROOM_TENSORBOARD"),
        dvclive=_folder("DARKROOM_DVCLIVE"),
        checkpoint_seconds=_seconds("DARKROOM_CHECKPOINT_SECONDS", 10.0),
        ray=os.environ.get("DARKROOM_RAY") or None,
        processes=_count("DARKROOM_PROCESSES", 0) or None,
    )


def open_files() -> None:
    """Raise this process's limit on open files to the system's: a large data set keeps one file open per shard."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def processes_with(module: str) -> Any:
    """Return the multiprocessing context whose processes are forked from one that has imported `module`.

    So a process starts in milliseconds and shares the memory of what is imported. Windows cannot fork.
    """
    import multiprocessing

    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


def torch_device(runtime: Runtime) -> Any:
    """Return the torch.device to compute on; set torch's threads and ask for deterministic kernels.

    Raises DarkroomError where the device cannot be used.
    """
    # cuBLAS reads this when it starts; without it, its results are not deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.set_num_threads(runtime.threads)
    # The same as use_deterministic_algorithms(True, warn_only=True), which imports the compiler: 1.4 s.
    torch.set_deterministic_debug_mode("warn")
    # Otherwise torch fills every new tensor with NaN, to expose reads of memory that was never written: no operator
    # here does that, and small networks would train a fifth slower.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    name = runtime.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        if device.type == "cpu":
            _keep_freed_memory()
        elif device.type == "cuda" and device.index is not None:  # without an index it is the current one already
            torch.cuda.set_device(device)  # only the current device's generator, which dropout uses, is seeded
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DarkroomError(f"DARKROOM_DEVICE={name} cannot be used: {reason}; unset it, or use cpu") from error
    return device


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next training step, which needs blocks of the same sizes. See mallopt(3).

    By default it returns blocks above 32 MB at once, and the system clears every page of the next one: a fifth of the
    time of a step.
    """
    mmap_max, trim_threshold = -4, -1
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, -1)


def record(stage: str, started: float, runtime: Runtime, facts: dict[str, Any]) -> None:
    """Write into metrics/run.json how `stage` ran: seconds since `started` (time.monotonic), peak memory, machine."""
    noted = _run_record()
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    stages = noted.setdefault("stages", {})
    for name, now in (("machine", machine()), ("versions", versions())):
        for earlier in stages.values():
            if noted.get(name, now) != now:  # a stage that ran on another machine keeps a record of its own
                earlier.setdefault(name, noted[name])
        noted[name] = now
    settings = {name: str(value) for name, value in asdict(runtime).items() if value is not None}
    used = {"seconds": round(time.monotonic() - started, 2), "peak_memory_mb": round(peak / _kilobytes_per_mb())}
    stages[stage] = used | gpu() | {"runtime": settings} | facts
    write_json(RUN_RECORD, noted)


def recorded(stage: str) -> dict[str, Any]:
    """Return what metrics/run.json holds of the stage's last run; {} when there is none."""
    return _run_record().get("stages", {}).get(stage, {})


def _run_record() -> dict[str, Any]:
    try:
        return read_json(RUN_RECORD)
    except (FileNotFoundError, ValueError):  # a merge may leave conflict marks in it, and nothing depends on the file
        return {}


def gpu() -> dict[str, str]:
    """Return {"gpu": name and versions of CUDA and cuDNN} where this process used a GPU, otherwise {}."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    version = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    return {"gpu": f"{torch.cuda.get_device_name()}, {version}"}


@cache
def machine() -> dict[str, Any]:
    """Return the processor and the system, which can make results differ in their last bits."""
    flags: set[str] = set()
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                flags |= set(value.split())
            elif name.strip() == "model name":
                model = value.strip()
    return {
        "cpu": model or platform.processor() or platform.machine(),  # the former starts a process
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in flags],
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


@cache
def versions() -> dict[str, str]:
    """Return the installed versions of the packages that shape a result.

    They are read from the names of folders, such as `numpy-2.4.0.dist-info`: importlib.metadata also parses the texts
    of each package, which takes a twelfth of evaluate's processor time.
    """
    found: dict[str, str] = {}
    for folder in reversed(sys.path):  # the first folder wins, as for imports
        for path in Path(folder).glob("*.dist-info"):
            name, _, version = path.stem.partition("-")
            found[re.sub(r"[-_.]+", "-", name).lower()] = version
    return {name: found.get(name) or _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    from importlib import metadata

    return metadata.version(package)


def _count(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdigit() or int(text) < 1:
        raise DarkroomError(f"{name}={text} in the environment: expected a whole number of at least 1, or unset")
    return int(text)


def _seconds(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise DarkroomError(f"{name}={text} in the environment: expected a number of seconds, or unset")
    return value


def _folder(name: str) -> Path | None:
    text = os.environ.get(name, "")
    return Path(text) if text else None


def _kilobytes_per_mb() -> int:
    return 1 << 20 if sys.platform == "darwin" else 1 << 10  # ru_maxrss is in bytes on macOS, in kB on Linux
