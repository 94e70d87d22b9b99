"""Choose the framing that the weights of a backbone want, from the params."""

from darkroom.images.framing import Framing
from darkroom.model.backbones import preprocessing

# Photos are cropped to 7/8 of their short side, as ImageNet's models are tested; small pictures are not.
MARGIN_FROM = 96


def framing(image_size: int | str, resize: str, backbone: str, weights: str) -> Framing:
    """Return the framing of `image_size` pixels; "auto": as the weights of the backbone want it."""
    if isinstance(image_size, str):
        wanted = preprocessing(backbone, weights)
        return Framing(wanted.size, resize, wanted.short_side)
    return Framing(image_size, resize, round(image_size * 8 / 7) if image_size >= MARGIN_FROM else image_size)
