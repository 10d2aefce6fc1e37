"""dlib's face recogniser as an ONNX graph, straight from dlib's own file.

Network: ``dlib_face_recognition_resnet_model_v1.dat`` (King, 2017), a ResNet of 29 convolutions after
He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016. Unlike there, a shortcut
has no weights: it is averaged down, and whichever of the two summands is smaller, in channels or in
pixels, is filled up with zeros.

dlib's format is walked from layer to layer by the layers' names. Integers are a byte with the sign and
the number of bytes that follow; real numbers are two of them, mantissa and binary exponent; tensors are
version, four sizes and little-endian float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import DataError
from verify.models.graphs.builder import GraphBuilder, fitting
from verify.models.weights import Weights

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

NETWORK_FILE = "dlib_face_recognition_resnet_model_v1.dat"
SIDE_PX = 150
PIXEL_SCALE = 256.0
TENSOR_VERSION = 2


def to_onnx(weights_path: Path) -> dict[str, onnx.ModelProto | Path]:
    """Convert dlib's network; dlib's other files in the folder are kept as they are.

    Args:
        weights_path: the network's file, or the folder that holds it.

    Raises:
        DataError: the file cannot be read or is not this network.
    """
    network = weights_path / NETWORK_FILE if weights_path.is_dir() else weights_path
    others = sorted(weights_path.iterdir()) if weights_path.is_dir() else []
    return {"model.onnx": graph_of(network)} | {
        path.name: path for path in others if path.name != NETWORK_FILE
    }


def graph_of(network: Path) -> onnx.ModelProto:
    """The network in one file of dlib's.

    The model takes ``input`` (B, 3, 150, 150) float32, RGB, 0..255, faces aligned as dlib's
    ``get_face_chip`` does, and gives ``embedding`` (B, 128) float32 of unit L2 norm. (dlib gives it
    before normalisation and compares by distance.)

    Raises:
        DataError: the file cannot be read or is not this network.
    """
    try:
        data = network.read_bytes()
    except OSError as error:
        msg = f"{network}: the weights cannot be read: {error.strerror or error}"
        raise DataError(msg) from error
    with fitting(Weights({}, source=str(network)), network="dlib's face recogniser"):
        return _graph(_Reader(data))


@dataclass(frozen=True, slots=True)
class _Convolution:
    """A convolution with the affine layer behind it folded in; weight (O, I, H, W), bias (O,)."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    stride: int
    padding: int

    def side_after(self, side: int) -> int:
        return (side + 2 * self.padding - int(self.weight.shape[2])) // self.stride + 1

    def add_to(self, graph: GraphBuilder, x: str, *, relu: bool) -> str:
        pads, strides = [self.padding] * 4, [self.stride] * 2
        return graph.conv(x, self.weight, self.bias, relu=relu, pads=pads, strides=strides)


class _Reader:
    """Walks dlib's file from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def integer(self) -> int:
        head = self._data[self._at]
        start, stop = self._at + 1, self._at + 1 + (head & 0x0F)
        self._at = stop
        value = int.from_bytes(self._data[start:stop], "little")
        return -value if head & 0x80 else value

    def real(self) -> float:
        mantissa, exponent = self.integer(), self.integer()
        return math.ldexp(mantissa, exponent)

    def tensor(self) -> NDArray[np.float64]:
        """The values of a tensor of four axes, in a row."""
        version, *sizes = (self.integer() for _ in range(5))
        count = math.prod(max(size, 0) for size in sizes)
        if version != TENSOR_VERSION or count * 4 > len(self._data) - self._at:
            msg = f"at byte {self._at}: no tensor of sizes {sizes}"
            raise ValueError(msg)
        values = np.frombuffer(self._data, "<f4", count, self._at).astype(np.float64)
        self._at += 4 * count
        return values

    def find(self, *layers: str) -> str:
        """Go to the next of these layers and past its name; return which one it is."""
        found = {}
        for layer in layers:
            tag = bytes([1, len(layer)]) + layer.encode()
            place = self._data.find(tag, self._at)
            if place >= 0:
                found[place + len(tag)] = layer
        if not found:
            msg = f"no layer {' or '.join(layers)} after byte {self._at}"
            raise ValueError(msg)
        self._at = min(found)
        return found[self._at]

    def convolution(self) -> _Convolution:
        """What stands behind the name of a convolution, and the affine layer that follows."""
        params = self.tensor()
        filters, height, width, stride, _, padding, _ = (self.integer() for _ in range(7))
        weight = params[:-filters].reshape(filters, -1, height, width)
        self.find("affine_")
        gamma, beta = np.split(self.tensor(), 2)
        scaled = weight * gamma[:, None, None, None]
        return _Convolution(scaled, params[-filters:] * gamma + beta, stride, padding)


def _graph(reader: _Reader) -> onnx.ModelProto:
    graph = GraphBuilder("dlib_resnet")
    reader.find("input_rgb_image_sized")
    means = np.array([reader.real() for _ in range(3)])
    reader.find("con_4")
    x, channels, side = _stem(graph, reader.convolution(), means)
    while reader.find("con_4", "fc_2") == "con_4":
        first = reader.convolution()
        reader.find("con_4")
        x, channels, side = _residual(graph, x, first, reader.convolution(), channels=channels, side=side)
    outputs, inputs = reader.integer(), reader.integer()
    dense = reader.tensor().reshape(inputs, outputs)
    pooled = graph.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    graph.unit_l2(graph.op("MatMul", pooled, graph.constant(dense)), output="embedding")
    return graph.build(inputs={"input": ["B", 3, SIDE_PX, SIDE_PX]}, outputs={"embedding": ["B", outputs]})


def _stem(graph: GraphBuilder, first: _Convolution, means: NDArray[np.float64]) -> tuple[str, int, int]:
    """The first convolution on pixels of 0..255 (exact, because it pads nothing) and the pooling."""
    weight = first.weight / PIXEL_SCALE
    shift = (weight * means[None, :, None, None]).reshape(len(weight), -1)
    bias = first.bias - np.add.accumulate(shift, axis=1)[:, -1]
    x = _Convolution(weight, bias, first.stride, first.padding).add_to(graph, "input", relu=True)
    x = graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    return x, len(weight), (first.side_after(SIDE_PX) - 3) // 2 + 1


def _residual(
    graph: GraphBuilder, x: str, first: _Convolution, second: _Convolution, *, channels: int, side: int
) -> tuple[str, int, int]:
    """Two convolutions and the shortcut; returns the sum with its channels and side."""
    y = second.add_to(graph, first.add_to(graph, x, relu=True), relu=False)
    y_channels, y_side = len(second.weight), second.side_after(first.side_after(side))
    if first.stride != 1:
        x = graph.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
        side = (side - 2) // 2 + 1
    widest, largest = max(channels, y_channels), max(side, y_side)
    x = _filled_up(graph, x, widest - channels, largest - side)
    y = _filled_up(graph, y, widest - y_channels, largest - y_side)
    return graph.op("Relu", graph.op("Add", y, x)), widest, largest


def _filled_up(graph: GraphBuilder, x: str, channels: int, pixels: int) -> str:
    """Zeros behind the channels, below and to the right."""
    if not channels and not pixels:
        return x
    return graph.op("Pad", x, graph.constant([0, 0, 0, 0, 0, channels, pixels, pixels]))
