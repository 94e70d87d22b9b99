"""Heat maps of one picture for one class: the parts that the answer depends on. Needs numpy alone."""

import contextlib
import io
from collections.abc import Callable, Mapping

import numpy as np

from darkroom.core import exactmath

GRID, BATCH = 8, 32  # occlusion hides one of GRID × GRID patches at a time, in BATCH pictures at once
SHOWN = 448  # the shorter side of a drawn map at least, in pixels
SHADES = 1024
# Dark to bright, ordered by lightness, so that it reads in grey and with any colour vision: (position, r, g, b).
COLOURS = np.array(
    [
        (0.0, 0, 0, 4),
        (0.25, 87, 16, 110),
        (0.5, 188, 55, 84),
        (0.75, 249, 142, 9),
        (1.0, 252, 255, 164),
    ]
)


def class_activation(maps: np.ndarray, head: Mapping[str, np.ndarray], label: int) -> np.ndarray:
    """Return Grad-CAM in closed form, for features that are the mean of `maps` (C, h, w): heat (h, w) float32, 0..1.

    The gradient of a class's logit by the map is then the same everywhere in a channel: for a linear head its row of
    weights (Zhou et al., arXiv:1512.04150), for an mlp that row carried back through the ReLU (Selvaraju et al.,
    arXiv:1610.02391).
    """
    heat = np.zeros(maps.shape[1:])
    with contextlib.suppress(OverflowError):  # a head that is not finite: no heat
        heat = exactmath.product(maps.reshape(len(maps), -1).T, _gradient(maps, head, label)[:, None])
    return _scaled(heat.reshape(maps.shape[1:]))


def _gradient(maps: np.ndarray, head: Mapping[str, np.ndarray], label: int) -> np.ndarray:
    """Return the gradient (C,) of a class's logit by the channels' means. Raises OverflowError unless it is finite."""
    if "1.weight" not in head:
        return head["0.weight"][label]
    means = exactmath.total(maps.reshape(len(maps), -1)) / maps[0].size
    hidden = exactmath.product(means[None], head["0.weight"].T)[0] + head["0.bias"]
    passed = head["1.weight"][label] * (hidden > 0)
    return exactmath.product(passed[None], head["0.weight"])[0]


def occlusion(image: np.ndarray, label: int, predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return how much hiding each patch of `image` (S, S, 3) lowers the class's probability: heat (GRID, GRID), 0..1.

    Needs nothing but the model's answers (Zeiler and Fergus, arXiv:1311.2901): GRID² + 1 pictures go through `predict`.
    """
    size = len(image)
    edges = np.linspace(0, size, GRID + 1).round().astype(int)
    fill = image.mean((0, 1)).round().astype(np.uint8)
    hidden = np.repeat(image[None], GRID * GRID + 1, axis=0)
    for index in range(GRID * GRID):
        row, column = divmod(index, GRID)
        hidden[index, edges[row] : edges[row + 1], edges[column] : edges[column + 1]] = fill
    parts = [predict(hidden[start : start + BATCH])[:, label] for start in range(0, len(hidden), BATCH)]
    probability = np.concatenate(parts)
    return _scaled((probability[-1] - probability[:-1]).reshape(GRID, GRID))


def lit(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return `image` (S, S, 3) uint8 with `heat` (h, w) 0..1 over it: the brighter, the more it counted.

    (side, side, 3) uint8, where `side` is SHOWN or S, whichever is larger.
    """
    from PIL import Image

    side = max(len(image), SHOWN)
    # Pillow enlarges bytes in whole numbers: the same on every processor, and 256 levels are more than one can see.
    smooth = Image.fromarray(np.rint(heat * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    level = np.asarray(smooth, np.float32)[..., None] / 255
    steps = np.linspace(0, 1, SHADES)
    table = np.stack([np.interp(steps, COLOURS[:, 0], COLOURS[:, 1 + c]) for c in range(3)], axis=1)
    colour = np.rint(table).astype(np.float32)[np.rint(level[..., 0] * (SHADES - 1)).astype(np.int64)]
    # Small pictures are enlarged in blocks: their own pixels are what the model saw.
    how = Image.Resampling.NEAREST if len(image) * 4 <= side else Image.Resampling.BICUBIC
    base = np.asarray(Image.fromarray(image).resize((side, side), how), np.float32)
    mixed = base * (1 - 0.65 * level) * 0.85 + colour * (0.65 * level)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def picture(image: np.ndarray, heat: np.ndarray) -> bytes:
    """Return `lit(image, heat)` as a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(lit(image, heat)).save(file, "PNG")
    return file.getvalue()


def _scaled(heat: np.ndarray) -> np.ndarray:
    positive = np.maximum(heat, 0).astype(np.float32)
    top = float(positive.max())
    return positive / top if top > 0 else positive
