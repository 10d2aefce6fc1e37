"""Photos from anywhere to one form: upright RGB, 8 bit, three channels.

OpenCV decodes; what it leaves to chance across its versions is done here: limits are kept from the
header before a pixel is allocated, files that end early are refused instead of being filled with
grey, orientation and alpha are applied the same way for every format.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from verify.errors import MediaError, UsageError
from verify.face.headers import Header, HeaderError, foreign_name, read_header
from verify.types import Modality, Reason, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verify.types import Source

READABLE = "JPEG, PNG, WebP, BMP and TIFF"
_RGB, _RGBA = 3, 4


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What a photo may cost at most; checked before it is decoded.

    Attributes:
        max_bytes: encoded size.
        max_pixels: width times height.
        max_side_px: the longer side.
    """

    max_bytes: int = 50_000_000
    max_pixels: int = 100_000_000
    max_side_px: int = 30_000


def decode(source: Source, *, limits: DecodeLimits = DecodeLimits()) -> Sample:
    """Decode one photo.

    Transparent pixels are laid over white. Of an animation or a file of several pages the first
    picture is taken. 16-bit channels are rounded to 8. The name of a file plays no part.

    Args:
        source: a path, the encoded bytes, a binary file object, or an array: (H, W), (H, W, 1),
            (H, W, 3) RGB or (H, W, 4) RGBA, uint8, uint16 or float in [0, 1].
        limits: the largest file and picture to accept.

    Returns:
        A sample whose media is (H, W, 3) uint8 RGB, upright. Its facts: format, and width, height,
        bits, channels and exif_orientation as they were stored.

    Raises:
        MediaError: with the reason MISSING_FILE, NOT_A_FILE, EMPTY_FILE, UNSUPPORTED_FORMAT,
            TRUNCATED, OVER_LIMITS or INVALID_SAMPLES.
        UsageError: `source` is something else altogether.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, limits=limits)
    data, name = _read(source, limits=limits)
    header = _checked_header(data, name=name, limits=limits)
    media = _to_rgb8(_pixels(data, name=name, header=header), name=name, order="BGR")
    if header.format != "TIFF":  # OpenCV turns TIFFs upright by itself, in all versions
        media = _upright(media, header.orientation)
    return Sample(
        modality=Modality.FACE,
        media=media,
        source=name,
        sha256=hashlib.sha256(data).hexdigest(),
        facts={
            "format": header.format,
            "width": header.width,
            "height": header.height,
            "bits": header.bits,
            "channels": header.channels,
            "exif_orientation": header.orientation,
        },
    )


def _read(source: Any, *, limits: DecodeLimits) -> tuple[bytes, str]:
    """The encoded bytes and what to call them; never reads more than the limit and one byte."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), "<bytes>"
    elif isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        data = _read_path(name, limits=limits)
    elif hasattr(source, "read"):
        name = str(getattr(source, "name", "<file object>"))
        data = _read_stream(source, name=name, limits=limits)
    else:
        msg = f"cannot read a photo from a {type(source).__name__}: give a path, bytes, a binary file or an array"
        raise UsageError(msg)
    if not data:
        msg = f"{name}: the file is empty (0 bytes); copy it again from where it came from"
        raise MediaError(msg, reason=Reason.EMPTY_FILE)
    if len(data) > limits.max_bytes:
        raise _over_bytes(name, limits=limits)
    return data, name


def _read_path(name: str, *, limits: DecodeLimits) -> bytes:
    try:
        status = os.stat(name)  # noqa: PTH116  takes bytes-like and odd names as they come
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            msg = f"{name}: is {kind}; give the path of one image file"
            raise MediaError(msg, reason=Reason.NOT_A_FILE)
        if status.st_size > limits.max_bytes:
            raise _over_bytes(name, limits=limits, size=status.st_size)
        with open(name, "rb") as file:  # noqa: PTH123
            return file.read(status.st_size + 1)  # asking for the limit would set aside all of it, each time
    except FileNotFoundError as error:
        msg = f"{name}: no such file; check the path"
        raise MediaError(msg, reason=Reason.MISSING_FILE) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or error
        msg = f"{name!r}: cannot be opened ({why}); check the path and its permissions"
        raise MediaError(msg, reason=Reason.MISSING_FILE) from error


def _read_stream(stream: IO[bytes], *, name: str, limits: DecodeLimits) -> bytes:
    try:
        data = stream.read(limits.max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: the file object is closed
        msg = f"{name}: cannot be read ({error}); pass an open binary file"
        raise MediaError(msg, reason=Reason.MISSING_FILE) from error
    if not isinstance(data, bytes):
        msg = f"{name}: the file object gives {type(data).__name__}, not bytes; open it in binary mode ('rb')"
        raise UsageError(msg)
    return data


def _checked_header(data: bytes, *, name: str, limits: DecodeLimits) -> Header:
    try:
        header = read_header(data)
    except HeaderError as error:
        msg = f"{name}: the image is cut off or damaged: {error}; copy it again from where it came from"
        raise MediaError(msg, reason=Reason.TRUNCATED) from error
    if header is None:
        kind = foreign_name(data)
        what = f"is a {kind} file" if kind else "is not an image, whatever its name says"
        msg = f"{name}: {what}; verify reads {READABLE}: convert it to one of them (JPEG or PNG, say)"
        raise MediaError(msg, reason=Reason.UNSUPPORTED_FORMAT)
    _check_size(header.width, header.height, name=name, limits=limits)
    if not header.whole:
        msg = f"{name}: the {header.format} ends before its end mark; copy it again from where it came from"
        raise MediaError(msg, reason=Reason.TRUNCATED)
    return header


def _check_size(width: int, height: int, *, name: str, limits: DecodeLimits) -> None:
    if width < 1 or height < 1:
        msg = f"{name}: has no pixels ({width} x {height})"
        raise MediaError(msg, reason=Reason.INVALID_SAMPLES)
    if width * height > limits.max_pixels or max(width, height) > limits.max_side_px:
        msg = (
            f"{name}: {width} x {height} pixels are over the limit of {limits.max_pixels / 1e6:.0f} megapixels "
            f"and {limits.max_side_px} a side; scale it down, or raise the limit if you trust where it comes from"
        )
        raise MediaError(msg, reason=Reason.OVER_LIMITS)


def _over_bytes(name: str, *, limits: DecodeLimits, size: int | None = None) -> MediaError:
    has = f"has {size} bytes" if size is not None else "goes on"
    msg = (
        f"{name}: {has} beyond the limit of {limits.max_bytes} bytes; "
        "save it smaller, or raise the limit if you trust where it comes from"
    )
    return MediaError(msg, reason=Reason.OVER_LIMITS)


@cache
def _quiet_cv2() -> Any:
    """OpenCV with its log off: what it would print is said in our own errors."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def _pixels(data: bytes, *, name: str, header: Header) -> NDArray[Any]:
    """Decode as stored: (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, any depth."""
    cv2 = _quiet_cv2()
    try:
        # UNCHANGED is the one flag under which every OpenCV from 4.8 to 5 leaves orientation,
        # depth and alpha alone. CMYK comes back as BGR under it as well (Adobe's inverted sort).
        media: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        media, why = None, f" ({str(error).strip().splitlines()[0][:200]})"
    else:
        why = ""
    if media is None:
        msg = (
            f"{name}: the {header.format} is damaged, or of a kind that OpenCV cannot decode{why}; "
            "save it anew as a plain 8-bit JPEG or PNG"
        )
        raise MediaError(msg, reason=Reason.TRUNCATED)
    return media


def _from_array(array: NDArray[Any], *, limits: DecodeLimits) -> Sample:
    shape = "x".join(map(str, array.shape))
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, _RGB, _RGBA)):  # noqa: PLR2004
        msg = f"<array>: shape {shape} is no photo; give (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA"
        raise MediaError(msg, reason=Reason.INVALID_SAMPLES)
    height, width = array.shape[:2]
    _check_size(width, height, name="<array>", limits=limits)
    digest = hashlib.sha256(f"{array.shape} {array.dtype.str} ".encode())
    digest.update(np.ascontiguousarray(array).data)
    media = _to_rgb8(array, name="<array>", order="RGB")
    if np.shares_memory(media, array):
        media = media.copy()  # a sample does not change under its reader's feet
    return Sample(
        modality=Modality.FACE,
        media=media,
        source="<array>",
        sha256=digest.hexdigest(),
        facts={
            "format": "array",
            "width": width,
            "height": height,
            "bits": array.dtype.itemsize * 8,
            "channels": 1 if array.ndim == 2 else array.shape[2],  # noqa: PLR2004
            "exif_orientation": 1,
        },
    )


def _to_rgb8(media: NDArray[Any], *, name: str, order: str) -> NDArray[np.uint8]:
    """(H, W[, C]) of any accepted depth, channels in `order`, to (H, W, 3) uint8 RGB."""
    cv2 = _quiet_cv2()
    pixels = _to_8_bit(media, name=name)
    if pixels.ndim == 3 and pixels.shape[2] == 1:  # noqa: PLR2004
        pixels = pixels[:, :, 0]
    if pixels.ndim == 2:  # noqa: PLR2004
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_GRAY2RGB))
    if pixels.shape[2] == _RGBA:
        pixels = _over_white(pixels)
    pixels = np.ascontiguousarray(pixels)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)) if order == "BGR" else pixels


def _to_8_bit(media: NDArray[Any], *, name: str) -> NDArray[np.uint8]:
    if media.dtype == np.uint8:
        return media
    if media.dtype == np.uint16:  # 65535 = 255 * 257
        return ((media.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if media.dtype.kind != "f":
        msg = f"{name}: samples are {media.dtype}; give uint8, uint16 or float in [0, 1]"
        raise MediaError(msg, reason=Reason.INVALID_SAMPLES)
    low, high = float(media.min()), float(media.max())
    if not (low >= 0.0 and high <= 1.0):  # written so that NaN fails
        msg = f"{name}: float samples must lie in [0, 1], these reach from {low:g} to {high:g}; scale them"
        raise MediaError(msg, reason=Reason.INVALID_SAMPLES)
    return np.rint(media * np.float32(255.0)).astype(np.uint8)


def _over_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay (H, W, 4) with straight alpha over white, as viewers and browsers show it."""
    alpha = pixels[:, :, 3:].astype(np.uint16)
    if alpha.min() == 255:  # noqa: PLR2004
        return pixels[:, :, :3]
    mixed = pixels[:, :, :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _upright(media: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an Exif orientation (CIPA DC-008, tag 274): 5 to 8 swap rows and columns."""
    if orientation == 1:
        return media
    if orientation >= 5:  # noqa: PLR2004
        media = media.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        media = media[:, ::-1]
    if orientation in (3, 4, 7, 8):
        media = media[::-1]
    return np.ascontiguousarray(media)
