"""A few real photos, and a peer or loader run on them as `make bench` runs it."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

from benchmarks.side_by_side.settings import ROOT

PACKAGES = {
    "lightlytrain": "lightly_train",
    "huggingface": "transformers",
    "imagefolder": "torchvision",
    "tutorial": "torchvision",
}


@pytest.fixture(scope="session")
def photos(shared, tmp_path_factory):
    """Six photos of ants and six of bees, four of each to learn from."""
    folder = tmp_path_factory.mktemp("photos") / "few"
    for split, name, count in (("train", "train", 4), ("val", "test", 2)):
        for label in ("ants", "bees"):
            (folder / name / label).mkdir(parents=True)
            for path in sorted((shared / "data/hymenoptera" / split / label).glob("*.jpg"))[:count]:
                shutil.copy(path, folder / name / label)
    return folder


@pytest.fixture
def run(tmp_path):
    """Return a function that runs `python -m MODULE …` in a folder of its own; it skips where the package is not
    installed."""

    def in_process(module, *arguments):
        name = module.rpartition(".")[2]
        package = PACKAGES.get(name, name)
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}, which `make bench` installs into .bench")
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return in_process
