"""`make bench`: Darkroom beside what a user would pick instead, on the same photos, in turns, on this machine.

    python -m benchmarks.side_by_side --photos FOLDER --weights FILE [--only second,loading] [--seeds 3]

Every finished measurement is kept in .bench/: a run that was broken off goes on, `--fresh` measures anew.
"""

import argparse
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import experiments, loading, report, startup
from benchmarks.side_by_side.parts import PARTS
from benchmarks.side_by_side.photos import DRAWN, drawn, prepare
from benchmarks.side_by_side.rivals import PEERS
from benchmarks.side_by_side.settings import PYTHON, ROOT, WORK, Settings, machine
from benchmarks.side_by_side.store import Store
from darkroom.core import files, runtime
from darkroom.core.errors import DarkroomError

SHARED = Path("../shared")
SMALL = 32  # px
RESULTS, README = ROOT / "benchmarks/results", ROOT / "benchmarks/README.md"


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for, write results, figures and tables; the exit status."""
    asked = parse(arguments)
    try:
        run(asked)
    except DarkroomError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.side_by_side", description=(__doc__ or "").split("\n")[0]
    )
    names = [rival.module for rival in PEERS]
    parser.add_argument(
        "--photos",
        type=Path,
        default=SHARED / "data/hymenoptera",
        help="folder of labelled photos, or one of these names: " + ", ".join(DRAWN),
    )
    parser.add_argument(
        "--weights", type=Path, default=SHARED / "weights/mobilenet_v2.pth", help="torchvision's mobilenet_v2"
    )
    parser.add_argument(
        "--only", type=_among(PARTS), default=list(PARTS), help="parts, with commas: " + ", ".join(PARTS)
    )
    parser.add_argument("--peers", type=_among(names), default=names, help="peers, with commas: " + ", ".join(names))
    parser.add_argument("--epochs", type=int, default=Settings.epochs)
    parser.add_argument("--tuning-epochs", type=int, default=Settings.tuning_epochs)
    parser.add_argument("--seeds", type=int, default=Settings.seeds, help="runs of each with other seeds")
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured before")
    parser.add_argument("--report", action="store_true", help="only write tables and figures of what was measured")
    return parser.parse_args(arguments)


def run(asked: argparse.Namespace) -> None:
    """Measure the parts one after the other; each is written when it is done."""
    if asked.report:
        report.write(RESULTS, README)
        return
    small = str(asked.photos) in DRAWN
    if small:
        asked.photos = drawn(str(asked.photos), WORK / "drawn" / asked.photos, SHARED)
    for path, what in ((asked.weights, "WEIGHTS=file"), (asked.photos, "PHOTOS=folder"), (PYTHON, "bench-setup")):
        if not path.exists():
            raise DarkroomError(f"{path} is absent; run `make bench {what}`".replace("bench bench-", "bench-"))
    name = asked.photos.resolve().name
    WORK.mkdir(parents=True, exist_ok=True)
    if asked.fresh:
        shutil.rmtree(WORK / name, ignore_errors=True)
    photos = prepare(asked.photos, WORK / name / name)
    settings = Settings(photos, asked.weights.resolve(), asked.epochs, asked.tuning_epochs, seeds=asked.seeds,
                        size=SMALL if small else Settings.size)  # fmt: skip
    store = Store(WORK / name / "kept", settings.facts() | {"weights": files.sha256(settings.weights)})
    for part in asked.only:
        rows = measure(part, settings, store, asked.peers)
        found, path = record(rows, settings, part, asked), RESULTS / f"{part}-{settings.name}.json"
        RESULTS.mkdir(exist_ok=True)
        files.write_json(path, merged(files.read_json(path), found) if path.exists() else found)
        report.write(RESULTS, README)


def measure(part: str, settings: Settings, store: Store, peers: list[str]) -> list[dict[str, Any]]:
    """Return the rows of a part."""
    if part == "loading":
        return loading.measure(settings, store)
    if part == "startup":
        return startup.measure(settings, store)
    return experiments.measure(part, settings, store, tuple(rival for rival in PEERS if rival.module in peers))


def record(
    rows: list[dict[str, Any]], settings: Settings, part: str, asked: argparse.Namespace
) -> dict[str, Any]:  # fmt: skip
    """Return what is kept of a part: rows, and what one needs to know to read or repeat them."""
    versions = {name: version for name, version in runtime.versions().items() if name in ("dvc", "onnxruntime")}
    for row in rows:
        versions |= row.get("versions", {})
    command = f"make bench ONLY={part} PHOTOS=…/{settings.name}" + (f" SEEDS={asked.seeds}" if asked.seeds > 1 else "")
    for name in ("epochs", "tuning_epochs"):
        if getattr(asked, name) != getattr(Settings, name):
            command += f" ({name.replace('_', '-')} {getattr(asked, name)})"
    return {
        "rows": rows,
        "settings": settings.facts() | {"seeds": asked.seeds},
        "versions": versions,
        "machine": machine(),
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
    }


def merged(kept: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return what was kept with the peers of `found` put in; `found` alone where it has them all, or was set up
    otherwise.

    A peer that is put in says when it was measured, and keeps Darkroom's figures of its own run, for the ratios.
    """
    names = {row["name"] for row in found["rows"] if "failed" not in row}
    same = all(found["settings"].get(key) == value for key, value in kept["settings"].items() if key != "seeds")
    if not same or all(row["name"] in names or "failed" in row for row in kept["rows"]):
        return found
    seeds = found["settings"]["seeds"]
    measured = f"measured on {found['date']} with {seeds} seed{'s' if seeds > 1 else ''}"
    ours = [row for row in found["rows"] if row.get("ours") and "failed" not in row]
    beside = {row["name"]: {key: row[key] for key in ("wall", "images_per_second") if key in row} for row in ours}
    rows = {row["name"]: row for row in kept["rows"]}
    for row in found["rows"]:
        if not row.get("ours") and ("failed" not in row or row["name"] not in rows):
            rows[row["name"]] = row | {"measured": measured, "beside": beside}
    return kept | {"rows": list(rows.values()), "versions": found["versions"] | kept["versions"]}


def _among(names: Any) -> Any:
    def parse(text: str) -> list[str]:
        asked = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in asked if name not in names]
        if unknown or not asked:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'}: choose among {', '.join(names)}")
        return asked

    return parse


if __name__ == "__main__":
    sys.exit(main())
