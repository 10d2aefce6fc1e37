"""ArcFace-style recognisers that are published as ONNX (AuraFace, insightface's packs).

They take one aligned face as ``(x - 127.5) / 127.5``, RGB, and give a raw embedding. Here the
scaling of the pixels and the L2 norm go into the graph, and the batch becomes free.
Deng, Guo, Xue, Zafeiriou, "ArcFace: Additive Angular Margin Loss", CVPR 2019.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from verify.errors import ModelIntegrityError
from verify.models.graphs.prelu import spread_prelu
from verify.models.graphs.reading import read_model

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

SIDE_PX = 112
_FIRST_REDUCE_L2_WITH_AXES_INPUT = 18


def to_onnx(weights: Path) -> dict[str, onnx.ModelProto]:
    """Bring a published ArcFace graph to verify's contract.

    Returns:
        ``model.onnx``: `input` (B, 3, 112, 112) float32, RGB, 0..255, to `embedding` (B, D) float32
        of unit L2 norm.

    Raises:
        ModelIntegrityError: not ONNX, or not one image in and one vector out.
    """
    model = read_model(weights)
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1 or _dims(inputs[0])[1:] != [3, SIDE_PX, SIDE_PX]:
        msg = f"{weights.name} is no face recogniser that takes (B, 3, {SIDE_PX}, {SIDE_PX}) and gives one vector"
        raise ModelIntegrityError(msg)
    source, raw, dim = inputs[0].name, graph.output[0].name, _dims(graph.output[0])[-1]
    opset = next((item.version for item in model.opset_import if item.domain in {"", "ai.onnx"}), 1)
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(127.5, dtype=np.float32), "pixel_scale"),
            numpy_helper.from_array(np.array(1e-12, dtype=np.float32), "embedding_floor"),
        ]
    )
    before = [
        helper.make_node("Sub", ["input", "pixel_scale"], ["centred"]),
        helper.make_node("Div", ["centred", "pixel_scale"], [source]),
    ]
    if opset >= _FIRST_REDUCE_L2_WITH_AXES_INPUT:
        graph.initializer.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "embedding_axes"))
        norm = helper.make_node("ReduceL2", [raw, "embedding_axes"], ["embedding_norm"], keepdims=1)
    else:
        norm = helper.make_node("ReduceL2", [raw], ["embedding_norm"], axes=[1], keepdims=1)
    after = [
        norm,
        helper.make_node("Max", ["embedding_norm", "embedding_floor"], ["embedding_safe_norm"]),
        helper.make_node("Div", [raw, "embedding_safe_norm"], ["embedding"]),
    ]
    nodes = [*before, *(_copied(node) for node in graph.node), *after]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    shape = ["batch", 3, SIDE_PX, SIDE_PX]
    graph.input.append(helper.make_tensor_value_info("input", TensorProto.FLOAT, shape))
    graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dim]))
    spread_prelu(model)
    return {"model.onnx": model}


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node that does not live in its graph any more when that is emptied."""
    copy = type(node)()
    copy.CopyFrom(node)
    return copy


def _dims(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]
