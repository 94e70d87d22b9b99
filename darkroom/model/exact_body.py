"""Write a convolutional body as an ONNX graph with exact sums: the same features on every processor.

Each node of the float graph is rewritten by the rule of its operator in exact_rules.py. Before each sum its inputs are
clipped to the range seen on calibration pictures and rounded to a unit; weights and biases are rounded so that no
partial sum can round (darkroom.model.exact). All other steps are single IEEE operations.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.images.shards import Shards
from darkroom.model import tensors
from darkroom.model.exact import NotExact
from darkroom.model.exact_graph import TRACED, ExactGraph, Pixels, Value
from darkroom.model.exact_rules import PIXEL_RULES, READ_PIXELS, RULES
from darkroom.model.exact_torch import plain_sums
from darkroom.model.network import Body, pixels
from darkroom.model.onnx_export import export
from darkroom.model.weights import Resolved

ARITHMETIC = ("auto", "exact", "float32")
CALIBRATION_PIXELS = 16 * 224 * 224  # of the images that the ranges of an exact body are measured on
COMPARED = 8  # calibration pictures whose features are compared with the float body's
FARTHEST = 0.25  # relative distance allowed between the two; 0.02 to 0.1 is usual
NOT_EXACT = ("Erf", "InstanceNormalization", "LayerNormalization", "Softmax")  # reported before any work


@dataclass(frozen=True)
class ExactBody:
    """The graph, the features' unit and largest magnitude, and for each sum its input's unit and range.

    `features` float32 (n, D): those of the calibration pictures.
    """

    model: onnx.ModelProto
    unit: float
    largest: float
    sums: list[dict[str, Any]]
    features: np.ndarray

    def facts(self) -> dict[str, Any]:
        """Return the facts for body.json."""
        return {"kind": "exact", "unit": self.unit, "largest": self.largest,
                "calibration_pictures": len(self.features), "sums": self.sums}  # fmt: skip


def frozen_graph(arithmetic: str, resolved: Resolved, pictures: np.ndarray) -> tuple[bytes, dict[str, Any]]:
    """Return the frozen body as an ONNX file, and its arithmetic: `kind` exact or float32, and `why` it is not exact.

    `arithmetic`: one of ARITHMETIC; `pictures`: as `calibration_pictures` gives them. Raises DarkroomError where exact
    arithmetic is asked for and the body has no exact form.
    """
    size = resolved.facts["image_size"]
    if arithmetic == "float32":
        return export(resolved.body, size), {"kind": "float32"}
    try:
        made = exact_body(resolved.body, pictures)
    except NotExact as error:
        if arithmetic == "exact":
            raise DarkroomError(
                f"arithmetic is exact, but {resolved.facts['backbone']} has no exact form: {error}; use auto or float32"
            ) from error
        return export(resolved.body, size), {"kind": "float32", "why": str(error)}
    return made.model.SerializeToString(deterministic=True), made.facts()


def write_body(folder: Path, resolved: Resolved, frozen: tuple[bytes, dict[str, Any]] | None) -> dict[str, Any]:
    """Write a body whole: body.json, body.safetensors, body.onnx when frozen, and the head that came with it.

    Returns the facts in body.json. `frozen`: as `frozen_graph` gives it; None for a body that is to be trained.
    """
    facts = resolved.facts | {"frozen": frozen is not None}
    with files.fresh_folder(folder) as temporary:
        if frozen:
            facts |= {"arithmetic": frozen[1]}
            files.write_bytes(temporary / "body.onnx", frozen[0])
        files.write_json(temporary / "body.json", facts)
        tensors.save(temporary / "body.safetensors", resolved.body.arrays())
        if resolved.earlier is not None:
            known = {"classes": resolved.earlier.classes, "head": resolved.earlier.facts["head"]}
            tensors.save(temporary / "head.safetensors", resolved.earlier.head, known)
    return facts


def calibration_pictures(train: Shards) -> np.ndarray:
    """Return training images, evenly spaced, on which the ranges of an exact body are measured: (n, S, S, 3) uint8."""
    count = min(len(train), max(8, min(64, CALIBRATION_PIXELS // train.row_shape[0] ** 2)))
    return train.rows(np.arange(count) * len(train) // count)


def exact_body(body: Body, pictures: np.ndarray) -> ExactBody:
    """Write the exact graph of `body`, calibrated on uint8 `pictures` (n, S, S, 3).

    Raises NotExact, too, where rounding distorts the features: all channels share one grid, which cannot hold channels
    whose sizes are thousands of times apart.
    """
    data = export(body, pictures.shape[1], batch=TRACED, fold=False)
    made = rewrite(onnx.load_from_string(data), pictures)
    some = np.unique(np.linspace(0, len(pictures) - 1, COMPARED).round().astype(np.int64))
    with torch.inference_mode():
        floats = body.eval()(pixels(pictures[some])).numpy().astype(np.float64)
    apart, size = (float(np.linalg.norm(each)) for each in (made.features[some] - floats, floats))
    if not apart <= FARTHEST * size:
        share = apart / (size or apart)
        raise NotExact(f"its exact features are {share:.0%} off those in float32 on the calibration pictures")
    return made


def rewrite(model: onnx.ModelProto, pictures: np.ndarray) -> ExactBody:
    """Write the exact graph of the float graph `model`, calibrated on uint8 `pictures` (n, S, S, 3). Raises NotExact.

    `model` has a batch of TRACED images written into its shapes; the new graph takes any number.
    """
    found = sorted({node.op_type for node in model.graph.node}.intersection(NOT_EXACT))
    if found:
        names = ", ".join(found[:-1]) + " and " * (len(found) > 1) + found[-1]
        raise NotExact(f"{names} {'have' if len(found) > 1 else 'has'} no exact form")
    with torch.inference_mode(), plain_sums():
        graph = ExactGraph(model, pictures)
        for number, node in enumerate(model.graph.node):
            _rewrite(graph, node)
            graph.forget(number)
        written = graph.finish()
    return ExactBody(written, graph.unit, graph.largest, graph.sums, graph.features)


def _rewrite(graph: ExactGraph, node: onnx.NodeProto) -> None:
    made, first = node.output[0], next(iter(node.input), "")
    if node.op_type == "Constant":
        graph.constants[made] = numpy_helper.to_array(helper.get_attribute_value(node.attribute[0]))
    elif isinstance(graph.values.get(first), Pixels) and node.op_type in PIXEL_RULES:
        graph.values[made] = PIXEL_RULES[node.op_type](graph, node)
    elif all(name in graph.constants for name in node.input if name) or node.op_type == "Shape":
        graph.constants[made] = graph.fixed(node)
    elif node.op_type in RULES:
        if node.op_type not in READ_PIXELS and any(_are_pixels(graph.values.get(name)) for name in node.input):
            raise NotExact(f"{node.op_type} reads pixels, which no convolution has yet read")
        graph.values[made] = RULES[node.op_type](graph, node)
    else:
        raise NotExact(f"{node.op_type} has no exact form")


def _are_pixels(value: Value | Pixels | None) -> bool:
    return isinstance(value, Pixels) or (value is not None and value.scale is not None)
