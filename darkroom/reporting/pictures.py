"""Choose the pictures inside the report, their size, and what stands beside each, within a limit of bytes."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from darkroom.images.batches import balanced_rows
from darkroom.images.shards import Shards
from darkroom.metrics.predictions import Predictions
from darkroom.reporting.evaluation import Material
from darkroom.reporting.gallery import heat_maker, worst_order
from darkroom.reporting.leaks import unit

BYTES = 1_050_000  # of all pictures, before base64 makes four thirds of them
LARGE_SHARE, NEAR_SHARE = 0.55, 0.15  # of BYTES: for the large pictures, and for the neighbours
SIDES = (320, 224, 160, 128, 112, 96, 80, 64)  # of a picture, pixels, the largest that fits
NEAR_SIDE, NEIGHBOURS = 72, 4  # side in pixels of the training images beside a picture, and their number
LOSSLESS = 64  # up to this side a picture is stored without loss: it shows the pixels that the model saw
UNCERTAIN = 12  # least certain answers that are shown large, with the wrong ones
EXPLAINED = {"Grad-CAM": 300, "occlusion": 24}  # pictures with a heat map: occlusion takes 65 answers for one
REFERENCES = 20_000  # training images at most among which neighbours are looked for
TOP = 5  # classes whose probability is shown


@dataclass
class Album:
    """Pictures as data URIs, and `left`, the number of bytes still to spend."""

    left: int
    near: list[dict[str, Any]] = field(default_factory=list)
    shots: list[dict[str, Any]] = field(default_factory=list)


def album(material: Material) -> dict[str, Any]:
    """Return what the page's script shows: classes, `shots` (one a picture) and `near` (training images beside them).

    Wrong answers, likely label errors and the least certain answers come first and large; then right answers, as many
    of each class as there is room for.
    """
    own = material.unseen.predictions
    first = len(material.val.predictions)  # rows of `unseen` from here on are the test set's
    suspects = set(material.suspects.tolist())
    special = list(
        dict.fromkeys([*(worst_order(material.test.predictions) + first), *material.suspects, *_uncertain(own, first)])
    )
    rows = [int(row) for row in special]
    made = Album(BYTES)
    shown = _add(made, material, rows, int(made.left * LARGE_SHARE), suspects)
    _add_neighbours(made, material, shown)
    _add_heat(made, material, shown)
    rest = np.setdiff1d(np.arange(first, len(own)), rows)
    order = rest[_round_robin(own.labels[rest])]
    _add(made, material, order.tolist(), made.left, suspects)
    held = sum(shot["l"] != shot["a"] and "v" not in shot for shot in made.shots)
    wrong = int((~material.test.predictions.scorer.correct).sum())
    return {"shots": made.shots, "near": made.near, "wrong": wrong, "wrong_held": held}


def encoded(image: np.ndarray, side: int, quality: int = 62) -> bytes:
    """Return an image (S, S, 3) uint8 as WebP, at most `side` wide; small ones without loss."""
    from PIL import Image

    picture, buffer = Image.fromarray(image), io.BytesIO()
    if len(image) <= LOSSLESS:
        picture.save(buffer, "WEBP", lossless=True, method=4)
    else:
        if len(image) > side:
            picture = picture.resize((side, side), Image.Resampling.LANCZOS)
        picture.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def data_uri(data: bytes, kind: str = "webp") -> str:
    """Return the bytes of a picture as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def class_samples(train: Shards) -> list[tuple[str, list[str]]]:
    """Return up to 12 classes, evenly spread, each with up to four of its training images as data URIs."""
    chosen = np.unique(np.linspace(0, len(train.classes) - 1, min(12, len(train.classes))).astype(int))
    found = []
    for label in chosen:
        rows = np.flatnonzero(train.labels == label)[:4]
        if len(rows):
            found.append((train.classes[label], [data_uri(encoded(image, 96, 50)) for image in train.rows(rows)]))
    return found


def _uncertain(own: Predictions, first: int) -> np.ndarray:
    """Return rows from `first` on whose two best classes lie closest together."""
    if own.probabilities.shape[1] < 2 or len(own) == first:
        return np.empty(0, np.int64)
    best = np.sort(own.probabilities[first:], axis=1)[:, -2:]
    order = np.argsort(best[:, 1] - best[:, 0], kind="stable")  # NaN sorts last
    return first + order[:UNCERTAIN]


def _add(made: Album, material: Material, rows: Sequence[int], room: int, suspects: set[int]) -> list[int]:
    """Add pictures of the rows, in their order, until `room` bytes are used up; return the rows that were added."""
    if not rows:
        return []
    size = len(material.unseen.image(rows[0]))
    sample = [material.unseen.image(row) for row in rows[:: max(1, len(rows) // 10)]]
    sides = [side for side in SIDES if side < size] or [size]
    sides = [size, *sides] if LOSSLESS < size <= SIDES[0] else sides
    for side in dict.fromkeys(sides):
        typical = float(np.mean([len(encoded(image, side)) for image in sample]))
        if typical * len(rows) <= room:
            break
    added = []
    for row in rows:
        data = encoded(material.unseen.image(row), side)
        room -= len(data)
        if room < 0:
            break
        made.left -= len(data)
        made.shots.append(_shot(material, row, data_uri(data), row in suspects))
        added.append(row)
    return added


def _shot(material: Material, row: int, source: str, suspect: bool) -> dict[str, Any]:
    own = material.unseen.predictions
    shares = own.probabilities[row]
    top = np.argsort(-shares, kind="stable")[: TOP if np.isfinite(shares).all() else 0]
    shot: dict[str, Any] = {
        "src": source,
        "l": int(own.labels[row]),
        "a": int(own.predicted[row]),
        "p": [[int(label), round(float(shares[label]), 4)] for label in top],
        "q": None if not len(top) else round(float(shares[own.labels[row]]), 4),
        "f": material.unseen.locations[row],
    }
    if suspect:
        shot["s"] = 1
    if row < len(material.val.predictions):
        shot["v"] = 1
    return shot


def _add_neighbours(made: Album, material: Material, rows: Sequence[int]) -> None:
    """Put beside each picture the training images whose features are most like its own (by the cosine)."""
    features, images, keep = _references(material)
    if not len(features) or not rows:
        return
    own = np.concatenate([part.features for part in (material.val, material.test) if len(part.features)])[rows]
    alike = unit(own) @ unit(features).T
    room = int(BYTES * NEAR_SHARE)
    known: dict[int, int] = {}
    for number in range(len(rows)):
        near = []
        for column in np.argsort(-alike[number], kind="stable")[:NEIGHBOURS]:
            row = int(keep[column])
            if row not in known:
                data = encoded(images.rows(np.array([row]))[0], NEAR_SIDE, 50)
                if len(data) <= room:
                    room -= len(data)
                    made.left -= len(data)
                    known[row] = len(made.near)
                    made.near.append({"src": data_uri(data), "l": int(images.labels[row])})
            if row in known:
                near.append(known[row])
        made.shots[number]["n"] = near


def _references(material: Material) -> tuple[np.ndarray, Shards, np.ndarray]:
    """Return features (m, D) of training images, their shards, and the rows there; none for a fine-tuned network.

    Its training images would all have to go through the network.
    """
    answerer = material.answerer
    train = Shards(answerer.shards / "train")
    if not answerer.saved.frozen or not len(train):
        return np.empty((0, 0), np.float32), train, np.empty(0, np.int64)
    keep = balanced_rows(train.labels, len(train.classes), REFERENCES)
    return Shards(answerer.cached / "train").rows(keep)[:, 0], train, keep


def _add_heat(made: Album, material: Material, rows: Sequence[int]) -> None:
    """Add to the first pictures a veil over what did not count for the answer, which the browser smooths."""
    heat_of, method = heat_maker(material.unseen, material.answerer.saved, material.answerer.body)
    for number, row in enumerate(rows[: EXPLAINED[method]]):
        if material.unseen.predictions.predicted[row] >= 0:
            data = _veil(heat_of(row))
            made.left -= len(data)
            made.shots[number]["h"] = data_uri(data, "png")


def _veil(heat: np.ndarray) -> bytes:
    from PIL import Image

    veil = np.zeros((*heat.shape, 2), np.uint8)
    veil[..., 1] = np.rint((1 - heat) * 165)
    buffer = io.BytesIO()
    Image.fromarray(veil, "LA").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _round_robin(labels: np.ndarray) -> np.ndarray:
    """Return an order in which the first image of each class comes before the second of any."""
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        mine = labels == label
        rank[mine] = np.arange(mine.sum())
    return np.lexsort((labels, rank))
