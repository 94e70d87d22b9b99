"""Write a convolutional body as an ONNX graph with exact sums: the same features on every processor.

The float graph is walked node by node, each rewritten by a rule of RULES, and the new graph runs on calibration
pictures as it grows. Before each sum its inputs are clipped to the range seen and rounded to a unit; weights and biases
are rounded so that no partial sum can round (darkroom.model.exact). Elementwise steps are single IEEE operations, which
are the same everywhere. Two habits of onnxruntime are kept off by the Clip that follows each convolution: it would fold
a later Add into the convolution's own sum.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from darkroom.model import exact
from darkroom.model.exact import NotExact
from darkroom.model.exact_torch import attributes, execute, plain_sums, tensor
from darkroom.model.network import Body
from darkroom.model.onnx_export import OPSET, export

MARGIN, LAST_MARGIN = 1.25, 4.0  # how much wider than on the calibration pictures a range is, and the features'
BITS = 10  # of an activation where no weights say how many are worth while
MAP_BITS, FEATURE_BITS, GATE_BITS, SILU_BITS = 14, 18, 12, (10, 9, 8)


@dataclass(frozen=True)
class Value:
    """A tensor of the new graph: always within [low, high], in multiples of `unit` where it has one.

    `raw`: straight from a sum, so that a Clip has to come next. `scale` and `shift` (C,): what turns pixels into what
    the float network was given, folded into the first convolution.
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


@dataclass(frozen=True)
class ExactBody:
    """The graph, the features' unit and largest magnitude, and for each sum its input's unit and range."""

    model: onnx.ModelProto
    unit: float
    largest: float
    sums: list[dict[str, Any]]
    pictures: int

    def facts(self) -> dict[str, Any]:
        """As JSON, for body.json and for the features' index.json."""
        return {"kind": "exact", "unit": self.unit, "largest": self.largest,
                "calibration_pictures": self.pictures, "sums": self.sums}  # fmt: skip


def exact_body(body: Body, pictures: np.ndarray) -> ExactBody:
    """The exact graph of `body`, calibrated on `pictures` uint8 (n, S, S, 3). Raises NotExact where there is none."""
    data = export(body, pictures.shape[1], batch=len(pictures))
    return rewrite(onnx.load_from_string(data), pictures)


def rewrite(model: onnx.ModelProto, pictures: np.ndarray) -> ExactBody:
    """The exact graph of the float graph `model`, calibrated on `pictures` uint8 (n, S, S, 3). Raises NotExact.

    `model` has the batch size of `pictures` written into its shapes; the new graph takes any.
    """
    with torch.inference_mode(), plain_sums():
        return _Rewriter(model, pictures).body()


class _Rewriter:
    def __init__(self, model: onnx.ModelProto, pictures: np.ndarray) -> None:
        self.source = model.graph
        self.constants = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
        self.values: dict[str, Value | Pixels] = {}  # by the name in the float graph
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.made_by = {name: node for node in model.graph.node for name in node.output}
        self.last = {name: number for number, node in enumerate(model.graph.node) for name in node.input}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, np.ndarray] = {}
        self.arrays = {"images": tensor(pictures)}  # what each new tensor is on the calibration pictures
        self.sums: list[dict[str, Any]] = []
        self.batch = len(pictures)

    def body(self) -> ExactBody:
        ones, nothing = np.ones(3), np.zeros(3)
        self.values["images"] = Pixels(np.arange(3), ones, nothing)
        for number, node in enumerate(self.source.node):
            self._rewrite(node)
            self._forget(number)
        outputs = [output.name for output in self.source.output]
        features, unit = self._features(outputs[0])
        finals = {"features": features} | ({"maps": self.on_grid("maps").name} if "maps" in outputs else {})
        for name, made in finals.items():
            self.nodes.append(helper.make_node("Identity", [made], [name]))
        return ExactBody(self._model(finals), unit, self.largest, self.sums, self.batch)

    def _rewrite(self, node: onnx.NodeProto) -> None:
        if node.op_type == "Constant":
            self.constants[node.output[0]] = numpy_helper.to_array(helper.get_attribute_value(node.attribute[0]))
        elif node.op_type == "Identity" and node.input[0] in self.constants:
            self.constants[node.output[0]] = self.constants[node.input[0]]
        elif isinstance(self.values.get(node.input[0]), Pixels) and node.op_type in PIXEL_RULES:
            self.values[node.output[0]] = PIXEL_RULES[node.op_type](self, node)
        elif all(name in self.constants for name in node.input if name) or node.op_type == "Shape":
            self.constants[node.output[0]] = self._fixed(node)
        elif node.op_type in RULES:
            self.values[node.output[0]] = RULES[node.op_type](self, node)
        else:
            raise NotExact(f"{node.op_type} has no exact form")

    def _fixed(self, node: onnx.NodeProto) -> np.ndarray:
        """What a node gives whose inputs are all known: shapes, and what follows from them."""
        if node.op_type == "Shape":
            known = self.constants.get(node.input[0])
            return np.array(self.arrays[self.settled(node.input[0]).name].shape if known is None else known.shape)
        inputs = {name: self.constants[name] for name in node.input if name}
        given = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
                 for name, value in inputs.items()]  # fmt: skip
        made = [onnx.ValueInfoProto(name=name) for name in node.output]
        graph = helper.make_graph([node], "fixed", given, made)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        outputs: Any = ReferenceEvaluator(model).run(None, inputs)
        return np.asarray(outputs[0])

    def _forget(self, number: int) -> None:
        """Free the calibration values that no later node reads."""
        outputs = {output.name for output in self.source.output}
        kept = {value.name for name, value in self.values.items()
                if isinstance(value, Value) and (self.last.get(name, -1) > number or name in outputs)}  # fmt: skip
        for name in [name for name in self.arrays if name not in kept and name != "images" and "/" in name]:
            if name not in self.initializers:
                del self.arrays[name]

    # --- writing

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """The name of an initializer that holds `value`."""
        array = np.asarray(value, dtype)
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
        """`value` clipped to [low, high]."""
        name = self.emit("Clip", value.name, self.constant(low), self.constant(high))
        return Value(name, low, high, value.unit)

    def rounded(self, value: Value, unit: float) -> Value:
        """`value` rounded to multiples of `unit`, halves to even, by adding and subtracting 1.5 * 2^23 units."""
        if max(-value.low, value.high) >= 2.0**22 * unit:
            raise NotExact(f"a range of {value.high:g} has too many multiples of {unit:g}")
        shift = self.constant(1.5 * 2.0**23 * unit)
        name = self.emit("Sub", self.emit("Add", value.name, shift), shift)
        return Value(name, _down(value.low, unit), -_down(-value.high, unit), unit)

    # --- reading

    def seen(self, value: Value) -> np.ndarray:
        """What `value` is on the calibration pictures."""
        return self.arrays[value.name].numpy()

    def settled(self, name: str) -> Value:
        """The value of the float graph's tensor `name`, clipped where it comes straight from a sum."""
        value = self.value(name)
        if value.raw:
            value = self.clip(value, *exact.bounds(self.seen(value), MARGIN))
            self.values[name] = value
        return value

    def value(self, name: str) -> Value:
        """The value of `name`; pixels get their offset now."""
        value = self.values.get(name)
        if value is None:
            raise NotExact("a constant stands where pictures should")
        return self._pixels(name, value) if isinstance(value, Pixels) else value

    def on_grid(self, name: str, most: float = math.inf) -> Value:
        """The value of `name` in a range as narrow as the pictures' and on a unit that suits what reads it.

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
                weights = self.constants[node.input[1]]
                weights = weights if node.op_type == "Conv" else self._dense(node)[0]
                read.append((weights, int(np.prod(weights.shape[1:]))))
        if not read:
            averaged = any(node.op_type in AVERAGES for node in self.consumers.get(name, []))
            bits = MAP_BITS if averaged else BITS
            return float(exact.ceil_power(max(-value.low, value.high))) / 2.0**bits
        squares = exact.mean_square(self.seen(value), value.low, value.high)
        return exact.choose_unit(squares, value.low, value.high, read)

    def _pixels(self, name: str, pixels: Pixels) -> Value:
        """Whole pixels less a whole offset, near the value that the float network takes for zero."""
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
        """A Conv or Gemm of `value` with weights (O, I, …) and bias (O,), in float64, rounded to exact ones."""
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

    def _dense(self, node: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray]:
        options = attributes(node)
        if options.get("alpha", 1.0) != 1 or options.get("beta", 1.0) != 1 or options.get("transA", 0):
            raise NotExact("a Gemm is scaled")
        weights = self.constants[node.input[1]].astype(np.float64)
        weights = weights if options.get("transB", 0) else weights.T
        return weights, self._bias(node, len(weights))

    def _bias(self, node: onnx.NodeProto, outputs: int) -> np.ndarray:
        named = len(node.input) > 2 and node.input[2]
        return self.constants[node.input[2]].astype(np.float64) if named else np.zeros(outputs)

    # --- the end

    def _features(self, name: str) -> tuple[str, float]:
        value = self.value(name)
        low, high = exact.bounds(self.seen(value), LAST_MARGIN)
        value = self.clip(value, max(low, value.low), min(high, value.high) or 1.0)
        unit = float(exact.ceil_power(max(-value.low, value.high))) / 2.0**FEATURE_BITS
        value = self.rounded(value, unit)
        self.largest = max(-value.low, value.high)
        return value.name, unit

    def _model(self, finals: dict[str, str]) -> onnx.ModelProto:
        used = {name for node in self.nodes for name in node.input}
        initializers = [
            numpy_helper.from_array(array, name) for name, array in self.initializers.items() if name in used
        ]
        images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", *self.arrays["images"].shape[1:]])
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *self.arrays[made].shape[1:]])
            for name, made in finals.items()
        ]
        graph = helper.make_graph(self.nodes, "body", [images], outputs, initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        return model


Rule = Callable[[_Rewriter, onnx.NodeProto], Value]


def _conv(graph: _Rewriter, node: onnx.NodeProto) -> Value:
    weights = graph.constants[node.input[1]].astype(np.float64)
    value, options = graph.on_grid(node.input[0]), attributes(node)
    return graph.sum("Conv", value, weights, graph._bias(node, len(weights)), **options)


def _gemm(graph: _Rewriter, node: onnx.NodeProto) -> Value:
    weights, bias = graph._dense(node)
    return graph.sum("Gemm", graph.on_grid(node.input[0]), weights, bias, transB=1)


def _matmul(graph: _Rewriter, node: onnx.NodeProto) -> Value:
    """A product with a constant matrix on either side."""
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


def _batch_norm(graph: _Rewriter, node: onnx.NodeProto) -> Value:
    """A BatchNorm that no convolution could take in: a convolution of each channel by itself."""
    gamma, beta, mean, variance = (graph.constants[name].astype(np.float64) for name in node.input[1:])
    scale = gamma / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
    value = graph.on_grid(node.input[0])
    return graph.sum("Conv", value, scale[:, None, None, None], beta - mean * scale,
                     kernel_shape=[1, 1], group=len(scale))  # fmt: skip


def _average_pool(graph: _Rewriter, node: onnx.NodeProto) -> Value:
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


def _mean(graph: _Rewriter, node: onnx.NodeProto) -> Value:
    """The mean over a map: an exact sum and one product."""
    options = attributes(node)
    if node.op_type == "ReduceMean":
        axes = graph.constants[node.input[1]].tolist() if len(node.input) > 1 else options["axes"]
        if sorted(axis % 4 for axis in axes) != [2, 3]:
            raise NotExact("a mean is not over a map's places")
    settled = graph.settled(node.input[0])
    count = math.prod(graph.arrays[settled.name].shape[2:])
    value = graph.on_grid(node.input[0], most=(exact.LIMIT - 1) // count)
    kept = 1 if node.op_type == "GlobalAveragePool" else options.get("keepdims", 1)
    total = graph.emit("ReduceSum", value.name, graph.constant([2, 3], np.int64), keepdims=kept)
    return Value(graph.emit("Mul", total, graph.constant(1 / count)), value.low, value.high)


def _relu(graph: _Rewriter, node: onnx.NodeProto) -> Value:
    return _clipped(graph, node.input[0], 0.0, math.inf)


def _clip(graph: _Rewriter, node: onnx.NodeProto) -> Value:
    low, high = (float(graph.constants[name]) if name else None for name in [*node.input[1:], "", ""][:2])
    return _clipped(graph, node.input[0], -math.inf if low is None else low, math.inf if high is None else high)


def _clipped(graph: _Rewriter, name: str, low: float, high: float) -> Value:
    value = graph.value(name)
    seen = exact.bounds(graph.seen(value), MARGIN)
    low, high = max(low, value.low, seen[0]), min(high, value.high, seen[1])
    return graph.clip(value, low, high if high > low else low + 2.0**-10)


def _add(graph: _Rewriter, node: onnx.NodeProto) -> Value:
    if any(name in graph.constants for name in node.input):
        name, constant = sorted(node.input, key=lambda each: each in graph.constants)
        value, by = graph.settled(name), graph.constants[constant].astype(np.float32)
        low, high = value.low + float(by.min()), value.high + float(by.max())
        return Value(graph.emit("Add", value.name, graph.constant(by)), low, high)
    first, second = (graph.settled(name) for name in node.input)
    return Value(graph.emit("Add", first.name, second.name), first.low + second.low, first.high + second.high)


def _mul(graph: _Rewriter, node: onnx.NodeProto) -> Value:
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


def _silu(graph: _Rewriter, name: str) -> Value:
    """x sigmoid(x) on a grid, rounded to a unit at which every library's sigmoid gives the same."""
    value = graph.settled(name)
    size = float(exact.ceil_power(max(-value.low, value.high)))
    for bits in SILU_BITS:
        for out_bits in SILU_BITS:
            if exact.silu_is_safe(size / 2**bits, value.low, value.high, size / 2**out_bits):
                x = graph.rounded(value, size / 2**bits)
                product = graph.emit("Mul", x.name, graph.emit("Sigmoid", x.name))
                return graph.rounded(Value(product, min(0.0, max(x.low, -0.3)), x.high), size / 2**out_bits)
    raise NotExact("no unit keeps x sigmoid(x) clear of ties")


def _sigmoid(graph: _Rewriter, node: onnx.NodeProto) -> Value | None:
    """A gate: its values come from a table."""
    name = node.input[0]
    consumers = graph.consumers[node.output[0]]
    if all(each.op_type == "Mul" and name in each.input for each in consumers):
        return graph.settled(name)  # x sigmoid(x), which _mul writes
    value = graph.settled(name)
    value = graph.clip(value, max(value.low, -16.0), min(value.high, 16.0))
    unit = float(exact.ceil_power(max(-value.low, value.high))) / 2.0**BITS
    value = graph.rounded(value, unit)
    table = exact.sigmoid_table(unit, value.low, value.high, GATE_BITS)
    steps = graph.emit("Mul", graph.emit("Sub", value.name, graph.constant(value.low)), graph.constant(1 / unit))
    index = graph.emit("Cast", steps, to=TensorProto.INT32)
    made = graph.emit("Gather", graph.constant(table), index, axis=0)
    return Value(made, float(table[0]), float(table[-1]), 2.0**-GATE_BITS)


def _hard_sigmoid(graph: _Rewriter, node: onnx.NodeProto) -> Value:
    options = attributes(node)
    value = graph.settled(node.input[0])
    scaled = graph.emit("Mul", value.name, graph.constant(options.get("alpha", 0.2)))
    moved = graph.emit("Add", scaled, graph.constant(options.get("beta", 0.5)))
    return graph.clip(Value(moved, -math.inf, math.inf), 0.0, 1.0)


def _hard_swish(graph: _Rewriter, node: onnx.NodeProto) -> Value:
    value = graph.settled(node.input[0])
    gate = graph.clip(Value(graph.emit("Add", value.name, graph.constant(3.0)), -math.inf, math.inf), 0.0, 6.0)
    name = graph.emit("Mul", graph.emit("Mul", value.name, gate.name), graph.constant(1 / 6))
    return Value(name, max(-0.5, min(0.0, value.low)), max(0.0, value.high))


def _moved(graph: _Rewriter, node: onnx.NodeProto) -> Value:
    """A step that moves values without changing them."""
    value, options = graph.settled(node.input[0]), attributes(node)
    others = [graph.constants[name] for name in node.input[1:] if name]
    if node.op_type == "Reshape":  # the batch's size stands in the shape
        others = [np.array([0 if not axis and size == graph.batch else size for axis, size in enumerate(others[0])])]
    if node.op_type == "Pad" and len(others) > 1 and float(others[1]):
        raise NotExact("it pads with a number that is not 0")
    if node.op_type == "Pad":
        others = others[:1]
    made = graph.emit(node.op_type, value.name, *(graph.constant(each, np.int64) for each in others), **options)
    return replace(value, name=made)


def _concat(graph: _Rewriter, node: onnx.NodeProto) -> Value:
    parts = [graph.on_grid(name) for name in node.input]
    unit = min(part.unit or 0 for part in parts)
    name = graph.emit("Concat", *(part.name for part in parts), axis=attributes(node)["axis"])
    return Value(name, min(part.low for part in parts), max(part.high for part in parts), unit or None)


def _affine(graph: _Rewriter, node: onnx.NodeProto) -> Pixels:
    """Arithmetic of pixels and constants."""
    pixels = graph.values[node.input[0]]
    assert isinstance(pixels, Pixels)
    by = graph.constants[node.input[1]].astype(np.float64).reshape(-1)
    scale, shift = pixels.scale, pixels.shift
    if node.op_type in ("Mul", "Div"):
        factor = by if node.op_type == "Mul" else 1 / by
        return replace(pixels, scale=scale * factor, shift=shift * factor)
    return replace(pixels, shift=shift + by if node.op_type == "Add" else shift - by)


def _channel(graph: _Rewriter, node: onnx.NodeProto) -> Pixels:
    pixels = graph.values[node.input[0]]
    assert isinstance(pixels, Pixels)
    index = graph.constants[node.input[1]].reshape(-1) if node.op_type == "Gather" else slice(None)
    return Pixels(pixels.source[index], pixels.scale[index], pixels.shift[index])


def _joined(graph: _Rewriter, node: onnx.NodeProto) -> Pixels:
    parts = [graph.values[name] for name in node.input]
    arrays = [(part.source, part.scale, part.shift) for part in parts if isinstance(part, Pixels)]
    return Pixels(*(np.concatenate(each) for each in zip(*arrays, strict=True)))


AVERAGES = ("GlobalAveragePool", "ReduceMean")
PIXEL_RULES: dict[str, Callable[[_Rewriter, onnx.NodeProto], Pixels]] = {
    **dict.fromkeys(("Transpose", "Cast", "Unsqueeze", "Gather"), _channel),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _affine),
    "Concat": _joined,
}
RULES: dict[str, Rule] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
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


def _down(value: float, unit: float) -> float:
    return math.floor(value / unit) * unit
