"""The exported model for Python users: pictures in, classes and probabilities out. Onnxruntime, no torch.

from darkroom.app import Predictor
predictor = Predictor("models/export")
print(predictor("photo.jpg").label)
"""

import io
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from darkroom.core import files
from darkroom.core.errors import BadImage, DarkroomError, NoMemory
from darkroom.images.decode import decode
from darkroom.images.framing import RESIZES, WEIGHTS_RESIZES, Framing
from darkroom.model import tensors
from darkroom.model.session import cores, open_session

T = TypeVar("T")
# How pixels of each of Pillow's modes become a file: PNG cannot hold 32 bits or floats, and TIFF no transparent colour.
AS_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
AS_TIFF = ("I", "F", "I;16B")
CONVERTED = {"PA": "RGBA", "La": "LA", "RGBa": "RGBA", "I;16L": "I", "I;16N": "I"}  # others: RGB
ORIENTATION = 0x0112  # the EXIF tag
BATCH = 8  # larger ones fall out of the processor's caches: mobilenet_v2 takes 4.5 ms an image with 8, 5.7 with 32


@dataclass(frozen=True)
class Prediction:
    """What the model says of one picture: `probabilities` (K,) float32, calibrated, in the order of `classes`."""

    classes: list[str]
    probabilities: np.ndarray

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def probability(self) -> float:
        """The probability of that class, 0..1."""
        return float(self.probabilities.max())

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` most probable classes with their probabilities, best first."""
        best = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[place], float(self.probabilities[place])) for place in best]


class Predictor:
    """The exported model in `folder`. Safe to call from several threads; each call may use `threads` (0: one a core).

    `config` is config.json as it stands; `version` names the model's bytes.
    """

    def __init__(self, folder: str | Path = "models/export", threads: int = 0, spin: bool = True) -> None:
        self.folder = Path(folder)
        self.config = _read_config(self.folder)
        self.classes: list[str] = self.config["classes"]
        self.framing = Framing(**self.config["framing"])
        self.version: str = self.config["version"]
        _check_bytes(self.folder, self.config)
        self._session = open_session(self.folder / "model.onnx", threads, spin)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._check_fit()

    def _check_fit(self) -> None:
        """Raise DarkroomError unless the model takes and gives what config.json says."""
        given = {node.name: node.shape for node in (*self._session.get_inputs(), *self._session.get_outputs())}
        size, classes = self.framing.size, len(self.classes)
        expected = {"images": ["n", size, size, 3], "probabilities": ["n", classes]}
        for name, shape in expected.items():
            found = given.get(name)
            # A side without a number may be any.
            if found is None or len(found) != len(shape) or any(
                isinstance(side, int) and side != number for side, number in zip(found[1:], shape[1:], strict=True)
            ):  # fmt: skip
                what = f"has {name} of shape {found}" if found else f"has no {name}"
                raise _unfit(self.folder, f"model.onnx {what}, and config.json says {shape}")

    def __call__(self, image: Any) -> Prediction:
        """Classify one picture: a path, the bytes of a file, a Pillow image or a uint8 array (h, w, 3).

        Raises BadImage with the reason where it is none.
        """
        return Prediction(self.classes, self.predict(self.pixels(image)[None])[0])

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities (n, K) float32 of framed pictures (n, S, S, 3) uint8, as `pixels` returns them."""
        return self._session.run(["probabilities"], {"images": images})[0]

    @property
    def has_maps(self) -> bool:
        """Whether the model hands out its last feature map."""
        return "maps" in self._outputs

    def predict_with_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Probabilities (n, K), and the last feature map (n, C, h, w) where the model hands one out."""
        if not self.has_maps:
            return self.predict(images), None
        probabilities, maps = self._session.run(["probabilities", "maps"], {"images": images})
        return probabilities, maps

    def pixels(self, image: Any) -> np.ndarray:
        """A picture as the model wants it: (S, S, 3) uint8. Raises BadImage."""
        return decode(_bytes(image), self.framing)

    def stream(
        self, items: Iterable[T], read: Callable[[T], Any] = lambda item: item, batch: int = BATCH
    ) -> Iterator[tuple[T, Prediction | BadImage]]:
        """Classify `read(item)` of every item, in order, in batches; a bad one yields its BadImage in its place.

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
        answers = iter(self.predict(np.stack(good)) if good else ())
        for item, pixels in loaded:
            yield item, pixels if isinstance(pixels, BadImage) else Prediction(self.classes, next(answers))

    @cached_property
    def head(self) -> dict[str, np.ndarray]:
        """The head's tensors, float32, under the names of darkroom/model/heads.py; read when first asked for."""
        values = tensors.load(self.folder / "model.safetensors")
        return {name[5:]: value for name, value in values.items() if name.startswith("head.")}


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = files.read_json(folder / "config.json")
    except FileNotFoundError as error:
        raise DarkroomError(
            f"{folder} holds no exported model (config.json is missing); run `dvc repro`, or name another with --model"
        ) from error
    except NotADirectoryError as error:
        raise DarkroomError(f"{folder} is a file; name the folder of the exported model: {folder.parent}") from error
    except OSError as error:
        raise DarkroomError(f"{folder / 'config.json'} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DarkroomError(f"{folder / 'config.json'} is damaged: {error}; run `dvc repro -f export`") from error
    wrong = _what_is_wrong(config)
    if wrong:
        raise _unfit(folder, f"config.json {wrong}")
    return config


def _what_is_wrong(config: Any) -> str:
    if not isinstance(config, dict):
        return "is no JSON object"
    for name, kind in (("backbone", str), ("classes", list), ("framing", dict), ("version", str)):
        if not isinstance(config.get(name), kind):
            return f"says {name}: {json.dumps(config.get(name))[:50]}, expected a {kind.__name__}"
    classes, framing = config["classes"], config["framing"]
    if not classes or not all(isinstance(label, str) for label in classes):
        return "names no classes, or some that are no text"
    try:
        Framing(**framing).check()
    except (TypeError, ValueError):
        return (f"says framing: {json.dumps(framing)[:100]}, expected size, short_side and resize "
                f"({', '.join((*RESIZES, *WEIGHTS_RESIZES))}), and at most interpolation and fill")  # fmt: skip
    if not isinstance(config.get("digests", {}), dict):
        return "says digests that are no object"
    return ""


def _check_bytes(folder: Path, config: dict[str, Any]) -> None:
    """Raise DarkroomError when model.onnx is not the one whose classes and version config.json tells."""
    path, want = folder / "model.onnx", config.get("digests", {}).get("model.onnx")
    if want and path.is_file() and (got := files.sha256(path)) != want:
        raise _unfit(folder, f"the sha256 of model.onnx is {got}, and config.json says {want}")


def _unfit(folder: Path, reason: str) -> DarkroomError:
    return DarkroomError(f"{folder}: {reason}; run `dvc repro -f export`, or name another folder with --model")


def _bytes(image: Any) -> bytes:
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise BadImage(f"{image}: {error.strerror}") from error
    if isinstance(image, np.ndarray):
        image = _of_array(image)
    if not isinstance(image, Image.Image):
        raise BadImage(f"{type(image).__name__} is no picture; expected a path, bytes, a Pillow image or an array")
    try:
        return _encoded(image)
    except MemoryError as error:
        raise NoMemory("not enough memory") from error
    except BadImage:
        raise
    except Exception as error:  # Pillow looks at a file's pixels, and misses its file, only now
        what = str(error) or type(error).__name__
        raise BadImage("truncated" if "truncated" in what else f"damaged or closed: {what}") from error


def _of_array(array: np.ndarray) -> Image.Image:
    with suppress(TypeError, ValueError):
        if array.size and array.ndim in (2, 3):
            return Image.fromarray(array)
    expected = "expected uint8 (h, w, 3), 0 to 255, with at least one pixel"
    raise BadImage(f"an array of {array.dtype} and shape {array.shape} is no picture; {expected}")


def _encoded(image: Image.Image) -> bytes:
    """As a lossless file with its EXIF orientation: so that every picture takes the one way through the decoder."""
    if 0 in image.size:
        raise BadImage(f"a Pillow image of {image.width} x {image.height} pixels is no picture; expected at least one")
    image.load()
    exif = Image.Exif()
    with suppress(Exception):  # a broken block of metadata, which the decoder ignores too
        exif[ORIENTATION] = int(image.getexif().get(ORIENTATION, 1))
    if image.mode not in AS_PNG and image.mode not in AS_TIFF:
        image = image.convert(CONVERTED.get(image.mode, "RGB"))
    file = io.BytesIO()
    if image.mode in AS_TIFF:
        image.copy().save(file, "TIFF", exif=exif)  # a copy, which has left the tags of its file behind
    else:
        image.save(file, "PNG", exif=exif, compress_level=1)
    return file.getvalue()
