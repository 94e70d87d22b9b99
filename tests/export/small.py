"""A small real network as ONNX, made with the onnx library: a convolution, a ReLU, a mean. Fixed weights by seed."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from darkroom.core import files
from darkroom.export.graph import add_similarity, join, write
from darkroom.metrics.abstention import Limits
from darkroom.model import tensors
from darkroom.model.novelty import references
from darkroom.model.session import open_session
from darkroom.serve.exported import FORMAT


def body(size: int = 16, channels: int = 8, seed: int = 0, maps: bool = True, pooled: bool = True) -> onnx.ModelProto:
    """`images` uint8 (n, size, size, 3) -> `features` (n, channels) and, if asked for, `maps`."""
    generator = np.random.default_rng(seed)
    weight = generator.normal(0, 0.3, (channels, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weight"], ["conv"], name="conv", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["maps"], name="relu"),
        helper.make_node("GlobalAveragePool" if pooled else "GlobalMaxPool", ["maps"], ["pool"], name="pool"),
        helper.make_node("Flatten", ["pool"], ["features"]),
    ]
    outputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", channels])]
    if maps:
        outputs.append(helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", channels, size // 2, size // 2]))
    graph = helper.make_graph(
        nodes,
        "body",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", size, size, 3])],
        outputs,
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.array(255, np.float32), "scale")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def head(classes: int, features: int = 8, seed: int = 1, hidden: int = 0) -> dict[str, np.ndarray]:
    """Return the tensors of a linear head, or of an mlp with `hidden` units."""
    generator = np.random.default_rng(seed)
    widths = [features, *([hidden] if hidden else []), classes]
    made = {}
    for layer, (before, after) in enumerate(pairwise(widths)):
        made[f"{layer}.weight"] = generator.normal(0, 2, (after, before)).astype(np.float32)
        made[f"{layer}.bias"] = generator.normal(0, 0.1, after).astype(np.float32)
    return made


def export(
    folder: Path,
    classes: list[str],
    size: int = 16,
    resize: str = "crop",
    explain: str = "cam",
    maps: bool = True,
    limits: Limits | None = None,
    seen: np.ndarray | None = None,
) -> Path:
    """Return a folder as the export stage writes it, around the small network; without its README.md.

    With `limits` it knows doubts, and has seen the pictures `seen` uint8 (m, size, size, 3). Without, its config.json
    is of format 1, as it was before there were any.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = head(len(classes))
    model = join(body(size, maps=maps), values, 1.5)
    if seen is not None:
        features = open_session(body(size).SerializeToString(), 1).run(["features"], {"images": seen})[0]
        known = references(features, 1)
        assert known is not None
        add_similarity(model, known)
    write(model, folder / "model.onnx")
    tensors.save(folder / "model.safetensors", {f"head.{name}": value for name, value in values.items()})
    files.write_text(folder / "labels.txt", "".join(f"{name}\n" for name in classes))
    config = {
        "backbone": "small",
        "classes": classes,
        "digests": {name: files.sha256(folder / name) for name in ("model.onnx", "model.safetensors", "labels.txt")},
        "explain": "cam" if maps else "occlusion",
        "framing": {"size": size, "resize": resize, "short_side": size},
        "image_size": size,
        "version": files.sha256(folder / "model.onnx")[:12],
    }
    if limits is not None:
        config |= {"format": FORMAT, "limits": limits.facts()}
    files.write_json(folder / "config.json", config)
    return folder
