"""Run an exact body's ONNX graph with torch, node by node: to calibrate it, and on a GPU.

Each operator is the single IEEE operation that ONNX names, or a sum that cannot round, so the bits are those of
onnxruntime. TF32 and convolutions by Winograd's or Fourier's transform compute other sums: they are switched off.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

CASTS = {TensorProto.FLOAT: torch.float32, TensorProto.INT32: torch.int32, TensorProto.INT64: torch.int64}


class ExactModule(nn.Module):
    """A body's exact graph as a torch module, on any device.

    `sums_in`: the dtype in which sums are computed; their results are float32.
    """

    def __init__(self, model: ModelProto, sums_in: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.nodes, self.sums_in = list(model.graph.node), sums_in
        self.attributes = [attributes(node) for node in self.nodes]
        self.outputs = [output.name for output in model.graph.output]
        self._names = {tensor.name: f"constant{number}" for number, tensor in enumerate(model.graph.initializer)}
        for tensor in model.graph.initializer:
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            self.register_buffer(self._names[tensor.name], value)
        self._last = {name: number for number, node in enumerate(self.nodes) for name in node.input}

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map (n, S, S, 3) uint8 to features (n, D) float32, and maps (n, D, h, w) where the graph has them."""
        values = {name: getattr(self, buffer) for name, buffer in self._names.items()} | {"images": images}
        with torch.inference_mode(), plain_sums():
            for number, node in enumerate(self.nodes):
                inputs = [values[name] for name in node.input if name]
                made = execute(node.op_type, inputs, self.attributes[number], self.sums_in)
                for name in node.input:
                    if self._last[name] == number and name not in self.outputs:
                        values.pop(name, None)
                values[node.output[0]] = made
        return tuple(values[name] for name in self.outputs)


@contextmanager
def plain_sums() -> Iterator[None]:
    """Make torch compute convolutions and products as plain float32 sums."""
    cudnn, nnpack = torch.backends.cudnn.enabled, torch.backends.nnpack.flags(enabled=False)
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.enabled = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with nnpack:
            yield
    finally:
        torch.backends.cudnn.enabled, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def execute(operator: str, inputs: list[Tensor], options: Mapping[str, Any], sums_in: torch.dtype) -> Tensor:
    """Apply the ONNX operator to `inputs`."""
    if operator in SUMS:
        inputs = [value.to(sums_in) if value.is_floating_point() else value for value in inputs]
        return OPERATORS[operator](inputs, options).float()
    return OPERATORS[operator](inputs, options)


def _conv(inputs: list[Tensor], options: Mapping[str, Any]) -> Tensor:
    x, weights, bias = inputs
    pads, strides = options.get("pads", [0] * 4), options.get("strides", [1, 1])
    if pads[:2] != pads[2:]:
        x, pads = functional.pad(x, (pads[1], pads[3], pads[0], pads[2])), [0] * 4
    dilations, group = options.get("dilations", [1, 1]), options.get("group", 1)
    return functional.conv2d(x, weights, bias, strides, pads[:2], dilations, group)


def _max_pool(inputs: list[Tensor], options: Mapping[str, Any]) -> Tensor:
    (x,) = inputs
    pads, ceil = options.get("pads", [0] * 4), bool(options.get("ceil_mode", 0))
    dilations = options.get("dilations", [1, 1])
    if pads[:2] != pads[2:]:
        x, pads = functional.pad(x, (pads[1], pads[3], pads[0], pads[2]), value=-torch.inf), [0] * 4
    return functional.max_pool2d(x, options["kernel_shape"], options["strides"], pads[:2], dilations, ceil)


def _pad(inputs: list[Tensor], _options: Mapping[str, Any]) -> Tensor:
    pads = inputs[1].tolist()
    half = len(pads) // 2
    sides = [(pads[axis], pads[axis + half]) for axis in reversed(range(half))]
    return functional.pad(inputs[0], [int(amount) for side in sides for amount in side])


def _slice(inputs: list[Tensor], _options: Mapping[str, Any]) -> Tensor:
    x, starts, ends, axes = inputs[:4]
    steps = inputs[4] if len(inputs) > 4 else torch.ones_like(axes)
    index = [slice(None)] * x.dim()
    for axis, *part in zip(*(each.tolist() for each in (axes, starts, ends, steps)), strict=True):
        index[axis] = slice(*part)
    return x[tuple(index)]


def _reshape(inputs: list[Tensor], _options: Mapping[str, Any]) -> Tensor:
    x, shape = inputs
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(shape.tolist())])


def _gather(inputs: list[Tensor], options: Mapping[str, Any]) -> Tensor:
    x, index = inputs
    axis = options.get("axis", 0)
    return x.index_select(axis, index.reshape(-1).long()).reshape(x.shape[:axis] + index.shape + x.shape[axis + 1 :])


def _reduce_sum(inputs: list[Tensor], options: Mapping[str, Any]) -> Tensor:
    return inputs[0].sum(inputs[1].tolist(), keepdim=bool(options.get("keepdims", 1)))


SUMS = ("Conv", "Gemm", "MatMul", "ReduceSum")
OPERATORS: dict[str, Callable[[list[Tensor], Mapping[str, Any]], Tensor]] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "Cast": lambda inputs, options: inputs[0].to(CASTS[options["to"]]),
    "Clip": lambda inputs, _: inputs[0].clamp(inputs[1], inputs[2]),
    "Concat": lambda inputs, options: torch.cat(inputs, options["axis"]),
    "Conv": _conv,
    "Flatten": lambda inputs, _: inputs[0].flatten(1),
    "Gather": _gather,
    "Gemm": lambda inputs, _: inputs[0] @ inputs[1].T + inputs[2],
    "Identity": lambda inputs, _: inputs[0],
    "MatMul": lambda inputs, _: inputs[0] @ inputs[1],
    "MaxPool": _max_pool,
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Pad": _pad,
    "ReduceSum": _reduce_sum,
    "Reshape": _reshape,
    "Sigmoid": lambda inputs, _: inputs[0].sigmoid(),
    "Slice": _slice,
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Transpose": lambda inputs, options: inputs[0].permute(options["perm"]),
}


def tensor(value: np.ndarray) -> Tensor:
    """Copy an array into a tensor."""
    return torch.from_numpy(np.array(value))
