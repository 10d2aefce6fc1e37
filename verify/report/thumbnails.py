"""Small pictures of suspects, made only when they are asked for: a page with faces on it is personal data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from verify.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

SIDE_PX = 64
# All together; as base64 they take a third more, and the page has one megabyte.
_BUDGET_BYTES, _MAX_FILE_BYTES = 360_000, 64 << 20
_QUALITY = 78


def thumbnails(
    samples: Iterable[str], folder: str | PathLike[str], *, budget: int = _BUDGET_BYTES
) -> tuple[dict[str, bytes], list[str]]:
    """Make a JPEG of at most 64 x 64 px of each sample that is a photo under `folder`.

    Args:
        samples: names as the facts hold them: paths below the media folder, or absolute paths inside it.
        folder: where the media are.
        budget: most bytes of all together.

    Returns:
        Sample name -> JPEG, and the names that got none: outside the folder, not there, no photo, over the budget.

    Raises:
        UsageError: `folder` is not a folder.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        msg = f"{folder} is not a folder: name the one that the media of this report are in"
        raise UsageError(msg)
    made: dict[str, bytes] = {}
    left_out = []
    for name in samples:
        picture = _thumbnail(root, name)
        if picture is None or len(picture) > budget:
            left_out.append(name)
            continue
        budget -= len(picture)
        made[name] = picture
    return made, left_out


def _thumbnail(root: Path, name: str) -> bytes | None:
    try:
        path = (root / name).resolve()
        # a name in the facts must not reach out of the folder that the user named
        if not path.is_relative_to(root) or not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
            return None
        data = path.read_bytes()
    except (OSError, ValueError):
        return None
    import cv2
    import numpy as np

    try:
        photo = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_REDUCED_COLOR_2)
        if photo is None:
            return None
        scale = SIDE_PX / max(photo.shape[:2])
        if scale < 1:
            size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
            photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        done, jpeg = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    except cv2.error:
        return None
    return jpeg.tobytes() if done else None
