"""The parts `first`, `second` and `finetune`: Darkroom and the peers take turns, each command a process of its own."""

import json
import os
import shutil
import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.side_by_side.darkroom import Project
from benchmarks.side_by_side.photos import DRAWN
from benchmarks.side_by_side.processes import Seconds, timed
from benchmarks.side_by_side.rivals import PEERS, Rival
from benchmarks.side_by_side.settings import PYTHON, ROOT, Settings
from benchmarks.side_by_side.store import Store
from darkroom.core import files
from darkroom.core.params import read_yaml

# How peers learn where they are: the project's own modules, and no question to the net.
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "YOLO_OFFLINE": "true"}
OURS_EVERY = {"first": 3, "second": 2, "finetune": 3}  # so many peers between two of Darkroom's turns
Row = dict[str, Any]


def measure(part: str, settings: Settings, store: Store, peers: tuple[Rival, ...] = PEERS) -> list[Row]:
    """Return a row for each of Darkroom's figures and for each peer: medians of the time, means of the accuracy."""
    ours: list[Row] = []
    theirs: dict[str, list[Row]] = {rival.label: [] for rival in peers}
    for seed in range(settings.seed, settings.seed + settings.seeds):
        seeded = replace(settings, seed=seed)
        suffix = f"-seed-{seed}" if seed else ""
        for turn, rival in enumerate(peers):
            run = partial(peer, part, rival, seeded)
            theirs[rival.label].append(store.measured(part, f"{rival.module}{suffix}", run))
            if turn % OURS_EVERY[part] == 0:
                ours.append(store.measured(part, f"darkroom-{turn}{suffix}", partial(OURS[part], seeded, turn)))
    return [*TABLED[part](ours), *({"name": label} | _over_seeds(rows) for label, rows in theirs.items())]


def peer(part: str, rival: Rival, settings: Settings) -> Row:
    """One run of a peer: its wall seconds and what it says of itself."""
    folder = settings.work / rival.module
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    (folder / "model.onnx").unlink(missing_ok=True)
    tuning = part == "finetune"
    tuning_lr = rival.tuning_lr or settings.tuning_lr
    lr = {"first": settings.lr, "second": settings.second_lr, "finetune": tuning_lr}[part]
    options = {
        "task": "finetune" if tuning else "frozen",
        "photos": settings.photos,
        "weights": settings.weights,
        "result": result,
        "epochs": settings.tuning_epochs if tuning else settings.epochs,
        "lr": lr,
        "batch-size": settings.batch_size,
        "seed": settings.seed,
    }
    command = [str(PYTHON), "-W", "ignore", "-m", f"benchmarks.peers.{rival.module}"]
    command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command += ["--export"] if part == "first" else []
    environment = ENVIRONMENT | {"BENCH_SIZE": str(settings.size)}
    wall = timed(command, folder, folder / f"{part}.log", environment)
    return {"wall": wall, "processor": wall.processor} | json.loads(result.read_text())


def params(settings: Settings, tuning: bool = False) -> dict[str, Any]:
    """Return changes of params.yaml for this comparison: all train photos are learnt from, none is held back for
    validation.

    What is not named here, the head's rate and steps among it, is as params.yaml has it.
    """
    shared = {
        "source": source(settings), "backbone": "mobilenet_v2", "weights": str(settings.weights),
        "image_size": settings.size, "val_fraction": 0.0, "patience": 0, "seed": settings.seed,
    }  # fmt: skip
    if not tuning:
        return shared
    # docs/experiments.md: a few photos like those that the weights know. First the head, on cached features.
    return shared | {
        "freeze": "backbone", "views": 0, "thaw_epoch": settings.epochs, "batch_size": settings.batch_size,
        "epochs": settings.epochs + settings.tuning_epochs, "lr": settings.second_lr, "thaw_lr_factor": 0.01,
        "batch_norm": "frozen", "augment": "light",
    }  # fmt: skip


def source(settings: Settings) -> str:
    """Return the photos as a source; small pictures get a card, which says that their mirror images are none of
    theirs."""
    if settings.size == Settings.size:
        return str(settings.photos)
    os.environ["DARKROOM_DOWNLOADS"] = str(settings.photos.parent)  # where the card's folder lies
    card = settings.photos.with_suffix(".yaml")
    files.write_json(card, DRAWN[settings.name] | {"name": settings.name, "folder": settings.name})  # JSON is YAML
    return str(card)


def first(settings: Settings, turn: int) -> Row:
    """`dvc repro` in a fresh clone: from photos to metrics, figures and the exported model."""
    folder = settings.work / f"darkroom-first-{settings.seed}-{turn}"
    shutil.rmtree(folder, ignore_errors=True)  # what a run that was killed has left is no fresh clone
    project = Project(folder, params(settings))
    try:
        wall = project.dvc(settings.work / "darkroom/first.log", "repro")
        return _taken(wall=wall) | {"accuracy": project.scores["accuracy"], "stages": _seconds(project)}
    finally:
        project.remove()


def second(settings: Settings, turn: int) -> Row:
    """`dvc exp run -S lr=…` after that: all of it, up to the accuracy, and the train stage's process by itself."""
    project = Project(settings.work / f"darkroom-second-{settings.seed}", params(settings))
    log = settings.work / "darkroom/second.log"
    project.dvc(log, "repro")  # nothing to do but in the first turn
    project.commit()
    # As little beside the default as makes DVC train again: the accuracy is to be that of the defaults.
    lr = read_yaml(project.folder / "params.yaml")["lr"] * (1 + (turn + 1) / 1000)
    found = _taken(wall=project.dvc(log, "exp", "run", "-S", f"lr={lr:.7f}"))
    found |= {"accuracy": project.scores["accuracy"], "stages": _seconds(project)}
    to_accuracy = project.dvc(log, "exp", "run", "-S", f"lr={lr + 5e-7:.7f}", "evaluate")
    return found | _taken(to_accuracy=to_accuracy, train_alone=project.train_alone(log))


def finetune(settings: Settings, turn: int) -> Row:
    """`dvc repro evaluate` with a thaw: images a second of the training loop, the head's epochs included, and the
    accuracy. The seconds in all include embed, which runs in the first turn alone."""
    project = Project(settings.work / f"darkroom-finetune-{settings.seed}", params(settings, tuning=True))
    log = settings.work / "darkroom/finetune.log"
    project.dvc(log, "repro", "embed")  # nothing to do but in the first turn
    project.set({"lr": settings.second_lr * (1 + turn / 1000)})
    wall = project.dvc(log, "repro", "evaluate") + project.stages["embed"]["seconds"]
    loop = sum(project.stages["train"]["epoch_seconds"])
    seen = settings.count("train") * settings.tuning_epochs
    return {
        "wall": wall, "accuracy": project.scores["accuracy"], "images_per_second": seen / loop,
        "stages": _seconds(project),
    }  # fmt: skip


def _taken(**seconds: Seconds) -> Row:
    return dict(seconds) | {f"{key}_processor": took.processor for key, took in seconds.items()}


def _seconds(project: Project) -> dict[str, float]:
    return {name: stage["seconds"] for name, stage in project.stages.items()}


def _median(turns: list[Row], key: str) -> float:
    return statistics.median(turn[key] for turn in turns)


def _over_seeds(runs: list[Row]) -> Row:
    """One row of a peer's runs, one a seed. Which photos are right is luck by one or two: the mean tells more."""
    done = [run for run in runs if "failed" not in run]
    if len(done) < 2:
        return (done or runs)[0]
    row = done[0] | {key: _median(done, key) for key in ("wall", "processor", "images_per_second") if key in done[0]}
    return row | {"accuracy": statistics.fmean(run["accuracy"] for run in done), "turns": done}


def _row(name: str, turns: list[Row], key: str, setup: str, **more: Any) -> Row:
    """One of Darkroom's rows: medians over its turns."""
    done = [turn for turn in turns if "failed" not in turn]
    if not done:
        return {"name": name, "ours": True, "failed": turns[0]["failed"] if turns else "not measured"}
    accuracy = statistics.fmean(turn["accuracy"] for turn in done)
    row = {"name": name, "ours": True, "wall": _median(done, key), "accuracy": accuracy}
    if f"{key}_processor" in done[0]:
        row["processor"] = _median(done, f"{key}_processor")
    for extra, of in more.items():
        row[extra] = _median(done, of)
    return row | {"setup": f"{setup}; median of {len(done)}", "turns": done}


def _first_rows(turns: list[Row]) -> list[Row]:
    return [_row("Darkroom: `dvc repro`", turns, "wall", "DVC, figures, intervals and model card included")]


def _second_rows(turns: list[Row]) -> list[Row]:
    return [
        _row("Darkroom: `dvc exp run -S lr=…`", turns, "wall", "DVC, train, evaluate with figures, export"),
        _row("Darkroom: `dvc exp run -S lr=… evaluate`", turns, "to_accuracy", "the same without export"),
        _row("Darkroom: its train stage alone", turns, "train_alone", "a process of its own, imports included"),
    ]


def _finetune_rows(turns: list[Row]) -> list[Row]:
    how = "the head first, on cached features; batch_norm: frozen, augment: light"
    return [_row("Darkroom: `dvc repro evaluate`", turns, "wall", how, images_per_second="images_per_second")]


OURS: dict[str, Callable[[Settings, int], Row]] = {"first": first, "second": second, "finetune": finetune}
TABLED: dict[str, Callable[[list[Row]], list[Row]]] = {
    "first": _first_rows, "second": _second_rows, "finetune": _finetune_rows,
}  # fmt: skip
