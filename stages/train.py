"""Train the classifier: shards or features of train and val, and a body -> models/classifier, history, metrics."""

from dataclasses import dataclass
from pathlib import Path

from darkroom.core import files
from darkroom.core.params import load
from darkroom.core.runtime import from_environment
from darkroom.core.stage import note, run
from darkroom.model import classifier as classifiers
from darkroom.training.checkpoint import discard
from darkroom.training.history import HistoryFile
from darkroom.training.launch import launch
from darkroom.training.recipe import Recipe


@dataclass(frozen=True)
class TrainParams(Recipe):
    """All that shapes training."""


def main(shards: Path, features: Path, body: Path, classifier: Path, history: Path, metrics: Path) -> str:
    """Learn from SHARDS/{train,val} or FEATURES/{train,val} and the BODY that embed wrote."""
    params = load(TrainParams)
    params.check()
    curve = HistoryFile(history)
    runtime = from_environment()
    trained = launch(shards, features, body, params, runtime, curve.write)
    curve.close()
    classifiers.save(classifier, trained.facts, trained.head, trained.body)
    files.write_json(metrics, trained.metrics)
    discard(runtime.checkpoints, trained.checkpoint)
    note(**trained.ran)
    val, learnt = trained.metrics["val"], trained.metrics["parameters"]["trainable"]
    reached = "" if val["accuracy"] is None else f", {val['accuracy']:.2%} of {val['n']:,} validation images right"
    return f"{learnt:,} parameters from {trained.metrics['train']['n']:,} images{reached},"


if __name__ == "__main__":
    run(main)
