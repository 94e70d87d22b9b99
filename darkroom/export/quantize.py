"""Make an 8-bit form of the exported graph, calibrated on validation pictures, and decide whether to keep it."""

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from darkroom.export import graph
from darkroom.export.cost import Cost
from darkroom.export.graph import tidy
from darkroom.metrics.intervals import design_effect
from darkroom.metrics.significance import largest_loss

CALIBRATION_IMAGES = 256
CALIBRATION_BATCH = 16
FASTER = 1.1  # at batch 32; two measurements of one model can differ by as much
MARGIN = 0.01  # of accuracy that may be lost
FEWEST = 381  # pictures with which `largest_loss` falls below the margin where no answer changes at all
# Operators with an 8-bit kernel. Normalisation, head and softmax stay: 8 bits would cost accuracy and gain no speed.
QUANTIZED = ("Conv", "Gemm", "MatMul", "Add", "Clip", "Relu", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool")


def quantize(model: onnx.ModelProto, batches: Iterator[np.ndarray]) -> onnx.ModelProto:
    """Return `model` with 8-bit weights (a scale a channel) and activations.

    `batches`, uint8 (b, S, S, 3), give the activations' ranges.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            images = next(batches, None)
            return None if images is None else {"images": images}

    kept = [node.name for node in model.graph.node if node.name.startswith(("head.", graph.PREFIX))]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantiser recommends its own pre-processing in a warning for each call
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "int8.onnx"
            quantize_static(
                onnx.shape_inference.infer_shapes(model),
                made,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTIZED),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=kept,
                calibrate_method=CalibrationMethod.MinMax,
            )
            return tidy(onnx.load(made))
    finally:
        root.setLevel(level)


@dataclass(frozen=True)
class Decision:
    """Whether the 8-bit model is kept, the reason, and the figures behind it."""

    kept: bool
    reason: str
    figures: dict[str, Any]


def decide(
    labels: np.ndarray, full: np.ndarray, small: np.ndarray, sizes: tuple[int, int], costs: tuple[Cost, Cost],
    group: np.ndarray | None = None,
) -> Decision:  # fmt: skip
    """Keep the 8-bit model only if it is smaller, and faster, and surely loses less accuracy than MARGIN.

    `labels` (n,) of the validation pictures and the probabilities (n, K) of the full and the 8-bit model; bytes and
    costs in the same order; `group` (n,) of each picture, where some belong together. This is a test of
    non-inferiority: the upper end of the loss's 95 % interval must be below the margin, so that few pictures count
    against the 8-bit model, not for it.
    """
    right_full, right_small = full.argmax(1) == labels, small.argmax(1) == labels
    lost, won = int((right_full & ~right_small).sum()), int((right_small & ~right_full).sum())
    n, effect = len(labels), 1.0
    if group is not None:
        effect = design_effect(right_full.astype(np.int64) - right_small, group)
    draws = n / effect  # independent pictures that say as much
    largest = largest_loss(lost / effect, won / effect, draws) if n else 1.0
    speedup = costs[0].latency_ms["32"] / costs[1].latency_ms["32"]
    figures = {
        "images": n,
        "accuracy": {"float32": _share(right_full), "int8": _share(right_small)},
        "only_float32_right": lost,
        "only_int8_right": won,
        "largest_loss": round(largest, 6),
        "same_class": _share(full.argmax(1) == small.argmax(1)),
        "max_difference": round(float(np.abs(full - small).max(initial=0.0)), 4),
        "size_bytes": {"float32": sizes[0], "int8": sizes[1]},
        "latency_ms": {"float32": costs[0].latency_ms, "int8": costs[1].latency_ms},
        "peak_memory_mb": {"float32": costs[0].peak_memory_mb, "int8": costs[1].peak_memory_mb},
        "speedup_batch_32": round(speedup, 2),
    }
    if sizes[1] >= sizes[0]:
        return Decision(False, "int8 is not smaller", figures)
    if speedup < FASTER:
        return Decision(False, f"int8 is not faster here by a factor of {FASTER} at batch 32", figures)
    points = f"{100 * MARGIN:g} point"
    if draws < FEWEST:
        few = f"{draws:.0f} validation pictures cannot show a loss of less than {points}"
        why = f"int8 is not kept: {few}, {FEWEST} might"
        return Decision(False, why, figures)
    if largest >= MARGIN:
        why = f"int8 is not surely as good: it may lose {100 * largest:.1f} points on validation, {points} is allowed"
        return Decision(False, why, figures)
    kept = f"int8 is smaller, faster here, and loses less than {points} of accuracy on {n:,} validation pictures"
    return Decision(True, kept, figures)


def _share(mask: np.ndarray) -> float:
    return round(float(mask.mean()), 6) if len(mask) else 0.0
