"""CAM++ as an ONNX graph, straight from the published state dict.

Network: Wang, Zheng, Chen, Cheng, Chen, "CAM++: A Fast and Efficient Network for Speaker
Verification Using Context-Aware Masking", Interspeech 2023. `verify.nets.campplus` is the same
network in torch, to read and to train. What is done differently here computes the same numbers:

- Normalisation behind a convolution is folded into it.
- Normalisation and ReLU in front of one, ``W relu(a x + b)``, become ``W' max(x, -b/a) + bias``
  wherever every ``a`` is positive: one pass over the growing dense tensor in place of three.
- The context of the masks is constant over each segment of `SEGMENT` frames, so the two layers
  that turn it into masks run once a segment, not once a frame.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.models.graphs.builder import (
    GraphBuilder,
    batchnorm_affine,
    fitting,
    fixed_order_product,
    fold_after,
)
from verify.models.weights import Weights, read_weights

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

BANDS_TO_ONE = 8  # the head's strides leave one band of eight
SEGMENT = 100  # frames behind the first, strided layer: two seconds of speech
DILATIONS = (1, 2, 2)  # of the three dense blocks; their layers are counted in the state dict
FLOAT = 1  # TensorProto.FLOAT
SMALLEST_SCALE = 1e-3  # below, -b/a loses digits and the plain form is taken


def to_onnx(weights_path: Path) -> dict[str, onnx.ModelProto]:
    """Build the graph of a published CAM++ checkpoint.

    The model takes ``features`` (B, T, 80) float32, log-mel with the mean over time already
    subtracted, B and T free, and gives ``embedding`` (B, 192) float32 of unit L2 norm.

    Raises:
        DataError: the file is no torch checkpoint, or not one of this network.
    """
    return {"model.onnx": campplus_graph(read_weights(weights_path))}


def campplus_graph(weights: Weights) -> onnx.ModelProto:
    """The graph of a CAM++ state dict; see `to_onnx` for its inputs and outputs."""
    with fitting(weights, network="CAM++"):
        graph = GraphBuilder("campplus")
        mels = (
            BANDS_TO_ONE
            * weights["xvector.tdnn.linear.weight"].shape[1]
            // weights["head.conv2.weight"].shape[0]
        )
        x = _front_end(graph, weights)  # (B, 320, T)
        x = _conv_norm_relu(
            graph,
            x,
            weights,
            conv="xvector.tdnn.linear",
            norm="xvector.tdnn.nonlinear.batchnorm",
            strides=[2],
            pads=[2, 2],
        )  # (B, 128, T/2), called (B, C, N) from here on
        segments = _Segments(graph, x)
        for block, dilation in enumerate(DILATIONS, start=1):
            for layer in range(1, _layers(weights, block) + 1):
                name = f"xvector.block{block}.tdnnd{layer}"
                new = _dense_layer(graph, x, weights, name, segments, dilation=dilation)
                x = graph.op("Concat", x, new, axis=1)  # the new channels behind the old
            after = (
                batchnorm_affine(weights, "xvector.out_nonlinear.batchnorm")
                if block == len(DILATIONS)
                else None
            )
            x = _norm_relu_conv(
                graph,
                x,
                weights,
                norm=f"xvector.transit{block}.nonlinear.batchnorm",
                conv=f"xvector.transit{block}.linear",
                after=after,
            )  # half the channels
        dense, shift = fold_after(
            weights["xvector.dense.linear.weight"],
            *batchnorm_affine(weights, "xvector.dense.nonlinear.batchnorm"),
        )
        stats = _mean_and_deviation(graph, x, segments)
        embedding = graph.op("Gemm", stats, graph.constant(dense[:, :, 0]), graph.constant(shift), transB=1)
        graph.unit_l2(embedding, output="embedding")
        return graph.build(
            inputs={"features": ["B", "T", mels]}, outputs={"embedding": ["B", dense.shape[0]]}
        )


def _layers(weights: Weights, block: int) -> int:
    numbers = itertools.takewhile(
        lambda number: f"xvector.block{block}.tdnnd{number}.linear1.weight" in weights, itertools.count(1)
    )
    return sum(1 for _ in numbers)


class _Segments:
    """What the layers share about the segments of N frames: S of them, the last one shorter.

    Pooling and spreading are written as products with small matrices: one fast node each, where
    the runtime's average pooling and gathering along the last axis take five times as long.
    """

    def __init__(self, graph: GraphBuilder, x: str) -> None:
        constant, op = graph.constant, graph.op
        zero, one, size = constant(0), constant(1), constant(SEGMENT)
        self.frames = op("Gather", op("Shape", x), constant(2), axis=0)  # N
        of_frame = op("Div", op("Range", zero, self.frames, one), size)  # (N,)
        count = op("Div", op("Add", self.frames, constant(SEGMENT - 1)), size)
        segment = op("Range", zero, count, one)  # (S,)
        member = op("Equal", op("Unsqueeze", segment, constant([1])), of_frame)
        self.spread = op("Cast", member, to=FLOAT)  # (S, N): one where the frame is in the segment
        length = op("ReduceSum", self.spread, constant([1]), keepdims=1)  # (S, 1)
        every_frame = op("Reciprocal", op("Cast", self.frames, to=FLOAT))
        own_plus_all = op("Add", op("Div", self.spread, length), every_frame)
        self.pool = op("Transpose", own_plus_all, perm=[1, 0])  # (N, S): segment mean plus mean of all


def _front_end(graph: GraphBuilder, weights: Weights) -> str:
    """The 2-D residual head: ``features`` (B, T, 80) -> (B, 320, T)."""
    x = graph.op("Transpose", "features", perm=[0, 2, 1])
    x = graph.op("Unsqueeze", x, graph.constant([1]))  # (B, 1, 80, T)
    x = _conv_norm_relu(graph, x, weights, conv="head.conv1", norm="head.bn1", pads=[1, 1, 1, 1])
    for block, stride in (("layer1.0", 2), ("layer1.1", 1), ("layer2.0", 2), ("layer2.1", 1)):
        x = _residual(graph, x, weights, f"head.{block}", stride=stride)
    x = _conv_norm_relu(
        graph, x, weights, conv="head.conv2", norm="head.bn2", strides=[2, 1], pads=[1, 1, 1, 1]
    )
    # (B, 32, 10, T): channels and bands become one axis.
    batch_and_time = graph.op("Shape", "features")
    batch = graph.op("Slice", batch_and_time, graph.constant([0]), graph.constant([1]))
    time = graph.op("Slice", batch_and_time, graph.constant([1]), graph.constant([2]))
    return graph.op("Reshape", x, graph.op("Concat", batch, graph.constant([-1]), time, axis=0))


def _residual(graph: GraphBuilder, x: str, weights: Weights, name: str, *, stride: int) -> str:
    y = _conv_norm_relu(
        graph, x, weights, conv=f"{name}.conv1", norm=f"{name}.bn1", strides=[stride, 1], pads=[1, 1, 1, 1]
    )
    y = graph.conv(y, *_folded(weights, f"{name}.conv2", f"{name}.bn2"), pads=[1, 1, 1, 1])
    if stride != 1:
        x = graph.conv(x, *_folded(weights, f"{name}.shortcut.0", f"{name}.shortcut.1"), strides=[stride, 1])
    return graph.op("Relu", graph.op("Add", y, x))


def _dense_layer(
    graph: GraphBuilder, x: str, weights: Weights, name: str, segments: _Segments, *, dilation: int
) -> str:
    """One densely connected layer with its context-aware mask: (B, C, N) -> (B, 32, N)."""
    h = _norm_relu_conv(
        graph,
        x,
        weights,
        norm=f"{name}.nonlinear1.batchnorm",
        conv=f"{name}.linear1",
        after=batchnorm_affine(weights, f"{name}.nonlinear2.batchnorm"),
    )  # (B, 128, N)
    cam = f"{name}.cam_layer"
    local = graph.conv(
        h, weights[f"{cam}.linear_local.weight"], pads=[dilation, dilation], dilations=[dilation]
    )
    context = graph.op("MatMul", h, segments.pool)  # (B, 128, S)
    mask = graph.conv(context, weights[f"{cam}.linear1.weight"], weights[f"{cam}.linear1.bias"], relu=True)
    mask = graph.op(
        "Sigmoid", graph.conv(mask, weights[f"{cam}.linear2.weight"], weights[f"{cam}.linear2.bias"])
    )
    return graph.op("Mul", local, graph.op("MatMul", mask, segments.spread))


def _folded(weights: Weights, conv: str, norm: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return fold_after(weights[f"{conv}.weight"], *batchnorm_affine(weights, norm))


def _conv_norm_relu(
    graph: GraphBuilder, x: str, weights: Weights, *, conv: str, norm: str, **attributes: Any
) -> str:
    weight, bias = _folded(weights, conv, norm)
    return graph.conv(x, weight, bias, relu=True, **attributes)


def _norm_relu_conv(
    graph: GraphBuilder,
    x: str,
    weights: Weights,
    *,
    norm: str,
    conv: str,
    after: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> str:
    """``relu(scale x + shift)``, a pointwise convolution and, if given, `after` with its ReLU."""
    scale, shift = batchnorm_affine(weights, norm)
    weight = weights[f"{conv}.weight"].astype(np.float64)
    bias = np.zeros(weight.shape[0])
    if scale.min() >= SMALLEST_SCALE:
        floor = -shift / scale
        x = graph.op("Max", x, graph.constant(floor[:, None]))
        weight = weight * scale[None, :, None]
        bias = -fixed_order_product(weight[:, :, 0], floor)
    else:
        x = graph.op(
            "Add", graph.op("Mul", x, graph.constant(scale[:, None])), graph.constant(shift[:, None])
        )
        x = graph.op("Relu", x)
    if after is not None:
        weight = weight * after[0][:, None, None]
        bias = bias * after[0] + after[1]
    return graph.conv(x, weight, bias, relu=after is not None)


def _mean_and_deviation(graph: GraphBuilder, x: str, segments: _Segments) -> str:
    """Mean and unbiased standard deviation over time: (B, C, N) -> (B, 2C); deviation 0 for N = 1."""
    mean = graph.op("ReduceMean", x, axes=[2], keepdims=1)
    centred = graph.op("Sub", x, mean)
    squares = graph.op("ReduceSumSquare", centred, axes=[2], keepdims=1)
    one = graph.constant(1)
    degrees = graph.op("Max", graph.op("Sub", segments.frames, one), one)
    deviation = graph.op("Sqrt", graph.op("Div", squares, graph.op("Cast", degrees, to=FLOAT)))
    return graph.op("Flatten", graph.op("Concat", mean, deviation, axis=1), axis=1)
