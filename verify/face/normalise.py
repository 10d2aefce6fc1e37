"""A located face to the fixed view that its embedder was trained on.

The similarity transform (turn, scale, shift) that brings the five landmarks closest to a template
in the least-squares sense, after Umeyama, Least-squares estimation of transformation parameters
between two point patterns, IEEE PAMI 13(4), 1991.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from verify.types import FaceRegion, Sample

# From this many photo pixels a chip pixel on, faces are shrunk before they are warped.
_AREA_FROM = 2

# Where the landmarks lie in a chip (x, y in pixels), in the order of FaceRegion.landmarks_px.
# The 112-pixel template of ArcFace (Deng et al., CVPR 2019), which SFace was trained on as well.
ARCFACE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float64,
)


# Where YuNet's landmarks lie in the 150-pixel chips that dlib cuts by itself (padding 0.25): medians over the
# CelebA photos seen from the front, made symmetric, and 6 % larger than that. Of the scales 0.85 to 1.16 around
# the medians this one and its neighbours told people apart best.
DLIB_150 = np.array(
    [[45.7, 43.92], [103.3, 43.92], [74.5, 77.83], [49.76, 102.51], [99.24, 102.51]], dtype=np.float64
)


def normalise(sample: Sample, region: FaceRegion, *, contract: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Bring one face to the view that a model's input contract asks for.

    Args:
        sample: the decoded photo.
        region: the face in it.
        contract: the model card's input contract. Its ``alignment`` is ``arcface-112`` (similarity
            transform to the template, 112 x 112), ``facenet-160`` (the box, stretched to
            160 x 160) or ``dlib-chip`` (similarity transform to `DLIB_150`, 150 x 150).

    Returns:
        (side, side, 3) uint8 RGB, black where the photo ends.

    Raises:
        ModelError: the contract names an alignment that this version does not know.
    """
    alignment = contract.get("alignment")
    if alignment == "arcface-112":
        return arcface_chip(sample, region)
    if alignment == "facenet-160":
        return _stretched_box(sample.media, region.box_px, side_px=160)
    if alignment == "dlib-chip":
        return warp(sample.media, region.landmarks_px, template=DLIB_150, side_px=150)
    known = "arcface-112, facenet-160, dlib-chip"
    msg = f"the model asks for faces aligned as {alignment!r}, which this version of verify does not know ({known})"
    raise ModelError(msg)


def views(
    sample: Sample, region: FaceRegion, *, contract: Mapping[str, Any]
) -> tuple[NDArray[np.uint8], ...]:
    """Every view of one face that a model takes: one, or those under ``views`` in its contract.

    Args:
        sample: the decoded photo.
        region: the face in it.
        contract: the model card's input contract.

    Returns:
        In the contract's order, each as `normalise` gives it.

    Raises:
        ModelError: an alignment that this version does not know.
    """
    wanted = contract.get("views", (contract,))
    return tuple(normalise(sample, region, contract=view) for view in wanted)


def arcface_chip(sample: Sample, region: FaceRegion) -> NDArray[np.uint8]:
    """The (112, 112, 3) view of one face that most models are trained on, and that quality is measured on."""
    return warp(sample.media, region.landmarks_px, template=ARCFACE_112, side_px=112)


def _stretched_box(
    image: NDArray[np.uint8], box: tuple[float, float, float, float], *, side_px: int
) -> NDArray[np.uint8]:
    import cv2

    height, width = image.shape[:2]
    left, top = (
        min(max(int(value), 0), end - 1) for value, end in zip(box[:2], (width, height), strict=True)
    )
    right, bottom = (
        max(min(int(value), end), start + 1)
        for value, end, start in zip(box[2:], (width, height), (left, top), strict=True)
    )
    return np.asarray(
        cv2.resize(image[top:bottom, left:right], (side_px, side_px), interpolation=cv2.INTER_AREA)
    )


def similarity(source: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float64]:
    """The least-squares similarity transform from one set of points to another.

    Args:
        source: (N, 2) points, N >= 2, not all the same.
        target: (N, 2) points.

    Returns:
        (2, 3) float64 matrix [s R | t]: a turn, one scale s > 0 and a shift, without mirroring.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    centre, goal = source.mean(axis=0), target.mean(axis=0)
    x, y = (source - centre).T
    u, v = (target - goal).T
    # In the plane the optimum has a closed form: with points as complex numbers the transform is
    # one factor, and least squares gives it as sum(conj(p) q) / sum(|p|^2).
    spread = max(float(np.sum(x * x + y * y)), np.finfo(np.float64).tiny)
    a, b = float(np.sum(x * u + y * v)) / spread, float(np.sum(x * v - y * u)) / spread
    turn = np.array([[a, -b], [b, a]])
    return np.column_stack([turn, goal - turn @ centre])


def warp(
    image: NDArray[np.uint8], landmarks: NDArray[Any], *, template: NDArray[np.float64], side_px: int
) -> NDArray[np.uint8]:
    """Cut the square chip in which the landmarks lie closest to the template.

    A face much larger than the chip is shrunk by area averaging first: bilinear sampling alone
    would skip pixels of it and alias.

    Args:
        image: (H, W, 3) uint8.
        landmarks: (N, 2) pixels of `image`.
        template: (N, 2) pixels of the chip.
        side_px: side of the chip.

    Returns:
        (side_px, side_px, 3) uint8, black where the image ends.
    """
    import cv2

    matrix = similarity(landmarks, template)
    shrink = int(1 / max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-6))
    if shrink >= _AREA_FROM:
        image, matrix = _shrunk(image, matrix, by=shrink, side_px=side_px)
    return np.asarray(cv2.warpAffine(image, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR))


def _shrunk(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], *, by: int, side_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut out what the chip needs and shrink it by a whole number; the matrix follows."""
    import cv2

    inverse = np.linalg.inv(matrix[:, :2])
    corners = (np.array([[0, 0], [0, side_px], [side_px, 0], [side_px, side_px]]) - matrix[:, 2]) @ inverse.T
    height, width = image.shape[:2]
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int) - by, 0, [width - 1, height - 1])
    right, bottom = np.clip(
        np.ceil(corners.max(axis=0)).astype(int) + by, [left + 1, top + 1], [width, height]
    )
    size = (max(1, round((right - left) / by)), max(1, round((bottom - top) / by)))
    part = cv2.resize(image[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
    zoom = np.array([(right - left) / size[0], (bottom - top) / size[1]])
    # Pixel centres lie at half: shrunk (x + 0.5) * zoom - 0.5 + (left, top) is where x came from.
    offset = matrix[:, :2] @ (0.5 * zoom - 0.5 + [left, top]) + matrix[:, 2]
    return np.asarray(part), np.column_stack([matrix[:, :2] * zoom, offset])
