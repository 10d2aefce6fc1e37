"""Small face encoders as bundles, built in milliseconds, that YuNet's faces can be put through."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from onnx import version_converter

from verify.models.assemble import file_facts
from verify.models.bundle import ModelBundle, open_bundle
from verify.models.card import CARD_FILE, Card
from verify.models.graphs.builder import GraphBuilder
from verify.models.identity import graph_content_hash, model_id
from verify.types import Modality

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

SIDES = {"arcface-112": 112, "dlib-chip": 150}


def graph(side: int, *, dim: int, seed: int, opset: int = 17) -> onnx.ModelProto:
    """Eight coarse random filters over a photo, their means, a random projection, unit length."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder("small")
    step = side // 7
    weight = rng.normal(size=(8, 3, step, step)) / (255 * step)
    x = builder.conv("input", weight, strides=[step, step], relu=True)
    flat = builder.op("Flatten", x)
    cells = 8 * (((side - step) // step) + 1) ** 2
    mapped = builder.op("MatMul", flat, builder.constant(rng.normal(size=(cells, dim))))
    builder.unit_l2(mapped, output="embedding")
    made = builder.build(inputs={"input": ["batch", 3, side, side]}, outputs={"embedding": ["batch", dim]})
    return made if opset == 17 else version_converter.convert_version(made, opset)


def face_encoder(
    folder: Path,
    *,
    alignment: str = "arcface-112",
    dim: int = 6,
    seed: int = 0,
    locator: tuple[str, str] = ("yunet", "0" * 64),
    licence: str = "CC0-1.0",
    models_dir: Path | None = None,
) -> ModelBundle:
    """Write and open a whole bundle, named after its folder."""
    folder.mkdir(parents=True)
    side = SIDES[alignment]
    model = graph(side, dim=dim, seed=seed)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    content = {"model.onnx": graph_content_hash(model)}
    contract = {
        "kind": "aligned-face", "revision": 1, "alignment": alignment, "size_px": [side, side],
        "colour": "rgb", "range": "0..255", "layout": "NCHW",
    }  # fmt: skip
    card = Card(
        name=folder.name,
        task="embedder",
        modality=Modality.FACE,
        model_id=model_id(content=content, input_contract=contract, postprocessing={}, locator_id=locator[1]),
        dim=dim,
        input=contract,
        requires={"locator": {"name": locator[0], "model_id": locator[1]}},
        licence=licence,
        sources=({"kind": "file", "address": "by formula"},),
        training_data="none",
        files={"model.onnx": file_facts(folder / "model.onnx")},
        content=content,
        commercial_use=licence == "CC0-1.0",
    )
    (folder / CARD_FILE).write_text(json.dumps(card.to_json()))
    return open_bundle(folder, models_dir=models_dir)
