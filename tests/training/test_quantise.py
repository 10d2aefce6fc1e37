"""Half precision and integers, on graphs small enough to know what must come out."""

from __future__ import annotations

import numpy as np
import pytest

from verify.errors import DataError
from verify.models.bundle import load_session
from verify.models.graphs.builder import GraphBuilder
from verify.training.quantise import half, integer
from verify.types import Modality


def small_graph(*, scale: float = 1.0):
    """A convolution over (B, 3, 8, 8), pooled to (B, 16) of unit L2 norm."""
    rng = np.random.default_rng(0)
    g = GraphBuilder("small")
    hidden = g.conv("input", (scale * rng.normal(0, 0.2, (16, 3, 3, 3))).astype(np.float32), relu=True)
    flat = g.op("Flatten", g.op("GlobalAveragePool", hidden))
    g.unit_l2(flat, output="embedding")
    return g.build(inputs={"input": ("B", 3, 8, 8)}, outputs={"embedding": ("B", 16)})


def run(model, values: np.ndarray) -> np.ndarray:
    (rows,) = load_session(model.SerializeToString()).run(None, {"input": values})
    return rows


@pytest.fixture
def photos() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (40, 3, 8, 8)).astype(np.float32)


def test_half_stores_sixteen_bits_and_computes_nearly_the_same(photos: np.ndarray) -> None:
    from onnx import TensorProto

    model = small_graph()
    before = model.SerializeToString()
    smaller = half(model)
    assert model.SerializeToString() == before
    kinds = {tensor.data_type for tensor in smaller.graph.initializer if np.prod(tensor.dims) >= 256}
    assert kinds == {TensorProto.FLOAT16}
    difference = np.abs(run(smaller, photos) - run(model, photos)).max()
    assert 0 < difference < 1e-3


def test_what_half_cannot_hold_stays_as_it_is(photos: np.ndarray) -> None:
    model = small_graph(scale=1e6)
    assert np.array_equal(run(half(model), photos), run(model, photos))


def test_integers_are_near_and_a_quarter_of_the_size(photos: np.ndarray) -> None:
    model = small_graph()
    made = integer(model, (photo[None] for photo in photos[:20]), modality=Modality.FACE)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in made.graph.node}
    cosines = (run(made, photos[20:]) * run(model, photos[20:])).sum(axis=1)
    assert cosines.min() > 0.999
    assert np.abs(np.linalg.norm(run(made, photos), axis=1) - 1).max() < 1e-5  # the norm stays float
    assert run(made, photos[:7]).shape == (7, 16)


def test_integers_without_samples_are_refused() -> None:
    with pytest.raises(DataError, match="none"):
        integer(small_graph(), iter(()), modality=Modality.FACE)
