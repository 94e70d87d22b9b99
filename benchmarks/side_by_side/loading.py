"""The part `loading`: images a second to a training-ready batch, Darkroom's shards and the other formats in turns."""

import json
import sys
from typing import Any

from benchmarks.side_by_side.photos import repeated
from benchmarks.side_by_side.processes import timed
from benchmarks.side_by_side.rivals import ABSENT, LOADERS, Rival
from benchmarks.side_by_side.settings import PYTHON, ROOT, Settings
from benchmarks.side_by_side.store import Store

OURS = Rival("darkroom", "Darkroom's shards")
Row = dict[str, Any]


def measure(settings: Settings, store: Store) -> list[Row]:
    """Return a row for Darkroom, one for each loader, and one for each that could not take part."""
    rows: list[Row] = []
    ours: list[Row] = []
    for turn, rival in enumerate(LOADERS):
        rows.append({"name": rival.label} | _kept(settings, store, rival))
        if turn % 3 == 0:
            ours.append(_kept(settings, store, OURS, turn))
    done = sorted((row for row in ours if "failed" not in row), key=lambda row: row["images_per_second"])
    row = done[len(done) // 2] | {"turns": done} if done else ours[0]
    rows.insert(0, {"name": OURS.label, "ours": True} | row)
    return [*rows, *({"name": name, "failed": why} for name, why in ABSENT.items())]


def _kept(settings: Settings, store: Store, rival: Rival, turn: int | None = None) -> Row:
    name = "-".join(filter(None, (rival.module, rival.variant, "" if turn is None else str(turn))))
    return store.measured("loading", name, lambda: _one(settings, rival))


def _one(settings: Settings, rival: Rival) -> Row:
    photos = repeated(settings.photos, settings.work / f"photos-{settings.samples}", settings.samples)
    folder = settings.work / "loading"
    result = folder / "result.json"
    folder.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    python = sys.executable if rival is OURS else str(PYTHON)
    command = [python, "-W", "ignore", "-m", f"benchmarks.loaders.{rival.module}", "--photos", str(photos)]
    command += ["--work", str(folder / "data"), "--variant", rival.variant, "--result", str(result)]
    timed(command, folder, folder / f"{rival.module}{rival.variant}.log", {"PYTHONPATH": str(ROOT)})
    return json.loads(result.read_text())
