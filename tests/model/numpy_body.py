"""An exact body's graph in plain numpy float32, written anew: no code is shared with what it is compared to."""

import itertools

import numpy as np
import onnx
from onnx import helper, numpy_helper


def run(model: onnx.ModelProto, images: np.ndarray) -> list[np.ndarray]:
    """Return the graph's outputs for images uint8 (n, S, S, 3)."""
    values = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer} | {"images": images}
    for node in model.graph.node:
        options = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        values[node.output[0]] = step(node.op_type, [values[name] for name in node.input], options)
    return [values[output.name] for output in model.graph.output]


def step(operator: str, inputs: list[np.ndarray], options: dict) -> np.ndarray:
    """One operator of ONNX."""
    x = inputs[0]
    match operator:
        case "Add":
            return x + inputs[1]
        case "Sub":
            return x - inputs[1]
        case "Mul":
            return x * inputs[1]
        case "Clip":
            return np.minimum(np.maximum(x, inputs[1]), inputs[2])
        case "Cast":
            return x.astype(helper.tensor_dtype_to_np_dtype(options["to"]))
        case "Concat":
            return np.concatenate(inputs, options["axis"])
        case "Conv":
            return convolution(x, inputs[1], inputs[2], options)
        case "Flatten":
            return x.reshape(len(x), -1)
        case "Gather":
            return np.take(x, inputs[1], axis=options.get("axis", 0))
        case "Gemm":
            return x @ inputs[1].T + inputs[2]
        case "Identity":
            return x
        case "MatMul":
            return x @ inputs[1]
        case "MaxPool":
            return max_pool(x, options)
        case "Pad":
            half = len(inputs[1]) // 2
            return np.pad(x, list(zip(inputs[1][:half], inputs[1][half:], strict=True)))
        case "ReduceSum":
            return x.sum(axis=tuple(inputs[1]), keepdims=bool(options.get("keepdims", 1)), dtype=np.float32)
        case "Reshape":
            return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(inputs[1])])
        case "Sigmoid":
            return (1 / (1 + np.exp(-np.maximum(x, -80)))).astype(np.float32)
        case "Slice":
            index = [slice(None)] * x.ndim
            for start, end, axis, stride in itertools.zip_longest(*inputs[1:], *[()] * (5 - len(inputs)), fillvalue=1):
                index[axis] = slice(start, end, stride)
            return x[tuple(index)]
        case "Transpose":
            return x.transpose(options["perm"])
    raise NotImplementedError(operator)


def convolution(x: np.ndarray, weights: np.ndarray, bias: np.ndarray, options: dict) -> np.ndarray:
    """(n, C, h, w) and (O, C / groups, kh, kw) -> (n, O, h', w'), the taps of the kernel added one after the other."""
    pads, strides, groups = options.get("pads", [0] * 4), options.get("strides", [1, 1]), options.get("group", 1)
    x = np.pad(x, [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])])
    high, wide = weights.shape[2:]
    apart = options.get("dilations", [1, 1])
    rows, columns = ((x.shape[2 + axis] - (weights.shape[2 + axis] - 1) * apart[axis] - 1) // strides[axis] + 1
                     for axis in range(2))  # fmt: skip
    out = np.zeros((len(x), groups, weights.shape[0] // groups, rows, columns), np.float32)
    grouped = weights.reshape(groups, -1, *weights.shape[1:])
    for down, across in itertools.product(range(high), range(wide)):
        seen = x[:, :, down * apart[0] :: strides[0], across * apart[1] :: strides[1]][:, :, :rows, :columns]
        seen = seen.reshape(len(x), groups, -1, rows * columns)
        out += (grouped[None, :, :, :, down, across] @ seen).reshape(out.shape)
    return out.reshape(len(x), -1, rows, columns) + bias[:, None, None]


def max_pool(x: np.ndarray, options: dict) -> np.ndarray:
    """Return the largest value in each window; ceil_mode as ONNX defines it."""
    kernel, strides, pads = options["kernel_shape"], options["strides"], options.get("pads", [0] * 4)
    up, apart = options.get("ceil_mode", 0), options.get("dilations", [1, 1])
    span = [(kernel[axis] - 1) * apart[axis] + 1 for axis in range(2)]
    sides = []
    for axis in range(2):
        room = x.shape[2 + axis] + pads[axis] + pads[axis + 2] - span[axis]
        count = (-(-room // strides[axis]) if up else room // strides[axis]) + 1
        if up and (count - 1) * strides[axis] >= x.shape[2 + axis] + pads[axis]:
            count -= 1  # a window has to begin inside
        sides.append(count)
    need = [max(0, (sides[a] - 1) * strides[a] + span[a] - x.shape[2 + a] - pads[a]) for a in range(2)]
    x = np.pad(x, [(0, 0), (0, 0), (pads[0], need[0]), (pads[1], need[1])], constant_values=-np.inf)
    windows = [
        x[:, :, down * apart[0] :: strides[0], across * apart[1] :: strides[1]][:, :, : sides[0], : sides[1]]
        for down, across in itertools.product(range(kernel[0]), range(kernel[1]))
    ]
    return np.max(windows, axis=0)
