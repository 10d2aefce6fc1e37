"""Images made byte by byte, so that every odd form has its bytes under control."""

from __future__ import annotations

import base64
import struct
import zlib

import cv2
import numpy as np

RED, GREEN, BLUE, BLACK = (250, 10, 10), (10, 250, 10), (10, 10, 250), (0, 0, 0)
NAMES = {RED: "R", GREEN: "G", BLUE: "B", BLACK: "k", (255, 255, 255): "w"}

# 16 x 16, CMYK with Adobe's marker (inverted inks), the four quarters of `quarters`.
CMYK_JPEG = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUVFQwPFxgW"
    "FBgSFBUU/8AAFAgAEAAQBEMRAE0RAFkRAEsRAP/EABcAAAMBAAAAAAAAAAAAAAAAAAAJCgX/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/9oADgRD"
    "AE0AWQBLAAA/AGiliFiGppf1QAAS/qgAxWKllD//2Q=="
)


def quarters(height: int = 40, width: int = 60) -> np.ndarray:
    """(H, W, 3) RGB: red and green above, blue and black below; tells every orientation apart."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = RED
    image[: height // 2, width // 2 :] = GREEN
    image[height // 2 :, : width // 2] = BLUE
    return image


def colours(image: np.ndarray) -> str:
    """The four quarters by their nearest colour's letter, row by row."""
    height, width = image.shape[:2]
    letters = ""
    for y in (height // 4, 3 * height // 4):
        for x in (width // 4, 3 * width // 4):
            pixel = image[y, x].astype(int)
            letters += NAMES[min(NAMES, key=lambda c: int(np.abs(pixel - np.array(c)).sum()))]
    return letters


def encode(suffix: str, rgb: np.ndarray, *options: int) -> bytes:
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    pixels = cv2.cvtColor(rgb, order[rgb.shape[2]]) if rgb.ndim == 3 else rgb
    done, data = cv2.imencode(suffix, pixels, list(options))
    if not done:
        raise AssertionError(suffix)
    return data.tobytes()


def exif(orientation: int, *, order: str = "<") -> bytes:
    """A bare Exif block with one tag."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    entry = struct.pack(order + "HHIHH", 274, 3, 1, orientation, 0)
    return head + struct.pack(order + "H", 1) + entry + b"\0\0\0\0"


def jpeg_with_exif(rgb: np.ndarray, block: bytes) -> bytes:
    data = encode(".jpg", rgb, cv2.IMWRITE_JPEG_QUALITY, 95)
    payload = b"Exif\0\0" + block
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + data[2:]


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_with_exif(rgb: np.ndarray, block: bytes) -> bytes:
    data = encode(".png", rgb)
    return data[:33] + png_chunk(b"eXIf", block) + data[33:]


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(b"\0" * 64)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def webp_with_exif(rgb: np.ndarray, block: bytes) -> bytes:
    data = encode(".webp", rgb, cv2.IMWRITE_WEBP_QUALITY, 101)
    height, width = rgb.shape[:2]
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    frame = data[12:] if data[12:16] != b"VP8X" else data[30:]
    frame += b"\0" * (len(frame) % 2)
    block += b"\0" * (len(block) % 2)
    body = (
        b"WEBPVP8X"
        + struct.pack("<I", 10)
        + b"\x08\0\0\0"
        + sizes
        + frame
        + b"EXIF"
        + struct.pack("<I", len(block))
        + block
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(rgb: np.ndarray, *, orientation: int = 1, bits: int = 8, order: str = "<", pages: int = 1) -> bytes:
    """An uncompressed RGB TIFF of one strip a page, of either byte order; later pages are inverted."""
    height, width = rgb.shape[:2]
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    for page in range(pages):
        picture = 255 - rgb if page % 2 else rgb
        pixels = (
            (picture.astype(np.uint16) * 257).astype(order + "u2").tobytes()
            if bits == 16
            else picture.tobytes()
        )
        start = len(out)
        bits_at = start + 2 + 12 * 10 + 4
        tags = [
            (256, 3, 1, width),
            (257, 3, 1, height),
            (258, 3, 3, bits_at),
            (259, 3, 1, 1),
            (262, 3, 1, 2),
            (273, 4, 1, bits_at + 6),
            (274, 3, 1, orientation),
            (277, 3, 1, 3),
            (278, 3, 1, height),
            (279, 4, 1, len(pixels)),
        ]
        out += struct.pack(order + "H", len(tags))
        for tag, kind, count, value in tags:
            inline = "H" if kind == 3 and count == 1 else "I"
            out += struct.pack(order + "HHI", tag, kind, count) + struct.pack(order + inline, value).ljust(
                4, b"\0"
            )
        after = bits_at + 6 + len(pixels)
        out += struct.pack(order + "I", after if page < pages - 1 else 0)
        out += struct.pack(order + "HHH", bits, bits, bits) + pixels
    return out
