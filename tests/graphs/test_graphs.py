from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs.checkpoints import both_formats, legacy, tensor
from verify.errors import DataError
from verify.models.bundle import load_session
from verify.models.graphs import campplus, ge2e, inception_resnet_v1, mtcnn
from verify.models.graphs.builder import (
    IR_VERSION,
    OPSET,
    GraphBuilder,
    batchnorm_affine,
    fixed_order_product,
    fold_after,
)
from verify.models.identity import graph_content_hash
from verify.models.weights import Weights

HIDDEN, MELS, DIM = 6, 5, 4
MTCNN_SHAPES = {
    "pnet": {
        "conv1": (10, 3, 3, 3), "conv2": (16, 10, 3, 3), "conv3": (32, 16, 3, 3), "conv4_1": (2, 32, 1, 1),
        "conv4_2": (4, 32, 1, 1),
    },
    "rnet": {
        "conv1": (28, 3, 3, 3), "conv2": (48, 28, 3, 3), "conv3": (64, 48, 2, 2), "dense4": (128, 576),
        "dense5_1": (2, 128), "dense5_2": (4, 128),
    },
    "onet": {
        "conv1": (32, 3, 3, 3), "conv2": (64, 32, 3, 3), "conv3": (64, 64, 3, 3), "conv4": (128, 64, 2, 2),
        "dense5": (256, 1152), "dense6_1": (2, 256), "dense6_2": (4, 256), "dense6_3": (10, 256),
    },
}  # fmt: skip


def run(model, **inputs: np.ndarray):
    session = load_session(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def ge2e_state(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"similarity_weight": (1,), "similarity_bias": (1,)}
    for layer, width in enumerate((MELS, HIDDEN, HIDDEN)):
        shapes |= {
            f"lstm.weight_ih_l{layer}": (4 * HIDDEN, width),
            f"lstm.weight_hh_l{layer}": (4 * HIDDEN, HIDDEN),
        }
        shapes |= {f"lstm.bias_{kind}_l{layer}": (4 * HIDDEN,) for kind in ("ih", "hh")}
    shapes |= {"linear.weight": (DIM, HIDDEN), "linear.bias": (DIM,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def mtcnn_state(stage: str, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in MTCNN_SHAPES[stage].items():
        fan_in = np.prod(shape[1:])
        state[f"{name}.weight"] = (rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
        state[f"{name}.bias"] = rng.standard_normal(shape[0]).astype(np.float32) * np.float32(0.1)
        number = name.removeprefix("conv").removeprefix("dense")
        if "_" not in number:
            state[f"prelu{number}.weight"] = rng.uniform(0.1, 0.3, shape[0]).astype(np.float32)
    return state


def lstm_by_hand(state, features):
    """The textbook's LSTM in float64; gates in torch's order: input, forget, cell, output."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    sequence = features.astype(np.float64)
    for layer in range(3):
        part = {
            k: state[f"lstm.{k}_l{layer}"].astype(np.float64)
            for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        hidden = cell = np.zeros((len(features), HIDDEN))
        states = []
        for step in range(sequence.shape[1]):
            gates = (
                sequence[:, step] @ part["weight_ih"].T
                + part["bias_ih"]
                + hidden @ part["weight_hh"].T
                + part["bias_hh"]
            )
            entry, forget, new, out = np.split(gates, 4, axis=1)
            cell = sigmoid(forget) * cell + sigmoid(entry) * np.tanh(new)
            hidden = sigmoid(out) * np.tanh(cell)
            states.append(hidden)
        sequence = np.stack(states, axis=1)
    raw = np.maximum(hidden @ state["linear.weight"].T + state["linear.bias"], 0)
    return raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)


def test_ge2e_computes_the_textbooks_lstm() -> None:
    state = ge2e_state()
    model = ge2e.ge2e_graph(Weights(state, source="made"))
    features = np.random.default_rng(1).standard_normal((3, 160, MELS)).astype(np.float32)
    embedding = run(model, features=features)["embedding"]
    np.testing.assert_allclose(embedding, lstm_by_hand(state, features), atol=2e-6)


def test_ge2e_reads_the_model_beside_its_optimiser(tmp_path) -> None:
    state = ge2e_state()
    arrays = list(state.values())
    tree = {
        "step": 1,
        "model_state": {n: tensor(str(i), a, legacy=True) for i, (n, a) in enumerate(state.items())},
    }
    path = tmp_path / "pretrained.pt"
    path.write_bytes(legacy(tree, *arrays))
    model = ge2e.to_onnx(path)["model.onnx"]
    assert graph_content_hash(model) == graph_content_hash(ge2e.ge2e_graph(Weights(state, source="made")))


@pytest.mark.parametrize(("stage", "side"), [("pnet", 12), ("pnet", 37), ("rnet", 24), ("onet", 48)])
def test_mtcnn_takes_any_batch_and_treats_each_photo_alone(stage, side) -> None:
    model = mtcnn.GRAPHS[stage](Weights(mtcnn_state(stage), source="made"))
    photos = np.random.default_rng(5).uniform(-1, 1, (3, 3, side, side)).astype(np.float32)
    together = run(model, input=photos)
    assert next(iter(together)) == "boxes"
    assert list(together)[-1] == "scores"
    np.testing.assert_allclose(together["scores"].sum(axis=1), 1.0, atol=1e-6)
    for index in range(3):
        alone = run(model, input=photos[index : index + 1])
        for name, value in alone.items():
            np.testing.assert_allclose(value[0], together[name][index], atol=1e-5)


def test_pnet_slides_a_window_of_12_px_by_2_px() -> None:
    model = mtcnn.pnet_graph(Weights(mtcnn_state("pnet"), source="made"))
    photo = np.random.default_rng(6).uniform(-1, 1, (1, 3, 30, 44)).astype(np.float32)
    boxes = run(model, input=photo)["boxes"]
    assert boxes.shape == (1, 4, 10, 17)
    window = photo[:, :, 4:16, 10:22]
    np.testing.assert_allclose(run(model, input=window)["boxes"][0, :, 0, 0], boxes[0, :, 2, 5], atol=1e-5)


def test_mtcnn_reads_a_folder_or_one_file(tmp_path) -> None:
    for stage in mtcnn.STAGES:
        (tmp_path / f"{stage}.pt").write_bytes(both_formats(mtcnn_state(stage))[1])
    assert list(mtcnn.to_onnx(tmp_path)) == ["pnet.onnx", "rnet.onnx", "onet.onnx"]
    assert list(mtcnn.to_onnx(tmp_path / "rnet.pt")) == ["rnet.onnx"]
    (tmp_path / "rnet.pt").unlink()
    with pytest.raises(DataError, match=r"rnet\.pt"):
        mtcnn.to_onnx(tmp_path)
    with pytest.raises(DataError, match=r"qnet\.pt: MTCNN's weights are called"):
        mtcnn.to_onnx(tmp_path / "qnet.pt")


@pytest.mark.parametrize(
    "module",
    [campplus, ge2e, inception_resnet_v1, mtcnn],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
def test_weights_of_another_network_are_named(tmp_path, module) -> None:
    path = tmp_path / "pnet.pt"
    state = (
        {"model_state": {"w": tensor("0", np.zeros(3, np.float32), legacy=True)}} if module is ge2e else None
    )
    other = np.zeros(3, np.float32)
    path.write_bytes(legacy(state, other) if state else both_formats({"w": other})[0])
    with pytest.raises(DataError, match=r"pnet\.pt: has no tensor"):
        module.to_onnx(path)


@pytest.mark.parametrize("shape", [(10, 3, 3), (10, 4, 3, 3), (11, 3, 3, 3), ()])
def test_weights_of_other_shapes_are_named(shape) -> None:
    state = mtcnn_state("pnet") | {"conv1.weight": np.zeros(shape, np.float32)}
    with pytest.raises(DataError, match=r"made: its tensors do not have the shapes of MTCNN's P-Net"):
        mtcnn.pnet_graph(Weights(state, source="made"))


def test_the_same_weights_give_the_same_bytes() -> None:
    first, second = (
        mtcnn.rnet_graph(Weights(mtcnn_state("rnet"), source=s)).SerializeToString() for s in "ab"
    )
    assert first == second
    other = mtcnn.rnet_graph(Weights(mtcnn_state("rnet", seed=1), source="a"))
    assert other.SerializeToString() != first


def test_graphs_are_of_the_stated_versions() -> None:
    model = mtcnn.pnet_graph(Weights(mtcnn_state("pnet"), source="made"))
    assert [(item.domain, item.version) for item in model.opset_import] == [("", OPSET)]
    assert (model.ir_version, model.producer_name, model.producer_version) == (IR_VERSION, "verify", "")


def test_a_row_of_zeros_has_no_direction_and_no_nan() -> None:
    graph = GraphBuilder("norm")
    graph.unit_l2("x", output="y")
    model = graph.build(inputs={"x": ["B", 3]}, outputs={"y": ["B", 3]})
    rows = np.array([[0, 0, 0], [3, 0, 4], [1e-8, 0, 0]], np.float32)
    np.testing.assert_allclose(run(model, x=rows)["y"], [[0, 0, 0], [0.6, 0, 0.8], [1, 0, 0]], atol=1e-6)


def test_a_constants_name_is_given_once() -> None:
    graph = GraphBuilder("names")
    graph.constant([1, 2], name="axes")
    with pytest.raises(ValueError, match="'axes' is there already"):
        graph.constant([1], name="axes")


@given(seed=st.integers(0, 2**32 - 1), affine=st.booleans())
@settings(deadline=None, max_examples=40)
def test_folding_a_normalisation_is_exact(seed, affine) -> None:
    rng = np.random.default_rng(seed)
    norm = {"n.running_mean": rng.normal(size=4), "n.running_var": rng.uniform(0.01, 9, 4)}
    if affine:
        norm |= {"n.weight": rng.normal(size=4), "n.bias": rng.normal(size=4)}
    weight, x = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    folded, bias = fold_after(weight, *batchnorm_affine(norm, "n"))
    plain = (x @ weight.T - norm["n.running_mean"]) / np.sqrt(norm["n.running_var"] + 1e-5)
    expected = plain * norm.get("n.weight", 1.0) + norm.get("n.bias", 0.0)
    np.testing.assert_allclose(x @ folded.T + bias, expected, rtol=1e-9, atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), columns=st.integers(1, 300))
@settings(deadline=None, max_examples=40)
def test_products_are_summed_from_left_to_right(seed, rows, columns) -> None:
    rng = np.random.default_rng(seed)
    matrix, vector = rng.normal(size=(rows, columns)), rng.normal(size=columns)
    expected = []
    for row in matrix:
        total = row[0] * vector[0]
        for a, b in zip(row[1:], vector[1:], strict=True):
            total += a * b
        expected.append(total)
    assert fixed_order_product(matrix, vector).tolist() == expected  # to the last bit
