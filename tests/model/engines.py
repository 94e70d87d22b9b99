"""An exact body in every engine: onnxruntime, torch and numpy."""

import numpy as np
import onnx
import onnxruntime
import torch

from darkroom.model.exact_torch import ExactModule
from tests.model import numpy_body


def answers(model: onnx.ModelProto, images: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Return the outputs by every engine: onnxruntime with and without optimisation and 1 to 3 threads, torch,
    numpy."""
    found = {}
    levels, written = onnxruntime.GraphOptimizationLevel, model.SerializeToString()
    for level, threads in ((levels.ORT_DISABLE_ALL, 2), (levels.ORT_ENABLE_ALL, 1), (levels.ORT_ENABLE_ALL, 3)):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level, options.intra_op_num_threads = level, threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the processor
        session = onnxruntime.InferenceSession(written, options, ["CPUExecutionProvider"])
        found[f"onnxruntime {level} with {threads} threads"] = session.run(None, {"images": images})
    for dtype in (torch.float32, torch.float64):
        found[f"torch {dtype}"] = [each.numpy() for each in ExactModule(model, dtype)(torch.from_numpy(images))]
    return found | {"numpy": numpy_body.run(model, images)}


def assert_same_bits(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """Return the features that all engines agree on."""
    found = answers(model, images)
    first = next(iter(found.values()))
    for engine, outputs in found.items():
        for one, other in zip(first, outputs, strict=True):
            assert one.tobytes() == np.ascontiguousarray(other).tobytes(), engine
    return first[0]
