"""Fold OpenCV's block-quantised constants back to float32.

The int8 files of OpenCV's model zoo store each weight as int8 with one scale and zero point for
every block of values along one axis (ONNX DequantizeLinear with `block_size`, operator set 21),
followed by a Reshape to the weight's own shape. ONNX Runtime's CPU kernels refuse several of those
block sizes and OpenCV 5 fails on them; folding once, when the bundle is made, runs everywhere and
faster. The arithmetic is the operator's: ``(quantised - zero_point) * scale`` in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper, numpy_helper

from verify.errors import ModelIntegrityError

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray


def dequantise(
    quantised: NDArray[Any],
    scale: NDArray[np.float32],
    zero_point: NDArray[Any] | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
) -> NDArray[np.float32]:
    """Undo linear quantisation: per tensor, per axis, or per block of values along `axis`.

    Args:
        quantised: any shape, int8 or uint8.
        scale: scalar, (D,) for one scale each step of `axis`, or for blocks the shape of
            `quantised` with the size D of `axis` replaced by ceil(D / block_size).
        zero_point: the shape of `scale`, the type of `quantised`; zero if None.
        axis: the axis that scales or blocks run along.
        block_size: values sharing one scale; 0 if not blocked.

    Returns:
        float32 of the shape of `quantised`.

    Raises:
        ModelIntegrityError: the shapes do not belong together.
    """

    def spread(values: NDArray[Any]) -> NDArray[Any]:
        if block_size:
            return np.repeat(values, block_size, axis=axis).take(range(quantised.shape[axis]), axis=axis)
        if values.size > 1:
            return values.reshape([-1 if i == axis % quantised.ndim else 1 for i in range(quantised.ndim)])
        return values

    try:
        shift = np.int32(0) if zero_point is None else spread(zero_point.astype(np.int32))
        result = (quantised.astype(np.int32) - shift).astype(np.float32) * spread(scale.astype(np.float32))
    except (ValueError, IndexError) as error:
        msg = (
            f"quantised tensor {quantised.shape} does not fit its scales {scale.shape} "
            f"(axis {axis}, block size {block_size}): {error}"
        )
        raise ModelIntegrityError(msg) from error
    return np.ascontiguousarray(result, dtype=np.float32)


def fold_dequantised(model: onnx.ModelProto) -> int:
    """Replace every DequantizeLinear on constants, and the Reshape behind it, by a float32 constant.

    Works in place; quantised constants that nothing uses any more are dropped.

    Returns:
        The number of DequantizeLinear nodes folded.
    """
    graph = model.graph
    constants: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
    folded = 0
    kept = []
    for node in graph.node:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        inputs = [name for name in node.input if name]
        value: NDArray[Any] | None = None
        if node.op_type == "DequantizeLinear" and all(name in constants for name in inputs):
            arrays = [numpy_helper.to_array(constants[name]) for name in inputs]
            value = dequantise(
                *arrays, axis=attributes.get("axis", 1), block_size=attributes.get("block_size", 0)
            )
            folded += 1
        elif node.op_type == "Reshape" and all(name in constants for name in inputs):
            array, shape = (numpy_helper.to_array(constants[name]) for name in inputs)
            value = array.reshape(
                [array.shape[i] if size == 0 else size for i, size in enumerate(shape.tolist())]
            )
        if value is None:
            kept.append(node)
        else:
            constants[node.output[0]] = numpy_helper.from_array(value, node.output[0])
    used = {name for node in kept for name in node.input}
    _replace(graph.node, kept)
    _replace(graph.initializer, [tensor for name, tensor in constants.items() if name in used])
    return folded


def _replace(field: Any, items: list[Any]) -> None:
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(copies)
