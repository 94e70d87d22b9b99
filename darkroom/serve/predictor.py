"""The exported model for Python users: pictures in, classes and probabilities out. Onnxruntime, no torch.

from darkroom.app import Predictor
predictor = Predictor("models/export")
print(predictor("photo.jpg").label)
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from darkroom.core.errors import BadImage, NoMemory
from darkroom.images.decode import decode
from darkroom.model import tensors
from darkroom.model.heatmaps import class_activation, occlusion
from darkroom.model.session import cores
from darkroom.serve.exported import open_exported
from darkroom.serve.pictures import picture_bytes
from darkroom.serve.prediction import Prediction

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
        told = "similarity" in self._outputs
        wanted = ["probabilities", *(["similarity"] if told else [])]
        probabilities, *similarity = self._session.run(wanted, {"images": images})
        found: list[float | None] = similarity[0].tolist() if told else [None] * len(images)
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
