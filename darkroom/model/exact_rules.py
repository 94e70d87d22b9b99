"""Rewrite ONNX operators as exact ones: what is summed is rounded to a grid, the rest stays as it is.

A rule writes the nodes of one float operator into an ExactGraph and returns the value that they compute. An operator
that is not in RULES has no exact form.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import torch
from onnx import TensorProto

from darkroom.model import exact
from darkroom.model.exact import NotExact
from darkroom.model.exact_graph import AVERAGES, BITS, MARGIN, TRACED, ExactGraph, Pixels, Value
from darkroom.model.exact_torch import attributes, execute

GATE_BITS, SILU_BITS = 12, (10, 9, 8)

Rule = Callable[[ExactGraph, onnx.NodeProto], Value]


def _conv(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    weights, bias = graph.convolution(node)
    return graph.sum("Conv", graph.on_grid(node.input[0]), weights, bias, **attributes(node))


def _gemm(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    weights, bias = graph.dense(node)
    return graph.sum("Gemm", graph.on_grid(node.input[0]), weights, bias, transB=1)


def _matmul(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    """Make a product with a constant matrix on either side exact."""
    left = node.input[0] in graph.constants
    matrix = graph.constants[node.input[0 if left else 1]].astype(np.float64)
    if matrix.ndim != 2:
        raise NotExact("a product of matrices is not of pictures and constants")
    value = graph.on_grid(node.input[1 if left else 0])
    assert value.unit is not None
    rows = matrix if left else matrix.T
    made = exact.on_grids(rows, np.zeros(len(rows)), value.low, value.high, value.unit).weights
    constant = graph.constant(made if left else made.T)
    name = graph.emit("MatMul", *((constant, value.name) if left else (value.name, constant)))
    graph.sums.append({"unit": value.unit, "low": value.low, "high": value.high})
    return Value(name, -math.inf, math.inf, raw=True)


def _batch_norm(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    """Write a BatchNorm that was not folded into a convolution as a convolution of each channel by itself."""
    before = graph.made_by.get(node.input[0])
    if before is not None and graph.folded(before) is not None:
        return graph.value(node.input[0])
    scale, shift = graph.batch_norm(node)
    value = graph.on_grid(node.input[0])
    return graph.sum("Conv", value, scale[:, None, None, None], shift, kernel_shape=[1, 1], group=len(scale))


def _average_pool(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    options = attributes(node)
    height, width = options["kernel_shape"]
    pads, strides = options.get("pads", [0] * 4), options.get("strides", [1, 1])
    value = graph.on_grid(node.input[0])
    rows, columns = graph.arrays[value.name].shape[2:]
    left = (rows + pads[0] + pads[2] - height) % strides[0], (columns + pads[1] + pads[3] - width) % strides[1]
    if options.get("ceil_mode", 0) and any(left):
        raise NotExact("an average pool reaches over the edge")
    channels = graph.arrays[value.name].shape[1]
    made = graph.sum("Conv", value, np.full((channels, 1, height, width), 1 / (height * width)), np.zeros(channels),
                     kernel_shape=[height, width], pads=pads, strides=strides, group=channels)  # fmt: skip
    if not any(pads) or options.get("count_include_pad", 0):
        return made
    inside = execute("Conv", [torch.ones(1, 1, rows, columns), torch.ones(1, 1, height, width), torch.zeros(1)],
                     {"pads": pads, "strides": strides}, torch.float32).numpy()  # fmt: skip
    made = graph.clip(made, *exact.bounds(graph.seen(made), MARGIN))
    share = height * width / inside
    name = graph.emit("Mul", made.name, graph.constant(share))
    return Value(name, made.low * float(share.max()), made.high * float(share.max()))


def _mean(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    """Write the mean over a map as an exact sum and one product."""
    options = attributes(node)
    if node.op_type == "ReduceMean":
        axes = graph.constants[node.input[1]].tolist() if len(node.input) > 1 else options["axes"]
        if sorted(axis % 4 for axis in axes) != [2, 3]:
            raise NotExact("a mean is not over a map's positions")
    settled = graph.settled(node.input[0])
    count = math.prod(graph.arrays[settled.name].shape[2:])
    value = graph.on_grid(node.input[0], most=(exact.LIMIT - 1) // count)
    kept = 1 if node.op_type == "GlobalAveragePool" else options.get("keepdims", 1)
    total = graph.emit("ReduceSum", value.name, graph.constant([2, 3], np.int64), keepdims=kept)
    return Value(graph.emit("Mul", total, graph.constant(1 / count)), value.low, value.high)


def _relu(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    return _clipped(graph, node.input[0], 0.0, math.inf)


def _clip(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    low, high = (float(graph.constants[name]) if name else None for name in [*node.input[1:], "", ""][:2])
    return _clipped(graph, node.input[0], -math.inf if low is None else low, math.inf if high is None else high)


def _clipped(graph: ExactGraph, name: str, low: float, high: float) -> Value:
    value = graph.value(name)
    seen = exact.bounds(graph.seen(value), MARGIN)
    low, high = max(low, value.low, seen[0]), min(high, value.high, seen[1])
    return graph.clip(value, low, high if high > low else low + 2.0**-10)


def _add(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    if any(name in graph.constants for name in node.input):
        name, constant = sorted(node.input, key=lambda each: each in graph.constants)
        value, by = graph.settled(name), graph.constants[constant].astype(np.float32)
        low, high = value.low + float(by.min()), value.high + float(by.max())
        return Value(graph.emit("Add", value.name, graph.constant(by)), low, high)
    first, second = (graph.settled(name) for name in node.input)
    return Value(graph.emit("Add", first.name, second.name), first.low + second.low, first.high + second.high)


def _mul(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    for gate, gated in (node.input, reversed(node.input)):
        made_by = graph.made_by.get(gate)
        if made_by is not None and made_by.op_type == "Sigmoid" and made_by.input[0] == gated:
            return _silu(graph, gated)
    if any(name in graph.constants for name in node.input):
        name, constant = sorted(node.input, key=lambda each: each in graph.constants)
        by = graph.constants[constant].astype(np.float32)
        value = graph.settled(name)
        return _product(graph.emit("Mul", value.name, graph.constant(by)), value, float(by.min()), float(by.max()))
    first, second = (graph.settled(name) for name in node.input)
    return _product(graph.emit("Mul", first.name, second.name), first, second.low, second.high)


def _product(name: str, value: Value, low: float, high: float) -> Value:
    ends = [one * other for one in (value.low, value.high) for other in (low, high)]
    return Value(name, min(ends), max(ends))


def _silu(graph: ExactGraph, name: str) -> Value:
    """Return x sigmoid(x) on a grid, rounded to a unit at which every library's sigmoid gives the same.

    Without such a unit it is looked up in a table, which takes longer.
    """
    value = graph.settled(name)
    size = float(exact.ceil_power(max(-value.low, value.high)))
    for bits in SILU_BITS:
        for out_bits in SILU_BITS:
            if exact.silu_is_safe(size / 2**bits, value.low, value.high, size / 2**out_bits):
                x = graph.rounded(value, size / 2**bits)
                product = graph.emit("Mul", x.name, graph.emit("Sigmoid", x.name))
                return graph.rounded(Value(product, min(0.0, max(x.low, -0.3)), x.high), size / 2**out_bits)
    unit = size / 2 ** SILU_BITS[0]
    x = graph.rounded(value, unit)
    table = exact.silu_table(unit, x.low, x.high, unit)
    return Value(_looked_up(graph, x, table), float(table.min()), float(table.max()), unit)


def _sigmoid(graph: ExactGraph, node: onnx.NodeProto) -> Value | None:
    """Write a gate as a table of its values."""
    name = node.input[0]
    consumers = graph.consumers.get(node.output[0], [])
    if consumers and all(each.op_type == "Mul" and name in each.input for each in consumers):
        return graph.settled(name)  # x sigmoid(x), which _mul writes
    value = graph.settled(name)
    value = graph.clip(value, max(value.low, -16.0), min(value.high, 16.0))
    unit = float(exact.ceil_power(max(-value.low, value.high))) / 2.0**BITS
    value = graph.rounded(value, unit)
    table = exact.sigmoid_table(unit, value.low, value.high, GATE_BITS)
    return Value(_looked_up(graph, value, table), float(table[0]), float(table[-1]), 2.0**-GATE_BITS)


def _looked_up(graph: ExactGraph, value: Value, table: np.ndarray) -> str:
    """Look `value`, which is on its grid, up in the `table` of a function from value.low to value.high."""
    assert value.unit is not None
    steps = graph.emit("Mul", graph.emit("Sub", value.name, graph.constant(value.low)), graph.constant(1 / value.unit))
    return graph.emit("Gather", graph.constant(table), graph.emit("Cast", steps, to=TensorProto.INT32), axis=0)


def _hard_sigmoid(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    options = attributes(node)
    value = graph.settled(node.input[0])
    scaled = graph.emit("Mul", value.name, graph.constant(options.get("alpha", 0.2)))
    moved = graph.emit("Add", scaled, graph.constant(options.get("beta", 0.5)))
    return graph.clip(Value(moved, -math.inf, math.inf), 0.0, 1.0)


def _hard_swish(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    value = graph.settled(node.input[0])
    gate = graph.clip(Value(graph.emit("Add", value.name, graph.constant(3.0)), -math.inf, math.inf), 0.0, 6.0)
    name = graph.emit("Mul", graph.emit("Mul", value.name, gate.name), graph.constant(1 / 6))
    return Value(name, max(-0.5, min(0.0, value.low)), max(0.0, value.high))


def _moved(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    """Copy an operator that moves values without changing them."""
    value, options = graph.settled(node.input[0]), attributes(node)
    others = [graph.constants[name] for name in node.input[1:] if name]
    if node.op_type == "Reshape":  # the batch's size stands in the shape
        batch = len(graph.arrays["images"])
        others[0] = np.concatenate([np.where(np.isin(others[0][:1], [TRACED, batch]), 0, others[0][:1]), others[0][1:]])
    if node.op_type == "Pad" and len(others) > 1 and float(others[1]):
        raise NotExact("it pads with a number that is not 0")
    if node.op_type == "Pad":
        others = others[:1]
    made = graph.emit(node.op_type, value.name, *(graph.constant(each, np.int64) for each in others), **options)
    return replace(value, name=made)


def _concat(graph: ExactGraph, node: onnx.NodeProto) -> Value:
    parts = [graph.on_grid(name) for name in node.input]
    unit = min(part.unit or 0 for part in parts)
    name = graph.emit("Concat", *(part.name for part in parts), axis=attributes(node)["axis"])
    return Value(name, min(part.low for part in parts), max(part.high for part in parts), unit or None)


def _affine(graph: ExactGraph, node: onnx.NodeProto) -> Pixels:
    """Write arithmetic of pixels and constants."""
    pixels = graph.values[node.input[0]]
    assert isinstance(pixels, Pixels)
    by = graph.constants[node.input[1]].astype(np.float64).reshape(-1)
    scale, shift = pixels.scale, pixels.shift
    if node.op_type in ("Mul", "Div"):
        factor = by if node.op_type == "Mul" else 1 / by
        return replace(pixels, scale=scale * factor, shift=shift * factor)
    return replace(pixels, shift=shift + by if node.op_type == "Add" else shift - by)


def _channel(graph: ExactGraph, node: onnx.NodeProto) -> Pixels:
    pixels = graph.values[node.input[0]]
    assert isinstance(pixels, Pixels)
    index = graph.constants[node.input[1]].reshape(-1) if node.op_type == "Gather" else slice(None)
    return Pixels(pixels.source[index], pixels.scale[index], pixels.shift[index])


def _joined(graph: ExactGraph, node: onnx.NodeProto) -> Pixels:
    parts = [graph.values[name] for name in node.input]
    arrays = [(part.source, part.scale, part.shift) for part in parts if isinstance(part, Pixels)]
    return Pixels(*(np.concatenate(each) for each in zip(*arrays, strict=True)))


PIXEL_RULES: dict[str, Callable[[ExactGraph, onnx.NodeProto], Pixels]] = {
    **dict.fromkeys(("Transpose", "Cast", "Unsqueeze", "Gather"), _channel),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _affine),
    "Concat": _joined,
}
READ_PIXELS = (
    "Conv",
    "Dropout",
    "Identity",
    "MaxPool",
    "Pad",
)  # may read pixels: the first Conv takes in mean and std
RULES: dict[str, Rule] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    **dict.fromkeys(("Dropout", "Identity"), lambda graph, node: graph.value(node.input[0])),
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Gemm": _gemm,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "MatMul": _matmul,
    "Mul": _mul,
    "Relu": _relu,
    "Sigmoid": _sigmoid,  # type: ignore[dict-item]
    **dict.fromkeys(AVERAGES, _mean),
    **dict.fromkeys(("Flatten", "MaxPool", "Pad", "Reshape", "Slice", "Transpose"), _moved),
}
