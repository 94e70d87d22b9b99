"""Order the images to look at into queues, with the reason for each image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from darkroom.core.errors import DarkroomError
from darkroom.reporting.findings import share
from darkroom.review.evidence import PRODUCTS, Evidence, suspects
from darkroom.review.samples import INDEX, Samples
from darkroom.splits.columns import read_columns
from darkroom.splits.corrections import Correction
from darkroom.splits.duplicates import clusters

LISTED, FEW = 500, 20  # images of a queue that ranks all: a tenth of them, at most and at least so many
ALIKE = 0.9  # cosine of features from which an image in another split is worth a look


@dataclass(frozen=True)
class Queue:
    """A list of samples, `order` int64, of which the first `count` matter; `why`: the reason for one, in words.

    `beside`: the sample to show beside one; -1 for none.
    """

    name: str
    title: str
    about: str
    order: np.ndarray
    count: int
    why: Callable[[int], str]
    beside: Callable[[int], int] = lambda _: -1

    def facts(self, samples: Samples) -> dict[str, Any]:
        """Return what the page says of the list beside its pictures."""
        undecided = int((~samples.decided[self.order[: self.count]]).sum())
        return {"name": self.name, "title": self.title, "about": self.about, "count": self.count, "open": undecided,
                "total": len(self.order)}  # fmt: skip


def of_decisions(samples: Samples, decided: Mapping[str, Correction]) -> list[Queue]:
    """Return the queues of the samples that are decided about; `decided` in the order of the file, the newest last."""
    rows = [(index, decided[key].decision) for key in reversed(list(decided)) for index in samples.by_key.get(key, ())]
    unsure = sorted(index for index, decision in rows if decision == "unsure")
    return [
        Queue("unsure", "Not sure", "Set aside for later, or for somebody else.", np.array(unsure, np.int64),
              len(unsure), lambda _: "set aside as not sure"),
        Queue("decided", "Decided", "Every decision so far, the newest first; each can be changed or withdrawn.",
              np.array([index for index, _ in rows], np.int64), len(rows), lambda _: ""),
    ]  # fmt: skip


def of_class(samples: Samples, evidence: Evidence | None, label: str) -> Queue:
    """Return all samples with pixels that have a label now, the least likely first. Raises DarkroomError."""
    if label not in samples.classes:
        raise DarkroomError(f"there is no class {label[:100]!r}; load the page again")
    mine = np.flatnonzero(samples.labels[: samples.pictured] == samples.classes.index(label))
    if evidence and label in evidence.classes:
        own = evidence.probabilities[mine, evidence.classes.index(label)]
        mine = mine[np.argsort(np.nan_to_num(own, nan=2.0), kind="stable")]
    return Queue(f"class:{label}", label, "", mine, len(mine), lambda _: "")


def of_the_data(samples: Samples) -> list[Queue]:
    """Return the queues that need no model: label conflicts among copies, copies in two splits, and rejects."""
    cluster = _clusters(samples)
    members: dict[int, list[int]] = {}
    for index, first in enumerate(cluster.tolist()):
        members.setdefault(first, []).append(index)
    several = [group for group in members.values() if len(group) > 1]
    conflicts = [group for group in several if len({samples.given(index) for index in group}) > 1]
    other = {index: next(one for one in group if samples.given(one) != samples.given(index))
             for group in conflicts for index in group}  # fmt: skip
    straddling = [group for group in several if len(set(samples.split[group].tolist()) - {3}) > 1]
    rejects = [index for index, sample in enumerate(samples.all) if sample.reason]
    found = [
        Queue(
            "conflicts", "Copies with two labels", "The same picture under several labels: at most one is right.",
            _flat(conflicts), sum(map(len, conflicts)),
            lambda index: f"a copy of it is labelled {samples.all[other[index]].label}", lambda index: other[index],
        ),
        Queue(
            "straddling", "Copies in two splits", "The test set does not measure what was learnt by heart.",
            _flat(straddling), sum(map(len, straddling)),
            lambda _: "a copy of it lies in another split",
        ),
        Queue(
            "rejects", "Files that cannot be read", "They are left out of the run already.",
            np.array(rejects, np.int64), len(rejects), lambda index: samples.all[index].reason,
        ),
    ]  # fmt: skip
    return [queue for queue in found if queue.count or queue.name == "conflicts"]


def of_answers(samples: Samples, evidence: Evidence) -> list[Queue]:
    """Return the queues by the model's answers: the doubtful labels, and the least certain."""
    labels = in_classes(samples, evidence.classes)
    order, likely = suspects(evidence, labels)
    answered = np.isfinite(evidence.probabilities).all(axis=1) & (labels >= 0)
    ranked = np.sort(evidence.probabilities, axis=1)
    margin = np.where(answered, ranked[:, -1] - ranked[:, -2], np.inf)
    uncertain = np.argsort(margin, kind="stable")[: min(_listed(samples), int(answered.sum()))]
    found = [
        Queue(
            "errors", "Doubtful labels", _about_errors(likely, len(order)), order, len(order),
            lambda index: _disagreement(samples, evidence, index),
        ),
        Queue(
            "uncertain", "Least certain", "The model hesitates between two classes.", uncertain, len(uncertain),
            lambda index: f"{share(margin[index])} between the first and the second class",
        ),
    ]  # fmt: skip
    return [queue for queue in found if queue.count or queue.name == "errors"]


def of_features(samples: Samples, evidence: Evidence) -> list[Queue]:
    """Return the queues by what is alike, [] where no features are cached."""
    if not len(evidence.features):
        return []
    strange = np.argsort(-evidence.unlikeness, kind="stable")[: _listed(samples)]
    rank = {int(index): rank for rank, index in enumerate(strange)}
    near, partner, cosine = across_splits(samples, evidence.features)
    found = [
        Queue(
            "unlike", "Unlike the rest", "Hardly any other image resembles these: wrong photos, or rare ones.",
            strange, len(strange), lambda index: f"number {rank[index] + 1:,} of the images least like any other",
        ),
        Queue(
            "near", "Alike in two splits", "A training image and one to measure by show nearly the same.",
            near, len(near), lambda index: f"{share(cosine[index])} alike", lambda index: partner[index],
        ),
    ]  # fmt: skip
    return [queue for queue in found if queue.count]


def _listed(samples: Samples) -> int:
    return min(LISTED, max(FEW, samples.pictured // 10))


def in_classes(samples: Samples, classes: list[str]) -> np.ndarray:
    """Return the labels of the samples with pixels as indices in `classes`: int64 (n,), -1 for what is not there."""
    at = {name: index for index, name in enumerate(classes)}
    to = np.array([at.get(name, -1) for name in samples.classes] + [-1], np.int64)
    return to[samples.labels[: samples.pictured]]


def across_splits(samples: Samples, features: np.ndarray) -> tuple[np.ndarray, dict[int, int], dict[int, float]]:
    """Return val and test samples with a training image nearly like them, the nearest first, its index and cosine."""
    split = samples.split[: samples.pictured]
    learnt, judged = np.flatnonzero(split == 0), np.flatnonzero(split > 0)
    partner, cosine = np.full(len(judged), -1), np.zeros(len(judged), np.float32)
    of_learnt = features[learnt].T
    at_once = max(1, PRODUCTS // max(1, len(learnt)))
    for start in range(0, len(judged) if len(learnt) else 0, at_once):
        part = slice(start, start + at_once)
        products = features[judged[part]] @ of_learnt
        best = products.argmax(axis=1)
        partner[part], cosine[part] = learnt[best], products[np.arange(len(best)), best]
    order = np.argsort(-cosine, kind="stable")
    order = order[cosine[order] >= ALIKE][:LISTED]
    near = judged[order]
    return (near, dict(zip(near.tolist(), partner[order].tolist(), strict=True)),
            dict(zip(near.tolist(), cosine[order].tolist(), strict=True)))  # fmt: skip


def _about_errors(likely: int, count: int) -> str:
    """Return the description of the queue of doubtful labels, `likely` of whose `count` are likely wrong."""
    about = "A model that has not seen the image answers as another class"
    if not likely or likely == count:
        return f"{about}; {'these are most likely wrong' if count and likely else 'it may be the model that is wrong'}."
    return f"{about}. The first {likely:,} are most likely wrong; of the others the model may be."


def _disagreement(samples: Samples, evidence: Evidence, index: int) -> str:
    answers = evidence.probabilities[index]
    best, label = int(answers.argmax()), samples.label(index)
    own = answers[evidence.classes.index(label)] if label in evidence.classes else 0.0
    if evidence.classes[best] == label:
        return f"labelled {label}, and the model says so too: {share(own)}"
    return f"labelled {label} ({share(own)}); the model says {evidence.classes[best]} ({share(answers[best])})"


def _clusters(samples: Samples) -> np.ndarray:
    """Return the cluster of copies that each sample is in, as the index of one of its members: int64 (n,)."""
    if samples.params.get("duplicates") == "ignore":  # then the split has not looked for them
        index = read_columns(samples.root / INDEX)
        roots = clusters(index.digests, index.hashes, index.hashed, index.windows, index.pictures)
        of = {name.decode(): int(root) for name, root in zip(index.ids.tolist(), roots, strict=True)}
        return np.unique([of[sample.id] for sample in samples.all], return_inverse=True)[1]
    return np.array(
        [samples.position.get(sample.original, index) for index, sample in enumerate(samples.all)], np.int64
    )


def _flat(groups: list[list[int]]) -> np.ndarray:
    return np.array([index for group in groups for index in group], np.int64)
