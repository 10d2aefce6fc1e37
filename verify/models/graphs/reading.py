"""Read foreign ONNX files; what is malformed is named instead of crashing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from verify.errors import ModelIntegrityError

if TYPE_CHECKING:
    from pathlib import Path


def read_model(path: Path) -> onnx.ModelProto:
    """Read one self-contained ONNX file.

    Raises:
        ModelIntegrityError: not ONNX, empty, or its weights lie in other files.
    """
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, ValueError) as error:
        msg = f"{path} is not an ONNX model: {error}"
        raise ModelIntegrityError(msg) from error
    if not model.graph.node:
        msg = f"{path} is not an ONNX model: it has no nodes"
        raise ModelIntegrityError(msg)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        msg = f"{path} keeps its weights in other files; bring a self-contained ONNX file"
        raise ModelIntegrityError(msg)
    return model
