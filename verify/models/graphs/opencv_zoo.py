"""YuNet and SFace from OpenCV's model zoo, as graphs that any ONNX runtime takes.

YuNet: Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", MIR 2023. SFace: Zhong, Deng,
Hu, Zhao, Li, Wen, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition",
IEEE TIP 2021. Both come as float or block-quantised int8 files of the same graph; either is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from verify.errors import ModelIntegrityError
from verify.models.graphs.blockquant import fold_dequantised
from verify.models.graphs.prelu import spread_prelu
from verify.models.graphs.reading import read_model

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

YUNET_OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32))


def yunet_to_onnx(weights: Path) -> dict[str, onnx.ModelProto]:
    """Free the batch, height and width of the published 640 x 640 graph.

    Returns:
        ``model.onnx``: `input` (B, 3, H, W) float32, BGR, 0..255, H and W multiples of 32, to
        ``cls_s`` and ``obj_s`` (B, N, 1), ``bbox_s`` (B, N, 4) and ``kps_s`` (B, N, 10) for the
        strides s of 8, 16 and 32, N = H W / s^2.
    """
    model = read_model(weights)
    fold_dequantised(model)
    graph = model.graph
    if tuple(output.name for output in graph.output) != YUNET_OUTPUTS:
        msg = f"{weights.name} is not YuNet: its outputs are {', '.join(o.name for o in graph.output)}"
        raise ModelIntegrityError(msg)
    # The heads end in Reshape to (1, -1, C); 0 instead of 1 keeps the batch of the input.
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for tensor in graph.initializer:
        if tensor.name in shapes:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = 0
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    _redeclare(graph.input, [("input", ["batch", 3, "height", "width"])])
    channels = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    _redeclare(
        graph.output,
        [
            (name, ["batch", f"cells_{name.split('_')[1]}", channels[name.split("_")[0]]])
            for name in YUNET_OUTPUTS
        ],
    )
    del graph.value_info[:]
    return {"model.onnx": model}


def sface_to_onnx(weights: Path) -> dict[str, onnx.ModelProto]:
    """Free the batch, rename the ends and put the L2 norm into the graph.

    Returns:
        ``model.onnx``: `input` (B, 3, 112, 112) float32, RGB, 0..255, to `embedding` (B, 128)
        float32 of unit L2 norm.
    """
    model = read_model(weights)
    fold_dequantised(model)
    graph = model.graph
    # The file lists its weights among the inputs, also those that quantisation has renamed.
    used = {name for node in graph.node for name in node.input}
    inputs = [v.name for v in graph.input if v.name in used - {tensor.name for tensor in graph.initializer}]
    if inputs != ["data"] or [output.name for output in graph.output] != ["fc1"]:
        msg = f"{weights.name} is not SFace: inputs {inputs}, outputs {[o.name for o in graph.output]}"
        raise ModelIntegrityError(msg)
    for node in graph.node:
        node.input[:] = ["input" if name == "data" else name for name in node.input]
    spread_prelu(model)
    append_unit_norm(graph, "fc1")
    _redeclare(graph.input, [("input", ["batch", 3, 112, 112])])
    _redeclare(graph.output, [("embedding", ["batch", 128])])
    del graph.value_info[:]
    return {"model.onnx": model}


def append_unit_norm(graph: onnx.GraphProto, source: str, *, target: str = "embedding") -> None:
    """Append ``target = source / max(|source|, 1e-12)`` over the rows of a (B, D) tensor.

    Needs operator set 18 or above (ReduceL2 takes its axes as an input).
    """
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([1], dtype=np.int64), f"{target}_axes"),
            numpy_helper.from_array(np.array(1e-12, dtype=np.float32), f"{target}_floor"),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("ReduceL2", [source, f"{target}_axes"], [f"{target}_norm"], keepdims=1),
            helper.make_node("Max", [f"{target}_norm", f"{target}_floor"], [f"{target}_safe_norm"]),
            helper.make_node("Div", [source, f"{target}_safe_norm"], [target]),
        ]
    )


def _redeclare(field: Any, tensors: list[tuple[str, list[Any]]]) -> None:
    del field[:]
    field.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in tensors)
