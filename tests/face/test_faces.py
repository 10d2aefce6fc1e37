"""Real faces through real models: found at every size, the right one, and told apart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from verify.face.decode import decode
from verify.face.embed import FaceEmbedder
from verify.face.locate import YuNetLocator, choose
from verify.face.normalise import normalise
from verify.face.quality import FaceQualityLimits, assess
from verify.protocols import Embedder, Locator

pytestmark = [pytest.mark.models, pytest.mark.media]


@pytest.fixture(scope="module")
def locator(face_bundle):
    return YuNetLocator(face_bundle.locator())


@pytest.fixture(scope="module")
def embedder(face_bundle):
    return FaceEmbedder(face_bundle)


@pytest.fixture(scope="module")
def photos(data_dir):
    """Two photos of each of six people."""
    folders = [
        p
        for p in sorted((data_dir / "faces" / "lfw").iterdir())
        if p.is_dir() and len(list(p.iterdir())) >= 4
    ]
    return [[decode(path) for path in sorted(folder.iterdir())[:2]] for folder in folders[5:65:10]]


def template(sample, locator, embedder):
    chip = normalise(sample, choose(locator.locate(sample)), contract={"alignment": "arcface-112"})
    return embedder.embed([chip])[0]


def test_both_keep_the_protocols(locator, embedder, face_bundle):
    assert isinstance(locator, Locator)
    assert isinstance(embedder, Embedder)
    assert embedder.model_id == face_bundle.model_id
    assert embedder.dim == 128


def test_photos_of_one_person_are_more_alike_than_of_two(photos, locator, embedder):
    vectors = np.array([[template(sample, locator, embedder) for sample in pair] for pair in photos])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), 1, atol=1e-6)
    scores = vectors[:, 0] @ vectors[:, 1].T
    mated, non_mated = np.diag(scores), scores[~np.eye(len(scores), dtype=bool)]
    assert mated.min() > 0.3
    assert mated.min() > non_mated.max()


def test_a_batch_gives_what_single_calls_give(photos, locator, embedder):
    chips = [normalise(p[0], locator.locate(p[0])[0], contract={"alignment": "arcface-112"}) for p in photos]
    together = embedder.embed(chips)
    single = np.concatenate([embedder.embed([chip]) for chip in chips])
    assert np.abs((together * single).sum(axis=1) - 1).max() < 1e-5


@pytest.mark.parametrize("size", [40, 120, 600, 1500])
def test_a_face_of_any_size_is_found_in_a_large_photo(size, photos, locator):
    face = photos[0][0].media
    zoom = size / locator.locate(photos[0][0])[0].size_px
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    face = cv2.resize(face, None, fx=zoom, fy=zoom, interpolation=method)
    rows, columns = np.mgrid[:3000, :4000]
    scene = np.stack([rows // 20 % 200, columns // 25 % 200, (rows + columns) // 40 % 200], axis=2).astype(
        np.uint8
    )
    top, left = (3000 - face.shape[0]) // 3, 0 if face.shape[1] > 4000 else (4000 - face.shape[1]) // 2
    part = face[:3000, :4000]
    scene[max(0, top) : max(0, top) + part.shape[0], left : left + part.shape[1]] = part
    found = locator.locate(decode(scene))
    assert found, "no face found"
    assert found[0].size_px == pytest.approx(size, rel=0.25)
    centre = np.array(
        [(found[0].box_px[0] + found[0].box_px[2]) / 2, (found[0].box_px[1] + found[0].box_px[3]) / 2]
    )
    middle = np.array([left + part.shape[1] / 2, max(0, top) + part.shape[0] / 2])
    assert np.abs(centre - middle).max() < size / 2


@pytest.mark.parametrize("zoom", [0.5, 1.0, 8.0])
def test_a_face_that_fills_the_frame_is_found(zoom, photos, locator):
    for pair in photos:
        left, top, right, bottom = (max(0, int(v)) for v in locator.locate(pair[0])[0].box_px)
        crop = cv2.resize(
            pair[0].media[top:bottom, left:right], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR
        )
        found = locator.locate(decode(crop))
        assert found
        assert found[0].size_px > 0.7 * np.sqrt(crop.shape[0] * crop.shape[1])


def test_landmarks_follow_the_photo_when_it_is_mirrored_or_scaled(photos, locator):
    for pair in photos:
        sample = pair[0]
        plain = locator.locate(sample)[0]
        mirrored = locator.locate(decode(np.ascontiguousarray(sample.media[:, ::-1])))[0]
        back = mirrored.landmarks_px[[1, 0, 2, 4, 3]] * (-1, 1) + (sample.media.shape[1] - 1, 0)
        assert np.abs(back - plain.landmarks_px).max() < 0.06 * plain.size_px
        double = decode(cv2.resize(sample.media, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR))
        assert (
            np.abs(locator.locate(double)[0].landmarks_px / 2 - plain.landmarks_px).max()
            < 0.06 * plain.size_px
        )


def test_two_people_are_both_found_and_the_larger_comes_first(photos, locator):
    small = cv2.resize(photos[1][0].media, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    scene = np.zeros((250, 450, 3), np.uint8)
    scene[:, :250] = photos[0][0].media
    scene[:200, 250:] = small
    first, second, *_ = locator.locate(decode(scene))
    assert first.box_px[0] < 250 < second.box_px[2]
    assert first.size_px > second.size_px


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (33, 31), (700, 1500)])
def test_photos_without_a_face_have_none(shape, locator):
    for fill in (0, 128, 255):
        assert locator.locate(decode(np.full((*shape, 3), fill, np.uint8))) == ()
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert locator.locate(decode(noise)) == ()


def test_real_faces_pass_as_probes_and_blurred_ones_are_not_enrolled(photos, locator):
    def reasons(sample, limits):
        region = choose(locator.locate(sample))
        chip = normalise(sample, region, contract={"alignment": "arcface-112"})
        return assess(sample, region, chip, limits=limits).reasons

    for pair in photos:
        for sample in pair:
            assert reasons(sample, FaceQualityLimits.for_probe()) == ()
        for sigma in (4, 6, 9):
            blurred = decode(cv2.GaussianBlur(pair[0].media, (0, 0), sigma))
            assert not locator.locate(blurred) or reasons(blurred, FaceQualityLimits.for_enrolment())


def test_threads_get_what_one_thread_gets(photos, locator, embedder):
    samples = [sample for pair in photos for sample in pair]
    alone = [template(sample, locator, embedder) for sample in samples]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda sample: template(sample, locator, embedder), samples * 2))
    for got, expected in zip(together, alone * 2, strict=True):
        assert float(got @ expected) > 1 - 1e-5
