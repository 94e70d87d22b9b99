"""A disk that is full or cannot be written: one line that names the place, and what was made before is still there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def disk(tmp_path):
    """Yield a small disk of its own, mounted below tmp_path."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root on Linux")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def photos(tmp_path):
    digits = load_digits()
    for place in range(60):
        path = tmp_path / f"photos/{digits.target[place]}/{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[place] * 15).astype(np.uint8)).resize((200, 200)).save(path)
    for name in ("params.yaml", "params.schema.json"):
        shutil.copy(ROOT / name, tmp_path / name)
    text = (tmp_path / "params.yaml").read_text()
    text = text.replace("weights/small_cnn-mnist.safetensors", "none").replace("sources/digits.yaml", "photos")
    (tmp_path / "params.yaml").write_text(text)
    return tmp_path / "photos"


def stage(name, *arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", f"stages.{name}", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def develop(photos, out):
    """Run fetch, split and preprocess with all outputs below `out`; the last one that ran."""
    cwd, raw, index, split = photos.parent, out / "raw", out / "index.csv", out / "split.csv"
    runs = [
        ("fetch", raw, index),
        ("split", index, split),
        ("framing", out / "framing.json"),
        ("preprocess", raw, index, split, out / "framing.json", out / "shards", out / "rejects.csv",
         out / "duplicates.png"),
    ]  # fmt: skip
    for name, *arguments in runs:
        done = stage(name, *arguments, cwd=cwd)
        if done.returncode:
            break
    return done


def test_a_full_disk_is_named_and_earlier_outputs_stay(photos, disk):
    shutil.copy(ROOT / "requirements.lock", disk / "ballast")
    done = develop(photos, disk)
    assert done.returncode == 1
    assert "the disk is full; free some space, then run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    made = {path.name for path in disk.iterdir()}
    (disk / "ballast").unlink()
    assert "index.csv" in made
    assert not list(disk.rglob("*.tmp")), "litter of the failed stage"
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    assert develop(photos, disk).returncode == 0


def test_a_disk_that_cannot_be_written_is_named(photos, disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    done = develop(photos, disk)
    assert done.returncode == 1
    assert str(disk) in done.stderr
    assert "the file system is read-only; work in a folder that can be written" in done.stderr
    assert "Traceback" not in done.stderr
