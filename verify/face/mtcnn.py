"""MTCNN: the second face locator: three small networks, each looking closer than the one before.

Zhang, Zhang, Li, Qiao: Joint face detection and alignment using multi-task cascaded convolutional
networks, IEEE Signal Processing Letters 2016. Stage limits and box arithmetic follow the published
facenet-pytorch weights, which count pixels from 1 and boxes inclusively.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.face.boxes import suppress_doubles, to_regions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verify.models import ModelBundle
    from verify.types import FaceRegion, Sample

_CELL_PX, _STRIDE_PX = 12, 2
_BATCH = 256


@dataclass(frozen=True, slots=True)
class MtcnnPlan:
    """How hard to look for faces.

    Attributes:
        sides_px: longer side of each search; the next one is taken only if the last found none.
        min_face_px: smallest face, in pixels of the search.
        pyramid_factor: from one size of the pyramid to the next, in (0, 1).
        min_scores: limits of the three stages, in [0, 1].
    """

    sides_px: tuple[int, ...] = (640, 1600, 4096)
    min_face_px: int = 20
    pyramid_factor: float = 0.709
    min_scores: tuple[float, float, float] = (0.6, 0.7, 0.7)


class MtcnnLocator:
    """Finds faces with MTCNN. Safe across threads.

    Args:
        bundle: the MTCNN bundle: pnet.onnx, rnet.onnx, onet.onnx.
        threads: compute threads of one search.
        plan: how hard to look.
    """

    def __init__(self, bundle: ModelBundle, *, threads: int = 1, plan: MtcnnPlan | None = None) -> None:
        self._stages = {
            stage: bundle.session(f"{stage}.onnx", threads=threads) for stage in ("pnet", "rnet", "onet")
        }
        self._plan = plan or MtcnnPlan()

    def locate(self, sample: Sample) -> tuple[FaceRegion, ...]:
        """Faces in one photo, most prominent first; empty if there are none.

        Args:
            sample: a decoded photo, (H, W, 3) uint8 RGB.
        """
        longest = max(sample.media.shape[:2])
        for side in self._plan.sides_px:
            scale = min(1.0, side / longest)
            found = self._search(_scaled(sample.media, scale), scale=scale, frame=sample.media.shape[:2])
            if found or scale == 1.0:
                break
        return found

    def _search(
        self, image: NDArray[np.uint8], *, scale: float, frame: tuple[int, int]
    ) -> tuple[FaceRegion, ...]:
        boxes = self._propose(image)
        boxes = self._refine(image, boxes)
        boxes, scores, points = self._finish(image, boxes)
        return to_regions((boxes - 1) / scale, scores, (points - 1) / scale, frame=frame)

    def _propose(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """First stage: the pyramid of the whole image -> (N, 4) square boxes."""
        found = []
        scale = _CELL_PX / self._plan.min_face_px
        while min(image.shape[:2]) * scale >= _CELL_PX:
            regression, scores = self._run("pnet", _blob(_grown(image, scale))[None])
            rows, columns = np.nonzero(scores[0, 1] >= self._plan.min_scores[0])
            corner = np.stack([columns, rows], axis=1).astype(np.float32) * _STRIDE_PX + 1
            boxes = np.floor(np.concatenate([corner, corner + _CELL_PX - 1], axis=1) / scale)
            confident = scores[0, 1, rows, columns]
            keep = suppress_doubles(boxes, confident, iou=0.5)
            found.append((boxes[keep], confident[keep], regression[0][:, rows, columns].T[keep]))
            scale *= self._plan.pyramid_factor
        if not found:
            return np.zeros((0, 4), np.float32)
        boxes, scores, shifts = (np.concatenate(column) for column in zip(*found, strict=True))
        keep = suppress_doubles(boxes, scores, iou=0.7)
        return _squared(_shifted(boxes[keep], shifts[keep], inclusive=0))

    def _refine(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Second stage: drop most boxes, shift the rest."""
        boxes, crops = _crops(image, boxes, side=24)
        if not len(boxes):
            return boxes
        shifts, scores = self._run("rnet", crops)
        sure = scores[:, 1] > self._plan.min_scores[1]
        boxes, scores, shifts = boxes[sure], scores[sure, 1], shifts[sure]
        keep = suppress_doubles(boxes, scores, iou=0.7)
        return _squared(_shifted(boxes[keep], shifts[keep]))

    def _finish(
        self, image: NDArray[np.uint8], boxes: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Third stage: boxes (N, 4), scores (N,) and landmarks (N, 5, 2)."""
        boxes, crops = _crops(image, boxes, side=48)
        if not len(boxes):
            return boxes, np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
        shifts, places, scores = self._run("onet", crops)
        sure = scores[:, 1] > self._plan.min_scores[2]
        boxes, scores, shifts, places = boxes[sure], scores[sure, 1], shifts[sure], places[sure]
        size = boxes[:, 2:] - boxes[:, :2] + 1
        points = np.stack([places[:, :5], places[:, 5:]], axis=2) * size[:, None] + boxes[:, None, :2]
        boxes = _shifted(boxes, shifts)
        keep = suppress_doubles(boxes, scores, iou=0.7, of_smaller=True)
        return boxes[keep], scores[keep], points[keep]

    def _run(self, stage: str, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run one network in batches of bounded size."""
        session = self._stages[stage]
        name = session.get_inputs()[0].name
        parts = [session.run(None, {name: batch[at : at + _BATCH]}) for at in range(0, len(batch), _BATCH)]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _blob(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) RGB to (3, H, W) float32 in about [-1, 1]."""
    return np.ascontiguousarray((image.astype(np.float32) - 127.5) / 128.0).transpose(2, 0, 1)


def _scaled(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    return (
        image
        if scale >= 1.0
        else _resized(image, round(image.shape[1] * scale), round(image.shape[0] * scale))
    )


def _grown(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    return _resized(image, int(image.shape[1] * scale + 1), int(image.shape[0] * scale + 1))


def _resized(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.resize(image, (max(1, width), max(1, height)), interpolation=cv2.INTER_AREA))


def _shifted(
    boxes: NDArray[np.float32], shifts: NDArray[np.float32], *, inclusive: int = 1
) -> NDArray[np.float32]:
    """Move each side by its regression, given in box widths and heights."""
    size = boxes[:, 2:] - boxes[:, :2] + inclusive
    return np.asarray(boxes + shifts * np.concatenate([size, size], axis=1), np.float32)


def _squared(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grow the shorter side so that boxes become squares of the same centre."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + (size - side) / 2
    return np.concatenate([corner, corner + side], axis=1)


def _crops(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], *, side: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cut the boxes (counted from 1, inclusive) out of the image; those outside it are dropped.

    Returns:
        The boxes that were cut, (N, 4), and (N, 3, side, side) float32.
    """
    height, width = image.shape[:2]
    kept, crops = [], []
    for box in boxes:
        left, top, right, bottom = (int(value) for value in box)
        left, top, right, bottom = max(left, 1), max(top, 1), min(right, width), min(bottom, height)
        if right >= left and bottom >= top:
            kept.append(box)
            crops.append(_blob(_resized(image[top - 1 : bottom, left - 1 : right], side, side)))
    if not kept:
        return np.zeros((0, 4), np.float32), np.zeros((0, 3, side, side), np.float32)
    return np.stack(kept).astype(np.float32), np.stack(crops)
