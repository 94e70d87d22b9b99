"""A small run of real digits to review: files, index, split, shards and features, some labels planted wrong."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from darkroom.core import files
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.splits.corrections import write_corrections
from tests.conftest import ROOT
from tests.stages import pipeline

SPLITS = ("train", "val", "test")


def write_digits(folder: Path, count: int, wrong: int, seed: int = 0, first: int = 0) -> dict[str, str]:
    """Write `count` digits from `first` on as PNGs, a folder a class, `wrong` of them in another's.

    Returns the true label of each of those.
    """
    pixels, labels = load_digits(return_X_y=True)
    random = np.random.default_rng(seed)
    chosen = set((first + random.permutation(count)[:wrong]).tolist())
    planted = {}
    for number in range(first, first + count):
        label = (labels[number] + random.integers(1, 10)) % 10 if number in chosen else labels[number]
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels[number].reshape(8, 8) * 15.9375).astype(np.uint8)).save(path)
        if number in chosen:
            planted[path.relative_to(folder).as_posix()] = str(labels[number])
    return planted


def make_run(root: Path, count: int = 400, wrong: int = 12) -> dict[str, str]:
    """Make in `root` what the pipeline leaves of digits in `root/pictures`; features are pixels. The planted errors."""
    planted = write_digits(root / "pictures", count, wrong)
    finish_run(root)
    return planted


def finish_run(root: Path, **params: str) -> None:
    """Run the data stages on `root/pictures`, and write features of pixels and an empty corrections.csv."""
    here = Path.cwd()
    os.chdir(root)
    try:
        pipeline.run_all(image_size=32, **params)
    finally:
        os.chdir(here)
    for split in SPLITS:
        shards = Shards(root / "data/shards" / split)
        with write_shards(root / "data/features" / split, "features", shards.classes) as writer:
            for at, name in enumerate(shards.ids()):
                grey = shards.rows(np.array([at]))[0].astype(np.float32).mean(axis=2) / 255
                row = grey.reshape(8, 4, 8, 4).mean(axis=(1, 3)).reshape(1, 64)
                writer.add(row, int(shards.labels[at]), name)
            writer.close()
    write_params(root)
    if not (root / "corrections.csv").exists():
        write_corrections(root / "corrections.csv", [])


def write_params(root: Path, **changes: object) -> None:
    """Write the keys of params.yaml that a review reads."""
    values = {"source": "pictures", "corrections": "corrections.csv", "duplicates": "group", "seed": 0} | changes
    (root / "params.yaml").write_text("".join(f"{key}: {value}\n" for key, value in values.items()))


class Reviewing:
    """A `darkroom review` process in `folder`: `url` ends with the token and a slash."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, folder: Path) -> None:
        self.process, self.url, self.folder = process, url, folder

    @property
    def base(self) -> str:
        """The address of the server, without the token."""
        return self.url.rstrip("/").rpartition("/")[0]

    def stop(self, how: int = signal.SIGTERM) -> str:
        """Send a signal; return what it printed since it began to serve."""
        self.process.send_signal(how)
        return self.process.communicate(timeout=40)[0]


@contextmanager
def reviewing(root: Path, *options: str, **environment: str) -> Iterator[Reviewing]:
    """Run `darkroom review` in `root` until the block ends."""
    # -P: the package of this checkout, also where `root` is a clone of the project with one of its own.
    command = [sys.executable, "-P", "-m", "darkroom.cli", "review", "--no-browser", *options]
    process = subprocess.Popen(
        command, cwd=root, env=os.environ | {"PYTHONPATH": str(ROOT)} | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout
        said, found = "", None
        while not found:
            line = process.stdout.readline()
            said += line
            assert line, said
            found = re.search(r"http://\S+", line)
        yield Reviewing(process, found[0], root)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=40)


def decisions(root: Path) -> dict[str, tuple[str, str]]:
    """Return decision and new label of each row of corrections.csv, by the location of its image."""
    places = {row["id"]: row["location"] for row in files.read_csv(root / "data/index.csv")}
    rows = files.read_csv(root / "corrections.csv")
    return {places[row["id"]]: (row["decision"], row["becomes"]) for row in rows}
