"""Fit a picture into the square that the model sees."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

RESIZES = ("crop", "pad", "stretch")  # what a person may choose
WEIGHTS_RESIZES = ("squash", "border")  # further ones, which published weights were trained with
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
BLACK = (0, 0, 0)
# The EXIF orientations in which the stored picture's x (or y) axis runs against that of the upright one.
MIRRORED_X, MIRRORED_Y = (2, 3, 7, 8), (3, 4, 6, 7)


@dataclass(frozen=True)
class Framing:
    """How a picture becomes a square of `size` pixels.

    `resize`: crop: the short side becomes `short_side`, and the middle is cut out; pad: the long side becomes `size`,
    and the rest is black; stretch: both sides become `size`; squash: both sides become `short_side`, and the middle is
    cut out; border: the long side becomes `short_side`, and the middle is cut out or surrounded by `fill`.
    `fill`: RGB, 0..255.
    `interpolation`: one of INTERPOLATIONS, always with antialiasing.
    `integers`, `floats`: the values that become 0 and 255 in pictures of more than 8 bits (darkroom/images/levels.py);
    without them, those of each picture.

    Sides and cuts are rounded as torchvision's Resize and CenterCrop round them, so that published weights see what
    they were tested with.
    """

    size: int
    resize: str
    short_side: int
    interpolation: str = "bilinear"
    fill: tuple[int, ...] = BLACK
    integers: tuple[float, ...] = ()
    floats: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("fill", "integers", "floats"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON holds lists

    def facts(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as JSON; `Framing(**facts)` is equal to this one."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
                if value != getattr(Framing, name, None)}  # fmt: skip

    @property
    def levels(self) -> dict[str, tuple[float, float]]:
        """Return the values that become 0 and 255, by kind: a `levels.Levels`."""
        pairs = {"integers": self.integers, "floats": self.floats}
        return {kind: (pair[0], pair[1]) for kind, pair in pairs.items() if pair}

    def check(self) -> None:
        """Raise ValueError unless the values, read from a file, have the right types and ranges."""
        sides = all(type(side) is int and side > 0 for side in (self.size, self.short_side))
        fill = len(self.fill) == 3 and all(type(level) is int and 0 <= level <= 255 for level in self.fill)
        known = self.resize in (*RESIZES, *WEIGHTS_RESIZES) and self.interpolation in INTERPOLATIONS
        levels = all(not pair or (len(pair) == 2 and pair[1] - pair[0] > 0) for pair in (self.integers, self.floats))
        if not (sides and fill and known and levels):
            raise ValueError("is not a framing")

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) of the whole picture at the scale of the result."""
        if self.resize in ("stretch", "squash"):
            side = self.size if self.resize == "stretch" else self.short_side
            return side, side
        if self.resize == "crop":
            short, side = min(width, height), self.short_side
            return side * width // short, side * height // short
        long, side = max(width, height), self.size if self.resize == "pad" else self.short_side
        return max(round(side * width / long), 1), max(round(side * height / long), 1)

    def fit(self, image: "Image.Image", orientation: int, whole: tuple[int, int], scale: float) -> "Image.Image":
        """Return the part of `image` that is kept, at its final scale; with pad and border it may be below `size`.

        `image` shows a picture of `whole` (width, height) pixels at `scale`. Its own size is rounded up: a JPEG of 642
        rows, decoded at 3/4, has 482, of which the picture covers 481.5.
        The caller then turns it upright by its EXIF `orientation`, which decides here on which side the margin is
        larger where two margins differ by a pixel.
        """
        from PIL import Image

        scaled = self.scaled(*whole)
        target = min(self.size, scaled[0]), min(self.size, scaled[1])
        left, right = _cut(whole[0] * scale, scaled[0], target[0], orientation in MIRRORED_X)
        top, bottom = _cut(whole[1] * scale, scaled[1], target[1], orientation in MIRRORED_Y)
        method = Image.Resampling[self.interpolation.upper()]
        return image.resize(target, method, box=(left, top, right, bottom), reducing_gap=3.0)

    def on_square(self, image: "Image.Image") -> "Image.Image":
        """Return `image`, a result of `fit`, in the middle of a square of `size` pixels of the colour `fill`."""
        from PIL import Image

        if image.size == (self.size, self.size):
            return image
        square = Image.new("RGB", (self.size, self.size), self.fill)
        square.paste(image, ((self.size - image.width) // 2, (self.size - image.height) // 2))
        return square


def _cut(side: float, scaled: int, target: int, mirrored: bool) -> tuple[float, float]:
    """Return where the middle `target` of `scaled` pixels begin and end, in pixels of the original `side`."""
    margin = scaled - target
    start = margin - round(margin / 2) if mirrored else round(margin / 2)
    factor = side / scaled
    return start * factor, min((start + target) * factor, side)
