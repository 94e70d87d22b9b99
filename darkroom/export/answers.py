"""Compare the answers of the trained and of the exported model on the test set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from darkroom.core import runtime
from darkroom.core.errors import DarkroomError
from darkroom.core.progress import progress
from darkroom.core.runtime import Runtime
from darkroom.export.graph import after_body
from darkroom.images.shards import Shards
from darkroom.metrics.abstention import Answered
from darkroom.metrics.predictions import group_codes
from darkroom.metrics.scores import most_probable
from darkroom.model import novelty
from darkroom.model.classifier import SavedClassifier
from darkroom.model.runner import EXACT, ONNX
from darkroom.model.session import open_session, probabilities

TOLERANCE = 1e-3  # the largest difference of a probability where bodies compute in float32
SAME_FEATURES = 1e-6  # where the features have the same bits: the heads compute in float64
TIE = 1e-5  # classes whose probabilities differ by less than this may swap


@dataclass(frozen=True)
class Agreement:
    """Of `n` pictures, the largest difference of any probability, and how many got another class, `ties` among them."""

    n: int
    max_difference: float
    other_class: int
    ties: int
    tolerance: float = TOLERANCE

    def worse(self, again: "Agreement") -> "Agreement":
        """Return the worse of the two in each respect, where `again` is of some of the same pictures."""
        return Agreement(
            self.n,
            max(self.max_difference, again.max_difference),
            max(self.other_class, again.other_class),
            max(self.ties, again.ties),
            max(self.tolerance, again.tolerance),
        )


def compare(trained: np.ndarray, exported: np.ndarray, tolerance: float = TOLERANCE) -> Agreement:
    """Compare probabilities (n, K) of the trained and the exported model by rows. NaN is a difference of 1.

    A picture's class is that of the highest probability in float32, in which the exported model answers.
    """
    if trained.shape != exported.shape:
        raise DarkroomError(f"the exported model answers {exported.shape}, the trained one {trained.shape}")
    n = len(trained)
    if not n:
        return Agreement(0, 0.0, 0, 0, tolerance)
    difference = np.nan_to_num(np.abs(trained.astype(np.float64) - exported), nan=1.0)
    rows, before, after = np.arange(n), most_probable(trained), most_probable(exported)
    moved = before != after
    ties = moved & (np.abs(trained[rows, before] - trained[rows, after]) <= min(TIE, tolerance))
    return Agreement(n, float(difference.max()), int(moved.sum()), int(ties.sum()), tolerance)


def require(trained: np.ndarray, exported: np.ndarray, ids: Sequence[str], tolerance: float = TOLERANCE) -> Agreement:
    """Compare the probabilities; raise DarkroomError, with the worst picture, unless the two models agree."""
    found = compare(trained, exported, tolerance)
    if found.max_difference <= tolerance and found.other_class == found.ties:
        return found
    difference = np.nan_to_num(np.abs(trained.astype(np.float64) - exported), nan=1.0).max(1)
    worst = int(difference.argmax())
    raise DarkroomError(
        f"the exported model disagrees with the trained one on the test set: {found.other_class - found.ties} of "
        f"{found.n} pictures get another class, and probabilities differ by up to {found.max_difference:.2g} "
        f"(allowed: {tolerance:g}), most for {ids[worst]}; nothing was written. Run `dvc repro -f` from embed on; if "
        "it stays, the backbone's graph is exported wrongly: report it with params.yaml"
    )


BATCH = 8  # as predict streams
ROWS = 4096  # of features at once
REFERENCES = 64  # whose similarity is compared
WHOLE = 32  # pictures that go through the whole exported model when its body is frozen


def check(
    model: onnx.ModelProto,
    path: Path,
    saved: SavedClassifier,
    test: Shards,
    rows: Shards,
    machine: Runtime,
) -> Agreement:
    """Compare the exported model with the trained one on the whole test set. Raises DarkroomError.

    Where the body is frozen, its half of the graph is the same file that embed used, so a new head
    need not run the network over the test set: every picture's features go through the head's half, and WHOLE of the
    pictures, evenly spread, through the whole graph (all of them where a GPU computed the features). The tolerance is
    SAME_FEATURES where the features are exact, and always for the head's half.
    """
    _check_similarity(model, saved, machine)
    ids = test.ids()
    if not saved.frozen:
        trained = trained_answers(saved, test, machine)
        return require(trained, exported_answers(path, test, machine), ids)
    trained = _joined([saved.probabilities(batch[:, 0]) for batch, _ in rows.batches(ROWS)], saved)
    if rows.index.get("engine") not in (ONNX, EXACT):
        return require(trained, exported_answers(path, test, machine), ids)
    head = open_session(after_body(model).SerializeToString(), machine.threads, spin=False)
    halves = [head.run(["probabilities"], {"features": batch[:, 0]})[0] for batch, _ in rows.batches(ROWS)]
    found = require(trained, _joined(halves, saved), ids, SAME_FEATURES)
    some = np.unique(np.linspace(0, len(test) - 1, min(WHOLE, len(test))).round().astype(np.int64))
    exported = exported_answers(path, test, machine, some)
    tolerance = SAME_FEATURES if rows.index["engine"] == EXACT else TOLERANCE
    return found.worse(require(trained[some], exported, [ids[position] for position in some], tolerance))


def _joined(parts: list[np.ndarray], saved: SavedClassifier) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty((0, len(saved.classes)))


def trained_answers(saved: SavedClassifier, test: Shards, machine: Runtime) -> np.ndarray:
    """Return the probabilities of the test set by the trained network itself: (n, K)."""
    import torch

    from darkroom.core.exactmath import softmax
    from darkroom.model.network import load_network, pixels

    device = runtime.torch_device(machine)
    network = load_network(saved.folder).to(device)
    with torch.inference_mode():
        parts = [
            softmax(network(pixels(images, device)).float().cpu().numpy(), saved.temperature)
            for images in _images(test, np.arange(len(test)), "export: the trained model")
        ]
    return _joined(parts, saved)


def exported_answers(path: Path, test: Shards, machine: Runtime, indices: np.ndarray | None = None) -> np.ndarray:
    """Return the exported model's probabilities of the pictures at `indices` (None: the test set): (n, K) float32."""
    indices = np.arange(len(test)) if indices is None else indices
    session = open_session(path, machine.threads, spin=False)  # other experiments may run beside this one
    return probabilities(session, _images(test, indices, "export: the exported model"), len(test.classes))


def answered(path: Path, shards: Shards, machine: Runtime) -> Answered:
    """Return the exported model's answers to a split, and the similarity of each picture to the training images."""
    session = open_session(path, machine.threads, spin=False)
    has_similarity = "similarity" in [output.name for output in session.get_outputs()]
    wanted = ["probabilities", *(["similarity"] if has_similarity else [])]
    images = _images(shards, np.arange(len(shards)), "export: the 8-bit model")
    parts = [session.run(wanted, {"images": batch}) for batch in images]
    shares = np.concatenate([part[0] for part in parts] or [np.empty((0, len(shards.classes)), np.float32)])
    similarity = np.concatenate([part[1] for part in parts] or [np.empty(0, np.float32)]) if has_similarity else None
    return Answered(shards.labels, shares.astype(np.float64), similarity, group_codes(shards.groups()))


def _check_similarity(model: onnx.ModelProto, saved: SavedClassifier, machine: Runtime) -> None:
    """Raise DarkroomError unless the graph computes the similarities of darkroom.model.novelty, to the bit.

    The two take the same steps, none of which rounds.
    """
    known = novelty.load(saved.folder)
    if known is None:
        return
    asked = known.whole[:REFERENCES].astype(np.float32)
    session = open_session(after_body(model).SerializeToString(), machine.threads, spin=False)
    found, expected = session.run(["similarity"], {"features": asked})[0], novelty.similarity(asked, known)
    if not np.array_equal(found, expected):
        difference = float(np.abs(found - expected).max())
        raise DarkroomError(
            f"the exported model's similarity to the training images differs by up to {difference:.2g} from what "
            "evaluate measured; nothing was written. Report it with params.yaml and the version of onnxruntime"
        )


def _images(shards: Shards, indices: np.ndarray, what: str) -> Iterator[np.ndarray]:
    parts = [indices[start : start + BATCH] for start in range(0, len(indices), BATCH)]
    yield from (shards.rows(part) for part in progress(parts, what, total=len(parts), unit="batch"))
