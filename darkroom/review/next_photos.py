"""`darkroom next FOLDER`: choose the unlabelled photos to label first.

They are photos that the classifier is unsure about and that differ from each other (BADGE, J. Ash et al., ICLR 2020):
the gradient of the last layer, as if the most probable class were right, is long where the classifier is unsure, and
k-means++ chooses gradients that lie far apart. benchmarks/README.md compares it with random choice, margins and
core-sets.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.params import read_yaml
from darkroom.core.progress import say
from darkroom.core.randomness import generator
from darkroom.core.runtime import from_environment
from darkroom.core.text import percent
from darkroom.model.classifier import SavedClassifier
from darkroom.review.evidence import Components
from darkroom.review.unlabelled import PROPOSED, Cache, Photo
from darkroom.splits.corrections import read_corrections

SHOWN = 10


@dataclass(frozen=True)
class Proposal:
    """A photo that is worth a label: its number in the cache, the model's probabilities (K,), and their margin."""

    at: int
    photo: Photo
    probabilities: np.ndarray
    margin: float


def propose(cache: Cache, known: set[str], count: int, seed: int) -> tuple[list[Proposal], list[str]]:
    """Return the `count` photos to label next, the most useful first, and the model's classes.

    `known`: sha256 of images that the run has, or that somebody has decided about.
    """
    saved = SavedClassifier.load(cache.root / "models/classifier")
    features = cache.features()
    values = cache.values()
    rows = np.array([at for at, photo in enumerate(cache.photos) if photo.sha256 not in known], np.int64)
    if not len(rows):
        raise DarkroomError(f"every photo of {cache.source} has a label already, or was decided about")
    probabilities = saved.probabilities(values[rows])
    chosen = most_useful(Components.of(features).all(features)[rows], probabilities, count, seed)
    lead = margins(probabilities)
    found = [Proposal(int(rows[at]), cache.photos[rows[at]], probabilities[at], float(lead[at])) for at in chosen]
    return found, saved.classes


def keep_proposed(cache: Cache, proposals: list[Proposal]) -> None:
    """Write what was proposed, for `darkroom review`."""
    facts = {"source": str(cache.source.resolve()), "photos": [proposal.photo.sha256 for proposal in proposals]}
    files.write_json(cache.root / PROPOSED, facts)


def margins(probabilities: np.ndarray) -> np.ndarray:
    """Return the lead of the first class over the second in each row (n, K): float64 (n,), 0..1."""
    ranked = np.sort(probabilities.astype(np.float64), axis=1)
    return ranked[:, -1] - ranked[:, -2]


def most_useful(features: np.ndarray, probabilities: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the rows to label next, in the order in which they were chosen: int64 (min(count, n),).

    `features` (n, d), rows of length 1; `probabilities` (n, K). The gradient of a row is the outer product of its
    features and `errors`; products of two of them come from the factors, so that none is ever made.
    """
    random = generator(seed, "label next")
    errors = probabilities.astype(np.float64)
    errors[np.arange(len(errors)), errors.argmax(axis=1)] -= 1
    size = (errors**2).sum(axis=1) * (features**2).sum(axis=1)
    chosen = [int(size.argmax())] if len(errors) else []
    distance = size.copy()
    while len(chosen) < min(count, len(errors)):
        last = chosen[-1]
        products = (errors @ errors[last]) * (features @ features[last])
        distance = np.minimum(distance if len(chosen) > 1 else np.inf, np.maximum(size + size[last] - 2 * products, 0))
        distance[chosen] = 0
        total = distance.sum()
        left = np.setdiff1d(np.arange(len(errors)), chosen)
        chosen.append(int(random.choice(len(errors), p=distance / total) if total > 0 else left[0]))
    return np.array(chosen, np.int64)


def main(arguments: list[str]) -> int:
    """Return 0: done."""
    parser = argparse.ArgumentParser(
        prog="darkroom next",
        description="Choose which of these unlabelled photos to label next: those that the model is unsure about, "
        "and unlike each other. `darkroom review` shows them.",
    )
    parser.add_argument("source", type=Path, metavar="FOLDER", help="a folder, zip or tar of photos without labels")
    parser.add_argument("--count", type=int, default=50, help="how many (default: %(default)s)")
    asked = parser.parse_args(arguments)
    if asked.count < 1:
        raise DarkroomError(f"--count {asked.count}: expected at least one photo")
    root = Path.cwd()
    cache = Cache.of_run(root, asked.source)
    cache.update(from_environment())
    proposals, classes = propose(cache, known_photos(root), asked.count, int(read_yaml(root / "params.yaml")["seed"]))
    keep_proposed(cache, proposals)
    say(in_words(proposals, classes, len(cache)))
    return 0


def known_photos(root: Path) -> set[str]:
    """Return the sha256 of all images of the run, and of all photos that somebody has decided about."""
    table = root / read_yaml(root / "params.yaml")["added"]
    decided = {row.sha256 for row in read_corrections(table)} if table.exists() else set()
    return decided | {row["sha256"] for row in files.read_csv(root / "data/index.csv")}


def in_words(proposals: list[Proposal], classes: list[str], total: int) -> str:
    """Return the first proposals as a table, and what to do with them."""
    lines = [f"{len(proposals):,} of {total:,} photos to label next, the most useful first:"]
    for proposal in proposals[:SHOWN]:
        best = int(proposal.probabilities.argmax())
        lines.append(f"  {proposal.photo.location}: {classes[best]}? ({percent(proposal.probabilities[best])})")
    if len(proposals) > SHOWN:
        lines.append(f"  … and {len(proposals) - SHOWN:,} more")
    return "\n".join([*lines, "`darkroom review` shows them under Label next"])
