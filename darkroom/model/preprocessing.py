"""Choose the framing from the params and the weights of the backbone.

A module of its own, since training reads backbones.py and must not depend on how pictures are decoded.
"""

from darkroom.images.framing import BLACK, RESIZES, Framing
from darkroom.images.levels import Levels
from darkroom.model.backbones import preprocessing

CHOICES = ("auto", *RESIZES)
# Photos are cropped to 7/8 of their short side, as ImageNet's models are tested; small pictures are not.
MARGIN_FROM = 96


def framing(image_size: int | str, resize: str, backbone: str, weights: str, levels: Levels | None = None) -> Framing:
    """Return the framing of `image_size` pixels; "auto" for it or for `resize`: that of the backbone's weights.

    The interpolation is always that of the weights, `levels` are those of the data set. Raises WeightsError.
    """
    wanted = preprocessing(backbone, weights)
    chosen = wanted.resize if resize == "auto" else resize
    fill = tuple(round(255 * value) for value in wanted.mean or ()) if chosen == "border" else BLACK
    if isinstance(image_size, str):
        size, short_side = wanted.size, wanted.short_side
    elif chosen in RESIZES:
        size, short_side = image_size, round(image_size * 8 / 7) if image_size >= MARGIN_FROM else image_size
    else:
        size, short_side = image_size, round(image_size * wanted.short_side / wanted.size)
    return Framing(size, chosen, short_side, wanted.interpolation, fill, **(levels or {}))
