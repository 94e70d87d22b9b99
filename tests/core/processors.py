"""Processors that can be imitated on this one: other kernels of OpenBLAS, other SIMD levels of numpy, threads."""

import importlib
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROCESSORS = {
    "as it is": {},
    "Prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "SkylakeX": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "one thread": {"OPENBLAS_NUM_THREADS": "1"},
    "two threads": {"OPENBLAS_NUM_THREADS": "2"},
    "no SIMD in numpy": {"NPY_DISABLE_CPU_FEATURES": "FEATURES"},
}

CORE = importlib.import_module("numpy._core._multiarray_umath")
if platform.machine() == "x86_64" and not CORE.__cpu_features__.get("AVX512_SKX"):
    del PROCESSORS["SkylakeX"]  # whose kernels end in an illegal instruction here


def simd_features() -> str:
    """Name the SIMD levels of this processor that numpy can do without."""
    return " ".join(name for name in CORE.__cpu_dispatch__ if CORE.__cpu_features__.get(name))


def hash_on(changes: dict[str, str], arguments: list[str]) -> str:
    """Return what Python prints with `arguments`, in a process with the changes of the environment."""
    environment = os.environ | {key: value.replace("FEATURES", simd_features()) for key, value in changes.items()}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout
