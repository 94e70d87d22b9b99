"""Which outputs have the same bits on which processor: this machine's, other kernels, emulated Intel and Arm.

    python -m benchmarks.processors [PROCESSOR …]

prints a table of outputs (benchmarks/processor_outputs.py) by processor: `same` where the sha256 is that of this
machine with one thread, its first digits where it is not, `–` where a library is missing there. Exits with 1 where an
output of today differs.

An emulated processor needs Debian's `qemu-user`. For aarch64, Debian's arm64 Python and the aarch64 wheels are unpacked
into a temporary folder; nothing is installed, and torch is left out. What is missing is reported and left out.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from benchmarks import processor_outputs

ROOT = Path(__file__).resolve().parents[1]
NO_AVX = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V3 X86_V4"
PLAIN = {"ATEN_CPU_CAPABILITY": "default", "NPY_DISABLE_CPU_FEATURES": NO_AVX, "OPENBLAS_CORETYPE": "Prescott"}
HASWELL = {"ATEN_CPU_CAPABILITY": "avx2", "OPENBLAS_CORETYPE": "Haswell"}
EMULATED = {"NPY_DISABLE_CPU_FEATURES": NO_AVX}  # qemu 7.2 computes numpy's sort for AVX2 wrongly
# Each by name: what comes before `python`, the environment, and the number of threads.
PROCESSORS: dict[str, tuple[list[str], dict[str, str], int]] = {
    "here": ([], {}, 1),
    "3 threads": ([], {}, 3),
    "AVX2 kernels": ([], HASWELL, 1),
    "oldest kernels": ([], PLAIN, 2),
    "Haswell (AVX2)": (["qemu-x86_64", "-cpu", "Haswell"], EMULATED, 1),
    "Nehalem (SSE4)": (["qemu-x86_64", "-cpu", "Nehalem"], EMULATED, 1),
    "aarch64 (NEON)": (["qemu-aarch64"], {}, 1),
}
DEBIAN = (
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "libexpat1", "zlib1g", "libssl3",
    "libffi8", "libbz2-1.0", "liblzma5", "libuuid1", "libgcc-s1", "libstdc++6",
)  # fmt: skip
AS_HERE = ("numpy", "onnx", "ml_dtypes", "protobuf", "threadpoolctl", "pillow", "simplejpeg")
WHEELS = ("onnxruntime==1.20.1", "typing_extensions")  # later ones of onnxruntime crash under qemu 7.2


def main(names: list[str]) -> int:
    """Print the table, and return the exit status."""
    columns: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        processor_outputs.prepare(folder)
        for name in names:
            try:
                columns[name] = run(name, folder)
            except (OSError, subprocess.CalledProcessError) as error:
                lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
                print(f"{name}: left out: {lines[-1]}", file=sys.stderr)
            else:
                print(f"{name}: done", file=sys.stderr)
    first = next(iter(columns.values()))
    print("| output | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    differs = False
    for output, digest in first.items():
        found = [column.get(output) for column in columns.values()]
        cells = ["–" if each is None else "same" if each == digest else each[:8] for each in found]
        differs |= output.startswith(processor_outputs.TODAY) and any(each not in (digest, None) for each in found)
        print(f"| {output} | " + " | ".join(cells) + " |")
    return int(differs)


def run(name: str, folder: Path) -> dict[str, str]:
    """Return {output: sha256} of a processor. Raises CalledProcessError, and OSError where qemu-user is missing."""
    before, changes, threads = PROCESSORS[name]
    if before and not shutil.which(before[0]):
        raise OSError(f"there is no {before[0]}; install Debian's qemu-user")
    python, environment = [*before, sys.executable], os.environ | changes
    if name.startswith("aarch64"):
        root, site = arm_python(folder)
        python = [*before, "-L", str(root), str(root / "usr/bin/python3.11")]
        environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{site}", "PYTHONHOME": str(root / "usr")}
    # Warnings are off: numpy names the instructions that an emulated processor lacks.
    command = [*python, "-W", "ignore", "-m", "benchmarks.processor_outputs", str(folder), str(threads)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def arm_python(folder: Path) -> tuple[Path, Path]:
    """Unpack an arm64 Python and the wheels below `folder`: the root of its system, and the wheels' folder."""
    root, site = folder / "root", folder / "site"
    # apt's state lies in the folder too: this machine's package lists stay as they are.
    for name in ("lists", "archives"):
        (folder / "apt" / name / "partial").mkdir(parents=True)
    options = {"APT::Architecture": "arm64", "APT::Architectures": "arm64", "Dir::State": folder / "apt",
               "Dir::Cache": folder / "apt"}  # fmt: skip
    apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
    for arguments in (["update"], ["download", *DEBIAN]):
        subprocess.run([*apt, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    for package in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(root)], check=True, capture_output=True, text=True)
    versions = [f"{name}=={metadata.version(name)}" for name in AS_HERE]
    platforms = [f"--platform=manylinux{glibc}_aarch64" for glibc in ("2014", "_2_17", "_2_26", "_2_27", "_2_28")]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", *platforms,
         "--python-version=3.11", f"--target={site}", *versions, *WHEELS],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return root, site


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(PROCESSORS)))
