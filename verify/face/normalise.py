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

# Where the landmarks lie in a chip (x, y in pixels), in the order of FaceRegion.landmarks_px.
# The 112-pixel template of ArcFace (Deng et al., CVPR 2019), which SFace was trained on as well.
ARCFACE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float64,
)


def normalise(sample: Sample, region: FaceRegion, *, contract: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Bring one face to the view that a model's input contract asks for.

    Args:
        sample: the decoded photo.
        region: the face in it.
        contract: the model card's input contract; its ``alignment`` names the template.

    Returns:
        (112, 112, 3) uint8 RGB, black where the photo ends.

    Raises:
        ModelError: the contract names an alignment that this version does not know.
    """
    return warp(sample.media, region.landmarks_px, template=ARCFACE_112, side_px=112)


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

    Args:
        image: (H, W, 3) uint8.
        landmarks: (5, 2) pixels of `image`.
        template: (5, 2) pixels of the chip.
        side_px: side of the chip.

    Returns:
        (side_px, side_px, 3) uint8, black where the image ends.
    """
    import cv2

    matrix = similarity(landmarks, template)
    return np.asarray(cv2.warpAffine(image, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR))
