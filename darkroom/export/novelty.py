"""The part of the exported graph that tells how similar a picture is to the training images."""

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from darkroom.model.novelty import SMALLEST, SQUARES, References, factor

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
