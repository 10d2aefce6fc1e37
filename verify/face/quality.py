"""How fit one face is for comparison, and why not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.face.normalise import arcface_chip
from verify.types import Quality, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verify.types import FaceRegion, Sample

# A mean adult head as a rigid body, in millimetres from the nose tip: x to the right of the photo,
# y down, z towards the camera; rows as in FaceRegion.landmarks_px. Widths and heights follow the
# ArcFace template at an eye distance of 63 mm; the nose's height was set so that the median pitch
# of press photos is 0.
_HEAD_MM = np.array(
    [[-31.5, -42.0, -27.0], [31.5, -42.0, -27.0], [0.0, 0.0, 0.0], [-26.0, 31.0, -22.0], [26.0, 31.0, -22.0]]
)
_HEAD_INVERSE = np.linalg.pinv(_HEAD_MM - _HEAD_MM.mean(axis=0))  # (3, 5)

# The part of an arcface-112 chip that is face whatever the hair and collar do.
_SIDE_PX = 112
_ROWS, _COLUMNS = slice(40, 101), slice(27, 85)
_OVEREXPOSED, _UNDEREXPOSED = 250, 5
_REBLUR_TAPS = 9


@dataclass(frozen=True, slots=True)
class FaceQualityLimits:
    """Where a capture stops being fit. All bounds are inclusive: a value at its limit passes.

    Attributes:
        min_face_size_px: side of the square with the box's area, in the photo.
        min_sharpness: see `sharpness`, in [0, 1].
        min_brightness: mean luma of the face, in [0, 1].
        max_brightness: likewise.
        min_contrast: standard deviation of the luma of the face, in [0, 0.5].
        max_flat: share of the face without any grain at all, in [0, 1]: skin under a camera has
            some, drawings are filled evenly.
        max_overexposed: share of the face that is burnt out, in [0, 1].
        max_underexposed: share of the face that is black, in [0, 1].
        max_yaw_deg: largest turn to either side.
        max_pitch_deg: largest nod up or down.
        max_roll_deg: largest tilt to either side; alignment takes it out, so it may be wide.
        min_detector_score: in [0, 1].
        min_inside_frame: share of the face's box that lies in the photo, in [0, 1].
    """

    min_face_size_px: float
    min_sharpness: float
    min_brightness: float
    max_brightness: float
    min_contrast: float
    max_flat: float
    max_overexposed: float
    max_underexposed: float
    max_yaw_deg: float
    max_pitch_deg: float
    max_roll_deg: float
    min_detector_score: float
    min_inside_frame: float

    @classmethod
    def for_probe(cls) -> FaceQualityLimits:
        """Wide limits: refuse only what would be decided by chance."""
        return cls(
            min_face_size_px=24,
            min_sharpness=0.25,
            min_brightness=0.08,
            max_brightness=0.94,
            min_contrast=0.03,
            max_flat=0.34,
            max_overexposed=0.5,
            max_underexposed=0.5,
            max_yaw_deg=80,
            max_pitch_deg=60,
            max_roll_deg=90,
            min_detector_score=0.7,
            min_inside_frame=0.6,
        )

    @classmethod
    def for_enrolment(cls) -> FaceQualityLimits:
        """Narrow limits: a poor reference costs errors for as long as it is stored."""
        return cls(
            min_face_size_px=48,
            min_sharpness=0.38,
            min_brightness=0.15,
            max_brightness=0.88,
            min_contrast=0.06,
            max_flat=0.25,
            max_overexposed=0.2,
            max_underexposed=0.25,
            max_yaw_deg=45,
            max_pitch_deg=35,
            max_roll_deg=45,
            min_detector_score=0.85,
            min_inside_frame=0.85,
        )


def assess(
    sample: Sample, region: FaceRegion, chip: NDArray[np.uint8], *, limits: FaceQualityLimits
) -> Quality:
    """Measure one face and hold it against limits.

    Args:
        sample: the photo.
        region: the face in it.
        chip: the normalised face, (H, W, 3) uint8 RGB.
        limits: which values still pass.

    Returns:
        All measures, and the reasons for which the face is unfit, worst first.
    """
    measures = _measures(sample, region, chip)
    checks = (
        (Reason.UNCERTAIN_FACE, measures["detector_score"], limits.min_detector_score, 1.0),
        (Reason.UNCERTAIN_FACE, -measures["flat"], -limits.max_flat, 1.0),
        (Reason.FACE_CUT_OFF, measures["inside_frame"], limits.min_inside_frame, 1.0),
        (Reason.FACE_TOO_SMALL, measures["face_size_px"], limits.min_face_size_px, limits.min_face_size_px),
        (Reason.TOO_DARK, measures["brightness"], limits.min_brightness, 1.0),
        (Reason.TOO_DARK, -measures["underexposed"], -limits.max_underexposed, 1.0),
        (Reason.TOO_BRIGHT, -measures["brightness"], -limits.max_brightness, 1.0),
        (Reason.TOO_BRIGHT, -measures["overexposed"], -limits.max_overexposed, 1.0),
        (Reason.LOW_CONTRAST, measures["contrast"], limits.min_contrast, 1.0),
        (Reason.BLURRED, measures["sharpness"], limits.min_sharpness, 1.0),
        (Reason.TURNED_AWAY, -abs(measures["yaw_deg"]), -limits.max_yaw_deg, 90.0),
        (Reason.TURNED_AWAY, -abs(measures["pitch_deg"]), -limits.max_pitch_deg, 90.0),
        (Reason.TURNED_AWAY, -abs(measures["roll_deg"]), -limits.max_roll_deg, 90.0),
    )
    # How far below its limit, as a share of the measure's span, so that reasons can be ranked.
    # Written so that a NaN fails, and as the worst of all.
    lacking = [
        (math.inf if math.isnan(value) else (at_least - value) / span, reason)
        for reason, value, at_least, span in checks
        if not value >= at_least
    ]
    ranked = sorted(lacking, key=lambda item: -item[0])
    return Quality(measures=measures, reasons=tuple(dict.fromkeys(reason for _, reason in ranked)))


def _measures(sample: Sample, region: FaceRegion, chip: NDArray[np.uint8]) -> dict[str, float]:
    face = _face_luma(chip if chip.shape[:2] == (_SIDE_PX, _SIDE_PX) else arcface_chip(sample, region))
    yaw, pitch, roll = pose_deg(region.landmarks_px)
    right_eye, left_eye = region.landmarks_px[:2]
    return {
        "face_size_px": region.size_px,
        "interocular_px": float(np.hypot(*(left_eye - right_eye))),
        "sharpness": sharpness(face),
        "brightness": float(face.mean()) / 255,
        "contrast": float(face.std()) / 255,
        "flat": _flat_share(face),
        "overexposed": float((face >= _OVEREXPOSED).mean()),
        "underexposed": float((face <= _UNDEREXPOSED).mean()),
        "yaw_deg": yaw,
        "pitch_deg": pitch,
        "roll_deg": roll,
        "detector_score": region.score,
        "inside_frame": _inside_frame(sample, region),
    }


def _face_luma(chip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma (ITU-R BT.601) of the middle of the face, (H, W) uint8."""
    import cv2

    return np.asarray(cv2.cvtColor(np.ascontiguousarray(chip[_ROWS, _COLUMNS]), cv2.COLOR_RGB2GRAY))


def _flat_share(luma: NDArray[np.uint8]) -> float:
    """Share of pixels that differ from none of their neighbours by more than 1; burnt-out ones not counted."""
    import cv2

    block = np.ones((3, 3), np.uint8)
    span = cv2.subtract(cv2.dilate(luma, block), cv2.erode(luma, block))
    return float(((span <= 1) & (luma > _UNDEREXPOSED) & (luma < _OVEREXPOSED)).mean())


def sharpness(luma: NDArray[np.uint8]) -> float:
    """How much detail an image loses by being blurred once more.

    The measure of Crete, Dolmiere, Ladret and Nicolas (SPIE 6492, 2007), turned round so that more
    is sharper. It is a ratio of gradients, so brightness and contrast do not enter.

    Args:
        luma: (H, W) uint8.

    Returns:
        In [0, 1]: about 0.6 for a sharp face of 112 pixels, 0.3 after a Gaussian of sigma 2 pixels;
        0 for a flat image. The lower of the two directions, so that a smear to one side shows.
    """
    import cv2

    image = luma.astype(np.float32)
    lost = []
    for axis, taps in ((1, (_REBLUR_TAPS, 1)), (0, (1, _REBLUR_TAPS))):
        before = np.abs(np.diff(image, axis=axis))
        after = np.abs(np.diff(cv2.blur(image, taps, borderType=cv2.BORDER_REPLICATE), axis=axis))
        total = float(before.sum())
        lost.append(float(np.maximum(0, before - after).sum()) / total if total > 0 else 0.0)
    return min(lost)


def pose_deg(landmarks: NDArray[np.float32]) -> tuple[float, float, float]:
    """Turn of the head from five landmarks, by fitting a mean rigid head (scaled orthography).

    Five points of a mean head give about 10 degrees of accuracy: enough to refuse a profile.

    Args:
        landmarks: (5, 2) pixels, in the order of FaceRegion.landmarks_px.

    Returns:
        Yaw (positive: the nose points to the photo's right), pitch (positive: it points down) and
        roll (positive: the head is tilted clockwise in the photo), in degrees; NaN for landmarks
        that are not finite.
    """
    points = np.asarray(landmarks, np.float64)
    if not np.isfinite(points).all():
        return math.nan, math.nan, math.nan
    affine = (_HEAD_INVERSE @ (points - points.mean(axis=0))).T  # (2, 3): photo from head, scaled
    u, _, vt = np.linalg.svd(affine, full_matrices=False)
    x_axis, y_axis = u @ vt  # the closest pair of orthonormal rows
    z_axis = np.cross(x_axis, y_axis)
    yaw = math.atan2(x_axis[2], z_axis[2])
    pitch = math.asin(float(np.clip(y_axis[2], -1, 1)))
    roll = math.atan2(y_axis[0], y_axis[1])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def _inside_frame(sample: Sample, region: FaceRegion) -> float:
    """Share of the face's box that lies in the photo, in [0, 1]."""
    height, width = sample.media.shape[:2]
    left, top, right, bottom = region.box_px
    inside = max(0.0, min(right, width) - max(left, 0.0)) * max(0.0, min(bottom, height) - max(top, 0.0))
    return float(inside / max((right - left) * (bottom - top), 1e-9))
