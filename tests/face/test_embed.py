from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from verify.errors import ModelError, UsageError
from verify.face.embed import _BATCH, FaceEmbedder

CONTRACT = {"alignment": "arcface-112", "colour": "rgb", "range": "0..255", "layout": "NCHW"}


class Session:
    """Stands for ONNX Runtime: the embedding is the mean colour, unless told otherwise."""

    def __init__(self, give=None) -> None:
        self.batches = []
        self.give = give

    def get_inputs(self):
        return [SimpleNamespace(name="input")]

    def run(self, names, feed):
        del names
        blob = feed["input"]
        self.batches.append(blob.shape)
        assert blob.dtype == np.float32
        return [self.give if self.give is not None else blob.mean(axis=(2, 3)) + 1]


def bundle(session, *, files=("model.onnx",), **contract: str):
    card = SimpleNamespace(dim=3, input=CONTRACT | contract, files={name: {} for name in files})
    return SimpleNamespace(name="fake", model_id="ab" * 32, card=card, session=lambda **_: session)


def test_rows_are_unit_length_in_order_and_batches_bounded():
    session = Session()
    embedder = FaceEmbedder(bundle(session))
    colours = np.random.default_rng(0).integers(0, 256, (2 * _BATCH + 5, 3))
    chips = [np.full((112, 112, 3), colour, np.uint8) for colour in colours]
    vectors = embedder.embed(chips)
    expected = (colours + 1.0) / np.linalg.norm(colours + 1.0, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert vectors.dtype == np.float32
    assert [shape[0] for shape in session.batches] == [_BATCH, _BATCH, 5]
    assert all(shape[1:] == (3, 112, 112) for shape in session.batches)


def test_nothing_gives_an_empty_matrix():
    assert FaceEmbedder(bundle(Session())).embed([]).shape == (0, 3)


@pytest.mark.parametrize("bad", [np.zeros((1, 3), np.float32), np.full((1, 3), np.nan, np.float32)])
def test_an_embedding_without_direction_is_a_model_error(bad):
    with pytest.raises(ModelError, match="fake"):
        FaceEmbedder(bundle(Session(give=bad))).embed([np.zeros((112, 112, 3), np.uint8)])


@pytest.mark.parametrize("chip", [np.zeros((112, 112), np.uint8), np.zeros((112, 112, 3), np.float32)])
def test_what_is_no_chip_is_refused(chip):
    with pytest.raises(UsageError, match="uint8"):
        FaceEmbedder(bundle(Session())).embed([chip])


@pytest.mark.parametrize("other", [{"colour": "bgr"}, {"range": "-1..1"}, {"layout": "NHWC"}])
def test_a_contract_that_is_not_kept_is_refused_at_opening(other):
    with pytest.raises(ModelError, match="fake"):
        FaceEmbedder(bundle(Session(), **other))
