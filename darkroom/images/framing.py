"""Fit a picture into the square that the model sees."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

RESIZES = ("crop", "pad", "stretch")


@dataclass(frozen=True)
class Framing:
    """How a picture becomes a square of `size` pixels.

    `resize` crop: the short side becomes `short_side` and the middle is cut out; pad: the long side becomes `size` and
    the rest is black; stretch: both sides become `size`.
    """

    size: int
    resize: str
    short_side: int

    def facts(self) -> dict[str, Any]:
        """Return the fields as JSON values; `Framing(**facts)` makes it again."""
        return asdict(self)

    def least(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) below which a picture of `width` x `height` would have to be enlarged again."""
        if self.resize == "stretch":
            return self.size, self.size
        wanted, side = (self.short_side, min(width, height)) if self.resize == "crop" else (
            self.size, max(width, height)
        )  # fmt: skip
        scale = wanted / side
        return math.ceil(width * scale), math.ceil(height * scale)

    def fit(self, image: "Image.Image") -> "Image.Image":
        """Return the part of `image` that is kept, at its final scale; only "pad" leaves it smaller than the square."""
        from PIL import Image

        size, (width, height) = self.size, image.size
        box = (0.0, 0.0, float(width), float(height))
        target = (size, size)
        if self.resize == "crop":
            side = size * min(width, height) / self.short_side
            left, top = (width - side) / 2, (height - side) / 2
            box = (max(left, 0.0), max(top, 0.0), min(left + side, float(width)), min(top + side, float(height)))
        elif self.resize == "pad":
            scale = size / max(width, height)
            target = (max(round(width * scale), 1), max(round(height * scale), 1))
        return image.resize(target, Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)

    def on_square(self, image: "Image.Image") -> "Image.Image":
        """Return `image`, which `fit` has made, in the middle of a black square of `size` pixels."""
        from PIL import Image

        if image.size == (self.size, self.size):
            return image
        square = Image.new("RGB", (self.size, self.size))
        square.paste(image, ((self.size - image.width) // 2, (self.size - image.height) // 2))
        return square
