from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import ModelError
from verify.face.decode import decode
from verify.face.normalise import ARCFACE_112, DLIB_150, normalise, similarity, warp
from verify.types import FaceRegion

angles = st.floats(-math.pi, math.pi)
scales = st.floats(0.05, 20)
shifts = st.floats(-500, 500)


def moved(points, angle, scale, dx, dy):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return scale * points @ turn.T + (dx, dy)


@given(angles, scales, shifts, shifts)
def test_similarity_finds_the_exact_transform(angle, scale, dx, dy):
    points = moved(ARCFACE_112, angle, scale, dx, dy)
    matrix = similarity(points, ARCFACE_112)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], ARCFACE_112, atol=1e-6)


@given(st.integers(0, 2**31), angles, st.floats(0.9, 1.1), st.floats(-2, 2))
def test_similarity_is_least_squares(seed, angle, scale, shift):
    source = np.random.default_rng(seed).normal(size=(5, 2)) * 30
    matrix = similarity(source, ARCFACE_112)

    def error(m):
        return float(((source @ m[:, :2].T + m[:, 2] - ARCFACE_112) ** 2).sum())

    other = matrix.copy()
    other[:, :2] = moved(np.eye(2), angle / 50, scale, 0, 0).T @ matrix[:, :2]
    other[:, 2] += shift
    assert error(matrix) <= error(other) + 1e-6
    assert np.linalg.det(matrix[:, :2]) >= 0


def test_points_that_are_all_the_same_do_not_divide_by_zero():
    assert np.isfinite(similarity(np.ones((5, 2)), ARCFACE_112)).all()


def dots(points, *, shape, radius):
    """White dots on black, drawn with an eighth of a pixel."""
    image = np.zeros((*shape, 3), np.uint8)
    for x, y in points:
        centre = (round(float(x) * 8), round(float(y) * 8))
        cv2.circle(image, centre, round(radius * 8), (255, 255, 255), -1, cv2.LINE_AA, shift=3)
    return image


def centres(chip):
    """Centres of the dots near the template's points, by brightness."""
    found = []
    for x, y in ARCFACE_112:
        left, top = int(x) - 8, int(y) - 8
        part = chip[top : top + 17, left : left + 17, 0].astype(float)
        rows, columns = np.mgrid[top : top + 17, left : left + 17]
        found.append(((columns * part).sum() / part.sum(), (rows * part).sum() / part.sum()))
    return np.array(found)


@pytest.mark.parametrize("scale", [0.8, 1.5, 2.0, 2.9, 3.0, 7.3])
@pytest.mark.parametrize("angle", [0.0, 0.35, -1.2, 3.0])
def test_landmarks_land_on_the_template_at_every_size_and_turn(scale, angle):
    points = moved(ARCFACE_112 - 56, angle, scale, 700, 600)
    image = dots(points, shape=(1300, 1500), radius=3 * scale)
    chip = warp(image, points, template=ARCFACE_112, side_px=112)
    assert chip.shape == (112, 112, 3)
    assert np.abs(centres(chip) - ARCFACE_112).max() < 0.3


def test_a_large_face_is_averaged_not_sampled():
    fine = np.indices((1200, 1200)).sum(axis=0) % 2 * 255
    image = np.repeat(fine[..., None], 3, axis=2).astype(np.uint8)
    points = moved(ARCFACE_112, 0.0, 9.5, 20, 20)
    chip = warp(image, points, template=ARCFACE_112, side_px=112)
    assert np.abs(chip.astype(int) - 127).max() <= 8


def test_outside_the_photo_is_black_and_a_face_off_the_edge_does_no_harm():
    image = np.full((100, 100, 3), 200, np.uint8)
    for scale in (0.5, 1.0, 4.0):
        chip = warp(image, moved(ARCFACE_112, 0.1, scale, -60 * scale, 40), template=ARCFACE_112, side_px=112)
        assert chip[0, 0].tolist() == [0, 0, 0]
        far = warp(image, moved(ARCFACE_112, 0.1, scale, 5000, 5000), template=ARCFACE_112, side_px=112)
        assert not far.any()


def face_region():
    points = moved(ARCFACE_112, 0.2, 1.4, 60, 40).astype(np.float32)
    low, high = points.min(axis=0) - 40, points.max(axis=0) + 40
    return FaceRegion(box_px=(*map(float, low), *map(float, high)), score=0.9, landmarks_px=points)


def test_each_contract_has_its_view():
    sample = decode(np.random.default_rng(0).integers(0, 256, (300, 320, 3), dtype=np.uint8))
    shapes = {"arcface-112": 112, "facenet-160": 160, "dlib-chip": 150}
    for alignment, side in shapes.items():
        chip = normalise(sample, face_region(), contract={"alignment": alignment})
        assert chip.shape == (side, side, 3)
        assert chip.dtype == np.uint8
    with pytest.raises(ModelError, match=r"'five-eyes'.*arcface-112"):
        normalise(sample, face_region(), contract={"alignment": "five-eyes"})


def test_the_dlib_chip_has_the_landmarks_where_the_template_says():
    region = face_region()
    points = moved(DLIB_150, 0.2, 1.4, 60, 40).astype(np.float32)
    image = dots(points, shape=(300, 320), radius=4)
    region = FaceRegion(box_px=region.box_px, score=0.9, landmarks_px=points)
    chip = normalise(decode(image), region, contract={"alignment": "dlib-chip"})[..., 0].astype(float)
    rows, columns = np.mgrid[: chip.shape[0], : chip.shape[1]]
    for x, y in DLIB_150:
        part = np.where(np.hypot(columns - x, rows - y) < 8, chip, 0)
        assert abs((columns * part).sum() / part.sum() - x) < 0.5
        assert abs((rows * part).sum() / part.sum() - y) < 0.5
    np.testing.assert_allclose(DLIB_150 * [-1, 1] + [149, 0], DLIB_150[[1, 0, 2, 4, 3]], atol=1e-9)
