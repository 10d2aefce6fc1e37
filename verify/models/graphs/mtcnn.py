"""MTCNN's three networks as ONNX graphs, straight from the published state dicts.

Networks: Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment using Multi-task Cascaded
Convolutional Networks", IEEE Signal Processing Letters 2016, in the form that facenet-pytorch
publishes. `verify.nets.mtcnn` is the same networks in torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.errors import DataError
from verify.models.graphs.builder import GraphBuilder, fitting
from verify.models.graphs.prelu import spread_prelu
from verify.models.weights import Weights, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx

STAGES = ("pnet", "rnet", "onet")


def to_onnx(weights_path: Path) -> dict[str, onnx.ModelProto]:
    """Build the graphs of the published MTCNN weights.

    All take ``input``, RGB photos as ``(x - 127.5) / 128``, float32, any batch size. The class
    axis of ``scores`` is (no face, face) and sums to 1; ``boxes`` are shifts of left, top, right
    and bottom in widths and heights of the window.

    - ``pnet.onnx``: (B, 3, H, W), H and W free and at least 12 -> boxes (B, 4, h, w), scores
      (B, 2, h, w), one window of 12 px every 2 px.
    - ``rnet.onnx``: (B, 3, 24, 24) -> boxes (B, 4), scores (B, 2).
    - ``onet.onnx``: (B, 3, 48, 48) -> boxes (B, 4), landmarks (B, 10: five x, then five y, in
      widths and heights of the window), scores (B, 2).

    Args:
        weights_path: a folder with pnet.pt, rnet.pt and onet.pt, or one of these files.

    Raises:
        DataError: a file is missing, no torch checkpoint, or not one of its network.
    """
    paths = [weights_path / f"{stage}.pt" for stage in STAGES] if weights_path.is_dir() else [weights_path]
    graphs = {}
    for path in paths:
        if path.stem not in STAGES:
            msg = f"{path}: MTCNN's weights are called pnet.pt, rnet.pt and onet.pt"
            raise DataError(msg)
        graphs[f"{path.stem}.onnx"] = model = GRAPHS[path.stem](read_weights(path))
        spread_prelu(model)
    return graphs


def pnet_graph(weights: Weights) -> onnx.ModelProto:
    """The proposal network of a state dict; see `to_onnx` for its inputs and outputs."""
    with fitting(weights, network="MTCNN's P-Net"):
        graph = GraphBuilder("pnet")
        x = _conv(graph, "input", weights, 1)
        x = _pool(graph, x, size=2)
        x = _conv(graph, x, weights, 2)
        x = _conv(graph, x, weights, 3)
        scores = graph.conv(x, weights["conv4_1.weight"], weights["conv4_1.bias"])
        graph.op("Softmax", scores, axis=1, output="scores")
        boxes = graph.conv(x, weights["conv4_2.weight"], weights["conv4_2.bias"])
        graph.op("Identity", boxes, output="boxes")
        return graph.build(
            inputs={"input": ["B", 3, "H", "W"]},
            outputs={"boxes": ["B", 4, "h", "w"], "scores": ["B", 2, "h", "w"]},
            smallest=12,
        )


def rnet_graph(weights: Weights) -> onnx.ModelProto:
    """The refinement network of a state dict; see `to_onnx` for its inputs and outputs."""
    with fitting(weights, network="MTCNN's R-Net"):
        graph = GraphBuilder("rnet")
        x = _pool(graph, _conv(graph, "input", weights, 1), size=3)
        x = _pool(graph, _conv(graph, x, weights, 2), size=3)
        x = _conv(graph, x, weights, 3)
        x = _dense_prelu(graph, x, weights, 4)
        _heads(graph, x, weights, {"scores": "dense5_1", "boxes": "dense5_2"})
        return graph.build(
            inputs={"input": ["B", 3, 24, 24]}, outputs={"boxes": ["B", 4], "scores": ["B", 2]}
        )


def onet_graph(weights: Weights) -> onnx.ModelProto:
    """The output network of a state dict; see `to_onnx` for its inputs and outputs."""
    with fitting(weights, network="MTCNN's O-Net"):
        graph = GraphBuilder("onet")
        x = _pool(graph, _conv(graph, "input", weights, 1), size=3)
        x = _pool(graph, _conv(graph, x, weights, 2), size=3)
        x = _pool(graph, _conv(graph, x, weights, 3), size=2)
        x = _conv(graph, x, weights, 4)
        x = _dense_prelu(graph, x, weights, 5)
        _heads(graph, x, weights, {"scores": "dense6_1", "boxes": "dense6_2", "landmarks": "dense6_3"})
        return graph.build(
            inputs={"input": ["B", 3, 48, 48]},
            outputs={"boxes": ["B", 4], "landmarks": ["B", 10], "scores": ["B", 2]},
        )


GRAPHS: dict[str, Callable[[Weights], onnx.ModelProto]] = {
    "pnet": pnet_graph,
    "rnet": rnet_graph,
    "onet": onet_graph,
}


def _conv(graph: GraphBuilder, x: str, weights: Weights, number: int) -> str:
    """Convolution without padding and PReLU with a slope for each channel."""
    x = graph.conv(x, weights[f"conv{number}.weight"], weights[f"conv{number}.bias"])
    return graph.op("PRelu", x, graph.constant(weights[f"prelu{number}.weight"][:, None, None]))


def _pool(graph: GraphBuilder, x: str, *, size: int) -> str:
    return graph.op("MaxPool", x, kernel_shape=[size, size], strides=[2, 2], ceil_mode=1)


def _dense_prelu(graph: GraphBuilder, x: str, weights: Weights, number: int) -> str:
    """Flatten (width before height, as the weights were trained), linear layer and PReLU."""
    x = graph.op("Flatten", graph.op("Transpose", x, perm=[0, 3, 2, 1]), axis=1)
    x = _linear(graph, x, weights, f"dense{number}")
    return graph.op("PRelu", x, graph.constant(weights[f"prelu{number}.weight"]))


def _heads(graph: GraphBuilder, x: str, weights: Weights, layers: dict[str, str]) -> None:
    for output, layer in layers.items():
        value = _linear(graph, x, weights, layer)
        graph.op("Softmax" if output == "scores" else "Identity", value, output=output)


def _linear(graph: GraphBuilder, x: str, weights: Weights, name: str) -> str:
    constants = (graph.constant(weights[f"{name}.weight"]), graph.constant(weights[f"{name}.bias"]))
    return graph.op("Gemm", x, *constants, transB=1)
