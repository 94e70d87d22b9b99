"""One dvc.lock for every processor: each stage of the default writes the same bytes on older and other processors.

The default pipeline runs once here, on few images; then every stage runs again, from the same inputs, with other
kernels (the libraries' own switches) and on emulated processors (qemu-user), and every output is compared by digest.
An emulated processor reports its own features, so numpy, BLAS, onnxruntime, torch and the image libraries choose what
they would choose on a real one. One process runs all stages, of both projects: most of the time goes into imports,
below an emulator half of it into that of torch.
"""

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from darkroom.core import files, yaml12
from tests.conftest import ONE_THREAD
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
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
    },
    "three threads, kernels for AVX2": {
        **dict.fromkeys(ONE_THREAD, "3"),
        "DARKROOM_THREADS": "3",
        "DARKROOM_WORKERS": "3",
        "NPY_DISABLE_CPU_FEATURES": NO_AVX512,
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
    },
}
OLDEST = "Nehalem"
PROCESSORS = {
    # AVX2 without AVX512. No switch selects the kernels of onnxruntime and the image libraries; others run natively.
    "Haswell": ("preprocess", "features", "export"),
    OLDEST: STAGES,  # SSE4.2 alone
}
# Of the photos, whose body takes torchvision to build: the longest import of all. Its kernels are run natively.
WITHOUT_TORCH = ("preprocess", "labels", "features", "train", "evaluate", "export")


# Runs stages one after the other as `python -m` does; in the end the outputs are compared stage by stage. `features`
# is what embed does without torch: it runs the body of models/body over the images, and compares what comes out.
IN_TURN = """
import json, os, runpy, sys
from pathlib import Path

def features(seed, augment, views):
    import numpy as np
    from darkroom.images.shards import Shards
    from darkroom.model import embedding, runner

    before = "torch" in sys.modules
    body = runner.OnnxBody(Path("models/body/body.onnx"), 1)
    for split in ("train", "val", "test"):
        shards, known = Shards(Path("data/shards", split)), Shards(Path("data/features", split))
        copies = embedding.Copies(views if split == "train" else 0, augment, bool(shards.index["flips"]), seed)
        batches = runner.batches(shards, runner.batch_size(shards))
        found = np.concatenate([embedding.views(body, batch, copies) for batch in batches])
        assert found.tobytes() == known.rows(np.arange(len(known))).tobytes(), f"other features of {split}"
    assert before or "torch" not in sys.modules, "which takes longer than all of this below an emulator"

for folder, stage, arguments in json.loads(sys.argv[1]):
    os.chdir(folder)
    if stage == "features":
        features(*arguments)
        continue
    sys.argv = [stage, *arguments]
    runpy.run_module(f"stages.{stage}", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def projects(request, tmp_path_factory):
    """Return the folders of two projects whose stages were run here, in one process: the default on 6 images a class,
    and
    published weights on 5 photos a class; the latter is None without the shared material."""
    reference = Project(tmp_path_factory.mktemp("reference") / "darkroom")
    reference.set(limit=6, views=1, epochs=5)
    folders = {reference.folder: STAGES}
    try:
        shared = request.getfixturevalue("shared")
    except pytest.skip.Exception:
        photos = None
    else:
        photos = Project(tmp_path_factory.mktemp("photos") / "photos")
        photos.set(
            source=shared / "data/hymenoptera", backbone="mobilenet_v2", weights=shared / "weights/mobilenet_v2.pth"
        )
        photos.set(image_size=64, limit=5, views=1, epochs=5)
        folders[photos.folder] = STAGES
    run_in_turn(folders)
    return reference.folder, photos and photos.folder


@pytest.fixture(scope="module")
def reference(projects):
    return projects[0]


@pytest.fixture(scope="module")
def photos(projects):
    return projects[1]


def command(folder: Path, stage: str) -> list[object]:
    """Return the arguments that dvc.yaml gives a stage's script; for `features`, the params of embed."""
    if stage == "features":
        params = yaml12.read(folder / "params.yaml")
        return [params[key] for key in ("seed", "augment", "views")]
    return [*shlex.split(yaml12.read(folder / "dvc.yaml")["stages"][stage]["cmd"])[2:]]


def run_in_turn(stages: Mapping[Path, Sequence[str]], *emulator: str, **variables: str) -> None:
    """Run the stages of each folder in one process, below an emulator if one is given. Fails unless it succeeds."""
    work = [(str(folder), stage, command(folder, stage)) for folder in stages for stage in stages[folder]]
    folder = next(iter(stages))
    done = subprocess.run(
        [*emulator, sys.executable, "-c", IN_TURN, json.dumps(work)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)} | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def written(folder: Path, stage: str) -> dict[str, str]:
    """Return the digest of each file that a stage's outputs hold, by path."""
    body = yaml12.read(folder / "dvc.yaml")["stages"][stage]
    outs = [out if isinstance(out, str) else next(iter(out)) for out in body["outs"] + body.get("metrics", [])]
    found = [
        path for out in outs for path in ([folder / out] if (folder / out).is_file() else (folder / out).rglob("*"))
    ]
    return {path.relative_to(folder).as_posix(): files.sha256(path) for path in sorted(found) if path.is_file()}


def assert_same_outputs(one: Path, other: Path, stages: Sequence[str] = STAGES) -> None:
    """Name the first stage whose outputs differ, which is the one at fault; `features` compares its own."""
    for stage in (stage for stage in stages if stage in STAGES):
        assert written(one, stage) == written(other, stage), stage


def copy(folder: Path, parent: Path) -> Path:
    """Return a copy of a project below `parent`, in which stages can be run again from the same inputs."""
    return Path(shutil.copytree(folder, parent / folder.name, symlinks=True))


@pytest.fixture(scope="module")
def emulated(reference, photos, tmp_path_factory):
    """Return a function from a processor's name to the copies that it, emulated, has run: of the default and the
    photos."""
    if QEMU is None:
        pytest.skip("needs qemu-user (Debian's package qemu-user)")

    @functools.cache
    def run(processor):
        parent = tmp_path_factory.mktemp(processor)
        copies = {reference: copy(reference, parent)}
        stages = {copies[reference]: PROCESSORS[processor]}
        if photos and processor == OLDEST:
            copies[photos] = copy(photos, parent)
            stages[copies[photos]] = WITHOUT_TORCH
        switches = re.compile("OPENBLAS_|MKL_|ATEN_")
        variables = {name: "" for name in os.environ if switches.match(name) and name not in ONE_THREAD}
        # qemu 7.2 gathers wrongly by AVX2: numpy's argsort does not sort there. Those kernels are run natively above.
        run_in_turn(stages, str(QEMU), "-cpu", processor, NPY_DISABLE_CPU_FEATURES=NO_AVX, **variables)
        return copies

    return run


@pytest.mark.parametrize("kernels", KERNELS)
def test_other_kernels_and_threads_write_the_same_bytes(projects, tmp_path, kernels):
    copies = {folder: copy(folder, tmp_path) for folder in projects if folder}
    run_in_turn(dict.fromkeys(copies.values(), STAGES), **KERNELS[kernels])
    for folder, again in copies.items():
        assert_same_outputs(again, folder)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_an_emulated_processor_writes_the_same_bytes(reference, emulated, processor):
    assert_same_outputs(emulated(processor)[reference], reference, PROCESSORS[processor])


def test_photos_and_published_weights_give_the_same_bytes_on_an_emulated_processor(shared, photos, emulated):
    assert_same_outputs(emulated(OLDEST)[photos], photos, WITHOUT_TORCH)


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
