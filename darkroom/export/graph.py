"""Join a body, the head, the temperature and the softmax into one ONNX graph, without torch.

A body's graph maps `images` uint8 (n, S, S, 3) to `features` float32 (n, D) and, where the network has one, `maps`
float32 (n, C, h, w), its last feature map. The joined graph has the same input, and `probabilities` float32 (n, K) in
place of `features`. Its bytes depend on the body's file, the head's tensors and the temperature alone.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.model.novelty import SMALLEST, SQUARES, References, factor

PRODUCER = "darkroom"


def join(body: onnx.ModelProto, head: Mapping[str, np.ndarray], temperature: float) -> onnx.ModelProto:
    """Return the body followed by softmax(head(features) / temperature). Raises DarkroomError where they do not fit.

    The head computes in float64, as training and evaluation do: the same features give the same probabilities, to the
    last bit of float32, on every processor.

    `head` holds `0.weight` (D', D) and `0.bias` (D'), `1.weight` (D'', D') and so on, float32; a relu stands between
    two layers, as in darkroom/model/classifier.py.
    """
    model = onnx.ModelProto()
    model.CopyFrom(body)
    graph = model.graph
    outputs = {output.name: output for output in graph.output}
    if "features" not in outputs:
        raise DarkroomError(
            f"the body's graph has the outputs {', '.join(outputs)}; expected `features`; run `dvc repro -f embed`"
        )
    width = outputs["features"].type.tensor_type.shape.dim[1].dim_value
    if width and width != head["0.weight"].shape[1]:
        raise DarkroomError(
            f"the head reads {head['0.weight'].shape[1]} features, the body gives {width}; run `dvc repro -f embed`"
        )
    last = len(head) // 2 - 1
    current = _cast(graph, "features", TensorProto.DOUBLE)
    for layer in range(last + 1):
        current = _layer(graph, f"head.{layer}", current, head)
        if layer < last:
            graph.node.append(helper.make_node("Relu", [current], [f"{current}.relu"], name=f"head.{layer}.relu"))
            current = f"{current}.relu"
    _softmax(graph, current, temperature)
    classes = int(head[f"{last}.weight"].shape[0])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", classes])
    kept = [output for name, output in outputs.items() if name == "maps"]
    del graph.output[:]
    graph.output.extend([probabilities, *kept])
    return tidy(model)


def _layer(graph: onnx.GraphProto, name: str, values: str, head: Mapping[str, np.ndarray]) -> str:
    """Append a dense layer in float64; return the name of its output. The file keeps the tensors as float32."""
    factors = []
    for part in ("weight", "bias"):
        tensor = np.ascontiguousarray(head[f"{name.removeprefix('head.')}.{part}"], np.float32)
        graph.initializer.append(numpy_helper.from_array(tensor, f"{name}.{part}"))
        factors.append(_cast(graph, f"{name}.{part}", TensorProto.DOUBLE))
    graph.node.append(helper.make_node("Gemm", [values, *factors], [f"{name}.out"], name=name, transB=1))
    return f"{name}.out"


def _softmax(graph: onnx.GraphProto, logits: str, temperature: float) -> None:
    """Append `probabilities` of the float64 `logits`, rounded to float32 first, as classifier.logits does."""
    rounded = _cast(graph, _cast(graph, logits, TensorProto.FLOAT), TensorProto.DOUBLE)
    graph.initializer.append(numpy_helper.from_array(np.array(temperature, np.float64), "temperature"))
    graph.node.extend([
        helper.make_node("Div", [rounded, "temperature"], ["calibrated"], name="temperature"),
        helper.make_node("Softmax", ["calibrated"], ["softmax"], name="softmax", axis=1),
        helper.make_node("Cast", ["softmax"], ["probabilities"], name="probabilities", to=TensorProto.FLOAT),
    ])  # fmt: skip


def _cast(graph: onnx.GraphProto, name: str, dtype: int) -> str:
    """Append a conversion of the tensor `name` to `dtype`; return the name of its output."""
    made = f"{name}.{TensorProto.DataType.Name(dtype).lower()}"
    graph.node.append(helper.make_node("Cast", [name], [made], name=f"{made}.cast", to=dtype))
    return made


def after_body(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the part of a joined graph that follows the body.

    It maps `features` float32 (n, D) to `probabilities` (n, K), and to `similarity` (n,) where the graph has it.
    """
    made_by = {output: node for node in model.graph.node for output in node.output}
    outputs = [output for output in model.graph.output if output.name != "maps"]
    wanted, needed = [output.name for output in outputs], set[str]()
    while wanted:
        name = wanted.pop()
        if name != "features" and name in made_by and name not in needed:
            needed.add(name)
            wanted += made_by[name].input
    taken = [node for node in model.graph.node if needed.intersection(node.output)]
    values = [tensor for tensor in model.graph.initializer if any(tensor.name in node.input for node in taken)]
    width = next(tensor.dims[1] for tensor in values if tensor.name == "head.0.weight")
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", width])
    graph = helper.make_graph(taken, "head", [features], outputs, values)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove paths, stack traces and versions from `model` (in place), and check it."""
    model.producer_name, model.producer_version = PRODUCER, ""
    model.doc_string = model.graph.doc_string = ""
    del model.metadata_props[:]
    for entry in [*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        entry.doc_string = ""
        del entry.metadata_props[:]
    onnx.checker.check_model(model)
    return model


def read(path: Path) -> onnx.ModelProto:
    """Return the graph in a file, whole: external data is rejected. Raises DarkroomError."""
    try:
        return parse(path.read_bytes(), path.as_posix())
    except FileNotFoundError as error:
        raise DarkroomError(f"{path} does not exist; run `dvc repro`") from error


def parse(data: bytes, name: str) -> onnx.ModelProto:
    """Return the graph in the bytes of a file called `name`. Raises DarkroomError."""
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf's DecodeError has no stable public name
        raise DarkroomError(f"{name} is not an ONNX file: {error}; run `dvc repro -f embed`") from error
    outside = [tensor.name for tensor in model.graph.initializer if tensor.external_data]
    if outside:
        raise DarkroomError(f"{name} keeps the weights {outside[0]}, … in another file; expected one file")
    return model


def describe(model: onnx.ModelProto, facts: Mapping[str, Any]) -> onnx.ModelProto:
    """Put `facts` into the metadata of `model` (in place), each as JSON."""
    for name in sorted(facts):
        entry = model.metadata_props.add()
        entry.key, entry.value = name, json.dumps(facts[name], sort_keys=True, ensure_ascii=False)
    return model


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write the graph as one file, atomically: equal graphs give equal bytes."""
    files.write_bytes(path, model.SerializeToString(deterministic=True))


OUTPUT = "similarity"
PREFIX = "similarity."  # of the nodes' names, which stay in float32 in an 8-bit model


def add_similarity(model: onnx.ModelProto, known: References) -> onnx.ModelProto:
    """Add to `model` (in place), which has the tensor `features` (n, D), the output `similarity` float32 (n,).

    It is what darkroom.model.novelty.similarity computes, in the same steps.
    """
    graph = model.graph

    def constant(name: str, value: np.ndarray | np.generic) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), PREFIX + name))
        return PREFIX + name

    def node(operator: str, *inputs: str, made: int = 1, **options: Any) -> str:
        name = f"{PREFIX}{len(graph.node)}"
        outputs = [f"{name}.{number}" for number in range(made)]
        graph.node.append(helper.make_node(operator, list(inputs), outputs, name=name, **options))
        return outputs[0]

    axis = constant("axis", np.array([1], np.int64))
    # The sum of squares in float64 is exact for features on a grid, as in numpy.
    length = node("Sqrt", node("ReduceSumSquare", node("Cast", "features", to=TensorProto.DOUBLE), axis))
    length = node("Max", node("Cast", length, to=TensorProto.FLOAT), constant("smallest", np.float32(SMALLEST)))
    scale = node("Div", constant("length", np.float32(math.sqrt(SQUARES))), length)
    whole = node("Round", node("Mul", "features", scale))
    others = constant("references", np.ascontiguousarray(known.whole.T))
    products = node("MatMul", whole, node("Cast", others, to=TensorProto.FLOAT))
    count = constant("neighbours", np.array([known.neighbours], np.int64))
    nearest = node("ReduceSum", node("TopK", products, count, made=2), axis, keepdims=0)
    made = node("Mul", nearest, constant("factor", factor(known.neighbours)))
    graph.node.append(helper.make_node("Identity", [made], [OUTPUT], name=PREFIX + "out"))
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n"]))
    onnx.checker.check_model(model)
    return model
