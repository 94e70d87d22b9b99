"""One dvc.lock for every processor: each stage of the default writes the same bytes on older and other processors.

The default pipeline runs once here, on few images; then every stage runs again, from the same inputs, with other
kernels (the libraries' own switches) and on emulated processors (qemu-user), and every output is compared by digest.
An emulated processor reports its own features, so numpy, BLAS, onnxruntime, torch and the image libraries choose what
they would choose on a real one. One process runs all stages: below an emulator most of the time goes into imports.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from darkroom.core import files, yaml12
from tests.project import OUTPUTS, STAGES, Project

pytestmark = pytest.mark.slow
QEMU = shutil.which("qemu-x86_64")
NO_AVX512 = "X86_V4 AVX512_ICL AVX512_SPR"  # the groups of numpy 2.4
NO_AVX = f"X86_V3 {NO_AVX512}"
KERNELS = {
    "one thread, the oldest kernels of numpy, BLAS and torch": {
        "DARKROOM_THREADS": "1",
        "DARKROOM_WORKERS": "1",
        "NPY_DISABLE_CPU_FEATURES": NO_AVX,
        "OPENBLAS_CORETYPE": "Prescott",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
    },
    "three threads, kernels for AVX2": {
        "DARKROOM_THREADS": "3",
        "DARKROOM_WORKERS": "3",
        "NPY_DISABLE_CPU_FEATURES": NO_AVX512,
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
    },
}
PROCESSORS = ["Haswell", "Nehalem"]  # AVX2 without AVX512; SSE4.2 alone


# Runs stages one after the other as `python -m` does; in the end the outputs are compared stage by stage.
IN_TURN = """
import json, runpy, sys
for stage, arguments in json.loads(sys.argv[1]):
    sys.argv = [stage, *arguments]
    runpy.run_module(f"stages.{stage}", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The default on 6 images a class, run here stage by stage as DVC runs them: its folder."""
    project = Project(tmp_path_factory.mktemp("reference") / "darkroom")
    project.set(limit=6, views=1, epochs=5)
    run_each_alone(project.folder)
    return project.folder


def command(folder: Path, stage: str) -> list[str]:
    """The arguments that dvc.yaml gives a stage's script."""
    return shlex.split(yaml12.read(folder / "dvc.yaml")["stages"][stage]["cmd"])[2:]


def run_each_alone(folder: Path) -> None:
    """Run all stages in `folder` by this Python, each in a process of its own."""
    for stage in STAGES:
        run_python(folder, "-m", f"stages.{stage}", *command(folder, stage))


def run_in_turn(folder: Path, stages: Sequence[str], *emulator: str, **variables: str) -> None:
    """Run stages in `folder` in one process, below an emulator if one is given."""
    work = json.dumps([(stage, command(folder, stage)) for stage in stages])
    run_python(folder, "-c", IN_TURN, work, emulator=emulator, **variables)


def run_python(folder: Path, *arguments: str, emulator: Sequence[str] = (), **variables: str) -> None:
    """Run this Python in `folder`; fails unless it succeeds."""
    done = subprocess.run(
        [*emulator, sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)} | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def run_emulated(folder: Path, stages: Sequence[str], processor: str) -> None:
    """Run stages in `folder` on an emulated processor."""
    variables = {name: "" for name in os.environ if re.match("OPENBLAS_|MKL_|ATEN_", name)}
    # qemu 7.2 gathers wrongly by AVX2: numpy's argsort does not sort there. Those kernels are run natively elsewhere.
    run_in_turn(folder, stages, str(QEMU), "-cpu", processor, NPY_DISABLE_CPU_FEATURES=NO_AVX, **variables)


def written(folder: Path, stage: str) -> dict[str, str]:
    """The digest of each file that a stage's outputs hold, by path."""
    body = yaml12.read(folder / "dvc.yaml")["stages"][stage]
    outs = [out if isinstance(out, str) else next(iter(out)) for out in body["outs"] + body.get("metrics", [])]
    found = [
        path for out in outs for path in ([folder / out] if (folder / out).is_file() else (folder / out).rglob("*"))
    ]
    return {path.relative_to(folder).as_posix(): files.sha256(path) for path in sorted(found) if path.is_file()}


def assert_same_outputs(one: Path, other: Path, stages: Sequence[str] = STAGES) -> None:
    """The first stage whose outputs differ is the one at fault."""
    for stage in stages:
        assert written(one, stage) == written(other, stage), stage


@pytest.fixture
def again(reference, tmp_path):
    """A copy of the reference, in which stages can be run again from the same inputs."""
    return Path(shutil.copytree(reference, tmp_path / "darkroom", symlinks=True))


@pytest.mark.parametrize("kernels", KERNELS)
def test_other_kernels_and_threads_write_the_same_bytes(reference, again, kernels):
    run_in_turn(again, STAGES, **KERNELS[kernels])
    assert_same_outputs(again, reference)


@pytest.mark.skipif(QEMU is None, reason="needs qemu-user (Debian's package qemu-user)")
@pytest.mark.parametrize("processor", PROCESSORS)
def test_an_emulated_processor_writes_the_same_bytes(reference, again, processor):
    run_emulated(again, STAGES, processor)
    assert_same_outputs(again, reference)


@pytest.mark.skipif(QEMU is None, reason="needs qemu-user (Debian's package qemu-user)")
def test_photos_and_published_weights_give_the_same_bytes_on_an_emulated_processor(shared, tmp_path):
    project = Project(tmp_path / "here")
    project.set(
        source=shared / "data/hymenoptera", backbone="mobilenet_v2", weights=shared / "weights/mobilenet_v2.pth"
    )
    project.set(image_size=64, limit=5, views=1, epochs=5)
    run_each_alone(project.folder)
    there = Path(shutil.copytree(project.folder, tmp_path / "there", symlinks=True))
    decoded_and_later = STAGES[STAGES.index("preprocess") :]
    run_emulated(there, decoded_and_later, "Nehalem")
    assert_same_outputs(there, project.folder, decoded_and_later)


def test_the_outputs_of_all_stages_are_compared(reference):
    """None of the outputs but metrics/run.json escapes the comparison above."""
    compared = {name for stage in STAGES for name in written(reference, stage)}
    made = {
        path.relative_to(reference).as_posix()
        for folder in OUTPUTS
        for path in (reference / folder).rglob("*")
        if path.is_file()
    }
    assert made - compared == {"metrics/run.json"}
