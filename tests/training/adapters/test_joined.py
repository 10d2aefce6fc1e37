from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.models.tiny import tiny_model
from tests.training.adapters.encoders import face_encoder, graph
from verify.errors import ModelError, ModelIntegrityError, UsageError
from verify.face.embed import FaceEmbedder
from verify.face.normalise import normalise, views
from verify.models.bundle import load_session
from verify.models.graphs.joined import joined
from verify.models.identity import graph_content_hash
from verify.models.views import joint_contract
from verify.training.adapters import Affine
from verify.types import FaceRegion, Modality, Sample

RNG = np.random.default_rng(2)


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> np.ndarray:
    return load_session(model.SerializeToString()).run(None, feeds)[0]


def photos(side: int, count: int = 3) -> np.ndarray:
    return RNG.uniform(0, 255, (count, 3, side, side)).astype(np.float32)


@pytest.mark.parametrize("opsets", [(17, 17), (17, 21), (21, 17)])
def test_two_encoders_and_a_matrix_compute_what_they_do_apart(opsets: tuple[int, int]) -> None:
    one = graph(112, dim=6, seed=0, opset=opsets[0])
    two = graph(150, dim=5, seed=1, opset=opsets[1])
    affine = Affine(RNG.normal(size=(11, 4)), RNG.normal(size=4))
    before = [model.SerializeToString() for model in (one, two)]
    fused = joined([one, two], inputs=["view_0", "view_1"], matrix=affine.matrix, offset=affine.offset)
    onnx.checker.check_model(fused, full_check=True)
    small, large = photos(112), photos(150)
    apart = np.hstack([run(one, input=small), run(two, input=large)])
    found = run(fused, view_0=small, view_1=large)
    assert found == pytest.approx(affine.apply(apart), abs=2e-6)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-6)
    assert run(fused, view_0=small[:1], view_1=large[:1]) == pytest.approx(found[:1], abs=1e-6)
    assert [model.SerializeToString() for model in (one, two)] == before  # what was given stays as it was


def test_encoders_of_one_view_share_its_input() -> None:
    one, two = graph(112, dim=3, seed=0), graph(112, dim=3, seed=1)
    fused = joined([one, two], inputs=["input", "input"], matrix=np.eye(6), offset=np.zeros(6))
    x = photos(112)
    apart = np.hstack([run(one, input=x), run(two, input=x)])
    assert run(fused, input=x) == pytest.approx(apart / np.sqrt(2), abs=1e-6)


def test_another_matrix_is_another_model() -> None:
    encoder = graph(112, dim=3, seed=0)
    hashes = {
        graph_content_hash(joined([encoder], inputs=["input"], matrix=np.eye(3) * f, offset=np.zeros(3)))
        for f in (1.0, 1.0, 2.0)
    }
    assert len(hashes) == 2


def test_a_mapped_embedding_of_zeros_is_not_nan() -> None:
    fused = joined([graph(112, dim=3, seed=0)], inputs=["input"], matrix=np.zeros((3, 2)), offset=np.zeros(2))
    assert (run(fused, input=photos(112)) == 0).all()


def test_what_does_not_fit_is_refused() -> None:
    one, two = graph(112, dim=3, seed=0), graph(150, dim=3, seed=1)
    with pytest.raises(ModelIntegrityError, match="does not fit"):
        joined([one], inputs=["input"], matrix=np.eye(4), offset=np.zeros(4))
    with pytest.raises(ModelIntegrityError, match="share the input"):
        joined([one, two], inputs=["input", "input"], matrix=np.eye(6), offset=np.zeros(6))
    two_ends = tiny_model()
    two_ends.graph.output.append(two_ends.graph.output[0])
    with pytest.raises(ModelIntegrityError, match="one output"):
        joined([two_ends], inputs=["input"], matrix=np.eye(3), offset=np.zeros(3))
    foreign = graph(112, dim=3, seed=0)
    foreign.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    with pytest.raises(ModelIntegrityError, match=r"com\.example"):
        joined([foreign], inputs=["input"], matrix=np.eye(3), offset=np.zeros(3))


def test_equal_contracts_stay_one_and_others_become_views(tmp_path: Path) -> None:
    one, two = face_encoder(tmp_path / "one"), face_encoder(tmp_path / "two", seed=1)
    dlib = face_encoder(tmp_path / "three", alignment="dlib-chip")
    assert joint_contract([one, two]) == (dict(one.card.input), ("input", "input"))
    contract, inputs = joint_contract([one, dlib, two])
    assert inputs == ("view_0", "view_1", "view_0")
    assert [view["alignment"] for view in contract["views"]] == ["arcface-112", "dlib-chip"]
    assert (contract["colour"], contract["revision"]) == ("rgb", 1)
    assert "alignment" not in contract


def test_encoders_that_no_one_photo_can_feed_are_refused(tmp_path: Path) -> None:
    one = face_encoder(tmp_path / "one")
    other = face_encoder(tmp_path / "two", locator=("mtcnn", "1" * 64))
    with pytest.raises(UsageError, match="one and two: one is cut by yunet, the other by mtcnn"):
        joint_contract([one, other])


def test_a_face_in_two_views_and_no_fewer(tmp_path: Path) -> None:
    dlib = face_encoder(tmp_path / "one", alignment="dlib-chip")
    contract, _ = joint_contract([face_encoder(tmp_path / "two"), dlib])
    media = RNG.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    sample = Sample(Modality.FACE, media, "<photo>", "0" * 64)
    marks = np.array([[120, 130], [180, 130], [150, 165], [126, 195], [174, 195]], np.float32)
    region = FaceRegion(box_px=(90.0, 80.0, 210.0, 230.0), landmarks_px=marks, score=0.9)
    seen = views(sample, region, contract=contract)
    assert [chip.shape for chip in seen] == [(112, 112, 3), (150, 150, 3)]
    assert np.array_equal(seen[1], normalise(sample, region, contract=dlib.card.input))
    assert len(views(sample, region, contract=dlib.card.input)) == 1
    embedder = FaceEmbedder(dlib)
    assert np.array_equal(embedder.embed([seen[1]]), embedder.embed([(seen[1],)]))
    with pytest.raises(UsageError, match="takes 1 views of a face, not 2"):
        embedder.embed([seen])
    with pytest.raises(ModelError, match="aligned as"):
        views(sample, region, contract={"views": [{"alignment": "sideways"}]})
