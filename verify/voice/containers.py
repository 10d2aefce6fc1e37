"""What the first and last bytes of a recording say: its format, and whether it is all there.

libsndfile reads what is left of a file that was cut, and says nothing. The lengths that the containers state
are read here and held against the file's.
"""

from __future__ import annotations

import codecs
import struct
from typing import IO


def foreign_format(head: bytes) -> str:
    """Name of a format that libsndfile does not read, by its first bytes; empty if none is known."""
    if head[4:8] == b"ftyp":
        return "an MP4 container (M4A, AAC, 3GP)"
    if head[:4] == b"RIFF" and head[8:12] != b"WAVE":
        return "a RIFF container without WAVE audio"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # noqa: PLR2004 (ADTS: sync, layer 0)
        return "raw AAC (ADTS)"
    names = {
        b"\x1a\x45\xdf\xa3": "WebM or Matroska",
        b"#!AMR": "AMR",
        b"\x30\x26\xb2\x75": "WMA (ASF)",
        b"caff": "CAF",
        b".snd": "AU",
        b"NIST_1A": "NIST SPHERE",
        b"MAC ": "Monkey's Audio",
        b"wvpk": "WavPack",
        b"\x89PNG": "a PNG image",
        b"\xff\xd8\xff": "a JPEG image",
        b"%PDF": "a PDF",
        b"PK\x03\x04": "a zip archive",
        b"FLV": "Flash video",
    }
    return next((name for magic, name in names.items() if head.startswith(magic)), "")


def cut_short(handle: IO[bytes], head: bytes, *, size: int) -> str:
    """How the container's own lengths show that the file was cut; empty if they do not."""
    if head[:4] in (b"RIFF", b"RF64", b"FORM"):
        return _cut_chunk(handle, size=size, order=">" if head[:4] == b"FORM" else "<")
    if head[:4] == b"OggS":
        return _cut_page(handle, size=size)
    at, counted = xing(handle)
    if counted and at + counted > size + 1441:  # the longest layer III frame: encoders differ in the last one
        return f"its Xing header counts {counted:,} bytes, the file has {size - at:,}"
    return ""


def _cut_chunk(handle: IO[bytes], *, size: int, order: str) -> str:
    """Walk the chunks of a RIFF, RF64 or AIFF file up to the audio; hold its length against the file's."""
    at, long_length = 12, 0
    while at + 8 <= size:
        handle.seek(at)
        name, length = struct.unpack(order + "4sI", handle.read(8))
        if name == b"ds64":
            long_length = int.from_bytes(handle.read(16)[8:], "little")
        if name in (b"data", b"SSND"):
            length = long_length or length
            missing = at + 8 + length - size
            streamed = length in (0, 0xFFFFFFFF, 0xFFFFFFFE)  # written to a pipe: length never known
            return (
                f"its header counts {missing:,} bytes more than the file has"
                if missing > 0 and not streamed
                else ""
            )
        at += 8 + length + (length & 1)
    return "it ends before the audio starts"


def _cut_page(handle: IO[bytes], *, size: int) -> str:
    """Whether the last Ogg page (RFC 3533) is whole and marked as the end of its stream."""
    handle.seek(max(0, size - (1 << 17)))  # a page has at most 65,307 bytes
    tail = handle.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""  # noqa: PLR2004 (offset of their count)
    if len(page) < 27 + len(segments) + sum(segments) or len(segments) < page[26]:
        return "its last Ogg page is not whole"
    return "" if page[5] & 4 else "its last Ogg page is not marked as the end of the stream"


def xing(handle: IO[bytes]) -> tuple[int, int | None]:
    """Where an MP3's first frame starts, and its size in bytes by the Xing or Info header.

    The size is None without such a header and 0 if the header does not say.
    """
    handle.seek(0)
    tag = handle.read(10)
    at = 0
    if tag[:3] == b"ID3" and len(tag) == 10:  # noqa: PLR2004 (an ID3v2 header; its size has 7 bits a byte)
        at = 10 + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9])
    handle.seek(at)
    frame = handle.read(64)
    found = max(frame.find(b"Xing"), frame.find(b"Info"))
    if not 0 <= found <= len(frame) - 16:
        return at, None
    flags, first, second = struct.unpack_from(">III", frame, found + 4)
    return at, (second if flags & 1 else first) if flags & 2 else 0


def is_text(head: bytes) -> bool:
    """Whether these bytes are UTF-8 text, possibly ending inside a character."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
