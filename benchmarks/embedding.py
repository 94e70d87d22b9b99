"""Images a second through a frozen backbone (CPU): as embed runs it, exact and in float32, against other engines.

`python -m benchmarks.embedding [BACKBONE …]`. All take turns on the same random images, with one thread each, and the
turn with the least processor time counts, so that other work on the machine spoils none. `--seconds`: the time of the
clock instead, with the threads that DARKROOM_THREADS says. OpenVINO takes part where it is installed.
"""

import argparse
import importlib
import importlib.util
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from torch.fx.experimental.optimization import fuse

from darkroom.core import runtime
from darkroom.model import builders, exact_body, onnx_export
from darkroom.model.backbones import IMAGENET_MEAN, IMAGENET_STD, preprocessing
from darkroom.model.exact_torch import ExactModule
from darkroom.model.network import Body
from darkroom.model.runner import PIXELS_A_BATCH, OnnxBody

DEFAULT = ("mobilenet_v2", "resnet18", "squeezenet1_1")
TURNS = 5
EXACT, FLOAT = "embed, exact", "embed, float32"  # what `arithmetic` makes of it
BFLOAT16 = "torch bfloat16"  # other numbers: features of 8 bits
Engine = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Print a row of figures for each backbone."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("backbones", nargs="*", default=DEFAULT)
    parser.add_argument("--seconds", action="store_true", help="of the clock, with DARKROOM_THREADS threads")
    asked = parser.parse_args()
    threads = runtime.from_environment().threads if asked.seconds else 1
    clock = time.perf_counter if asked.seconds else time.process_time
    torch.set_num_threads(threads)
    print(f"{runtime.machine()['cpu']}, {threads} threads, torch {torch.__version__}, "
          f"onnxruntime {onnxruntime.__version__}")  # fmt: skip
    for position, name in enumerate(asked.backbones):
        size = preprocessing(name, "none").size
        images = np.random.default_rng(0).integers(0, 256, (PIXELS_A_BATCH // size**2, size, size, 3), np.uint8)
        body = Body(builders.build(name, size, seed=0), IMAGENET_MEAN, IMAGENET_STD).eval()
        engines = made(body, size, images, threads)
        rates = {engine: len(images) / taken for engine, taken in fastest(engines, images, clock).items()}
        if not position:
            print(f"| backbone | {' | '.join(engines)} | float32 of the best float32 | exact of the best exact | "
                  f"exact of the best |\n|{'---|' * (len(engines) + 4)}")  # fmt: skip
        exact = [engine for engine in rates if "exact" in engine]
        single = [engine for engine in rates if engine not in (*exact, BFLOAT16)]
        shares = [rates[FLOAT] / max(rates[engine] for engine in single)]
        shares += [rates[EXACT] / max(rates[engine] for engine in exact), rates[EXACT] / max(rates.values())]
        cells = [f"{rate:.0f}" for rate in rates.values()] + [f"{share:.2f}" for share in shares]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def made(body: Body, size: int, images: np.ndarray, threads: int) -> dict[str, Engine]:
    """Return the engines by name, each with the network as it likes it best."""
    graph = onnx_export.export(body, size)
    exact = exact_body.exact_body(body, images).model
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    plain = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    module = ExactModule(exact)
    found: dict[str, Engine] = {
        EXACT: OnnxBody(exact.SerializeToString(), threads).features,
        "exact in torch": lambda rows: module(torch.from_numpy(rows))[0].numpy(),
        FLOAT: OnnxBody(graph, threads).features,
        "onnxruntime float32": lambda rows: plain.run(["features"], {"images": rows})[0],
        "torch float32": in_torch(body, torch.float32),
        BFLOAT16: in_torch(body, torch.bfloat16),
    }
    if importlib.util.find_spec("openvino"):
        found["OpenVINO float32"] = in_openvino(graph, threads)
        found["exact in OpenVINO"] = in_openvino(exact.SerializeToString(), threads)
    return {name: engine for name, engine in found.items() if "exact" not in name or same(name, engine, found, images)}


def same(name: str, engine: Engine, engines: dict[str, Engine], images: np.ndarray) -> bool:
    """Return, and print where it does not, whether an engine of the exact graph gives the bits of embed."""
    equal = engine(images) == engines[EXACT](images)
    if not equal.all():
        print(f"{name} is left out: {1 - equal.mean():.0%} of its features differ from those of embed")
    return bool(equal.all())


def in_torch(body: Body, dtype: torch.dtype) -> Engine:
    """Return torch's fastest way without compiling: BatchNorm folded where it can be, channels last, autocast."""
    try:
        net = fuse(body.net)
    except Exception:  # what its tracer cannot follow stays as it is
        net = body.net
    net = net.eval().to(memory_format=torch.channels_last)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (IMAGENET_MEAN, IMAGENET_STD))

    def features(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            pixels = torch.from_numpy(rows).permute(0, 3, 1, 2).float() / 255
            return net((pixels - mean) / std).float().numpy()

    return features


def in_openvino(graph: bytes, threads: int) -> Engine:
    """Return OpenVINO's way, in float32: it would take bfloat16 where the processor has it."""
    openvino = importlib.import_module("openvino")
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(openvino.Core().read_model(graph, None), "CPU", options)
    return lambda rows: compiled({"images": rows})["features"]


def fastest(engines: dict[str, Engine], images: np.ndarray, clock: Callable[[], float]) -> dict[str, float]:
    """Return the seconds of each engine's best turn; the first turn warms up."""
    seconds = dict.fromkeys(engines, float("inf"))
    for turn in range(TURNS + 1):
        for name, engine in engines.items():
            started = clock()
            engine(images)
            if turn:
                seconds[name] = min(seconds[name], clock() - started)
    return seconds


if __name__ == "__main__":
    main()
