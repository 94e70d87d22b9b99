"""Test-time augmentation: the answer as the mean over several views of each image."""

from collections.abc import Iterator

import numpy as np

from darkroom.core.errors import ParamsError

CROP = 0.875
VIEWS = ("none", "flip", "crops", "flip_crops")


def views(images: np.ndarray, kind: str, flips: bool) -> Iterator[np.ndarray]:
    """The views of images (n, S, S, 3) uint8, each of the same shape: the image, its mirror image, five crops.

    The crops are the four corners and the centre, 7/8 of the side, enlarged again. Raises ParamsError when a mirrored
    image of this data set would be another one.
    """
    if "flip" in kind and not flips:
        raise ParamsError(
            f"params.yaml: tta is {kind!r}, but the images of this source must not be mirrored; use crops"
        )
    chosen = [images, *(_crops(images) if "crops" in kind else ())]
    for view in chosen:
        yield view
        if "flip" in kind:
            yield np.ascontiguousarray(view[:, :, ::-1])


def _crops(images: np.ndarray) -> Iterator[np.ndarray]:
    from PIL import Image

    size = images.shape[1]
    side = max(1, round(size * CROP))
    end = size - side
    for top, left in ((0, 0), (0, end), (end, 0), (end, end), (end // 2, end // 2)):
        box = (left, top, left + side, top + side)
        yield np.stack(
            [
                np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box))
                for image in images
            ]
        )
