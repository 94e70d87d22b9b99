"""What dividing a batch among processes does to a result: `python -m benchmarks.batchnorm [--seeds 5]`.

scikit-learn's digits, the whole network learns from chance, in 1, 2 and 3 processes of one thread each. small_cnn has
BatchNorm, which sees a process's part of the batch alone; lenet has none, so that what remains there is rounding.
Every seed is compared with itself, so that other first weights do not count as a difference.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROCESSES = (1, 2, 3)
BACKBONES = {"small_cnn": "BatchNorm", "lenet": "none"}
SETTINGS = {
    "weights": "none", "freeze": "none", "image_size": "28", "epochs": "10", "patience": "0", "batch_size": "64",
    "val_fraction": "0.4", "test_fraction": "0.1", "precision": "float32",
}  # fmt: skip


def stage(folder: Path, name: str, *paths: str, **environment: str) -> None:
    """Run a stage of the pipeline in `folder`."""
    subprocess.run(
        [sys.executable, "-m", f"stages.{name}", *paths],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "DARKROOM_THREADS": "1"} | environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def write_params(folder: Path, **settings: str) -> None:
    """Write the project's params.yaml with other settings."""
    text = (ROOT / "params.yaml").read_text()
    for key, value in settings.items():
        text = re.sub(rf"^{key}:[^#\n]*", f"{key}: {value} ", text, flags=re.MULTILINE)
    (folder / "params.yaml").write_text(text)


def prepare(folder: Path) -> None:
    """Fetch, split and preprocess the digits, once: the same images learn and judge whatever the seed."""
    for name in ("sources", "params.schema.json"):
        (folder / name).symlink_to(ROOT / name)
    write_params(folder, **SETTINGS)
    stage(folder, "fetch", "data/raw", "data/index.csv")
    stage(folder, "split", "data/index.csv", "data/split.csv")
    stage(folder, "framing", "data/framing.json")
    stage(
        folder, "preprocess", "data/raw", "data/index.csv", "data/split.csv", "data/framing.json", "data/shards",
        "data/rejects.csv", "duplicates.png",
    )  # fmt: skip


def train(folder: Path, backbone: str, seed: int) -> dict[int, dict[str, float]]:
    """Loss and accuracy on the validation images, by the number of processes."""
    write_params(folder, **SETTINGS, backbone=backbone, seed=str(seed))
    stage(folder, "embed", "data/shards", "data/features", "models/body", "samples.png")
    found = {}
    for count in PROCESSES:
        many = str(count)
        stage(
            folder, "train", "data/shards", "data/features", "models/body", "classifier", "history.csv",
            DARKROOM_PROCESSES=many, DARKROOM_THREADS=many,
        )  # fmt: skip
        found[count] = json.loads((folder / "classifier/train.json").read_text())["val"]
        print(f"{backbone}, seed {seed}, {count} processes: {found[count]}", file=sys.stderr, flush=True)
    return found


def row(backbone: str, count: int, results: list[dict[int, dict[str, float]]]) -> str:
    """Return a row of the table: what this many processes reach, and how far that is from one process with the same
    seed."""
    cells = [f"{backbone} ({BACKBONES[backbone]})", str(count)]
    for what, scale, unit in (("accuracy", 100.0, " %"), ("loss", 1.0, "")):
        values = [result[count][what] * scale for result in results]
        apart = [(result[count][what] - result[1][what]) * scale for result in results]
        digits = 2 if unit else 4
        cells.append(f"{statistics.mean(values):.{digits}f}{unit} (± {statistics.stdev(values):.{digits}f})")
        mean, most = statistics.mean(apart), max(map(abs, apart))
        cells.append("" if count == 1 else f"{mean:+.{digits}f}, at most {most:.{digits}f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Train everything and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batchnorm", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each kind (default: %(default)s)")
    asked = parser.parse_args()
    print("| network | processes | accuracy | apart from 1 process | loss | apart from 1 process |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="darkroom-batchnorm-") as name:
        prepare(Path(name))
        for backbone in BACKBONES:
            results = [train(Path(name), backbone, seed) for seed in range(asked.seeds)]
            print("\n".join(row(backbone, count, results) for count in PROCESSES), flush=True)


if __name__ == "__main__":
    main()
