"""What an encoded image says of itself: format, size, depth, orientation and whether it is whole.

Read from the bytes alone and without allocating pixels, so that limits can be kept before anything
is decoded. The format is told by content, never by file name. Covers JPEG (ITU-T T.81), PNG (W3C,
third edition), WebP (RFC 9649), BMP and TIFF 6.0 with Exif's orientation (tag 274).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

ORIENTATION_TAG = 274

# What cannot be read, but deserves to be called by its name: (offset, magic, name).
FOREIGN = (
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"),
    (4, b"ftypcrx ", "Canon raw"),
    (4, b"ftyp", "video or other ISO media"),
    (0, b"GIF8", "GIF"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"II\x2b\x00", "BigTIFF"),
    (0, b"MM\x00\x2b", "BigTIFF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\x00\x00\x01\x00", "icon"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"\x1aE\xdf\xa3", "video"),
    (0, b"RIFF", "RIFF that is not WebP"),
    (0, b"OggS", "Ogg audio"),
    (0, b"fLaC", "FLAC audio"),
    (0, b"ID3", "MP3 audio"),
)

# JPEG markers, T.81 table B.1: the byte behind 0xFF.
_MARK, _END_OF_IMAGE, _START_OF_SCAN, _APP1 = 0xFF, 0xD9, 0xDA, 0xE1
_STAND_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_TIFF_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_MAX_TAG_VALUES = 1 << 20


class HeaderError(Exception):
    """The header ends early or contradicts itself; never leaves verify.face."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the encoded bytes promise.

    Attributes:
        format: ``JPEG``, ``PNG``, ``WebP``, ``BMP`` or ``TIFF``.
        width: pixels in a stored row, before orientation.
        height: stored rows, before orientation.
        bits: bits per channel (per palette index for palettes).
        channels: channels stored, alpha included.
        orientation: Exif orientation, 1 (upright) to 8.
        whole: False if the encoded data ends before its own end mark or promised length.
    """

    format: str
    width: int
    height: int
    bits: int
    channels: int
    orientation: int
    whole: bool


def read_header(data: bytes) -> Header | None:
    """Read the header of one encoded image.

    Args:
        data: the whole encoded file.

    Returns:
        The header, or None if the content is none of the five formats (see `foreign_name`).

    Raises:
        HeaderError: it is one of the five, but its header is cut off or makes no sense.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"BM") and len(data) >= 18 and _u32(data, 14) in _BMP_HEADER_SIZES:  # noqa: PLR2004
            return _bmp(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(data)
    except (struct.error, IndexError) as error:
        msg = "its header ends early"
        raise HeaderError(msg) from error
    return None


def foreign_name(data: bytes) -> str | None:
    """The name of a format that verify does not read but can tell; None for anything else."""
    return next((name for at, magic, name in FOREIGN if data[at : at + len(magic)] == magic), None)


def _u32(data: bytes, at: int) -> int:
    value: int = struct.unpack_from("<I", data, at)[0]
    return value


def _jpeg(data: bytes) -> Header:
    size: tuple[int, int, int, int] | None = None
    orientation = 1
    at = 2
    while True:
        if data[at] != _MARK:
            msg = f"its header is damaged at byte {at}"
            raise HeaderError(msg)
        marker = data[at + 1]
        if marker == _MARK:  # fill byte
            at += 1
            continue
        if marker in _STAND_ALONE:
            at += 2
            continue
        if marker == _END_OF_IMAGE:
            msg = "it ends before any picture data"
            raise HeaderError(msg)
        length = struct.unpack_from(">H", data, at + 2)[0]
        if marker == _APP1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = exif_orientation(data[at + 10 : at + 2 + length])
        elif marker in _START_OF_FRAME:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
            size = (width, height, bits, channels)
        elif marker == _START_OF_SCAN:
            break
        at += 2 + length
    if size is None:
        msg = "its picture data comes without a size"
        raise HeaderError(msg)
    # Inside entropy-coded data 0xFF is always followed by 0 or a restart mark: the first FF D9
    # behind the first scan's header is the real end, whatever a thumbnail or trailer may hold.
    whole = data.find(b"\xff\xd9", at + 2 + length) >= 0
    return Header("JPEG", *size, orientation=orientation, whole=whole)


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        msg = "its first chunk is not IHDR"
        raise HeaderError(msg)
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    if colour not in _PNG_CHANNELS:
        msg = f"its colour type {colour} does not exist"
        raise HeaderError(msg)
    orientation, whole, at = 1, False, 8
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        kind = data[at + 4 : at + 8]
        if kind == b"eXIf":
            orientation = exif_orientation(data[at + 8 : at + 8 + length])
        elif kind == b"IEND":
            whole = True
            break
        at += 12 + length
    return Header("PNG", width, height, bits, _PNG_CHANNELS[colour], orientation, whole)


def _webp(data: bytes) -> Header:
    end = 8 + _u32(data, 4)
    kind = data[12:16]
    channels, orientation = 3, 1
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            msg = "its VP8 frame has no start code"
            raise HeaderError(msg)
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L":
        packed = _u32(data, 21)
        width, height = (packed & 0x3FFF) + 1, ((packed >> 14) & 0x3FFF) + 1
        channels = 4 if packed >> 28 & 1 else 3
    elif kind == b"VP8X":
        flags = data[20]
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
        channels = 4 if flags & 0x10 else 3
        at = 12
        while at + 8 <= len(data):
            length = _u32(data, at + 4)
            if data[at : at + 4] == b"EXIF":
                payload = data[at + 8 : at + 8 + length]
                orientation = exif_orientation(payload.removeprefix(b"Exif\0\0"))
                break
            at += 8 + length + (length & 1)
    else:
        msg = f"its first chunk {kind!r} is no WebP chunk"
        raise HeaderError(msg)
    return Header("WebP", width, height, 8, channels, orientation, whole=len(data) >= end)


def _bmp(data: bytes) -> Header:
    pixels_at, header_bytes = struct.unpack_from("<II", data, 10)
    compression = 0
    if header_bytes == 12:  # noqa: PLR2004  the OS/2 header
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
        compression = _u32(data, 30) if header_bytes >= 40 else 0  # noqa: PLR2004
    width, height = abs(width), abs(height)  # a negative height only means top row first
    row_bytes = (width * bits + 31) // 32 * 4
    whole = compression not in (0, 3) or len(data) >= pixels_at + row_bytes * height
    return Header("BMP", width, height, 8, 4 if bits == 32 else 3, 1, whole)  # noqa: PLR2004


def _tiff(data: bytes) -> Header:
    tags = _ifd(data)
    width, height = tags.get(256, [0])[0], tags.get(257, [0])[0]
    starts = tags.get(273) or tags.get(324) or []
    lengths = tags.get(279) or tags.get(325) or []
    # A single strip may leave its length out; then only its start can be checked.
    lengths = lengths or [1] * len(starts)
    whole = bool(starts) and all(s + n <= len(data) for s, n in zip(starts, lengths, strict=False))
    return Header(
        "TIFF",
        width,
        height,
        max(tags.get(258, [1])),
        tags.get(277, [1])[0],
        _valid_orientation(tags.get(ORIENTATION_TAG, [1])[0]),
        whole,
    )


def exif_orientation(block: bytes) -> int:
    """Orientation of an Exif block (which is a TIFF header and a directory).

    Returns:
        1 to 8; 1 where the block is damaged or has none, since a photo is no worse for it.
    """
    if block[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    try:
        return _valid_orientation(_ifd(block, only=ORIENTATION_TAG).get(ORIENTATION_TAG, [1])[0])
    except (struct.error, IndexError, HeaderError):
        return 1


def _valid_orientation(value: int) -> int:
    return value if 1 <= value <= 8 else 1  # noqa: PLR2004


def _ifd(data: bytes, *, only: int | None = None) -> dict[int, list[int]]:
    """Integer tags of the first directory of a TIFF: tag -> values."""
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", data, 4)[0]
    (count,) = struct.unpack_from(order + "H", data, at)
    tags: dict[int, list[int]] = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, n = struct.unpack_from(order + "HHI", data, entry)
        code = {1: "B", 3: "H", 4: "I"}.get(kind)
        if code is None or (only is not None and tag != only):
            continue
        if n == 0 or n > _MAX_TAG_VALUES:
            msg = f"its tag {tag} claims {n} values"
            raise HeaderError(msg)
        inline = n * _TIFF_TYPE_BYTES[kind] <= 4  # noqa: PLR2004
        value_at = entry + 8 if inline else struct.unpack_from(order + "I", data, entry + 8)[0]
        tags[tag] = list(struct.unpack_from(f"{order}{n}{code}", data, value_at))
    return tags
