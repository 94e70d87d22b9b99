"""Train without one fold and predict that fold: split, shards or features, a body -> scores, predictions."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darkroom.core import files
from darkroom.core.exactmath import softmax
from darkroom.core.params import load
from darkroom.core.runtime import Runtime, from_environment, torch_device
from darkroom.core.stage import note, run
from darkroom.core.text import percent
from darkroom.metrics import registry
from darkroom.metrics.predictions import Predictions, write_predictions
from darkroom.model import classifier
from darkroom.training.checkpoint import discard
from darkroom.training.folds import Held, open_fold
from darkroom.training.history import HistoryFile
from darkroom.training.recipe import Recipe
from darkroom.training.result import Trained
from darkroom.training.train import train

BATCH = 64


@dataclass(frozen=True)
class FoldParams(Recipe):
    """The params of fold: all that shape training."""


def main(fold: Path, split: Path, shards: Path, features: Path, body: Path, out: Path) -> str:
    """Train on all folds of SPLIT but FOLD; write scores, predictions and the history into OUT."""
    params = load(FoldParams)
    params.check()
    number, runtime = int(fold.name), from_environment()
    data, held = open_fold(split, shards, features, number)
    with files.fresh_folder(out) as folder:
        curve = HistoryFile(folder / "history.csv")
        trained = train(data, body, params, runtime, curve.write)
        curve.close()
        probabilities = softmax(logits(trained, held, runtime), trained.facts["temperature"])
        predictions = Predictions.of(held.ids, data.classes, held.labels, probabilities, held.groups)
        write_predictions(folder / "predictions.csv", predictions)
        scores = predictions.scorer.plain(np.ones((1, len(predictions))))
        facts = {"fold": number, "n": len(predictions), "learnt_from": len(data.train_images)}
        facts |= {"best_epoch": trained.metrics["best_epoch"]}
        rounded = {metric.key: round(float(scores[metric.key][0]), 6) for metric in registry.headline()}
        files.write_json(folder / "result.json", facts | rounded)
    discard(runtime.checkpoints, trained.checkpoint)
    note(**trained.ran)
    right = float(scores["accuracy"][0])
    return (
        f"fold {number}: {percent(right)} of {len(predictions):,} images right, learnt from {len(data.train_images):,},"
    )


def logits(trained: Trained, held: Held, runtime: Runtime) -> np.ndarray:
    """Return the logits (n, K) float32 of the held-out samples, before the temperature."""
    samples = np.arange(len(held.ids))
    if trained.facts["frozen"] and held.features is not None:
        return classifier.logits(held.features.features(samples, np.zeros(len(samples), np.int64)), trained.head)
    import torch

    from darkroom.model.network import load_network, pixels

    device = torch_device(runtime)
    with tempfile.TemporaryDirectory() as scratch:
        classifier.save(Path(scratch) / "classifier", trained.facts, trained.head, trained.body)
        network = load_network(Path(scratch) / "classifier").to(device)
    parts = [samples[start : start + BATCH] for start in range(0, len(samples), BATCH)]
    with torch.inference_mode():
        return np.concatenate([network(pixels(held.images.rows(part), device)).cpu().numpy() for part in parts])


if __name__ == "__main__":
    run(main)
