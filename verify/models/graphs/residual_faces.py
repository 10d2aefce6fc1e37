"""MobileFaceNet and IResNet as ONNX graphs, straight from the state dicts of `verify.nets`.

Chen, Liu, Gao, Han, "MobileFaceNets", CCBR 2018; Deng, Guo, Xue, Zafeiriou, "ArcFace", CVPR 2019. What
is done differently here computes the same numbers:

- Normalisation behind a convolution is folded into it, that around the last linear layer into that.
- Normalisation ``a x + b`` in front of a convolution that pads with zeros, ``W (a x + b)``, becomes
  ``W' (x + b / a)``: one pass over the map in place of two.
- PReLU is written as ``max(x, slope x)`` where no slope is above 1; ONNX Runtime's own kernel goes value by value.
- The division of the pixels is folded into the first convolution; their mean is subtracted before it, because
  that pads with zeros.
"""

from __future__ import annotations

import itertools
import math
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

PIXEL_MEAN = PIXEL_SCALE = 127.5
STRIDE = 16  # of the last map of either network
SHRINKING = (0, 5, 12)  # bottlenecks of MobileFaceNet with stride 2
SMALLEST_SCALE = 1e-3  # below, b/a loses digits and the plain form is taken


def mobilefacenet_graph(weights: Weights) -> onnx.ModelProto:
    """The graph of a MobileFaceNet: ``input`` (B, 3, S, S), RGB, 0..255 -> ``embedding`` (B, D), unit L2 norm.

    Raises:
        DataError: the tensors are not this network's.
    """
    with fitting(weights, network="MobileFaceNet"):
        net = _Layers(weights, name="mobilefacenet")
        x = net.conv_norm(net.centred("input"), "stem.0", strides=[2, 2], scale=1 / PIXEL_SCALE)
        x = net.conv_norm(x, "stem.1")
        for index in range(_count(weights, "stages.{}.widen.conv.weight")):
            x = net.bottleneck(x, f"stages.{index}", shrinks=index in SHRINKING)
        x = net.conv_norm(x, "last")
        side = weights["whole.conv.weight"].shape[-1]
        x = net.graph.op("Flatten", net.conv_norm(x, "whole", pads=[0, 0, 0, 0]), axis=1)
        weight, bias = fold_after(weights["linear.weight"], *batchnorm_affine(weights, "norm"))
        return net.embed(x, weight, bias, side_px=STRIDE * side)


def iresnet_graph(weights: Weights) -> onnx.ModelProto:
    """The graph of an IResNet: ``input`` (B, 3, S, S), RGB, 0..255 -> ``embedding`` (B, D), unit L2 norm.

    Raises:
        DataError: the tensors are not this network's.
    """
    with fitting(weights, network="IResNet"):
        net = _Layers(weights, name="iresnet")
        x = net.conv(net.centred("input"), "conv1", "bn1", scale=1 / PIXEL_SCALE)
        x = net.prelu(x, "prelu")
        for layer in range(1, 5):
            for index in range(_count(weights, f"layer{layer}.{{}}.conv1.weight")):
                x = net.unit(x, f"layer{layer}.{index}")
        scale, shift = batchnorm_affine(weights, "bn2")
        full = weights["fc.weight"].astype(np.float64)
        side = math.isqrt(full.shape[1] // len(scale))
        scale, shift = (
            scale.repeat(side * side),
            shift.repeat(side * side),
        )  # of each place, channel by channel
        bias = weights["fc.bias"].astype(np.float64) + fixed_order_product(full, shift)
        out_scale, out_shift = batchnorm_affine(weights, "features")
        full = full * scale * out_scale[:, None]
        x = net.graph.op("Flatten", x, axis=1)
        return net.embed(x, full, bias * out_scale + out_shift, side_px=STRIDE * side)


def _count(weights: Weights, pattern: str) -> int:
    """How many numbers from 0 on make a tensor's name of `pattern`."""
    return sum(
        1 for _ in itertools.takewhile(lambda number: pattern.format(number) in weights, itertools.count())
    )


class _Layers:
    """The few kinds of layers of both networks, found by name in the state dict."""

    def __init__(self, weights: Weights, *, name: str) -> None:
        self.weights = weights
        self.graph = GraphBuilder(name)

    def centred(self, x: str) -> str:
        """Pixels less their mean."""
        return self.graph.op("Sub", x, self.graph.constant(np.array(PIXEL_MEAN)))

    def conv(
        self,
        x: str,
        name: str,
        norm: str,
        *,
        before: NDArray[Any] | None = None,
        scale: float = 1.0,
        **attributes: Any,
    ) -> str:
        """A convolution, its input times `before` or `scale`, and the normalisation behind it; keeps the size."""
        weight, bias = fold_after(self.weights[f"{name}.weight"], *batchnorm_affine(self.weights, norm))
        weight = weight * scale if before is None else weight * before[None, :, None, None]
        reach = weight.shape[-1] // 2
        return self.graph.conv(x, weight, bias, **{"pads": [reach] * 4, **attributes})

    def conv_norm(self, x: str, name: str, **attributes: Any) -> str:
        """One `conv_norm` of MobileFaceNet: depthwise if its kernels see one channel of many."""
        shape = self.weights[f"{name}.conv.weight"].shape
        group = {"group": shape[0]} if shape[1] == 1 else {}
        x = self.conv(x, f"{name}.conv", f"{name}.norm", **group, **attributes)
        return self.prelu(x, f"{name}.act") if f"{name}.act.weight" in self.weights else x

    def prelu(self, x: str, name: str) -> str:
        """PReLU without ONNX Runtime's slow kernel."""
        slope = self.weights[f"{name}.weight"].astype(np.float64)[:, None, None]
        straight = self.graph.op("Mul", x, self.graph.constant(slope))
        if slope.max() <= 1.0:
            return self.graph.op("Max", x, straight)
        bent = self.graph.op("Mul", self.graph.op("Relu", x), self.graph.constant(1.0 - slope))
        return self.graph.op("Add", straight, bent)

    def bottleneck(self, x: str, name: str, *, shrinks: bool) -> str:
        """MobileFaceNet's inverted residual; those that double the channels halve the map too."""
        y = self.conv_norm(x, f"{name}.widen")
        y = self.conv_norm(y, f"{name}.look", strides=[2, 2] if shrinks else [1, 1])
        y = self.conv_norm(y, f"{name}.narrow")
        return y if shrinks else self.graph.op("Add", x, y)

    def unit(self, x: str, name: str) -> str:
        """IResNet's BN-Conv-BN-PReLU-Conv-BN beside a shortcut; with a convolution there, it halves the map."""
        scale, shift = batchnorm_affine(self.weights, f"{name}.bn1")
        before = None
        if np.abs(scale).min() >= SMALLEST_SCALE:
            y = self.graph.op("Add", x, self.graph.constant((shift / scale)[:, None, None]))
            before = scale
        else:
            y = self.graph.op("Mul", x, self.graph.constant(scale[:, None, None]))
            y = self.graph.op("Add", y, self.graph.constant(shift[:, None, None]))
        y = self.prelu(self.conv(y, f"{name}.conv1", f"{name}.bn2", before=before), f"{name}.prelu")
        halves = f"{name}.downsample.0.weight" in self.weights
        strides = [2, 2] if halves else [1, 1]
        y = self.conv(y, f"{name}.conv2", f"{name}.bn3", strides=strides)
        if halves:
            x = self.conv(x, f"{name}.downsample.0", f"{name}.downsample.1", strides=strides)
        return self.graph.op("Add", y, x)

    def embed(
        self, x: str, weight: NDArray[np.float64], bias: NDArray[np.float64], *, side_px: int
    ) -> onnx.ModelProto:
        """The linear layer (D, C), the L2 norm, and the end of the graph."""
        x = self.graph.op("Gemm", x, self.graph.constant(weight), self.graph.constant(bias), transB=1)
        self.graph.unit_l2(x, output="embedding")
        return self.graph.build(
            inputs={"input": ["B", 3, side_px, side_px]}, outputs={"embedding": ["B", weight.shape[0]]}
        )
