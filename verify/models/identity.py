"""What makes a model the same model: hashes that do not depend on how a file was written.

An ONNX file's bytes change with the protobuf library that wrote it; what the graph computes does
not. `graph_content_hash` therefore walks tensors and nodes, and `model_id` is taken over that hash
and everything else that decides what a template means.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import onnx

_CHUNK_BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_sha256(value: Any) -> str:
    """Hex sha256 of a JSON value: keys sorted, no spaces, ASCII; NaN and infinity are refused."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def model_id(
    *,
    content: Mapping[str, str],
    input_contract: Mapping[str, Any],
    postprocessing: Mapping[str, Any],
    locator_id: str | None,
) -> str:
    """The model_id: a hash over weights, preprocessing and post-processing.

    Args:
        content: content hash of each weights file (`graph_content_hash`, or sha256 of foreign files).
        input_contract: everything that preprocessing depends on.
        postprocessing: everything that happens to the raw embedding.
        locator_id: model_id of the locator that the embedder's inputs are cut by; None for locators.
    """
    parts = {
        "content": dict(content),
        "input": dict(input_contract),
        "postprocessing": dict(postprocessing),
        "locator": locator_id,
    }
    return canonical_sha256(parts)


def graph_content_hash(model: onnx.ModelProto) -> str:
    """Hex sha256 over a graph's operator sets, ends, constants (by name) and nodes (in order).

    Names of producers, comments, shape annotations and the order of fields and constants do not
    count.
    """
    digest = hashlib.sha256()
    for domain, version in sorted((item.domain or "ai.onnx", item.version) for item in model.opset_import):
        _feed(digest, "opset", domain, version)
    _feed_graph(digest, model.graph)
    return digest.hexdigest()


def _feed_graph(digest: Any, graph: onnx.GraphProto) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    for kind, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            if value.name not in constants:
                tensor = value.type.tensor_type
                dims = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
                _feed(digest, kind, value.name, tensor.elem_type, *dims)
    for tensor in sorted(graph.initializer, key=lambda item: item.name):
        _feed_tensor(digest, tensor.name, tensor)
    for node in graph.node:
        _feed(digest, "node", node.domain or "ai.onnx", node.op_type, *node.input, "->", *node.output)
        for attribute in sorted(node.attribute, key=lambda item: item.name):
            _feed_attribute(digest, attribute)


def _feed_attribute(digest: Any, attribute: onnx.AttributeProto) -> None:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    _feed(digest, "attribute", attribute.name, attribute.type)
    for item in value if isinstance(value, (list, tuple)) or _is_repeated(value) else [value]:
        if hasattr(item, "op_type") or hasattr(item, "node"):
            _feed_graph(digest, item)
        elif hasattr(item, "data_type") and hasattr(item, "dims"):
            _feed_tensor(digest, "", item)
        else:
            _feed(digest, item)


def _is_repeated(value: Any) -> bool:
    return not isinstance(value, (str, bytes)) and hasattr(value, "__len__") and hasattr(value, "__getitem__")


def _feed_tensor(digest: Any, name: str, tensor: onnx.TensorProto) -> None:
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    _feed(digest, "tensor", name, tensor.data_type, *array.shape)
    digest.update(little.tobytes())


def _feed(digest: Any, *parts: Any) -> None:
    for part in _bytes_of(parts):
        digest.update(struct.pack("<q", len(part)))
        digest.update(part)


def _bytes_of(parts: Iterable[Any]) -> Iterable[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield b"b" + part
        elif isinstance(part, float):
            yield b"f" + struct.pack("<f", part)  # ONNX attributes are float32
        elif isinstance(part, int):
            yield b"i" + str(part).encode()
        else:
            yield b"s" + str(part).encode()
