"""Augment images: draw random numbers for each image, and apply them to the whole batch at once on the device.

The numbers of an image depend on (seed, epoch, sample) alone. One `grid_sample` does crop, scale, stretch, rotation and
flip together, so each pixel is interpolated once.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core.exactmath import cos_pi, exp, log, sin_pi
from darkroom.core.randomness import uniforms
from darkroom.images.batches import on_device

if TYPE_CHECKING:
    from torch import Tensor

CACHED = 4 * 224 * 224  # pixels that are augmented together, so that they stay in the processor's cache
GREY = 128  # 0..255, the value of erased pixels
# Drawn for each image and epoch, uniform in 0..1. Results depend on their count and order: a new kind of change leaves
# these as they are and draws under another name, as "operation" in `draw`.
NUMBERS = ("zoom", "stretch", "mirror", "turn", "across", "down", "brightness", "contrast", "saturation", "erase",
           "area", "ratio", "left", "top")  # fmt: skip


@dataclass(frozen=True)
class Strength:
    """How far an image may be changed.

    `zoom`: range of the visible part's side, as a fraction of the image's side; above 1 the image is shown smaller.
    `shift`: how far the visible part may reach beyond the image, as a fraction of a side.
    `stretch`: the largest relative difference of width and height.
    `rotate`: degrees, either way.
    `flip`: the probability of a mirror image, where the data set allows it.
    `brightness`, `contrast`, `saturation`: the largest factor of each, less 1; it multiplies or divides.
    `erase`: the probability that a rectangle becomes grey.
    `trivial`: whether one of OPERATIONS is applied as well, at a random magnitude.
    """

    zoom: tuple[float, float]
    shift: float = 0.0
    stretch: float = 0.0
    rotate: float = 0.0
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    erase: float = 0.0
    trivial: bool = False


STRENGTHS: dict[str, Strength | None] = {
    "none": None,
    "light": Strength(zoom=(0.9, 1.1), shift=0.06, stretch=0.1, rotate=10),
    "standard": Strength(
        zoom=(0.6, 1.0), stretch=0.25, rotate=10, brightness=0.2, contrast=0.2, saturation=0.2, erase=0.1
    ),
    "strong": Strength(
        zoom=(0.4, 1.0), stretch=0.33, rotate=20, brightness=0.4, contrast=0.4, saturation=0.4, erase=0.25
    ),
    "trivial": Strength(zoom=(0.7, 1.0), stretch=0.2, trivial=True),
}
# TrivialAugment (Müller and Hutter, ICCV 2021) in its wide space, without the operations that need a histogram or
# neighbouring pixels (auto-contrast, equalise, sharpness).
OPERATIONS = ("identity", "shear x", "shear y", "shift x", "shift y", "rotate", "brightness", "contrast", "saturation",
              "posterize", "solarize")  # fmt: skip
SHEAR, SHIFT, TURN, FACTOR, BITS = 0.99, 2 * 32 / 224, 0.75, 0.99, 6  # at magnitude 1; a turn in units of pi
NO_TONE = (1.0, 256.0)


@dataclass(frozen=True)
class Draws:
    """The changes of each image of a batch, float32; None where no image has such a change.

    `affine` (b, 2, 3): maps coordinates in the result to coordinates in the image, both -1..1.
    `colour` (b, 3): factors of brightness, contrast and saturation.
    `box` (b, 4): left, top, right, bottom of the erased rectangle, -1..1.
    `tone` (b, 2): values 0..255 are rounded down to multiples of the first, and from the second on inverted.
    """

    affine: np.ndarray
    colour: np.ndarray | None
    box: np.ndarray | None
    tone: np.ndarray | None = None

    def of(self, part: slice) -> "Draws":
        """Return the changes of a part of the batch."""
        colour, box, tone = (None if each is None else each[part] for each in (self.colour, self.box, self.tone))
        return Draws(self.affine[part], colour, box, tone)


def draw(strength: Strength, flips: bool, samples: np.ndarray, seed: int, epoch: int) -> Draws:
    """Return the changes of `samples` int64 (b,), the images' numbers within their data set."""
    u = dict(zip(NUMBERS, uniforms(samples, len(NUMBERS), seed, "augment", epoch).T, strict=True))
    low, high = strength.zoom
    zoom = low + (high - low) * u["zoom"]
    stretch = exp((u["stretch"] - 0.5) * log(1 + strength.stretch))
    wide, tall = zoom * stretch, zoom / stretch
    mirror = np.where((u["mirror"] < strength.flip) & flips, -1.0, 1.0)
    angle = strength.rotate / 180 * (2 * u["turn"] - 1)
    cosine, sine = cos_pi(angle), sin_pi(angle)
    room = [np.maximum(0, 1 - side) + 2 * strength.shift for side in (wide, tall)]
    affine = np.empty((len(samples), 2, 3), np.float32)
    affine[:, 0] = np.stack([wide * cosine * mirror, -tall * sine, room[0] * (2 * u["across"] - 1)], axis=1)
    affine[:, 1] = np.stack([wide * sine * mirror, tall * cosine, room[1] * (2 * u["down"] - 1)], axis=1)
    colour = box = None
    spread = np.array([strength.brightness, strength.contrast, strength.saturation])
    if spread.any():
        drawn = np.stack([u["brightness"], u["contrast"], u["saturation"]], axis=1)
        colour = exp((2 * drawn - 1) * log(1 + spread)).astype(np.float32)
    if strength.erase:
        area, ratio = 0.02 + 0.18 * u["area"], exp((2 * u["ratio"] - 1) * log(3.0))
        half = np.where(u["erase"] < strength.erase, 1.0, 0.0) * np.sqrt([area * ratio, area / ratio])
        centre = 2 * np.stack([u["left"], u["top"]]) - 1
        box = np.concatenate([centre - half, centre + half]).T.astype(np.float32)
    if strength.trivial:
        return _one_operation(affine, uniforms(samples, 3, seed, "operation", epoch))
    return Draws(affine, colour, box)


def _one_operation(affine: np.ndarray, u: np.ndarray) -> Draws:
    """Add one operation to `affine` (b, 2, 3) of each image; `u` (b, 3) chooses which, its magnitude and its sign."""
    chosen = np.array(OPERATIONS)[(u[:, 0] * len(OPERATIONS)).astype(np.int64)]
    signed = u[:, 1] * np.where(u[:, 2] < 0.5, -1.0, 1.0)

    def of(name: str, values: np.ndarray) -> np.ndarray:
        return np.where(chosen == name, values, 0.0)

    angle = of("rotate", TURN * signed)
    cosine, sine = cos_pi(angle), sin_pi(angle)
    across = np.stack([cosine, of("shear x", SHEAR * signed) - sine, of("shift x", SHIFT * signed)], axis=1)
    down = np.stack([of("shear y", SHEAR * signed) + sine, cosine, of("shift y", SHIFT * signed)], axis=1)
    first = affine.astype(np.float64)
    both = first[:, :, :1] * across[:, None] + first[:, :, 1:2] * down[:, None]
    both[:, :, 2] += first[:, :, 2]
    colour = 1 + np.stack([of(name, FACTOR * signed) for name in ("brightness", "contrast", "saturation")], axis=1)
    step = 2.0 ** of("posterize", np.rint(BITS * u[:, 1]))
    from_on = np.where(chosen == "solarize", np.rint(255 * (1 - u[:, 1])), NO_TONE[1])
    tone = np.stack([step, from_on], axis=1)
    return Draws(both.astype(np.float32), colour.astype(np.float32), None, tone.astype(np.float32))


def apply(images: "Tensor", draws: Draws) -> "Tensor":
    """Return images float32 (b, 3, S, S) in 0..1 changed by `draws`. Beyond its edges an image is mirrored.

    On a GPU the cost is the number of passes over all pixels, so each statement makes one.
    """
    import torch
    from torch.nn import functional

    device = images.device
    grid = _grid(on_device(draws.affine, device), images.shape[-1])
    images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if draws.colour is not None:
        brightness, contrast, saturation = on_device(draws.colour, device)[:, :, None, None, None].unbind(1)
        # Brightness mixes a pixel with black, contrast with the image's mean grey, saturation with the pixel's grey.
        # All three together are a weighted sum of the pixel, its grey and the mean grey.
        grey = images.mean(1, keepdim=True)
        scale = brightness * contrast * saturation
        offset = grey.mean((2, 3), keepdim=True) * (brightness * (1 - contrast))
        plain = torch.addcmul(offset, grey, brightness * contrast - scale)
        laid_out = torch.empty_like(images, memory_format=torch.channels_last)  # networks want this: saves a pass
        images = torch.addcmul(plain, images, scale, out=laid_out).clamp_(0, 1)
    if draws.tone is not None:
        (toned,) = np.nonzero((draws.tone != NO_TONE).any(axis=1))
        if len(toned):
            step, from_on = on_device(draws.tone[toned], device)[:, :, None, None, None].unbind(1)
            chosen = on_device(toned, device)
            values = (images[chosen] * 255).round_()
            values = values.div_(step).floor_().mul_(step)
            images.index_copy_(0, chosen, torch.where(values >= from_on, 255 - values, values).div_(255))
    if draws.box is not None:
        (erased,) = np.nonzero(draws.box[:, 2] > draws.box[:, 0])
        if len(erased):
            centres = _centres(images.shape[-1], images)
            left, top, right, bottom = on_device(draws.box[erased], device)[:, :, None].unbind(1)
            across = (centres > left) & (centres < right)
            down = (centres > top) & (centres < bottom)
            chosen = on_device(erased, device)
            greyed = images[chosen].masked_fill_((down[:, :, None] & across[:, None, :])[:, None], 0.5)
            images.index_copy_(0, chosen, greyed)
    return images


def _centres(size: int, like: "Tensor") -> "Tensor":
    """Return the centres of the pixels of a row, (size,) in -1..1, on the device of `like`."""
    import torch

    return (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) * (2 / size) - 1


def _grid(affine: "Tensor", size: int) -> "Tensor":
    """Return where each pixel of the result lies in the image, (b, S, S, 2): torch's affine_grid in one pass."""
    import torch

    centres = _centres(size, affine)
    rows = torch.addcmul(affine[:, None, None, :, 2], affine[:, None, None, :, 1], centres[:, None, None])
    return torch.addcmul(rows, affine[:, None, None, :, 0], centres[:, None])


def as_bytes(images: "Tensor") -> "Tensor":
    """Return images in 0..1 as uint8 0..255 of the same shape."""
    import torch

    return (images * 255).round_().to(torch.uint8)


def augmented(images: np.ndarray, draws: Draws) -> np.ndarray:
    """Return `images` uint8 (b, S, S, 3) changed by `draws`, as uint8, to embed augmented copies.

    It changes them as `apply` does, with the same bits on every processor: positions are multiples of 1/256 pixel,
    interpolation uses whole numbers, and colours single IEEE operations.
    """
    made = np.empty_like(images)
    count = max(1, CACHED // images.shape[1] ** 2)
    for start in range(0, len(images), count):
        part = slice(start, start + count)
        made[part] = _exactly(images[part], draws.of(part))
    return made


def _exactly(images: np.ndarray, draws: Draws) -> np.ndarray:
    made = _interpolated(images, *_positions(draws.affine, images.shape[1]))
    if draws.colour is not None:
        brightness, contrast, saturation = draws.colour.astype(np.float64).T
        grey = made.sum(3, dtype=np.int32)  # three times the grey
        mean = grey.sum((1, 2), dtype=np.int64) / (3 * grey[0].size)
        scale, plain = brightness * contrast * saturation, brightness * contrast * (1 - saturation) / 3
        offset = mean * brightness * (1 - contrast)
        scale, plain, offset = (each.astype(np.float32)[:, None, None] for each in (scale, plain, offset))
        mixed = made * scale[..., None] + (grey.astype(np.float32) * plain + offset)[..., None]
        made = np.rint(np.clip(mixed, 0, 255))
    if draws.tone is not None:
        step, from_on = draws.tone[:, :, None, None, None].swapaxes(0, 1)
        made = made.astype(np.float32)
        made = np.floor(made / step) * step  # steps are powers of two: exact
        made = np.where(made >= from_on, 255 - made, made)
    if draws.box is not None:
        middles = (2.0 * np.arange(images.shape[1]) + 1 - images.shape[1]) / images.shape[1]
        left, top, right, bottom = draws.box.astype(np.float64).T[:, :, None]
        across, down = (middles > left) & (middles < right), (middles > top) & (middles < bottom)
        made[down[:, :, None] & across[:, None, :]] = GREY
    return made.astype(np.uint8)


def _positions(affine: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pixel of the result lies in the image: columns and rows, int64 (b, S, S), in 1/256 pixel.

    Slopes are rounded to multiples of 2^-12, so that only whole numbers are added.
    """
    whole = np.rint(affine * np.array([4096, 4096, 4096 * size])).astype(np.int64)[..., None, None]
    middles = 2 * np.arange(size) + 1 - size  # in half pixels, from the image's middle
    columns, rows = (
        whole[:, axis, 0] * middles + (whole[:, axis, 1] * middles[:, None] + whole[:, axis, 2]) for axis in range(2)
    )
    return ((columns + 16) >> 5) + 128 * (size - 1), ((rows + 16) >> 5) + 128 * (size - 1)


def _interpolated(images: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Interpolate `images` (b, S, S, 3) between the four pixels around each position: int32 (b, S, S, 3), 0..255."""
    size = images.shape[1]
    pixels = images.reshape(-1, 3)
    first = np.arange(len(images))[:, None, None] * (size * size)
    left, right = _mirrored(columns >> 8, size), _mirrored((columns >> 8) + 1, size)
    top, bottom = (first + _mirrored((rows >> 8) + step, size) * size for step in (0, 1))
    across, down = ((each & 255).astype(np.int32)[..., None] for each in (columns, rows))
    lines = [
        pixels.take(line + left, axis=0) * (256 - across) + pixels.take(line + right, axis=0) * across
        for line in (top, bottom)
    ]
    return (lines[0] * (256 - down) + lines[1] * down + (1 << 15)) >> 16


def _mirrored(index: np.ndarray, size: int) -> np.ndarray:
    """Return the pixel seen at any `index`, int64 0..size-1: an image is mirrored at its edges."""
    index = index % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)
