"""Train heads on emulated processors and compare the hashes: AVX2, SSE4, aarch64, and this one.

    python -m benchmarks.processors

Needs qemu-user (`apt-get install qemu-user`). For aarch64 it downloads Debian's arm64 Python and numpy's aarch64 wheel
into a temporary folder; `dpkg --add-architecture arm64 && apt-get update` lets apt find the former. What is missing is
reported and left out. Exits with 1 where a hash differs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
PROGRAM = ["-m", "tests.training.exact_head"]
DEBIAN = (
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "libexpat1", "zlib1g", "libssl3",
    "libffi8", "libbz2-1.0", "liblzma5", "libuuid1", "libgcc-s1", "libstdc++6",
)  # fmt: skip
WHEELS = (f"numpy=={np.__version__}", "threadpoolctl")


def main() -> int:
    """Print a line a processor, and return the exit status."""
    found = {"this processor": run([sys.executable, *PROGRAM])}
    for cpu, level in (("Haswell", "AVX2"), ("Nehalem", "SSE4")):
        name = f"emulated {cpu} ({level})"
        if shutil.which("qemu-x86_64"):
            found[name] = run(["qemu-x86_64", "-cpu", cpu, sys.executable, *PROGRAM])
        else:
            print(f"{name}: left out, qemu-x86_64 is not installed; run `apt-get install qemu-user`")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            found["emulated aarch64 (NEON)"] = run_on_arm(Path(scratch))
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"emulated aarch64 (NEON): left out, {error}")
    for name, digest in found.items():
        print(f"{name}: {digest}")
    same = len(set(found.values())) == 1
    print(f"{len(found)} processors, {'one hash' if same else 'different hashes'}")
    return 0 if same else 1


def run(command: list[str], **environment: str) -> str:
    """Return what `command` prints, run in the project's folder."""
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    return done.stdout.strip()


def run_on_arm(folder: Path) -> str:
    """Return the hash that an emulated aarch64 prints, with a Python and a numpy that are unpacked into `folder`."""
    root, site = folder / "root", folder / "site"
    subprocess.run(
        ["apt-get", "download", "-qq", *(f"{name}:arm64" for name in DEBIAN)], cwd=folder, check=True,
        capture_output=True,
    )  # fmt: skip
    for package in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(root)], check=True, capture_output=True)
    platforms = [f"--platform=manylinux_{glibc}_aarch64" for glibc in ("2_27", "2_28")]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", *platforms,
         "--python-version=3.11", f"--target={site}", *WHEELS],
        check=True, capture_output=True,
    )  # fmt: skip
    python = str(root / "usr/bin/python3.11")
    paths = f"{ROOT}{os.pathsep}{site}"
    return run(["qemu-aarch64", "-L", str(root), python, *PROGRAM], PYTHONPATH=paths, PYTHONHOME=str(root / "usr"))


if __name__ == "__main__":
    sys.exit(main())
