"""Collect the evidence about each image of a run: probabilities by heads that have not seen it, and similar images.

A network that was trained whole has no cached features: then the evidence is the run's answers to the test set alone.
The evidence of the last review is kept in KEPT, for as long as what it was computed from stays the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darkroom.core import files, tensorfile
from darkroom.core.errors import DarkroomError
from darkroom.core.progress import say
from darkroom.images.batches import Table
from darkroom.images.shards import SPLITS, Shards
from darkroom.metrics import label_errors as code_of_answers
from darkroom.metrics.label_errors import MAPPED_BYTES, label_errors, likely_label_errors, out_of_fold
from darkroom.metrics.predictions import read_predictions
from darkroom.reporting.runs import groups
from darkroom.review.samples import INDEX, SHARDS, SPLIT, Samples

FEATURES, PREDICTIONS = Path("data/features"), Path("plots/predictions.csv")
KEPT = Path(".darkroom/review/evidence.safetensors")
COMPONENTS = 128  # principal components of the features, in which similarity is measured
SAMPLED = 10_000  # images that components are computed from, and that each image is compared with
PRODUCTS = 8 << 20  # cosines that are in memory at once
NEAREST = 5  # images whose mean distance is an image's unlikeness


@dataclass(frozen=True)
class Evidence:
    """Answers and features of the samples with pixels.

    `classes`: K names; `probabilities` float32 (n, K), NaN where there is no answer; `features` float32 (n, d), rows of
    length 1, (0, 0) where none are cached; `unlikeness` float32 (n,), one minus the mean cosine to the nearest others;
    `components`: the transformation of the cached features into `features`.
    """

    classes: list[str]
    probabilities: np.ndarray
    features: np.ndarray
    unlikeness: np.ndarray

    components: "Components | None" = None

    def nearest(self, vector: np.ndarray, count: int, but: int = -1) -> list[tuple[int, float]]:
        """Return the `count` samples most like a unit row (d,), nearest first, with their cosines, without `but`."""
        cosines = self.features @ vector
        if but >= 0:
            cosines[but] = -np.inf
        near = np.argpartition(-cosines, min(count, len(cosines) - 1))[:count]
        return [(int(at), float(cosines[at])) for at in near[np.argsort(-cosines[near], kind="stable")] if at != but]

    def unit(self, features: np.ndarray) -> np.ndarray | None:
        """Return features (D,) of the run's body as a row like those of `features`; None where none are cached."""
        return None if self.components is None else self.components.unit(features[None])[0]


@dataclass(frozen=True)
class Components:
    """The principal components of features: `mean` (D,) and `axes` (D, d), at most COMPONENTS of them.

    Rows of 1,280 numbers say hardly more about what is near than 128 components, and take ten times the memory.
    """

    mean: np.ndarray
    axes: np.ndarray

    @staticmethod
    def of(features: Table, most: int = COMPONENTS) -> "Components":
        """Return the components of all features without augmentation, computed from about SAMPLED rows of them."""
        from threadpoolctl import threadpool_limits

        size = features.row_shape[-1]
        sampled = np.arange(0, len(features), max(1, len(features) // SAMPLED))
        total, products = np.zeros(size), np.zeros((size, size))
        with threadpool_limits(1, "blas"):  # its threads wait for each other where other programs run, too
            for _, part in features.plain(sampled):
                rows = part.astype(np.float64)
                total += rows.sum(axis=0)
                products += rows.T @ rows
            mean = total / len(sampled)
            covariance = products / len(sampled) - np.outer(mean, mean)
            axes = np.eye(size) if size <= most else np.linalg.eigh(covariance)[1][:, -most:]
        return Components(mean, axes)

    def unit(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (n, D) in these components, of length 1: float32 (n, d)."""
        found = ((rows - self.mean) @ self.axes).astype(np.float32)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)

    def all(self, features: Table) -> np.ndarray:
        """Return the plain view of all features as unit rows: float32 (n, d)."""
        found = np.empty((len(features), self.axes.shape[1]), np.float32)
        for rows, values in features.plain(np.arange(len(features))):
            found[rows] = self.unit(values)
        return found


def gather(samples: Samples, progress: Callable[[str], None] = lambda _: None) -> Iterator[Evidence]:
    """Yield the evidence about the samples under the labels of the run: the answers, then these with the features.

    `progress` is called with what is done next, in words. Raises DarkroomError.
    """
    parts = [Shards(samples.root / FEATURES / split, MAPPED_BYTES) for split in SPLITS]
    if sum(map(len, parts)) != samples.pictured:
        yield _of_test_set(samples)
        return
    path, key = samples.root / KEPT, _key(samples.root)
    kept = _read(path, key)
    if kept is None:
        classes, probabilities = _out_of_fold(samples, progress)
        yield Evidence(classes, probabilities, np.empty((0, 0), np.float32), np.empty(0, np.float32))
        progress("looking for images that are alike")
        components = Components.of(Table(parts))
        features = components.all(Table(parts))
        kept = Evidence(classes, probabilities, features, unlikeness(features), components)
        _write(path, key, kept)
    yield kept


def _key(root: Path) -> str:
    """Return a digest of all that the evidence is computed from, this code included."""
    names = (f"{FEATURES}/{{}}/index.json", f"{SHARDS}/{{}}/index.json", "data/labels/{}.json")
    of_splits = [root / name.format(split) for split in SPLITS for name in names]
    inputs = [root / INDEX, root / SPLIT, *of_splits, Path(code_of_answers.__file__), Path(__file__)]
    return files.digest([files.sha256(path) if path.exists() else "" for path in inputs])


def _read(path: Path, key: str) -> Evidence | None:
    """Return the evidence in a file; None where it is of other inputs, damaged or missing."""
    try:
        facts = tensorfile.facts(path) or {}
        if facts.get("key") == key:
            found = tensorfile.mapped(path)
            components = Components(found["mean"], found["axes"])
            return Evidence(
                facts["classes"], found["probabilities"], found["features"], found["unlikeness"], components
            )
    except (OSError, ValueError, KeyError):
        pass
    return None


def _write(path: Path, key: str, evidence: Evidence) -> None:
    assert evidence.components
    tensors = {"mean": evidence.components.mean, "axes": evidence.components.axes, "features": evidence.features,
               "unlikeness": evidence.unlikeness, "probabilities": evidence.probabilities}  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensorfile.write(path, tensors, {"key": key, "classes": evidence.classes})
    except OSError as error:
        say(f"review: {path}: {error.strerror}; the next review asks the model again")


def suspects(evidence: Evidence, labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Return samples, the most doubtful label first, int64, and how many of them are likely errors.

    `labels` int64 (n,): indices in the evidence's classes, -1 for what has none. After the likely errors come those of
    confident learning that may as well be the model's, then all others that it answers as another class, the surest
    first.
    """
    known = np.flatnonzero((labels >= 0) & np.isfinite(evidence.probabilities).all(axis=1))
    if not len(known):
        return known, 0
    probabilities, own = evidence.probabilities[known].astype(np.float64), labels[known]
    likely, possible = likely_label_errors(own, probabilities), label_errors(own, probabilities)
    possible = possible[~np.isin(possible, likely)]
    lead = probabilities.max(axis=1) - probabilities[np.arange(len(known)), own]
    others = np.setdiff1d(np.flatnonzero(lead > 0), np.concatenate([likely, possible]))
    others = others[np.argsort(-lead[others], kind="stable")]
    return known[np.concatenate([likely, possible, others])], len(likely)


def unlikeness(features: np.ndarray) -> np.ndarray:
    """Return one minus the mean cosine of each row (n, d) to its NEAREST others of a sample of rows: float32 (n,)."""
    count = len(features)
    others = np.arange(0, count, max(1, count // SAMPLED))
    found = np.zeros(count, np.float32)
    nearest = min(NEAREST, len(others) - 1)
    at_once = max(1, PRODUCTS // max(1, len(others)))
    for start in range(0, count if nearest > 0 else 0, at_once):
        rows = np.arange(start, min(start + at_once, count))
        cosines = features[rows] @ features[others].T
        cosines[others[None, :] == rows[:, None]] = -np.inf
        found[rows] = 1 - np.partition(cosines, -nearest, axis=1)[:, -nearest:].mean(axis=1)
    return found


def _out_of_fold(samples: Samples, progress: Callable[[str], None]) -> tuple[list[str], np.ndarray]:
    answers = out_of_fold(samples.root / SHARDS, samples.root / FEATURES, groups(samples.root), progress)
    found = np.full((samples.pictured, len(answers.classes)), np.nan, np.float32)
    found[[samples.position[name] for name in answers.ids]] = answers.probabilities
    return answers.classes, found


def _of_test_set(samples: Samples) -> Evidence:
    path = samples.root / PREDICTIONS
    if not path.exists():
        raise DarkroomError(f"{PREDICTIONS} is missing, and nothing is known of the images; run `dvc repro`")
    with path.open(encoding="utf-8", newline="") as file:
        answers = read_predictions(file, str(PREDICTIONS))
    found = np.full((samples.pictured, len(answers.classes)), np.nan, np.float32)
    rows = [(samples.position[name], at) for at, name in enumerate(answers.ids) if name in samples.position]
    if rows:
        to, at = np.array(rows).T
        found[to] = answers.probabilities[at]
    return Evidence(answers.classes, found, np.empty((0, 0), np.float32), np.empty(0, np.float32))
