"""Several encoders and a linear adapter as one graph: one photo in, one embedding out.

The encoders' own graphs stay as they are, under names of their own; their embeddings are laid side by side, pass
one matrix product, and are brought to unit length. Encoders that see the same view of a sample share
an input; others get an input each, in the order of the card's ``views``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import ModelIntegrityError
from verify.models.graphs.builder import PRODUCER, SMALLEST_NORM

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx
    from numpy.typing import NDArray

_OPSET = 18  # from here on reductions take their axes as an input
_IR_VERSION = 8
_MAIN = ("", "ai.onnx")


def joined(
    encoders: Sequence[onnx.ModelProto],
    *,
    inputs: Sequence[str],
    matrix: NDArray[Any],
    offset: NDArray[Any],
) -> onnx.ModelProto:
    """One graph that runs encoders, maps their embeddings linearly and normalises the result.

    Args:
        encoders: at least one; each with one input and one output (B, D_i) of unit L2 norm.
        inputs: for each encoder the input that it reads; encoders of equal names share it.
        matrix: (D, P), D the sum of all D_i in order: ``embedding @ matrix + offset``.
        offset: (P,).

    Returns:
        A model with the inputs named, in the order of their first mention, and ``embedding`` (B, P), unit L2.

    Raises:
        ModelIntegrityError: an encoder has other ends, sharers of an input differ in its shape, or the matrix does
            not fit.
    """
    from onnx import TensorProto, helper

    models = _of_one_opset(encoders)
    width = sum(_width(model) for model in models)
    weight, bias = np.asarray(matrix, np.float32), np.asarray(offset, np.float32)
    if weight.ndim != 2 or weight.shape[0] != width or bias.shape != weight.shape[1:]:  # noqa: PLR2004
        msg = f"an adapter of {weight.shape} and {bias.shape} does not fit embeddings of {width} values"
        raise ModelIntegrityError(msg)
    nodes: list[Any] = []
    constants: list[Any] = []
    ends: dict[str, Any] = {}
    for number, (model, name) in enumerate(zip(models, inputs, strict=True)):
        entry = _renamed(model, prefix=f"encoder_{number}/", reads=name)
        if name in ends and _shape(ends[name])[1:] != _shape(entry)[1:]:
            msg = f"two encoders are to share the input {name!r}, but take {_shape(ends[name])} and {_shape(entry)}"
            raise ModelIntegrityError(msg)
        ends.setdefault(name, entry)
        nodes += model.graph.node
        constants += model.graph.initializer
    tail, more = _tail([f"encoder_{number}/embedding" for number in range(len(models))], weight, bias)
    result = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", weight.shape[1]])
    graph = helper.make_graph([*nodes, *tail], "joined", list(ends.values()), [result], [*constants, *more])
    return helper.make_model(
        graph,
        opset_imports=models[0].opset_import,
        ir_version=max(_IR_VERSION, *(model.ir_version for model in models)),
        producer_name=PRODUCER,
    )


def _tail(
    embeddings: Sequence[str], weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> tuple[list[Any], list[Any]]:
    """Side by side, through the matrix, to unit length."""
    from onnx import helper, numpy_helper

    constants = {
        "adapter/matrix": np.ascontiguousarray(weight),
        "adapter/offset": bias,
        "adapter/axis": np.array([1]),
        "adapter/floor": np.array(SMALLEST_NORM, np.float32),
    }
    nodes = [
        helper.make_node("Concat", list(embeddings), ["adapter/side_by_side"], axis=1),
        helper.make_node(
            "Gemm", ["adapter/side_by_side", "adapter/matrix", "adapter/offset"], ["adapter/mapped"]
        ),
        helper.make_node("ReduceL2", ["adapter/mapped", "adapter/axis"], ["adapter/norm"], keepdims=1),
        helper.make_node("Max", ["adapter/norm", "adapter/floor"], ["adapter/safe_norm"]),
        helper.make_node("Div", ["adapter/mapped", "adapter/safe_norm"], ["embedding"]),
    ]
    return nodes, [numpy_helper.from_array(value, name) for name, value in constants.items()]


def _of_one_opset(encoders: Sequence[onnx.ModelProto]) -> list[onnx.ModelProto]:
    """Copies whose operators are all of one version: the highest among them."""
    import onnx
    from onnx import version_converter

    versions = [{item.domain: item.version for item in model.opset_import} for model in encoders]
    highest = max([_OPSET, *(max(one.get(name, 0) for name in _MAIN) for one in versions)])
    models = []
    for model, known in zip(encoders, versions, strict=True):
        if set(known) - set(_MAIN) or model.functions:
            msg = f"an encoder uses operators outside ONNX ({', '.join(sorted(set(known) - set(_MAIN)))}): not joined"
            raise ModelIntegrityError(msg)
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        if max(known.values()) != highest:
            copy = version_converter.convert_version(copy, highest)
        models.append(copy)
    return models


def _renamed(model: onnx.ModelProto, *, prefix: str, reads: str) -> Any:
    """Put a prefix before every name of a graph; return its input under the new name, of free batch size."""
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    (entry,) = [value for value in graph.input if value.name not in constants]
    new = {entry.name: reads, graph.output[0].name: f"{prefix}embedding", "": ""}
    for tensor in graph.initializer:
        tensor.name = prefix + tensor.name
    _rename_nodes(graph.node, new, prefix=prefix)
    entry.name = reads
    entry.type.tensor_type.shape.dim[0].dim_param = "batch"
    return entry


def _rename_nodes(nodes: Any, new: dict[str, str], *, prefix: str) -> None:
    for node in nodes:
        node.name = prefix + node.name if node.name else ""
        node.input[:] = [new.get(name, prefix + name) for name in node.input]
        node.output[:] = [new.get(name, prefix + name) for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                msg = f"an encoder's {node.op_type} holds a graph of its own; such encoders cannot be joined"
                raise ModelIntegrityError(msg)


def _width(model: onnx.ModelProto) -> int:
    constants = {tensor.name for tensor in model.graph.initializer}
    entries = [value for value in model.graph.input if value.name not in constants]
    shapes = [_shape(value) for value in model.graph.output]
    if len(entries) != 1 or len(shapes) != 1 or len(shapes[0]) != 2 or not isinstance(shapes[0][1], int):  # noqa: PLR2004
        msg = f"an encoder has {len(entries)} inputs and outputs {shapes}; one input and one output (B, D) are needed"
        raise ModelIntegrityError(msg)
    return int(shapes[0][1])


def _shape(value: Any) -> tuple[int | str, ...]:
    return tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
