from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.face import quality
from verify.face.decode import decode
from verify.face.normalise import ARCFACE_112
from verify.face.quality import FaceQualityLimits, assess, pose_deg, sharpness
from verify.types import FaceRegion, Reason

PROBE = FaceQualityLimits.for_probe()
ENROLMENT = FaceQualityLimits.for_enrolment()


def grain(seed=3, side=112):
    """Something with a photo's grain and mid tones."""
    source = np.random.default_rng(seed)
    soft = cv2.resize(
        source.normal(128, 30, (14, 14)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC
    )
    noise = cv2.GaussianBlur(source.normal(0, 14, (side, side)).astype(np.float32), (0, 0), 0.7)
    return np.repeat(np.clip(soft + noise, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def frontal(scale=1.0, left=200.0, top=200.0, score=0.93):
    points = (ARCFACE_112 * scale + (left, top)).astype(np.float32)
    box = (left + 10 * scale, top, left + 100 * scale, top + 112 * scale)
    return FaceRegion(box_px=box, score=score, landmarks_px=points)


def sample():
    return decode(np.full((600, 600, 3), 128, np.uint8))


def reasons(chip=None, region=None, limits=PROBE):
    return assess(sample(), region or frontal(), grain() if chip is None else chip, limits=limits).reasons


def test_a_fair_face_passes_both_profiles_and_gives_every_measure():
    for limits in (PROBE, ENROLMENT):
        found = assess(sample(), frontal(), grain(), limits=limits)
        assert found.ok, found
    assert set(found.measures) == {
        "face_size_px", "interocular_px", "sharpness", "brightness", "contrast", "flat", "overexposed",
        "underexposed", "yaw_deg", "pitch_deg", "roll_deg", "detector_score", "inside_frame",
    }  # fmt: skip
    assert all(isinstance(value, float) and math.isfinite(value) for value in found.measures.values())
    assert found.measures["interocular_px"] == pytest.approx(35.24, abs=0.05)


def test_each_fault_has_its_reason():
    dark, bright = (grain() * 0.05).astype(np.uint8), (205 + grain() * 0.19).astype(np.uint8)
    assert Reason.TOO_DARK in reasons(dark)
    assert Reason.TOO_BRIGHT in reasons(np.clip(bright.astype(int) + 15, 0, 255).astype(np.uint8))
    assert Reason.LOW_CONTRAST in reasons((120 + grain() * 0.1).astype(np.uint8))
    assert Reason.BLURRED in reasons(cv2.GaussianBlur(grain(), (0, 0), 4))
    assert reasons(region=frontal(scale=0.15)) == (Reason.FACE_TOO_SMALL,)
    assert reasons(region=frontal(score=0.65)) == (Reason.UNCERTAIN_FACE,)
    assert reasons(region=frontal(left=-70.0)) == (Reason.FACE_CUT_OFF,)
    assert Reason.TOO_DARK in reasons(np.zeros((112, 112, 3), np.uint8))
    assert Reason.TOO_BRIGHT in reasons(np.full((112, 112, 3), 255, np.uint8))


def test_an_evenly_filled_drawing_is_not_taken_for_a_face():
    chip = np.full((112, 112, 3), (255, 220, 180), np.uint8)
    for x, y in ARCFACE_112[[0, 1, 3, 4]]:
        cv2.circle(chip, (int(x), int(y)), 7, (60, 30, 30), -1, cv2.LINE_AA)
    assert Reason.UNCERTAIN_FACE in reasons(chip)


def test_the_worst_reason_comes_first():
    found = reasons(cv2.GaussianBlur(grain(), (0, 0), 3), frontal(scale=0.02))
    assert found[0] is Reason.FACE_TOO_SMALL
    assert len(set(found)) == len(found)


def test_values_at_the_limit_pass():
    measures = assess(sample(), frontal(), grain(), limits=PROBE).measures
    exact = dataclasses.replace(
        PROBE,
        min_sharpness=measures["sharpness"],
        min_detector_score=measures["detector_score"],
        min_face_size_px=measures["face_size_px"],
        max_flat=measures["flat"],
    )
    assert not reasons(limits=exact)
    assert reasons(limits=dataclasses.replace(exact, min_face_size_px=measures["face_size_px"] + 0.01))


def test_a_measure_that_is_not_a_number_fails_closed():
    points = np.full((5, 2), np.nan, np.float32)
    region = dataclasses.replace(frontal(), landmarks_px=points, score=math.nan)
    with np.errstate(all="ignore"):
        try:
            found = reasons(region=region)
        except np.linalg.LinAlgError:
            pytest.fail("landmarks that are not numbers must fail by name")
    assert {Reason.UNCERTAIN_FACE, Reason.TURNED_AWAY} <= set(found)


def test_enrolment_is_nowhere_wider_than_a_probe():
    for field in dataclasses.fields(FaceQualityLimits):
        probe, enrolment = getattr(PROBE, field.name), getattr(ENROLMENT, field.name)
        assert enrolment >= probe if field.name.startswith("min_") else enrolment <= probe, field.name


def turned(yaw=0.0, pitch=0.0, roll=0.0, scale=0.6):
    """The head model seen from elsewhere; positive as `pose_deg` says."""
    y, p, r = (math.radians(angle) for angle in (yaw, pitch, roll))
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(p), math.sin(p)], [0, -math.sin(p), math.cos(p)]])
    about_z = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    head = quality._HEAD_MM @ (about_z @ about_x @ about_y).T
    return (head[:, :2] * scale + 200).astype(np.float32)


@given(st.floats(-80, 80), st.floats(5, 300).map(lambda v: v / 100))
def test_yaw_of_a_rigid_head(yaw, scale):
    assert pose_deg(turned(yaw=yaw, scale=scale)) == pytest.approx((yaw, 0, 0), abs=0.5)


@given(st.floats(-60, 60))
def test_pitch_of_a_rigid_head(pitch):
    assert pose_deg(turned(pitch=pitch)) == pytest.approx((0, pitch, 0), abs=0.5)


@given(st.floats(-170, 170))
def test_roll_of_a_rigid_head(roll):
    assert pose_deg(turned(roll=roll)) == pytest.approx((0, 0, roll), abs=0.5)


def test_the_signs_of_pose_are_those_of_the_photo():
    nose_right, nose_down, clockwise = turned(yaw=30), turned(pitch=25), turned(roll=20)
    assert nose_right[2, 0] - nose_right[:2, 0].mean() > 5
    assert nose_down[2, 1] - nose_down[:2, 1].mean() > turned()[2, 1] - turned()[:2, 1].mean()
    assert clockwise[1, 1] > clockwise[0, 1]
    assert Reason.TURNED_AWAY in reasons(region=dataclasses.replace(frontal(), landmarks_px=turned(yaw=84)))


@given(st.integers(0, 1000), st.floats(0.3, 1.0), st.integers(0, 60))
def test_sharpness_ignores_brightness_and_contrast_and_falls_with_blur(seed, gain, lift):
    luma = grain(seed)[..., 0]
    sharp = sharpness(luma)
    assert sharpness((luma * gain + lift * (1 - gain)).astype(np.uint8)) == pytest.approx(sharp, abs=0.06)
    soft = [sharpness(cv2.GaussianBlur(luma, (0, 0), sigma)) for sigma in (1, 2, 4)]
    assert sharp > soft[0] > soft[1] > soft[2] >= 0


def test_a_smear_to_one_side_shows_and_a_flat_image_has_no_sharpness():
    luma = grain()[..., 0]
    smeared = cv2.blur(luma, (15, 1))
    assert sharpness(smeared) < 0.5 * sharpness(luma)
    assert sharpness(np.full((40, 40), 9, np.uint8)) == 0.0


def test_chips_of_other_models_are_measured_on_the_same_view():
    photo = decode(np.tile(grain(side=112), (6, 6, 1)))
    region = frontal(left=224, top=224)
    ours = assess(photo, region, np.ascontiguousarray(photo.media[224:336, 224:336]), limits=PROBE)
    theirs = assess(photo, region, np.zeros((160, 160, 3), np.uint8), limits=PROBE)
    assert theirs.measures["sharpness"] == pytest.approx(ours.measures["sharpness"], abs=0.01)
