"""Encoders that look at a face and at its mirror image, and give the direction between the two embeddings.

Averaging over the mirror image is common at test time, after Parkhi, Vedaldi, Zisserman, "Deep Face
Recognition", BMVC 2015. It takes twice the time. It is part of the graph, so whatever runs the model
gets it, and templates with and without it never meet: their model_ids differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import helper, numpy_helper

from verify.models.graphs import dlib_resnet
from verify.models.graphs.opencv_zoo import sface_to_onnx

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

_X, _WIDTH = "input", 3  # the axis that is turned round
_BOTH, _HALVES = "input_both_ways", "embedding_both_ways"
_FLOOR = 1e-12


def sface(weights: Path) -> dict[str, onnx.ModelProto]:
    """SFace (see `verify.models.graphs.opencv_zoo.sface_to_onnx`) on a face and its mirror image."""
    return {"model.onnx": mirrored(sface_to_onnx(weights)["model.onnx"])}


def dlib(weights: Path) -> dict[str, onnx.ModelProto]:
    """Dlib's recogniser (see `verify.models.graphs.dlib_resnet`) on a face and its mirror image."""
    return {"model.onnx": mirrored(dlib_resnet.graph_of(weights))}


def mirrored(model: onnx.ModelProto) -> onnx.ModelProto:
    """Wrap an encoder: both views in one batch, their unit embeddings added and brought to unit length.

    Args:
        model: ``input`` (B, 3, H, W) to ``embedding`` (B, D) of unit L2 norm; operator set 13 or above. It
            is changed in place.

    Returns:
        The same model with the same ends.
    """
    graph = model.graph
    for node in graph.node:
        node.input[:] = [_BOTH if name == _X else name for name in node.input]
        node.output[:] = [_HALVES if name == "embedding" else name for name in node.output]
    dim = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    constants = {
        "mirror_start": np.array([-1]),
        "mirror_end": np.array([np.iinfo(np.int64).min]),
        "mirror_axis": np.array([_WIDTH]),
        "mirror_step": np.array([-1]),
        "halves_shape": np.array([2, -1, dim]),
        "halves_axis": np.array([0]),
        "length_axis": np.array([1]),
        "length_floor": np.array(_FLOOR, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    before = [
        helper.make_node("Slice", [_X, *list(constants)[:4]], ["mirror"]),
        helper.make_node("Concat", [_X, "mirror"], [_BOTH], axis=0),
    ]
    after = [
        helper.make_node("Reshape", [_HALVES, "halves_shape"], ["halves"]),
        helper.make_node("ReduceSum", ["halves", "halves_axis"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "sum"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "length_axis"], ["square"], keepdims=1),
        helper.make_node("Sqrt", ["square"], ["length"]),
        helper.make_node("Max", ["length", "length_floor"], ["safe_length"]),
        helper.make_node("Div", ["sum", "safe_length"], ["embedding"]),
    ]
    inner = list(graph.node)
    del graph.node[:], graph.value_info[:]
    graph.node.extend([*before, *inner, *after])
    return model
