"""Inception-ResNet-v1 as an ONNX graph, straight from the published state dict.

Network: Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", AAAI 2017, in the form that facenet-pytorch publishes (VGGFace2 and
CASIA-WebFace). `verify.nets.inception_resnet_v1` is the same network in torch. Normalisation by
batch is folded into the convolutions, as are the blocks' scales and the scaling of the pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from verify.models.graphs.builder import GraphBuilder, batchnorm_affine, fitting, fold_after
from verify.models.weights import Weights, read_weights

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

BN_EPS = 1e-3
PIXEL_MEAN, PIXEL_SCALE = 127.5, 128.0
BLOCKS_35, BLOCKS_17, BLOCKS_8 = 5, 10, 5
SIZE_PX = 160


def to_onnx(weights_path: Path) -> dict[str, onnx.ModelProto]:
    """Build the graph of a published Inception-ResNet-v1 checkpoint.

    The model takes ``input`` (B, 3, 160, 160) float32, RGB, 0..255, B free, and gives ``embedding``
    (B, 512) float32 of unit L2 norm. The checkpoint's classifier is left behind.

    Raises:
        DataError: the file is no torch checkpoint, or not one of this network.
    """
    return {"model.onnx": inception_resnet_v1_graph(read_weights(weights_path))}


def inception_resnet_v1_graph(weights: Weights) -> onnx.ModelProto:
    """The graph of an Inception-ResNet-v1 state dict; see `to_onnx` for its inputs and outputs."""
    with fitting(weights, network="Inception-ResNet-v1"):
        net = _Layers(weights)
        x = net.from_pixels("input", "conv2d_1a", strides=[2, 2])
        x = net.conv(x, "conv2d_2a")
        x = net.conv(x, "conv2d_2b", pads=[1, 1, 1, 1])
        x = net.pool(x)
        x = net.conv(x, "conv2d_3b")
        x = net.conv(x, "conv2d_4a")
        x = net.conv(x, "conv2d_4b", strides=[2, 2])  # (B, 256, 17, 17)
        for index in range(BLOCKS_35):
            x = _block35(net, x, f"repeat_1.{index}")
        x = _mixed_6a(net, x)  # (B, 896, 8, 8)
        for index in range(BLOCKS_17):
            x = _two_branches(net, x, f"repeat_2.{index}", reach=3, scale=0.10)
        x = _mixed_7a(net, x)  # (B, 1792, 3, 3)
        for index in range(BLOCKS_8):
            x = _two_branches(net, x, f"repeat_3.{index}", reach=1, scale=0.20)
        x = _two_branches(net, x, "block8", reach=1, scale=1.0, relu=False)
        x = net.graph.op("ReduceMean", x, axes=[2, 3], keepdims=0)  # (B, 1792)
        weight, bias = fold_after(
            weights["last_linear.weight"], *batchnorm_affine(weights, "last_bn", eps=BN_EPS)
        )
        x = net.graph.op("Gemm", x, net.graph.constant(weight), net.graph.constant(bias), transB=1)
        net.graph.unit_l2(x, output="embedding")
        return net.graph.build(
            inputs={"input": ["B", 3, SIZE_PX, SIZE_PX]}, outputs={"embedding": ["B", weight.shape[0]]}
        )


class _Layers:
    """The network's few kinds of layers, found by name in the state dict."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.graph = GraphBuilder("inception_resnet_v1")

    def conv(self, x: str, name: str, **attributes: Any) -> str:
        """Convolution, normalisation and ReLU."""
        weight, bias = fold_after(
            self.weights[f"{name}.conv.weight"], *batchnorm_affine(self.weights, f"{name}.bn", eps=BN_EPS)
        )
        return self.graph.conv(x, weight, bias, relu=True, **attributes)

    def from_pixels(self, x: str, name: str, **attributes: Any) -> str:
        """The first `conv`, on pixels of 0..255: exact, because it pads nothing."""
        weight, bias = fold_after(
            self.weights[f"{name}.conv.weight"], *batchnorm_affine(self.weights, f"{name}.bn", eps=BN_EPS)
        )
        weight = weight / PIXEL_SCALE
        bias = bias - PIXEL_MEAN * np.add.accumulate(weight.reshape(len(weight), -1), axis=1)[:, -1]
        return self.graph.conv(x, weight, bias, relu=True, **attributes)

    def pool(self, x: str) -> str:
        """The largest of 3 x 3, every second."""
        return self.graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])

    def residual(self, x: str, name: str, branches: list[str], *, scale: float, relu: bool) -> str:
        """Stack the branches, bring them back to the channels of `x`, scale and add."""
        stacked = self.graph.op("Concat", *branches, axis=1)
        weight = self.weights[f"{name}.conv2d.weight"].astype(np.float64) * scale
        bias = self.weights[f"{name}.conv2d.bias"].astype(np.float64) * scale
        out = self.graph.op("Add", self.graph.conv(stacked, weight, bias), x)
        return self.graph.op("Relu", out) if relu else out


def _block35(net: _Layers, x: str, name: str) -> str:
    first = net.conv(x, f"{name}.branch0")
    second = net.conv(net.conv(x, f"{name}.branch1.0"), f"{name}.branch1.1", pads=[1, 1, 1, 1])
    third = net.conv(net.conv(x, f"{name}.branch2.0"), f"{name}.branch2.1", pads=[1, 1, 1, 1])
    third = net.conv(third, f"{name}.branch2.2", pads=[1, 1, 1, 1])
    return net.residual(x, name, [first, second, third], scale=0.17, relu=True)


def _two_branches(net: _Layers, x: str, name: str, *, reach: int, scale: float, relu: bool = True) -> str:
    """A pointwise branch beside one that looks `reach` to the sides, then up and down."""
    first = net.conv(x, f"{name}.branch0")
    second = net.conv(x, f"{name}.branch1.0")
    second = net.conv(second, f"{name}.branch1.1", pads=[0, reach, 0, reach])
    second = net.conv(second, f"{name}.branch1.2", pads=[reach, 0, reach, 0])
    return net.residual(x, name, [first, second], scale=scale, relu=relu)


def _mixed_6a(net: _Layers, x: str) -> str:
    first = net.conv(x, "mixed_6a.branch0", strides=[2, 2])
    second = net.conv(net.conv(x, "mixed_6a.branch1.0"), "mixed_6a.branch1.1", pads=[1, 1, 1, 1])
    second = net.conv(second, "mixed_6a.branch1.2", strides=[2, 2])
    return net.graph.op("Concat", first, second, net.pool(x), axis=1)


def _mixed_7a(net: _Layers, x: str) -> str:
    first = net.conv(net.conv(x, "mixed_7a.branch0.0"), "mixed_7a.branch0.1", strides=[2, 2])
    second = net.conv(net.conv(x, "mixed_7a.branch1.0"), "mixed_7a.branch1.1", strides=[2, 2])
    third = net.conv(net.conv(x, "mixed_7a.branch2.0"), "mixed_7a.branch2.1", pads=[1, 1, 1, 1])
    third = net.conv(third, "mixed_7a.branch2.2", strides=[2, 2])
    return net.graph.op("Concat", first, second, third, net.pool(x), axis=1)
