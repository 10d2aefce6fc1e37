from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.models.tiny import tiny_model
from verify.errors import ModelIntegrityError
from verify.models import open_bundle
from verify.models.bundle import load_session
from verify.models.graphs.arcface import to_onnx
from verify.models.graphs.blockquant import dequantise, fold_dequantised
from verify.models.graphs.opencv_zoo import sface_to_onnx, yunet_to_onnx
from verify.models.graphs.reading import read_model

if TYPE_CHECKING:
    from pathlib import Path


def quantised_model(
    quantised: np.ndarray, scale: np.ndarray, zero: np.ndarray, **attributes: int
) -> onnx.ModelProto:
    """DequantizeLinear on constants, a Reshape behind it, added to the input."""
    constants = {"q": quantised, "s": scale, "z": zero, "shape": np.array([-1], dtype=np.int64)}
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], **attributes),
            helper.make_node("Reshape", ["w", "shape"], ["flat"]),
            helper.make_node("Add", ["input", "flat"], ["sum"]),
        ],
        "quantised",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [quantised.size])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@given(
    rows=st.integers(1, 5),
    blocks=st.integers(1, 4),
    block=st.integers(1, 7),
    axis=st.sampled_from([0, 1]),
    seed=st.integers(0, 2**32 - 1),
)
def test_folding_blocks_equals_the_operators_definition(rows, blocks, block, axis, seed) -> None:
    rng = np.random.default_rng(seed)
    shape = (rows, blocks * block) if axis else (blocks * block, rows)
    scales = (rows, blocks) if axis else (blocks, rows)
    quantised = rng.integers(-128, 128, shape, dtype=np.int8)
    scale = rng.uniform(1e-4, 2, scales).astype(np.float32)
    zero = rng.integers(-128, 128, scales, dtype=np.int8)
    model = quantised_model(quantised, scale, zero, axis=axis, block_size=block)
    assert fold_dequantised(model) == 1
    assert [node.op_type for node in model.graph.node] == ["Add"]
    (folded,) = load_session(model.SerializeToString()).run(None, {"input": np.zeros(1, np.float32)})
    for index in np.ndindex(shape):  # one value at a time, as the standard words it
        place = (index[0], index[1] // block) if axis else (index[0] // block, index[1])
        expected = np.float32(int(quantised[index]) - int(zero[place])) * scale[place]
        assert folded[np.ravel_multi_index(index, shape)] == expected


@pytest.mark.parametrize("axis", [0, 1])
def test_one_scale_for_each_step_of_an_axis(axis: int) -> None:
    quantised = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    scale = np.linspace(0.5, 2, quantised.shape[axis]).astype(np.float32)
    zero = np.arange(quantised.shape[axis], dtype=np.int8)
    model = quantised_model(quantised, scale, zero, axis=axis)
    (expected,) = ReferenceEvaluator(model).run(None, {"input": np.zeros(1, np.float32)})
    assert fold_dequantised(model) == 1
    (found,) = load_session(model.SerializeToString()).run(None, {"input": np.zeros(1, np.float32)})
    np.testing.assert_array_equal(found, expected)


def test_a_last_block_may_be_cut_off_and_wrong_shapes_are_named() -> None:
    quantised = np.array([[10, 20, 30]], dtype=np.int8)
    found = dequantise(quantised, np.array([[1.0, 0.5]], np.float32), axis=1, block_size=2)
    np.testing.assert_array_equal(found, [[10, 20, 15]])
    with pytest.raises(ModelIntegrityError, match="does not fit its scales"):
        dequantise(quantised, np.ones((2, 1), np.float32), axis=1, block_size=2)


def test_what_depends_on_the_input_is_not_folded() -> None:
    model = tiny_model()
    assert fold_dequantised(model) == 0
    assert [node.op_type for node in model.graph.node] == ["Mul"]


@pytest.mark.parametrize("content", [b"", b"not onnx", tiny_model().SerializeToString()[:-9]])
def test_files_that_are_no_models_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelIntegrityError, match=r"file\.onnx is not an ONNX model"):
        read_model(path)


@pytest.mark.parametrize("recipe", [yunet_to_onnx, sface_to_onnx, to_onnx])
def test_another_model_is_not_taken_for_the_wanted_one(tmp_path: Path, recipe) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model().SerializeToString())
    with pytest.raises(ModelIntegrityError, match=r"tiny\.onnx is n"):
        recipe(path)


@pytest.mark.parametrize("opset", [11, 18])
def test_arcface_gets_pixels_batch_and_unit_norm(tmp_path: Path, opset: int) -> None:
    weight = np.random.default_rng(0).normal(size=(3 * 112 * 112, 5)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["data"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["fc1"]),
        ],
        "arcface",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["None", 3, 112, 112])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    path = tmp_path / "arcface.onnx"
    path.write_bytes(model.SerializeToString())
    converted = to_onnx(path)["model.onnx"]
    onnx.checker.check_model(converted, full_check=True)
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 3, 112, 112)).astype(np.float32)
    (found,) = load_session(converted.SerializeToString()).run(["embedding"], {"input": pixels})
    raw = ((pixels.astype(np.float64) - 127.5) / 127.5).reshape(2, -1) @ weight
    np.testing.assert_allclose(found, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-4)


@pytest.mark.models
def test_yunet_takes_any_batch_and_size(face_bundle) -> None:
    session = face_bundle.locator().session()
    photos = np.random.default_rng(0).uniform(0, 255, (2, 3, 64, 96)).astype(np.float32)
    together = session.run(None, {"input": photos})
    assert [output.shape[1] for output in together[:3]] == [8 * 12, 4 * 6, 2 * 3]
    for i in range(2):
        alone = session.run(None, {"input": photos[i : i + 1]})
        for both, one in zip(together, alone, strict=True):
            np.testing.assert_allclose(both[i], one[0], atol=1e-4)


@pytest.mark.models
def test_sface_embeds_batches_to_unit_length(face_bundle) -> None:
    faces = np.random.default_rng(0).uniform(0, 255, (3, 3, 112, 112)).astype(np.float32)
    (together,) = face_bundle.session().run(None, {"input": faces})
    assert together.shape == (3, face_bundle.card.dim)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    (alone,) = face_bundle.session().run(None, {"input": faces[1:2]})
    np.testing.assert_allclose(alone[0], together[1], atol=1e-5)


@pytest.mark.models
def test_the_default_bundles_are_the_pinned_ones(models_dir: Path) -> None:
    from verify.models.registry import entries

    for name in ("yunet", "sface", "silero-vad", "campplus"):
        assert open_bundle(name, models_dir=models_dir).model_id == entries()[name].model_id
