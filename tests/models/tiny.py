"""Tiny models that stand in for real ones: built in milliseconds, computed by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from verify.models.assemble import file_facts
from verify.models.card import CARD_FILE, Card, read_card
from verify.models.identity import graph_content_hash, model_id
from verify.types import Modality

if TYPE_CHECKING:
    from pathlib import Path


def tiny_model(scale: float = 2.0, *, producer: str = "test") -> onnx.ModelProto:
    """`input` (batch, 3) times `scale` -> `embedding` (batch, 3)."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["input", "scale"], ["embedding"])],
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.array([scale, 1.0, 1.0], dtype=np.float32), "scale")],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name=producer)


def write_bundle(
    folder: Path,
    *,
    name: str = "tiny",
    scale: float = 2.0,
    locator: tuple[str, str] | None = None,
    changes: dict[str, Any] | None = None,
) -> Card:
    """Write a whole bundle; `changes` overwrite fields of card.json afterwards."""
    folder.mkdir(parents=True)
    model = tiny_model(scale)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    content = {"model.onnx": graph_content_hash(model)}
    requires = {"locator": {"name": locator[0], "model_id": locator[1]}} if locator else {}
    contract = {"kind": "numbers"}
    card = Card(
        name=name,
        task="embedder" if locator else "locator",
        modality=Modality.FACE,
        model_id=model_id(
            content=content,
            input_contract=contract,
            postprocessing={},
            locator_id=locator[1] if locator else None,
        ),
        dim=3,
        input=contract,
        requires=requires,
        licence="CC0-1.0",
        sources=({"kind": "file", "address": "by hand"},),
        training_data="none",
        files={"model.onnx": file_facts(folder / "model.onnx")},
        content=content,
    )
    (folder / CARD_FILE).write_text(json.dumps(card.to_json() | (changes or {})))
    return card if changes else read_card(folder / CARD_FILE)
