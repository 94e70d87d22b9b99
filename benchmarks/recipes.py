"""Does `recipe: finetune` pay? The head alone against it and against its parts, on the folds of data/split.csv.

    python -m benchmarks.recipes hymenoptera=RUN digits=RUN [--seeds 3]

RUN is a project in which `dvc repro embed labels` has run with `freeze: backbone`. Seed number k holds out fold k, and
is the training seed as well. Prints a Markdown table: accuracy and log loss on the held-out folds, the difference to
the head alone in points with its standard error over seeds, how far the kept mixture is on the way from the head to the
tuned network, and seconds of a training.
"""

import argparse
import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.exactmath import log_softmax
from darkroom.core.params import load
from darkroom.core.runtime import Runtime, from_environment
from darkroom.training.folds import open_fold
from darkroom.training.recipe import Recipe
from darkroom.training.train import train
from stages.fold import logits

RECIPES: dict[str, dict[str, Any]] = {
    "head alone": {},
    "finetune": {"recipe": "finetune"},
    "finetune, trivial": {"recipe": "finetune", "augment": "trivial"},
    "every layer at once, 4 epochs": {"freeze": "none", "epochs": 4, "lr": 1e-4, "patience": 0},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", help="name=folder")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    print("| set | images | recipe | accuracy | points to the head | log loss | share | seconds |\n"
          "|---|---|---|---|---|---|---|---|")  # fmt: skip
    home, runtime = Path.cwd(), from_environment()
    for name, _, folder in (run.partition("=") for run in asked.runs):
        os.chdir(folder)
        alone = np.zeros(asked.seeds)
        for recipe, changes in RECIPES.items():
            found = [measure(changes, seed, runtime) for seed in range(asked.seeds)]
            accuracy, loss, share, seconds, images = np.array(found).T
            alone = accuracy if not changes else alone
            points = 100 * (accuracy - alone)
            error = points.std(ddof=1) / np.sqrt(len(points)) if len(points) > 1 else np.nan
            shares = " ".join(f"{each:g}" for each in share) if "recipe" in changes else ""
            gained = f"{points.mean():+.2f} ± {error:.2f}"
            print(f"| {name} | {images[0]:.0f} | {recipe} | {accuracy.mean():.4f} | {gained} | "
                  f"{loss.mean():.4f} | {shares} | {seconds.mean():.0f} |", flush=True)  # fmt: skip
        os.chdir(home)


def measure(changes: dict[str, Any], seed: int, runtime: Runtime) -> tuple[float, float, float, float, int]:
    """Return accuracy and log loss on the held-out fold, the mixture's share, seconds, and images learnt from."""
    data, held = open_fold(Path("data/split.csv"), Path("data/shards"), Path("data/features"), seed)
    recipe = dataclasses.replace(load(Recipe), **changes, train_seed=seed)
    started = time.monotonic()
    trained = train(data, Path("models/body"), recipe, runtime, lambda _rows: None)
    seconds = time.monotonic() - started
    answers = logits(trained, held, runtime).astype(np.float64)
    losses = -log_softmax(answers, trained.temperature)[np.arange(len(answers)), held.labels]
    accuracy = float((answers.argmax(axis=1) == held.labels).mean())
    return accuracy, float(losses.mean()), trained.ran.get("tuned_share", 0.0), seconds, len(data.train_images)


if __name__ == "__main__":
    main()
