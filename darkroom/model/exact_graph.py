"""Build an exact graph: its nodes, the range and unit of each value, and the values on calibration pictures.

Every node runs on the pictures as it is added, so that ranges come from the exact values themselves, the same on every
processor. onnxruntime would fold an Add into the convolution before it; the Clip after each sum prevents that.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from darkroom.model import exact
from darkroom.model.exact import NotExact
from darkroom.model.exact_torch import attributes, execute, tensor
from darkroom.model.onnx_export import OPSET

IR_VERSION = 8
MEASURED = 4  # pictures that the mean square is taken of; ranges are taken of all
TRACED = 2  # images in the batch that the float graph is exported with
MARGIN, LAST_MARGIN = 1.25, 4.0  # how much wider than on the calibration pictures a range is, and the features'
BITS = 10  # of an activation that no weights read, which would choose the number
MAP_BITS, FEATURE_BITS = 14, 18
AVERAGES = ("GlobalAveragePool", "ReduceMean")
# Operators that may compute constants: one IEEE operation a number, or none. numpy's sums and powers differ.
FIXED = ("Abs", "Add", "Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "Div", "Expand", "Flatten", "Floor",
         "Gather", "Identity", "Max", "Min", "Mul", "Neg", "Reshape", "Slice", "Split", "Sqrt", "Squeeze", "Sub",
         "Tile", "Transpose", "Unsqueeze", "Where")  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A tensor of the new graph: always within [low, high], in multiples of `unit` where it has one.

    `raw`: straight from a sum, so that a Clip must come next. `scale` and `shift` (C,): the normalisation of pixels,
    which is folded into the first convolution.
    """

    name: str
    low: float
    high: float
    unit: float | None = None
    raw: bool = False
    scale: np.ndarray | None = None
    shift: np.ndarray | None = None


@dataclass(frozen=True)
class Pixels:
    """Pixels before the first convolution: channel c is scale[c] * pixel[source[c]] + shift[c]."""

    source: np.ndarray
    scale: np.ndarray
    shift: np.ndarray


class Constants(dict[str, np.ndarray]):
    """The tensors of the float graph that do not depend on the pictures, by name."""

    def __missing__(self, name: str) -> np.ndarray:
        raise NotExact("a weight of it depends on the pictures")


class ExactGraph:
    """The exact form of the float graph `model`, as far as it is written; calibrated on uint8 pictures (n, S, S, 3)."""

    def __init__(self, model: onnx.ModelProto, pictures: np.ndarray) -> None:
        self.source = model.graph
        self.constants = Constants((value.name, numpy_helper.to_array(value)) for value in model.graph.initializer)
        ones, nothing = np.ones(3), np.zeros(3)
        self.values: dict[str, Value | Pixels] = {
            "images": Pixels(np.arange(3), ones, nothing)
        }  # by the name in the float graph
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.made_by = {name: node for node in model.graph.node for name in node.output}
        self.last = {name: number for number, node in enumerate(model.graph.node) for name in node.input}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, np.ndarray] = {}
        self.arrays = {"images": tensor(pictures)}  # each new tensor's value on the calibration pictures
        self.sums: list[dict[str, Any]] = []
        self.unit = self.largest = 0.0  # of the features
        self.features = np.empty((0, 0), np.float32)  # of the pictures

    def fixed(self, node: onnx.NodeProto) -> np.ndarray:
        """Return the output of a node whose inputs are constants, such as shapes. Raises NotExact."""
        if node.op_type == "Shape":
            known = self.constants.get(node.input[0])
            return np.array(self.arrays[self.settled(node.input[0]).name].shape if known is None else known.shape)
        inputs = {name: self.constants[name] for name in node.input if name}
        given = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
                 for name, value in inputs.items()]  # fmt: skip
        graph = helper.make_graph([node], "fixed", given, [onnx.ValueInfoProto(name=name) for name in node.output])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        outputs: Any = ReferenceEvaluator(model).run(None, inputs)
        made = np.asarray(outputs[0])
        if made.dtype.kind == "f" and node.op_type not in FIXED:
            raise NotExact(f"its weights are computed by {node.op_type}, which differs between processors")
        return made

    def forget(self, number: int) -> None:
        """Free the calibration values that no later node reads."""
        outputs = {output.name for output in self.source.output}
        kept = {value.name for name, value in self.values.items()
                if isinstance(value, Value) and (self.last.get(name, -1) > number or name in outputs)}  # fmt: skip
        for name in [name for name in self.arrays if name not in kept and name != "images" and "/" in name]:
            if name not in self.initializers:
                del self.arrays[name]

    # --- writing

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Return the name of an initializer that holds `value`. Raises NotExact where float32 does not."""
        with np.errstate(over="ignore"):
            array = np.asarray(value, dtype)
        if not np.isfinite(array).all():
            raise NotExact("its values leave the range of float32")
        name = f"values {len(self.initializers)}" if array.ndim else f"{array.dtype} {array}"
        if name not in self.initializers:
            self.initializers[name] = array
            self.arrays[name] = tensor(array)
        return name

    def emit(self, operator: str, *inputs: str, **options: Any) -> str:
        """Add a node, run it on the calibration values, and return the name of its output."""
        name = f"{operator}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **options))
        self.arrays[name] = execute(operator, [self.arrays[each] for each in inputs], options, torch.float32)
        return name

    def clip(self, value: Value, low: float, high: float) -> Value:
        """Clip `value` to [low, high], or a little more: to multiples of its unit."""
        if value.unit:
            low, high = _down(low, value.unit), -_down(-high, value.unit)
        name = self.emit("Clip", value.name, self.constant(low), self.constant(high))
        return Value(name, low, high, value.unit)

    def rounded(self, value: Value, unit: float) -> Value:
        """Round `value` to multiples of `unit`, halves to even, by adding and subtracting 1.5 * 2^23 units."""
        if max(-value.low, value.high) >= 2.0**22 * unit:
            raise NotExact(f"a range of {value.high:g} has too many multiples of {unit:g}")
        shift = self.constant(1.5 * 2.0**23 * unit)
        name = self.emit("Sub", self.emit("Add", value.name, shift), shift)
        return Value(name, _down(value.low, unit), -_down(-value.high, unit), unit)

    # --- reading

    def seen(self, value: Value) -> np.ndarray:
        """Return the values of `value` on the calibration pictures."""
        return self.arrays[value.name].numpy()

    def settled(self, name: str) -> Value:
        """Return the value of the float graph's tensor `name`, clipped where it comes straight from a sum."""
        value = self.value(name)
        if value.raw:
            value = self.clip(value, *exact.bounds(self.seen(value), MARGIN))
            self.values[name] = value
        return value

    def value(self, name: str) -> Value:
        """Return the value of `name`; write the offset of pixels where it is still missing."""
        value = self.values.get(name)
        if value is None:
            raise NotExact("a constant stands where pictures should")
        return self.pixels(name, value) if isinstance(value, Pixels) else value

    def on_grid(self, name: str, most: float = math.inf) -> Value:
        """Return the value of `name` in the range of the pictures, on a unit that suits its readers.

        `most`: the largest magnitude allowed, in units.
        """
        value = self.settled(name)
        if value.scale is not None:
            return value
        size = exact.ceil_power(max(-value.low, value.high))
        if value.unit is not None and size / value.unit <= min(2.0 ** (exact.FINEST - 2), most):
            return value
        low, high = exact.bounds(self.seen(value), MARGIN)
        if value.low < 1.1 * low or value.high > 1.1 * high:
            value = self.clip(value, max(low, value.low), min(high, value.high) or 1.0)
        if value.low == value.high == 0:
            value = replace(value, high=2.0**-10)
        unit = self._unit(name, value)
        while max(-value.low, value.high) / unit > most:
            unit *= 2
        value = self.rounded(value, unit)
        self.values[name] = value
        return value

    def _unit(self, name: str, value: Value) -> float:
        read: list[tuple[np.ndarray, int]] = []
        for node in self.consumers.get(name, []):
            if node.op_type in ("Conv", "Gemm") and node.input[0] == name:
                weights = self.convolution(node)[0] if node.op_type == "Conv" else self.dense(node)[0]
                read.append((weights, int(np.prod(weights.shape[1:]))))
        if not read:
            averaged = any(node.op_type in AVERAGES for node in self.consumers.get(name, []))
            bits = MAP_BITS if averaged else BITS
            return float(exact.ceil_power(max(-value.low, value.high))) / 2.0**bits
        squares = exact.mean_square(self.seen(value)[:MEASURED], value.low, value.high)
        return exact.choose_unit(squares, value.low, value.high, read)

    def pixels(self, name: str, pixels: Pixels) -> Value:
        """Write whole pixels less a whole offset, near the pixel that normalisation maps to zero."""
        if not np.array_equal(pixels.source, np.arange(3)):
            raise NotExact("its channels are reordered")
        offset = np.rint(-pixels.shift / pixels.scale)
        whole = self.emit("Cast", self.emit("Transpose", "images", perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
        made = self.emit("Sub", whole, self.constant(offset.reshape(1, 3, 1, 1)))
        low, high = min(0.0, -offset.max()), max(0.0, 255 - offset.min())
        value = Value(made, low, high, 1.0, False, pixels.scale, pixels.shift + pixels.scale * offset)
        self.values[name] = value
        return value

    # --- sums

    def sum(self, operator: str, value: Value, weights: np.ndarray, bias: np.ndarray, **options: Any) -> Value:
        """Write a Conv or Gemm of `value` with weights (O, I, …) and bias (O,), in float64, rounded to exact ones."""
        if value.scale is not None and value.shift is not None:
            per_channel = (1, -1) + (1,) * (weights.ndim - 2)
            if options.get("group", 1) != 1:
                raise NotExact("its first convolution is grouped")
            shifted = np.rint(weights * value.shift.reshape(per_channel) * 2.0**40).reshape(len(weights), -1).sum(1)
            bias = bias + shifted * 2.0**-40  # whole numbers: the same sum in any order
            weights = weights * value.scale.reshape(per_channel)
        assert value.unit is not None
        made = exact.on_grids(weights, bias, value.low, value.high, value.unit)
        name = self.emit(operator, value.name, self.constant(made.weights), self.constant(made.bias), **options)
        self.sums.append({"unit": value.unit, "low": value.low, "high": value.high})
        return Value(name, -math.inf, math.inf, raw=True)

    def dense(self, node: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights (O, I) and bias (O,) of a Gemm in float64. Raises NotExact."""
        options = attributes(node)
        if options.get("alpha", 1.0) != 1 or options.get("beta", 1.0) != 1 or options.get("transA", 0):
            raise NotExact("a Gemm is scaled")
        weights = self.constants[node.input[1]].astype(np.float64)
        weights = weights if options.get("transB", 0) else weights.T
        return weights, self.bias(node, len(weights))

    def convolution(self, node: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights and bias of a Conv in float64, with the BatchNorm folded in that is its only reader."""
        weights = self.constants[node.input[1]].astype(np.float64)
        if weights.ndim != 4:
            raise NotExact("a convolution is not over rows and columns")
        bias = self.bias(node, len(weights))
        norm = self.folded(node)
        if norm is None:
            return weights, bias
        scale, shift = self.batch_norm(norm)
        return weights * scale[:, None, None, None], bias * scale + shift

    def folded(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """Return the BatchNorm that is folded into a Conv, or None."""
        readers = self.consumers.get(node.output[0], [])
        alone = len(readers) == 1 and readers[0].op_type == "BatchNormalization"
        return readers[0] if alone and node.op_type == "Conv" else None

    def batch_norm(self, node: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray]:
        """Return the factor and the summand (C,) of each channel, float64."""
        gamma, beta, mean, variance = (self.constants[name].astype(np.float64) for name in node.input[1:])
        with np.errstate(invalid="ignore", divide="ignore"):  # what is not finite is reported with the weights
            scale = gamma / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
        return scale, beta - mean * scale

    def bias(self, node: onnx.NodeProto, outputs: int) -> np.ndarray:
        """Return the bias (O,) of a Conv or Gemm in float64; zeros without one."""
        named = len(node.input) > 2 and node.input[2]
        return self.constants[node.input[2]].astype(np.float64) if named else np.zeros(outputs)

    # --- the end

    def finish(self) -> onnx.ModelProto:
        """Round the features, name the outputs, and give the whole graph as a checked model."""
        outputs = [output.name for output in self.source.output]
        finals = {"features": self._features(outputs[0])}
        if "maps" in outputs:
            finals["maps"] = self.on_grid("maps")
        described = []
        for name, value in finals.items():
            self.nodes.append(helper.make_node("Identity", [value.name], [name]))
            shape = ["n", *self.arrays[value.name].shape[1:]]
            described.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", *self.arrays["images"].shape[1:]])
        initializers = [numpy_helper.from_array(array, name) for name, array in self.initializers.items()]
        graph = helper.make_graph(self.nodes, "body", [images], described, initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def _features(self, name: str) -> Value:
        value = self.value(name)
        low, high = exact.bounds(self.seen(value), LAST_MARGIN)
        value = self.clip(replace(value, unit=None), max(low, value.low), min(high, value.high) or 1.0)
        self.unit = float(exact.ceil_power(max(-value.low, value.high))) / 2.0**FEATURE_BITS
        value = self.rounded(value, self.unit)
        self.largest = max(-value.low, value.high)
        self.features = self.seen(value)
        return value


def _down(value: float, unit: float) -> float:
    return math.floor(value / unit) * unit
