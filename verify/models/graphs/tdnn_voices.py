"""ECAPA-TDNN and ResNet34 with attentive statistics as ONNX graphs, straight from the state dicts of `verify.nets`.

Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN", Interspeech 2020; Okabe, Koshinaka, Shinoda, "Attentive
Statistics Pooling", Interspeech 2018. Normalisation behind a convolution and around the last linear layer is
folded. The attention's first layer sees each frame beside mean and deviation of the whole: its product with
the latter is the same for all frames, so it is computed once and added.
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

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from verify.models.weights import Weights

DILATIONS = (2, 3, 4)  # of ECAPA's blocks
SCALE = 8  # parts of a block's middle
SMALLEST_VARIANCE = 1e-7
SHRINKING = (3, 7, 13)  # blocks of ResNet34 with stride 2
BANDS_TO_ONE = 8  # the strides of ResNet34 leave one band of eight


def ecapa_graph(weights: Weights) -> onnx.ModelProto:
    """The graph of an ECAPA-TDNN: ``features`` (B, T, mels) -> ``embedding`` (B, D) of unit L2 norm.

    Raises:
        DataError: the tensors are not this network's.
    """
    with fitting(weights, network="ECAPA-TDNN"):
        net = _Layers(weights, name="ecapa_tdnn")
        mels = weights["first.conv.weight"].shape[1]
        before = net.conv_relu_norm(net.graph.op("Transpose", "features", perm=[0, 2, 1]), "first")
        outputs = []
        for index, dilation in enumerate(DILATIONS):
            outputs.append(net.block(before, f"blocks.{index}", dilation=dilation))
            if index + 1 < len(DILATIONS):
                before = net.graph.op("Add", before, outputs[-1])
        x = net.graph.op("Concat", *outputs, axis=1)
        x = net.graph.conv(x, weights["join.weight"], weights["join.bias"], relu=True)
        return net.embed(net.pool(x, "pool"), mels=mels, norm_before="pool_norm")


def resnet34_asp_graph(weights: Weights) -> onnx.ModelProto:
    """The graph of a ResNet34 with attentive statistics: ``features`` (B, T, mels) -> ``embedding`` (B, D).

    Raises:
        DataError: the tensors are not this network's.
    """
    with fitting(weights, network="ResNet34 with attentive statistics"):
        net = _Layers(weights, name="resnet34_asp")
        graph = net.graph
        x = graph.op("Transpose", "features", perm=[0, 2, 1])
        x = graph.op("Unsqueeze", x, graph.constant([1]))  # (B, 1, mels, T)
        x = graph.op("Relu", net.conv_norm(x, "first.conv", "first.norm"))
        for index in itertools.takewhile(lambda i: f"stages.{i}.conv1.weight" in weights, itertools.count()):
            x = net.residual(x, f"stages.{index}", shrinks=index in SHRINKING)
        channels = weights[f"stages.{SHRINKING[-1]}.conv2.weight"].shape[0]
        flat = weights["pool.weights.weight"].shape[0]
        shape = graph.op("Shape", x)
        batch = graph.op("Slice", shape, graph.constant([0]), graph.constant([1]))
        time = graph.op("Slice", shape, graph.constant([3]), graph.constant([4]))
        x = graph.op("Reshape", x, graph.op("Concat", batch, graph.constant([flat]), time, axis=0))
        return net.embed(net.pool(x, "pool"), mels=BANDS_TO_ONE * flat // channels)


class _Layers:
    """The kinds of layers of both networks, found by name in the state dict."""

    def __init__(self, weights: Weights, *, name: str) -> None:
        self.weights = weights
        self.graph = GraphBuilder(name)

    def conv_relu_norm(self, x: str, name: str, *, dilation: int = 1) -> str:
        """Convolution over time that keeps its length, ReLU, and normalisation as one factor and one term."""
        weight = self.weights[f"{name}.conv.weight"]
        reach = dilation * (weight.shape[-1] // 2)
        x = self.graph.conv(
            x, weight, self.weights[f"{name}.conv.bias"], relu=True, pads=[reach, reach], dilations=[dilation]
        )
        scale, shift = batchnorm_affine(self.weights, f"{name}.norm")
        x = self.graph.op("Mul", x, self.graph.constant(scale[:, None]))
        return self.graph.op("Add", x, self.graph.constant(shift[:, None]))

    def block(self, x: str, name: str, *, dilation: int) -> str:
        """SE-Res2Block."""
        y = self.conv_relu_norm(x, f"{name}.before")
        y = self.res2(y, f"{name}.middle", dilation=dilation)
        y = self.conv_relu_norm(y, f"{name}.after")
        mean = self.graph.op("ReduceMean", y, axes=[2], keepdims=1)  # (B, C, 1)
        factors = self._pointwise(mean, f"{name}.excite.squeeze", relu=True)
        factors = self.graph.op("Sigmoid", self._pointwise(factors, f"{name}.excite.excite"))
        return self.graph.op("Add", x, self.graph.op("Mul", y, factors))

    def res2(self, x: str, name: str, *, dilation: int) -> str:
        """Dilated convolutions in a row over parts of the channels."""
        parts = [f"{name}.part{index}" for index in range(SCALE)]
        sizes = [self.weights[f"{name}.parts.0.conv.weight"].shape[0]] * SCALE
        self.graph.multi("Split", x, self.graph.constant(sizes), outputs=parts, axis=1)
        outputs = parts[:1]
        for index, part in enumerate(parts[1:]):
            seen = self.graph.op("Add", part, outputs[-1]) if index else part
            outputs.append(self.conv_relu_norm(seen, f"{name}.parts.{index}", dilation=dilation))
        return self.graph.op("Concat", *outputs, axis=1)

    def conv_norm(self, x: str, conv: str, norm: str, *, stride: int = 1) -> str:
        """Convolution over bands and time that keeps their size but for the stride, and normalisation."""
        weight, bias = fold_after(self.weights[f"{conv}.weight"], *batchnorm_affine(self.weights, norm))
        return self.graph.conv(x, weight, bias, pads=[weight.shape[-1] // 2] * 4, strides=[stride] * 2)

    def residual(self, x: str, name: str, *, shrinks: bool) -> str:
        """Two convolutions beside a shortcut."""
        stride = 2 if shrinks else 1
        y = self.graph.op("Relu", self.conv_norm(x, f"{name}.conv1", f"{name}.norm1", stride=stride))
        y = self.conv_norm(y, f"{name}.conv2", f"{name}.norm2")
        if f"{name}.shortcut.0.weight" in self.weights:
            x = self.conv_norm(x, f"{name}.shortcut.0", f"{name}.shortcut.1", stride=stride)
        return self.graph.op("Relu", self.graph.op("Add", y, x))

    def pool(self, x: str, name: str) -> str:
        """Attentive statistics: (B, C, T) -> (B, 2C)."""
        graph, hidden = self.graph, self.weights[f"{name}.hidden.weight"]
        channels = hidden.shape[1] // 3
        mean = graph.op("ReduceMean", x, axes=[2], keepdims=1)
        variance = graph.op("ReduceMean", self._squares(x, mean), axes=[2], keepdims=1)
        whole = graph.op("Concat", mean, self._deviation(variance), axis=1)  # (B, 2C, 1)
        same = graph.conv(whole, hidden[:, channels:], self.weights[f"{name}.hidden.bias"])
        seen = graph.op("Tanh", graph.op("Add", graph.conv(x, hidden[:, :channels]), same))
        shares = graph.op("Softmax", self._pointwise(seen, f"{name}.weights"), axis=2)
        over_time = graph.constant([2])
        mean = graph.op("ReduceSum", graph.op("Mul", x, shares), over_time, keepdims=1)
        squares = graph.op("Mul", self._squares(x, mean), shares)
        variance = graph.op("ReduceSum", squares, over_time, keepdims=1)
        return graph.op("Flatten", graph.op("Concat", mean, self._deviation(variance), axis=1), axis=1)

    def embed(self, x: str, *, mels: int, norm_before: str = "") -> onnx.ModelProto:
        """The linear layer with the normalisations around it, the L2 norm, and the end of the graph."""
        weight = self.weights["linear.weight"].astype(np.float64)
        bias = self.weights["linear.bias"].astype(np.float64)
        if norm_before:
            scale, shift = batchnorm_affine(self.weights, norm_before)
            bias = bias + fixed_order_product(weight, shift)
            weight = weight * scale
        scale, shift = batchnorm_affine(self.weights, "norm")
        weight, bias = weight * scale[:, None], bias * scale + shift
        x = self.graph.op("Gemm", x, self.graph.constant(weight), self.graph.constant(bias), transB=1)
        self.graph.unit_l2(x, output="embedding")
        return self.graph.build(
            inputs={"features": ["B", "T", mels]}, outputs={"embedding": ["B", weight.shape[0]]}
        )

    def _pointwise(self, x: str, name: str, **attributes: Any) -> str:
        """A linear layer or a convolution of width 1, for each frame: (B, C, T) -> (B, out, T)."""
        weight: NDArray[Any] = self.weights[f"{name}.weight"]
        weight = weight.reshape(*weight.shape[:2], 1)
        return self.graph.conv(x, weight, self.weights[f"{name}.bias"], **attributes)

    def _squares(self, x: str, mean: str) -> str:
        centred = self.graph.op("Sub", x, mean)
        return self.graph.op("Mul", centred, centred)

    def _deviation(self, variance: str) -> str:
        return self.graph.op(
            "Sqrt", self.graph.op("Max", variance, self.graph.constant(np.array(SMALLEST_VARIANCE)))
        )
