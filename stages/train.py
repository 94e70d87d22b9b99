"""Train the classifier: shards or features of train and val, and a body -> models/classifier, history."""

from dataclasses import dataclass
from pathlib import Path

from darkroom.core import files
from darkroom.core.params import load
from darkroom.core.runtime import Runtime, from_environment
from darkroom.core.stage import note, run
from darkroom.core.text import percent
from darkroom.images.batches import balanced_rows
from darkroom.images.shards import open_split
from darkroom.model import classifier as classifiers
from darkroom.model import novelty
from darkroom.model.classifier import TRAINING, SavedClassifier
from darkroom.training.checkpoint import discard
from darkroom.training.history import HistoryFile
from darkroom.training.launch import launch
from darkroom.training.recipe import Recipe


@dataclass(frozen=True)
class TrainParams(Recipe):
    """The params of train: all that shape training."""


def main(shards: Path, features: Path, body: Path, classifier: Path, history: Path) -> str:
    """Train on SHARDS/{train,val} or FEATURES/{train,val}, from the BODY that embed wrote."""
    params = load(TrainParams)
    params.check()
    curve = HistoryFile(history)
    runtime = from_environment()
    trained = launch(shards, features, body, params, runtime, curve.write)
    curve.close()
    classifiers.save(classifier, trained.facts, trained.head, trained.body)
    files.write_json(classifier / TRAINING, trained.metrics)
    save_references(classifier, shards, features, runtime)
    discard(runtime.checkpoints, trained.checkpoint)
    note(**trained.ran)
    val, learnt = trained.metrics["val"], trained.metrics["parameters"]["trainable"]
    reached = "" if val["accuracy"] is None else f", {percent(val['accuracy'])} of {val['n']:,} validation images right"
    return f"{learnt:,} parameters from {trained.metrics['train']['n']:,} images{reached},"


def save_references(classifier: Path, shards: Path, features: Path, runtime: Runtime) -> None:
    """Add features of training images, equally many of each class, to CLASSIFIER, to recognise unknown images."""
    saved = SavedClassifier.load(classifier)
    images = open_split(shards, "train")
    width, classes = saved.facts["features"], len(saved.classes)
    indices = balanced_rows(images.labels, classes, novelty.most(width, classes))
    if saved.frozen:
        found = open_split(features, "train", shards).rows(indices)[:, 0]
    else:
        from darkroom.model.runner import batch_size, features_of, in_batches, trained_body

        body = trained_body(saved, runtime)
        found = features_of(body, map(images.rows, in_batches(indices, batch_size(images))))
    known = novelty.references(found, classes)
    if known is not None:
        novelty.save(classifier, known)


if __name__ == "__main__":
    run(main)
