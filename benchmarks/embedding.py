"""Images a second through a frozen backbone: as embed runs it, against a plain torch loop in float32 (224 px, CPU).

`python -m benchmarks.embedding [BACKBONE …]`. The two take turns on the same random images, and the best turn of each
counts, so that other work on the machine spoils neither alone.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from darkroom.core import runtime
from darkroom.model import builders, onnx_export
from darkroom.model.backbones import IMAGENET_MEAN, IMAGENET_STD, preprocessing
from darkroom.model.network import Body
from darkroom.model.runner import PIXELS_A_BATCH, OnnxBody

DEFAULT = ("mobilenet_v2", "resnet18", "squeezenet1_1")
TURNS = 5


def main(names: list[str]) -> None:
    """Print a row of figures for each backbone."""
    environment = runtime.from_environment()
    torch.set_num_threads(environment.threads)
    print(f"{runtime.machine()['cpu']}, {environment.threads} threads, torch {torch.__version__}")
    print(f"{'backbone':20} {'torch f32':>10} {'embed':>10} {'ratio':>7} {'largest difference':>20}")
    for name in names:
        size = preprocessing(name, "none").size
        body = Body(builders.build(name, size, seed=0), IMAGENET_MEAN, IMAGENET_STD).eval()
        images = np.random.default_rng(0).integers(0, 256, (PIXELS_A_BATCH // size**2, size, size, 3), np.uint8)
        engine = OnnxBody(onnx_export.export(body, size), environment.threads)
        rivals = (plain(body), engine.features)
        answers = [rival(images) for rival in rivals]  # the first call also warms up
        slow, fast = fastest(rivals, images)
        off = np.abs(answers[0] - answers[1]).max() / np.abs(answers[0]).max()
        print(f"{name:20} {len(images) / slow:10.1f} {len(images) / fast:10.1f} {slow / fast:7.2f} {off:20.1e}")


def plain(body: Body) -> Callable[[np.ndarray], np.ndarray]:
    """What a tutorial does: float32, channels first, no gradients."""

    def features(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return body(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255).numpy()

    return features


def fastest(rivals: tuple[Callable[[np.ndarray], np.ndarray], ...], images: np.ndarray) -> list[float]:
    """The seconds of each rival's best turn."""
    seconds = [float("inf")] * len(rivals)
    for _ in range(TURNS):
        for index, rival in enumerate(rivals):
            started = time.perf_counter()
            rival(images)
            seconds[index] = min(seconds[index], time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main(sys.argv[1:] or list(DEFAULT))
