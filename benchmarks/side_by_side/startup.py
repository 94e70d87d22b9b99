"""The part `startup`: a command line's help, a first answer from a saved model, imports; medians of fresh processes."""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.darkroom import Project
from benchmarks.side_by_side.experiments import ENVIRONMENT, params
from benchmarks.side_by_side.processes import Failed, timed
from benchmarks.side_by_side.settings import PYTHON, ROOT, Settings
from benchmarks.side_by_side.store import Store

TURNS = 3
Row = dict[str, Any]
DARKROOM = (sys.executable, "-m", "darkroom.cli")
IMPORTS = {
    "timm": "import timm",
    "torchvision": "import torchvision",
    "PyTorch Lightning": "import lightning",
    "Hugging Face Trainer": "from transformers import Trainer, MobileNetV2ForImageClassification",
    "Keras 3 on torch": "import keras",
    "fastai": "from fastai.vision.all import vision_learner",
    "Ultralytics": "from ultralytics import YOLO",
}


@dataclass(frozen=True)
class Start:
    """A command, what it does (help, predict, import), and the most seconds that it may take, if it is Darkroom's."""

    kind: str
    name: str
    command: tuple[str, ...]
    target: float | None = None
    needs: Path | None = None


def starts(settings: Settings) -> list[Start]:
    """Every command, those of one kind together."""
    photo = str(next(path for path in sorted((settings.photos / "test").rglob("*")) if path.is_file()))
    model = settings.work / "darkroom-second/models/export"
    yolo, weights = str(PYTHON.with_name("yolo")), settings.work / "ultralytics/run/weights/best.pt"
    answer = (str(PYTHON), "-m", "benchmarks.peers.answer", str(settings.weights), photo)
    classify = (yolo, "classify", "predict", f"model={weights}", f"source={photo}", "imgsz=224", "save=False")
    found = [
        Start("help", "`darkroom --help`", (*DARKROOM, "--help"), 0.3),
        Start("help", "`yolo help`", (yolo, "help")),
        Start("predict", "`darkroom predict PHOTO`", (*DARKROOM, "predict", photo, "--model", str(model)), 1.0, model),
        Start("predict", "`yolo classify predict`", classify, None, weights),
        Start("predict", "a script with torchvision", answer),
        Start("import", "Darkroom: `from darkroom.app import Predictor`", (sys.executable, "-c", PREDICTOR)),
    ]
    return found + [Start("import", name, (str(PYTHON), "-c", what)) for name, what in IMPORTS.items()]


PREDICTOR = "from darkroom.app import Predictor"


def measure(settings: Settings, store: Store) -> list[Row]:
    """Return a row for each command."""
    _models(settings)
    rows = []
    for start in starts(settings):
        row = store.measured("startup", f"{start.kind} {start.name}", _timing(start, settings))
        ours = start.target is not None or start.name.startswith("Darkroom")
        rows.append({"kind": start.kind, "name": start.name, "ours": ours, "target": start.target} | row)
    return rows


def _timing(start: Start, settings: Settings) -> Callable[[], Row]:
    def run() -> Row:
        if start.needs is not None and not start.needs.exists():
            raise Failed(f"needs the model of the part `second` or `first`: {start.needs.name} is absent")
        log = settings.work / "startup.log"
        environment = ENVIRONMENT | {"KERAS_BACKEND": "torch", "YOLO_CONFIG_DIR": str(settings.work / "ultralytics")}
        took = [timed(start.command, ROOT, log, environment) for _ in range(TURNS + 1)][1:]  # the first warms the disk
        return {"wall": statistics.median(took), "turns": took}

    return run


def _models(settings: Settings) -> None:
    """Darkroom's exported model, if the part `second` has not made it."""
    project = Project(settings.work / "darkroom-second", params(settings))
    if not (project.folder / "models/export").exists():
        project.dvc(settings.work / "darkroom/second.log", "repro")
        project.commit()
