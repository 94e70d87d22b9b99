"""A frozen body on a GPU, in float32."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darkroom.core.errors import DarkroomError, is_out_of_memory
from darkroom.core.progress import say
from darkroom.images import augment
from darkroom.model.network import load_body, pixels


class GpuBody:
    """The body in the folder `body` (models/body) on `device`."""

    def __init__(self, body: Path, device: torch.device) -> None:
        self.device = device
        self._net = load_body(body)[0].to(device).to(memory_format=torch.channels_last).eval()
        self._together: int | None = None

    def shown(self, images: np.ndarray, copies: Iterable[augment.Draws]) -> tuple[Tensor, ...]:
        """`images` uint8 (b, S, S, 3), then each of their augmented copies: (b, 3, S, S) float32 on the device."""
        plain = pixels(images, self.device)
        return plain, *(augment.as_bytes(augment.apply(plain, draws)) / 255 for draws in copies)

    def features(self, shown: tuple[Tensor, ...]) -> Tensor:
        """(b, len(shown), D) float32 on the device. Raises DarkroomError when one image needs too much memory."""
        with torch.inference_mode():
            return torch.stack([self._features(images) for images in shown], dim=1)

    def _features(self, images: Tensor) -> Tensor:
        while True:
            size = min(self._together or len(images), len(images))
            try:
                return torch.cat([self._net(part) for part in images.split(size)])
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise DarkroomError("embed: out of memory on the GPU with a single image; use a smaller image_size "
                                        "or backbone, or DARKROOM_DEVICE=cpu") from error  # fmt: skip
            # Outside of `except`: the exception holds on to the tensors of what failed.
            self._together = -(-size // 2)
            say(f"embed: out of memory; goes on with {self._together} images at a time in place of {size}")
            torch.cuda.empty_cache()
