"""Answer a split with the trained classifier: from cached features where the body is frozen, otherwise from pixels.

Other answers to compare with: test-time augmentation (the mean over several views of each image), and two baselines,
which are the commonest class for all images, and the nearest class mean before any training.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import exactmath, files
from darkroom.core.errors import ParamsError
from darkroom.core.exactmath import softmax
from darkroom.core.progress import progress
from darkroom.core.runtime import Runtime, torch_device
from darkroom.images.batches import balanced_rows
from darkroom.images.shards import Shards, open_split
from darkroom.metrics.abstention import Answered
from darkroom.metrics.intervals import share_interval
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.scores import Scorer
from darkroom.metrics.summary import rounded
from darkroom.model import classifier, novelty
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
    trained_body,
)
from darkroom.training.calibrate import fit_temperature

CROP = 0.875
VIEWS = ("none", "flip", "crops", "flip_crops")
MEAN_IMAGES = 1000  # images whose features make the class means, and that test them, when none are cached


@dataclass(frozen=True)
class Answers:
    """A split's images, their features (n, D) and logits (n, K), and the predictions.

    `similarity` float32 (n,): to the training images, by darkroom.model.novelty; None without references.
    """

    shards: Shards
    features: np.ndarray
    logits: np.ndarray
    predictions: Predictions
    similarity: np.ndarray | None = None

    @property
    def answered(self) -> Answered:
        """The answers as abstention.calibrate and abstention.measure take them."""
        own = self.predictions
        return Answered(own.labels, own.probabilities, self.similarity, own.group)

    @cached_property
    def locations(self) -> list[str]:
        """Where each image's file lies in the source."""
        return [row["location"] for row in self.shards.samples()]

    @cached_property
    def uncalibrated(self) -> Scorer:
        """The scorer of the probabilities at temperature 1."""
        return Scorer.of(self.predictions.labels, _probabilities(self.logits))


class Answerer:
    """The classifier of a run together with the folders of its inputs."""

    def __init__(self, classifier: Path, body: Path, shards: Path, features: Path, runtime: Runtime) -> None:
        self.saved = SavedClassifier.load(classifier)
        self.body_folder, self.shards, self.cached, self.runtime = body, shards, features, runtime
        self.engine = "onnxruntime" if self.saved.frozen else "torch"

    @cached_property
    def body(self) -> BodyRunner:
        """The body as trained, opened when first needed."""
        if self.saved.frozen:
            return OnnxBody(self.body_folder / "body.onnx", self.runtime.threads)
        return trained_body(self.saved, self.runtime)

    def answers(self, split: str) -> Answers:
        """Return the answers to "val" or "test"."""
        images = open_split(self.shards, split)
        kept = cached_features(open_split(self.cached, split, self.shards)) if self.saved.frozen else None
        features = kept[0] if kept else features_of(self.body, self._batches(images, split))
        classes = self.saved.classes
        logits = files.table((len(images), len(classes)), np.float32)
        for part in files.blocks(logits.shape):
            logits[part] = classifier.logits(features[part], self.saved.head)
        probabilities = _probabilities(logits, self.saved.temperature)
        predictions = Predictions.of(images.ids(), classes, images.labels, probabilities, images.groups())
        similarity = novelty.similarity(features, self.references) if self.references else None
        return Answers(images, features, logits, predictions, similarity)

    @cached_property
    def references(self) -> novelty.References | None:
        """The features of training images that pictures are compared with; None where train kept none."""
        return novelty.load(self.saved.folder)

    def baselines(self, test: Answers) -> dict[str, Any]:
        """Return the scores of the majority class, and of the nearest class mean on the body before training."""
        train = open_split(self.shards, "train")
        classes = self.saved.classes
        found = {"majority": majority(train.index["class_counts"], classes, test.predictions.labels)}
        indices = balanced_rows(train.labels, len(classes), MEAN_IMAGES)
        if self.saved.frozen:
            features, labels = open_split(self.cached, "train", self.shards).rows(indices)[:, 0], train.labels[indices]
            tested, truth = test.features, test.predictions.labels
        else:
            body, size = self._untouched(), batch_size(train)
            chosen = balanced_rows(test.predictions.labels, len(classes), MEAN_IMAGES)
            features, labels = features_of(body, map(train.rows, in_batches(indices, size))), train.labels[indices]
            tested, truth = (
                features_of(body, map(test.shards.rows, in_batches(chosen, size))),
                test.predictions.labels[chosen],
            )
        if len(truth):
            found["nearest_class_mean"] = nearest_mean(features, labels, tested, truth)
        return found

    def with_tta(self, test: Answers, val: Answers, kind: str) -> tuple[Predictions, float]:
        """Return the answers by the mean over the views of each test image, and their temperature. Raises ParamsError.

        The mean of several answers is calibrated by a temperature of its own, fitted to the validation images.
        """
        means = [self._mean_over_views(answers, kind) for answers in (val, test)]
        logits = [exactmath.log(np.maximum(mean, np.finfo(np.float64).tiny)) for mean in means]
        temperature = fit_temperature(logits[0], val.predictions.labels)
        own = test.predictions
        probabilities = softmax(logits[1], temperature)
        return Predictions.of(own.ids, own.classes, own.labels, probabilities, own.groups), temperature

    def _mean_over_views(self, answers: Answers, kind: str) -> np.ndarray:
        """Return the mean (n, K) of the probabilities of the views of each image."""
        flips = bool(answers.shards.index.get("flips", True))
        means = np.zeros_like(answers.predictions.probabilities)
        done = 0
        for images in self._batches(answers.shards, f"views of {answers.shards.folder.name}"):
            parts = [self.saved.probabilities(self.body.features(view)) for view in views(images, kind, flips)]
            means[done : done + len(images)] = np.mean(parts, axis=0)
            done += len(images)
        return means

    def _batches(self, shards: Shards, what: str) -> Iterator[np.ndarray]:
        size = batch_size(shards)
        count = -(-len(shards) // size)
        for images, _ in progress(batches(shards, size), f"evaluate {what}", count, "batch"):
            yield images

    def _untouched(self) -> BodyRunner:
        from darkroom.model.network import load_body

        return TorchBody(load_body(self.body_folder)[0], torch_device(self.runtime))


def _probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the softmax of a table of logits (n, K), block by block: float64 (n, K)."""
    found = files.table(logits.shape)
    for part in files.blocks(found.shape):
        found[part] = softmax(logits[part], temperature)
    return found


def views(images: np.ndarray, kind: str, flips: bool) -> Iterator[np.ndarray]:
    """Yield the views of images (n, S, S, 3) uint8, each of the same shape: the image, its mirror image, five crops.

    The crops are the four corners and the centre, 7/8 of the side, enlarged again. Raises ParamsError where images of
    this data set must not be mirrored (digits, text).
    """
    if "flip" in kind and not flips:
        raise ParamsError(
            f"params.yaml: tta is {kind!r}, but the images of this source must not be mirrored; use crops"
        )
    chosen = [images, *(_crops(images) if "crops" in kind else ())]
    for view in chosen:
        yield view
        if "flip" in kind:
            yield np.ascontiguousarray(view[:, :, ::-1])


def _crops(images: np.ndarray) -> Iterator[np.ndarray]:
    from PIL import Image

    size = images.shape[1]
    side = max(1, round(size * CROP))
    end = size - side
    for top, left in ((0, 0), (0, end), (end, 0), (end, end), (end // 2, end // 2)):
        box = (left, top, left + side, top + side)
        yield np.stack(
            [
                np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box))
                for image in images
            ]
        )


def share_right(right: np.ndarray) -> dict[str, Any]:
    """Return the accuracy of `right`, bool (n,), with its interval, and n."""
    low, high = share_interval(int(right.sum()), len(right))
    accuracy = rounded(float(right.mean())) if len(right) else None
    return {"accuracy": accuracy, "accuracy_low": rounded(low), "accuracy_high": rounded(high), "n": len(right)}


def majority(train_counts: dict[str, int], classes: list[str], labels: np.ndarray) -> dict[str, Any]:
    """Score always answering with the commonest class of the training set, the first of equals."""
    counts = [train_counts.get(name, 0) for name in classes]
    position = int(np.argmax(counts))
    return {"class": classes[position]} | share_right(labels == position)


def nearest_mean(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> dict[str, Any]:
    """Score answering with the class of the nearest mean feature; features (m, D) and (n, D), labels (m,) and (n,)."""
    present = np.unique(train_labels)
    sums = np.stack([exactmath.total(train[train_labels == position], axis=0) for position in present])
    means = sums / np.array([[np.count_nonzero(train_labels == position)] for position in present])
    known = np.isfinite(test).all(axis=1)  # a network that diverged gives features that are not
    # |x - m|² = |x|² - 2 x·m + |m|², and |x|² is the same for every class
    distance = exactmath.total(means * means) - 2 * exactmath.product(np.where(known[:, None], test, 0), means.T)
    return {"images": len(train)} | share_right(known & (present[distance.argmin(axis=1)] == test_labels))
