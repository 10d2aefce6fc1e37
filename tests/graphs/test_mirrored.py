from __future__ import annotations

import numpy as np
import pytest

from verify.models.bundle import load_session
from verify.models.graphs.builder import GraphBuilder
from verify.models.graphs.mirrored import mirrored


def encoder(*, side: int = 6, dim: int = 5):
    """A small encoder that cares where a pixel lies, and its weights."""
    weight = np.random.default_rng(3).normal(0, 1, (dim, 3, side, side))
    graph = GraphBuilder("small")
    features = graph.op("Flatten", graph.conv("input", weight), axis=1)
    graph.unit_l2(features, output="embedding")
    model = graph.build(inputs={"input": ["B", 3, side, side]}, outputs={"embedding": ["B", dim]})
    return model, weight


def by_hand(weight, photos):
    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    once, turned = (unit(np.einsum("ochw,bchw->bo", weight, view)) for view in (photos, photos[..., ::-1]))
    return unit(once + turned)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_both_views_count_the_same_and_rows_stay_apart(batch) -> None:
    model, weight = encoder()
    photos = np.random.default_rng(batch).normal(0, 1, (batch, 3, 6, 6)).astype(np.float32)
    (found,) = load_session(mirrored(model).SerializeToString()).run(None, {"input": photos})
    np.testing.assert_allclose(found, by_hand(weight, photos), atol=1e-5)


def test_a_face_and_its_mirror_image_have_one_embedding() -> None:
    session = load_session(mirrored(encoder()[0]).SerializeToString())
    photos = np.random.default_rng(0).normal(0, 1, (3, 3, 6, 6)).astype(np.float32)
    (once,) = session.run(None, {"input": photos})
    (turned,) = session.run(None, {"input": np.ascontiguousarray(photos[..., ::-1])})
    np.testing.assert_allclose(once, turned, atol=1e-6)
    assert np.abs(once[0] - once[1]).max() > 1e-2


def test_opposite_embeddings_give_zeros_not_nan() -> None:
    graph = GraphBuilder("odd")
    left = graph.op("Slice", "input", graph.constant([0]), graph.constant([1]), graph.constant([3]))
    right = graph.op("Slice", "input", graph.constant([1]), graph.constant([2]), graph.constant([3]))
    graph.unit_l2(graph.op("Flatten", graph.op("Sub", left, right), axis=1), output="embedding")
    model = graph.build(inputs={"input": ["B", 3, 1, 2]}, outputs={"embedding": ["B", 3]})
    photo = np.array([1, 0, 2, 0, 3, 0], np.float32).reshape(1, 3, 1, 2)
    (found,) = load_session(mirrored(model).SerializeToString()).run(None, {"input": photo})
    assert found.tolist() == [[0, 0, 0]]


def test_the_same_bytes_every_time() -> None:
    assert mirrored(encoder()[0]).SerializeToString() == mirrored(encoder()[0]).SerializeToString()
