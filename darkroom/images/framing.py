"""From the params to a Framing: which size, and how much is cut away."""

from darkroom.images.decode import Framing
from darkroom.model.backbones import preprocessing

RESIZES = ("crop", "pad", "stretch")
MARGIN_FROM = (
    96  # photos are cropped to 7/8 of their short side, as ImageNet's models are tested; small pictures are not
)


def framing(image_size: int | str, resize: str, backbone: str, weights: str) -> Framing:
    """The framing of `image_size` pixels; "auto": as the weights of the backbone want it."""
    if isinstance(image_size, str):
        wanted = preprocessing(backbone, weights)
        return Framing(wanted.size, resize, wanted.short_side)
    return Framing(image_size, resize, round(image_size * 8 / 7) if image_size >= MARGIN_FROM else image_size)
