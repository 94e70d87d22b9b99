"""The trained classifier's answers to a split, from cached features where the body is frozen, otherwise from pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import files, spill
from darkroom.core.exactmath import softmax
from darkroom.core.progress import progress
from darkroom.core.runtime import Runtime, torch_device
from darkroom.images.shards import Shards, open_split
from darkroom.metrics import baselines
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.scores import Scorer
from darkroom.metrics.tta import views
from darkroom.model import heads
from darkroom.model.classifier import SavedClassifier
from darkroom.model.runner import (
    BodyRunner,
    OnnxBody,
    TorchBody,
    batch_size,
    batches,
    cached_features,
    features_of,
    in_batches,
)


@dataclass(frozen=True)
class Answers:
    """A split's images, the features (n, D) and logits (n, K) of each, and the predictions they come to."""

    shards: Shards
    features: np.ndarray
    logits: np.ndarray
    predictions: Predictions

    @cached_property
    def locations(self) -> list[str]:
        """Where each image's file lies in the source."""
        return [row["location"] for row in files.read_csv(self.shards.folder / "samples.csv")]

    @cached_property
    def uncalibrated(self) -> Scorer:
        """The scorer of the probabilities at temperature 1."""
        return Scorer.of(self.predictions.labels, _probabilities(self.logits))


class Answerer:
    """The classifier of a run together with the folders that its inputs lie in."""

    def __init__(self, classifier: Path, body: Path, shards: Path, features: Path, runtime: Runtime) -> None:
        self.saved = SavedClassifier.load(classifier)
        self.body_folder, self.shards, self.cached, self.runtime = body, shards, features, runtime
        self.engine = "onnxruntime" if self.saved.frozen else "torch"

    @cached_property
    def body(self) -> BodyRunner:
        """The body as trained, opened when first needed."""
        if self.saved.frozen:
            return OnnxBody(self.body_folder / "body.onnx", self.runtime.threads)
        from darkroom.model.network import load_network

        return TorchBody(load_network(self.saved.folder).body, torch_device(self.runtime))

    def answers(self, split: str) -> Answers:
        """The answers to "val" or "test"."""
        images = open_split(self.shards, split)
        kept = cached_features(open_split(self.cached, split, self.shards)) if self.saved.frozen else None
        features = kept[0] if kept else features_of(self.body, self._batches(images, split))
        classes = self.saved.classes
        logits = spill.table((len(images), len(classes)), np.float32)
        for part in spill.blocks(logits.shape):
            logits[part] = heads.logits(features[part], self.saved.head)
        probabilities = _probabilities(logits, self.saved.temperature)
        predictions = Predictions.of(images.ids(), classes, images.labels, probabilities)
        return Answers(images, features, logits, predictions)

    def baselines(self, test: Answers) -> dict[str, Any]:
        """Majority class, and nearest class mean on the body before training."""
        train = open_split(self.shards, "train")
        classes = self.saved.classes
        found = {"majority": baselines.majority(train.index["class_counts"], classes, test.predictions.labels)}
        places = baselines.balanced_places(train.labels, len(classes))
        if self.saved.frozen:
            # the cached features of train, read where they are needed alone
            features, labels = open_split(self.cached, "train", self.shards).rows(places)[:, 0], train.labels[places]
            tested, truth = test.features, test.predictions.labels
        else:
            body, size = self._untouched(), batch_size(train)
            chosen = baselines.balanced_places(test.predictions.labels, len(classes))
            features, labels = features_of(body, map(train.rows, in_batches(places, size))), train.labels[places]
            tested, truth = (
                features_of(body, map(test.shards.rows, in_batches(chosen, size))),
                test.predictions.labels[chosen],
            )
        if len(truth):
            found["nearest_class_mean"] = baselines.nearest_mean(features, labels, tested, truth)
        return found

    def with_tta(self, test: Answers, kind: str) -> Predictions:
        """Predictions whose probabilities are the mean over the views of each image. Raises ParamsError."""
        flips = bool(test.shards.index.get("flips", True))
        sums = np.zeros_like(test.predictions.probabilities)
        done = 0
        for images in self._batches(test.shards, "views of test"):
            parts = [self.saved.probabilities(self.body.features(view)) for view in views(images, kind, flips)]
            sums[done : done + len(images)] = np.mean(parts, axis=0)
            done += len(images)
        own = test.predictions
        return Predictions.of(own.ids, own.classes, own.labels, sums)

    def _batches(self, shards: Shards, what: str) -> Iterator[np.ndarray]:
        size = batch_size(shards)
        count = -(-len(shards) // size)
        for images, _ in progress(batches(shards, size), f"evaluate {what}", count, "batch"):
            yield images

    def _untouched(self) -> BodyRunner:
        from darkroom.model.network import load_body

        return TorchBody(load_body(self.body_folder)[0], torch_device(self.runtime))


def _probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """The softmax of a table of logits (n, K), block by block: float64 (n, K)."""
    found = spill.table(logits.shape)
    for part in spill.blocks(found.shape):
        found[part] = softmax(logits[part], temperature)
    return found
