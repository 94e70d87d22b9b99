"""The exported model for Python users: pictures in, classes and probabilities out. Onnxruntime, no torch.

from darkroom.app import Predictor
predictor = Predictor("models/export")
print(predictor("photo.jpg").label)
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from darkroom.core.errors import BadImage, DarkroomError, NoMemory
from darkroom.images.decode import decode
from darkroom.metrics import conformal
from darkroom.metrics.abstention import Limits
from darkroom.model import tensors
from darkroom.model.heatmaps import class_activation, occlusion
from darkroom.model.session import cores
from darkroom.serve.exported import open_exported
from darkroom.serve.pictures import picture_bytes


@dataclass(frozen=True)
class Prediction:
    """The answer to one picture: `probabilities` (K,) float32, calibrated, in the order of `classes`.

    `similarity`: the mean cosine of its features to those of the most similar training images, -1..1; None where the
    model has no such output. `limits`: the similarity below which it is unknown, the confidence below which uncertain.
    """

    classes: list[str]
    probabilities: np.ndarray
    similarity: float | None = None
    limits: Limits = Limits()

    @property
    def label(self) -> str:
        """Return the most probable class."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def probability(self) -> float:
        """Return the probability of that class, 0..1."""
        return float(self.probabilities.max())

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the `count` most probable classes with their probabilities, best first."""
        best = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[index], float(self.probabilities[index])) for index in best]

    @property
    def unknown(self) -> bool:
        """Return whether the picture is unlike the training images; False where the model has no such limit."""
        return self.limits.similarity is not None and not (
            self.similarity is not None and self.similarity >= self.limits.similarity
        )

    @property
    def uncertain(self) -> bool:
        """Return whether the answer is less sure than `answer_share` or `answer_accuracy` requires."""
        return self.limits.confidence is not None and not self.probability >= self.limits.confidence

    @property
    def doubt(self) -> str:
        """Return "unknown", "uncertain" or "", the word to put before the answer."""
        return "unknown" if self.unknown else "uncertain" if self.uncertain else ""

    def classes_at(self, level: float) -> list[str]:
        """Return the set of classes that holds the right one with a probability of `level`, best first.

        Raises DarkroomError where the model has no sets of this level.
        """
        if level not in self.limits.sets:
            raise DarkroomError(no_sets(self.limits, level))
        chosen = conformal.sets(self.probabilities[None], self.limits.sets[level])[0]
        return [self.classes[index] for index in np.argsort(-self.probabilities, kind="stable") if chosen[index]]


def no_sets(limits: Limits, level: float | None) -> str:
    """Return why there are no sets of a level, and what to do."""
    if not limits.sets:
        return "this model has no sets of classes; `dvc repro export` makes them, from 9 validation images on"
    return f"this model has no sets of level {level:g}; it has {', '.join(f'{each:g}' for each in limits.sets)}"


def answer_facts(answer: Prediction | BadImage, top: int, level: float | None = None) -> dict[str, Any]:
    """Return an answer as JSON: class, probability, the `top` classes, and doubts; or the error.

    `unknown` with `similarity`, and `uncertain`, where the model has these limits; `set` with a `level`.
    """
    if isinstance(answer, BadImage):
        return {"error": str(answer)}
    best = [{"class": label, "probability": _rounded(probability)} for label, probability in answer.top(top)]
    facts: dict[str, Any] = best[0] | {"top": best}
    if answer.limits.similarity is not None:
        similarity = answer.similarity
        shown = None if similarity is None or not np.isfinite(similarity) else round(similarity, 6)
        facts |= {"unknown": answer.unknown, "similarity": shown}
    if answer.limits.confidence is not None:
        facts["uncertain"] = answer.uncertain
    if level is not None:
        facts["set"] = {"level": level, "classes": answer.classes_at(level)}
    return facts


def _rounded(probability: float) -> float:
    """Return it with six digits, or all of them where it would become 0 or 1, which mean certainty."""
    shown = round(probability, 6)
    return probability if shown in (0, 1) else shown


T = TypeVar("T")
BATCH = 8  # larger ones fall out of the processor's caches: mobilenet_v2 takes 4.5 ms an image with 8, 5.7 with 32


class Predictor:
    """Classify pictures with the exported model in `folder`.

    Safe to call from several threads; each call may use `threads` (0: one a core).
    `config` is config.json unchanged; `version` names the model's bytes.
    """

    def __init__(self, folder: str | Path = "models/export", threads: int = 0, spin: bool = True) -> None:
        exported = open_exported(Path(folder), threads, spin)
        self.folder, self.config, self.version = exported.folder, exported.config, exported.version
        self.classes, self.framing, self.limits = exported.classes, exported.framing, exported.limits
        self._session, self._outputs = exported.session, exported.outputs

    def __call__(self, image: Any) -> Prediction:
        """Classify one picture: a path, the bytes of a file, a Pillow image or a uint8 array (h, w, 3).

        Raises BadImage with the reason where it is not one.
        """
        return self.answers(self.pixels(image)[None])[0]

    def answers(self, images: np.ndarray) -> list[Prediction]:
        """Classify framed pictures (n, S, S, 3) uint8, as `pixels` returns them."""
        has_similarity = "similarity" in self._outputs
        wanted = ["probabilities", *(["similarity"] if has_similarity else [])]
        probabilities, *similarity = self._session.run(wanted, {"images": images})
        found: list[float | None] = similarity[0].tolist() if has_similarity else [None] * len(images)
        return [
            Prediction(self.classes, row, near, self.limits) for row, near in zip(probabilities, found, strict=True)
        ]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return probabilities (n, K) float32 of framed pictures (n, S, S, 3) uint8, as `pixels` returns them."""
        return self._session.run(["probabilities"], {"images": images})[0]

    @property
    def has_maps(self) -> bool:
        """Return whether the model also outputs its last feature map."""
        return "maps" in self._outputs

    def predict_with_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return probabilities (n, K), and the last feature map (n, C, h, w) where the model outputs one."""
        if not self.has_maps:
            return self.predict(images), None
        probabilities, maps = self._session.run(["probabilities", "maps"], {"images": images})
        return probabilities, maps

    def pixels(self, image: Any) -> np.ndarray:
        """Return a picture as the model's input: (S, S, 3) uint8. Raises BadImage."""
        return decode(picture_bytes(image), self.framing)

    def stream(
        self, items: Iterable[T], read: Callable[[T], Any] = lambda item: item, batch: int = BATCH
    ) -> Iterator[tuple[T, Prediction | BadImage]]:
        """Classify `read(item)` of every item, in order, in batches; a bad one yields its BadImage instead.

        Threads decode the next pictures while the model works on these; memory holds three batches, however many
        items there are.
        """

        def load(item: T) -> np.ndarray | BadImage:
            try:
                return self.pixels(read(item))
            except BadImage as error:
                return error
            except OSError as error:
                return BadImage(error.strerror or str(error))
            except MemoryError:
                return NoMemory("not enough memory")

        source = iter(items)
        waiting: deque[tuple[T, Future[np.ndarray | BadImage]]] = deque()
        with ThreadPoolExecutor(cores()) as pool:
            try:
                while True:
                    waiting.extend((item, pool.submit(load, item)) for item in islice(source, 3 * batch - len(waiting)))
                    if not waiting:
                        return
                    ready = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
                    yield from self._answers([(item, future.result()) for item, future in ready])
            finally:
                pool.shutdown(cancel_futures=True)

    def _answers(self, loaded: list[tuple[T, np.ndarray | BadImage]]) -> Iterator[tuple[T, Prediction | BadImage]]:
        good = [pixels for _, pixels in loaded if isinstance(pixels, np.ndarray)]
        answers = iter(self.answers(np.stack(good)) if good else ())
        for item, pixels in loaded:
            yield item, pixels if isinstance(pixels, BadImage) else next(answers)

    def heat(self, image: np.ndarray, label: int | None = None) -> np.ndarray:
        """Return where the model looks in a framed picture (S, S, 3) for a class, by default the most probable one.

        Heat (h, w) float32, 0..1: in closed form where the model hands out the map that its features are the mean of,
        by occlusion elsewhere, which costs as much as GRID * GRID + 1 pictures.
        """
        probabilities, maps = self.predict_with_maps(image[None])
        label = int(probabilities[0].argmax()) if label is None else label
        if maps is not None:
            return class_activation(maps[0], self.head, label)
        return occlusion(image, label, self.predict)

    @cached_property
    def head(self) -> dict[str, np.ndarray]:
        """Return the head's tensors, float32, named as in darkroom/model/classifier.py; read at the first call."""
        values = tensors.load(self.folder / "model.safetensors")
        return {name[5:]: value for name, value in values.items() if name.startswith("head.")}
