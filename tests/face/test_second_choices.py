"""MTCNN, dlib's network and SFace on mirror images: the second choices keep the same promises as the first."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from verify.face.decode import decode
from verify.face.embed import open_embedder
from verify.face.locate import MtcnnLocator, YuNetLocator, open_locator
from verify.face.normalise import normalise
from verify.models import open_bundle

pytestmark = [pytest.mark.models, pytest.mark.media]


def pulled(name, models_dir):
    environment = os.environ | {"VERIFY_MODELS": str(models_dir)}
    command = [sys.executable, "-m", "verify", "models", "pull", name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{name} cannot be fetched here: {done.stderr.strip()[-300:]}")
    return open_bundle(name, models_dir=models_dir)


@pytest.fixture(scope="module")
def photos(data_dir):
    folders = [
        p for p in sorted((data_dir / "faces" / "celeba").iterdir()) if len(list(p.glob("*.jpg"))) >= 4
    ]
    return [decode(min(folder.iterdir())) for folder in folders[:60:6]]


def test_mtcnn_finds_the_faces_that_yunet_finds(photos, face_bundle, models_dir):
    mtcnn = open_locator(pulled("mtcnn", models_dir))
    assert isinstance(mtcnn, MtcnnLocator)
    yunet = YuNetLocator(face_bundle.locator())
    apart = []
    for photo in photos:
        theirs, ours = mtcnn.locate(photo), yunet.locate(photo)
        assert theirs
        assert ours
        assert theirs[0].landmarks_px.shape == (5, 2)
        assert 0.7 <= theirs[0].score <= 1
        apart.append(np.abs(theirs[0].landmarks_px - ours[0].landmarks_px).mean() / ours[0].size_px)
    assert np.median(apart) < 0.03
    assert max(apart) < 0.1


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (12, 12), (200, 300)])
def test_mtcnn_finds_nothing_where_nothing_is(shape, models_dir):
    mtcnn = open_locator(pulled("mtcnn", models_dir))
    assert mtcnn.locate(decode(np.full((*shape, 3), 90, np.uint8))) == ()


@pytest.mark.parametrize("name", ["dlib-resnet", "sface-mirror"])
def test_second_encoders_tell_people_apart(name, data_dir, models_dir):
    bundle = pulled(name, models_dir)
    locator, embedder = open_locator(bundle.locator()), open_embedder(bundle)
    folders = [
        p
        for p in sorted((data_dir / "faces" / "lfw").iterdir())
        if p.is_dir() and len(list(p.iterdir())) >= 4
    ]
    views = []
    for folder in folders[5:45:10]:
        for path in sorted(folder.iterdir())[:2]:
            sample = decode(path)
            views.append(normalise(sample, locator.locate(sample)[0], contract=bundle.card.input))
    vectors = embedder.embed(views)
    assert vectors.shape == (8, 128)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    scores = vectors[0::2] @ vectors[1::2].T
    assert np.abs(embedder.embed([view[:, ::-1] for view in views]) - vectors).max() < 1e-5
    assert np.diag(scores).min() > scores[~np.eye(4, dtype=bool)].max()
