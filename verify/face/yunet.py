"""YuNet: the default face locator, on ONNX Runtime, at any resolution and face size.

Wu, Peng, Yu: YuNet: a tiny millisecond-level face detector, Machine Intelligence Research 2023.
Its heads look for faces on three grids (strides 8, 16, 32) and are read out here in numpy, since
OpenCV 5 no longer runs the published detector class on these weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.face.boxes import suppress_doubles, to_regions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from verify.models import ModelBundle
    from verify.types import FaceRegion, Sample

_STRIDES = (8, 16, 32)
_NMS_IOU = 0.3
_MULTIPLE_PX = 32
_GREY = (127, 127, 127)
_TILE_PX, _TILE_OVERLAP_PX = 1024, 128


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How hard to look for faces.

    A photo is first searched with its longer side at most `first_side_px`. If that shows no face,
    it is searched once more small and framed (a face that fills the frame has no border that the
    network knows it by), then at each of `more_sides_px`, as far as the photo has the pixels.

    Attributes:
        min_score: regions below this detector score are not faces, in [0, 1].
        first_side_px: longer side of the first search.
        more_sides_px: longer sides of the further searches, rising.
        settled_px: a largest face of at least this size, in pixels of the search that found it,
            ends the search; a smaller one is searched for again at the next side.
    """

    min_score: float = 0.6
    first_side_px: int = 320
    more_sides_px: tuple[int, ...] = (640, 1280, 2560, 5120)
    settled_px: float = 24.0


class YuNetLocator:
    """Finds faces with YuNet. Safe across threads.

    Args:
        bundle: the YuNet bundle.
        threads: compute threads of one search.
        plan: how hard to look.
    """

    def __init__(self, bundle: ModelBundle, *, threads: int = 1, plan: SearchPlan | None = None) -> None:
        self._session = bundle.session(threads=threads)
        self._names = [f"{head}_{stride}" for head in ("cls", "obj", "bbox", "kps") for stride in _STRIDES]
        self._plan = plan or SearchPlan()

    def locate(self, sample: Sample) -> tuple[FaceRegion, ...]:
        """Faces in one photo, most prominent first; empty if there are none.

        Args:
            sample: a decoded photo, (H, W, 3) uint8 RGB.
        """
        image = sample.media
        longest = max(image.shape[:2])
        side = min(longest, self._plan.first_side_px)
        found = self._search(image, side=side)
        if not found:
            found = self._search_framed(image)
        for next_side in self._plan.more_sides_px:
            if side >= longest or (found and found[0].size_px * side / longest >= self._plan.settled_px):
                break
            side = min(longest, next_side)
            found = self._search(image, side=side) or found
        return found

    def _search_framed(self, image: NDArray[np.uint8]) -> tuple[FaceRegion, ...]:
        """Search with a border of half the photo's size round it, scaled to the first side."""
        import cv2

        border = max(image.shape[:2]) // 2
        scale = min(1.0, self._plan.first_side_px / (2 * max(image.shape[:2])))
        small, pad = _resized(image, scale), round(border * scale)
        framed = cv2.copyMakeBorder(small, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=_GREY)
        boxes, scores, points = self._heads(framed)
        return self._regions(image, small, boxes - pad, scores, points - pad)

    def _search(self, image: NDArray[np.uint8], *, side: int) -> tuple[FaceRegion, ...]:
        """Search the photo scaled so that its longer side is `side`, in tiles if that is large."""
        small = _resized(image, side / max(image.shape[:2]))
        parts = []
        for top, left, tile in _tiles(small):
            boxes, scores, points = self._heads(tile)
            shift = np.array([left, top], np.float32)
            parts.append((boxes + np.tile(shift, 2), scores, points + shift))
        boxes, scores, points = (np.concatenate(column) for column in zip(*parts, strict=True))
        return self._regions(image, small, boxes, scores, points)

    @staticmethod
    def _regions(
        image: NDArray[np.uint8],
        small: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        scores: NDArray[np.float32],
        points: NDArray[np.float32],
    ) -> tuple[FaceRegion, ...]:
        """Drop doubles and go from the pixels of `small` to those of `image`."""
        height, width = image.shape[:2]
        zoom = np.array([width / small.shape[1], height / small.shape[0]], np.float32)
        keep = suppress_doubles(boxes, scores, iou=_NMS_IOU)
        return to_regions(
            boxes[keep] * np.tile(zoom, 2), scores[keep], points[keep] * zoom, frame=(height, width)
        )

    def _heads(
        self, image: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Run the network on one RGB image as it is.

        Returns:
            Boxes (N, 4), scores (N,) and landmarks (N, 5, 2) above the plan's score, in pixels of
            `image`, doubles not yet dropped.
        """
        blob = _blob(image)
        outputs = dict(zip(self._names, self._session.run(self._names, {"input": blob}), strict=True))
        columns = blob.shape[3]
        boxes, scores, points = [], [], []
        for stride in _STRIDES:
            # Class and objectness are both in [0, 1]; their geometric mean is the score.
            score = np.sqrt(
                np.clip(outputs[f"cls_{stride}"][0, :, 0], 0, 1)
                * np.clip(outputs[f"obj_{stride}"][0, :, 0], 0, 1)
            )
            cells = np.flatnonzero(score >= self._plan.min_score)
            grid = np.stack([cells % (columns // stride), cells // (columns // stride)], axis=1).astype(
                np.float32
            )
            box = outputs[f"bbox_{stride}"][0, cells]
            centre, half = (box[:, :2] + grid) * stride, np.exp(box[:, 2:]) * (stride / 2)
            boxes.append(np.concatenate([centre - half, centre + half], axis=1))
            scores.append(score[cells])
            points.append((outputs[f"kps_{stride}"][0, cells].reshape(-1, 5, 2) + grid[:, None]) * stride)
        return np.concatenate(boxes), np.concatenate(scores), np.concatenate(points)


def _resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """The image scaled down with area averaging; as it is for a scale of 1."""
    import cv2

    if scale >= 1.0:
        return image
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _blob(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) RGB to (1, 3, H', W') float32 BGR, filled with black to multiples of 32."""
    height, width = image.shape[:2]
    blob = np.zeros(
        (1, 3, -(-height // _MULTIPLE_PX) * _MULTIPLE_PX, -(-width // _MULTIPLE_PX) * _MULTIPLE_PX),
        np.float32,
    )
    for channel in range(3):
        blob[0, channel, :height, :width] = image[:, :, 2 - channel]
    return blob


def _tiles(image: NDArray[np.uint8]) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """(top, left, tile): overlapping tiles that bound the memory of one run."""
    height, width = image.shape[:2]
    for top in _starts(height):
        for left in _starts(width):
            yield top, left, image[top : top + _TILE_PX, left : left + _TILE_PX]


def _starts(length: int) -> list[int]:
    if length <= _TILE_PX:
        return [0]
    count = -(-(length - _TILE_OVERLAP_PX) // (_TILE_PX - _TILE_OVERLAP_PX))
    return [round(i * (length - _TILE_PX) / (count - 1)) for i in range(count)]
