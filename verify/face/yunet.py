"""YuNet: the default face locator, on ONNX Runtime, at any resolution and face size.

Wu, Peng, Yu: YuNet: a tiny millisecond-level face detector, Machine Intelligence Research 2023.
Its heads look for faces on three grids (strides 8, 16, 32) and are read out here in numpy, since
OpenCV 5 no longer runs the published detector class on these weights.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from verify.face.boxes import suppress_doubles, to_regions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from verify.models import ModelBundle
    from verify.types import FaceRegion, Sample

_Found: TypeAlias = "tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]"

_STRIDES = (8, 16, 32)
_CLOSER_VIEW_PX, _CLOSER_MARGIN = 320, 0.8  # the face then is 200 pixels large
_MIRROR_ORDER = [1, 0, 2, 4, 3]  # left and right eye, left and right mouth corner change places
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
        self._kept = threading.local()

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
        return (self._closer(image, found[0]), *found[1:]) if found else ()

    def _closer(self, image: NDArray[np.uint8], region: FaceRegion) -> FaceRegion:
        """The same face with landmarks from a second look at it alone and at its mirror image.

        The mean of both looks takes out the network's leaning to one side and most of its scatter:
        on the colour photos of CelebA, SFace's FNMR at an FMR of 1e-3 falls by a quarter for some
        6 ms more. Box and score stay as first found; so do the landmarks if a look fails.
        """
        left, top, right, bottom = region.box_px
        side = max(2, round(2 * _CLOSER_MARGIN * region.size_px))
        x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
        if x >= image.shape[1] or y >= image.shape[0] or min(x, y) + side <= 0:
            return region  # nothing of it is in the photo
        looks = []
        for boxes, scores, points in self._heads(self._both_ways(_window(image, x, y, side))):
            large = np.flatnonzero(boxes[:, 2] - boxes[:, 0] > _CLOSER_VIEW_PX / 4)
            if not large.size:
                return region
            looks.append(points[large[scores[large].argmax()]])
        straight, mirror = looks
        mirror = mirror[_MIRROR_ORDER] * (-1, 1) + (_CLOSER_VIEW_PX - 1, 0)
        # Pixel centres lie at half a pixel from the corner, in the view as in the photo.
        landmarks = ((straight + mirror) / 2 + 0.5) * (side / _CLOSER_VIEW_PX) - 0.5 + (x, y)
        return replace(region, landmarks_px=np.ascontiguousarray(landmarks, dtype=np.float32))

    def _both_ways(self, view: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(2, 3, side, side) float32 BGR: the square view and its mirror image, in memory kept for each thread."""
        import cv2

        blob: NDArray[np.float32] | None = getattr(self._kept, "blob", None)
        if blob is None:
            blob = self._kept.blob = np.empty((2, 3, _CLOSER_VIEW_PX, _CLOSER_VIEW_PX), np.float32)
        for channel, plane in enumerate(reversed(cv2.split(view))):
            blob[0, channel] = plane
            cv2.flip(blob[0, channel], 1, dst=blob[1, channel])
        return blob

    def _search_framed(self, image: NDArray[np.uint8]) -> tuple[FaceRegion, ...]:
        """Search with a border of half the photo's size round it, scaled to the first side."""
        import cv2

        border = max(image.shape[:2]) // 2
        scale = min(1.0, self._plan.first_side_px / (2 * max(image.shape[:2])))
        small, pad = _resized(image, scale), round(border * scale)
        framed = cv2.copyMakeBorder(small, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=_GREY)
        ((boxes, scores, points),) = self._heads(_blob(framed))
        return self._regions(image, small, boxes - pad, scores, points - pad)

    def _search(self, image: NDArray[np.uint8], *, side: int) -> tuple[FaceRegion, ...]:
        """Search the photo scaled so that its longer side is `side`, in tiles if that is large."""
        small = _resized(image, side / max(image.shape[:2]))
        parts = []
        for top, left, tile in _tiles(small):
            ((boxes, scores, points),) = self._heads(_blob(tile))
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

    def _heads(self, blob: NDArray[np.float32]) -> list[_Found]:
        """Run the network on (B, 3, H, W) float32 BGR.

        Returns:
            For each image: boxes (N, 4), scores (N,) and landmarks (N, 5, 2) above the plan's
            score, in pixels of that image, doubles not yet dropped.
        """
        outputs = self._session.run(self._names, {"input": blob})
        count = len(_STRIDES)
        # (B, cells of all strides, numbers of the head)
        cls, objectness, bbox, kps = (
            np.concatenate(outputs[at : at + count], axis=1) for at in range(0, 4 * count, count)
        )
        corner, stride = _cells(*blob.shape[2:])
        # The score is the geometric mean of both; most cells are ruled out before the root is taken.
        products = cls[:, :, 0] * objectness[:, :, 0]
        found: list[_Found] = []
        for item, product in enumerate(products):
            cells = np.flatnonzero(product >= self._plan.min_score**2)
            grid, step = corner[cells], stride[cells]
            box = bbox[item, cells]
            centre, half = (box[:, :2] + grid) * step, np.exp(box[:, 2:]) * (step / 2)
            points = (kps[item, cells].reshape(-1, 5, 2) + grid[:, None]) * step[:, None]
            scores = np.sqrt(np.minimum(product[cells], 1.0))
            found.append((np.concatenate([centre - half, centre + half], axis=1), scores, points))
        return found


@functools.lru_cache(maxsize=64)
def _cells(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Corner (N, 2) in cells and stride (N, 1) in pixels of every cell of the heads, as they come."""
    corners, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.divmod(np.arange(height // stride * (width // stride)), width // stride)
        corners.append(np.stack([columns, rows], axis=1).astype(np.float32))
        strides.append(np.full((len(rows), 1), stride, np.float32))
    return np.concatenate(corners), np.concatenate(strides)


def _window(image: NDArray[np.uint8], x: int, y: int, side: int) -> NDArray[np.uint8]:
    """The square of the photo at (x, y), black where the photo ends, at the size of a closer look."""
    import cv2

    height, width = image.shape[:2]
    inside = image[max(0, y) : max(0, y + side), max(0, x) : max(0, x + side)]
    lacking = (max(0, -y), max(0, y + side - height), max(0, -x), max(0, x + side - width))
    square = cv2.copyMakeBorder(inside, *lacking, cv2.BORDER_CONSTANT) if any(lacking) else inside
    method = cv2.INTER_AREA if side > _CLOSER_VIEW_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (_CLOSER_VIEW_PX, _CLOSER_VIEW_PX), interpolation=method))


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
    import cv2

    height, width = image.shape[:2]
    rows, columns = (-(-side // _MULTIPLE_PX) * _MULTIPLE_PX for side in (height, width))
    blob = np.empty((1, 3, rows, columns), np.float32)
    blob[:, :, height:] = 0
    blob[:, :, :height, width:] = 0
    # OpenCV takes the planes apart several times as fast as numpy's strides do.
    for channel, plane in enumerate(reversed(cv2.split(image))):
        blob[0, channel, :height, :width] = plane
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
