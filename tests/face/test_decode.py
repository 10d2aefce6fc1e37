from __future__ import annotations

import hashlib
import io
import os
import random
import struct
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.face import images
from verify.errors import MediaError, UsageError, VerifyError
from verify.face.decode import DecodeLimits, decode
from verify.face.headers import HeaderError, read_header
from verify.types import Modality, Reason

RGB = images.quarters()
# Exif orientation -> the quarters of RGBk once upright, and whether rows and columns swap (CIPA DC-008).
UPRIGHT = {
    1: ("RGBk", False),
    2: ("GRkB", False),
    3: ("kBGR", False),
    4: ("BkRG", False),
    5: ("RBGk", True),
    6: ("BRkG", True),
    7: ("kGBR", True),
    8: ("GkRB", True),
}


def texture(height: int = 120, width: int = 160) -> np.ndarray:
    noise = np.random.default_rng(7).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def reason_of(source, **options: DecodeLimits) -> Reason:
    with pytest.raises(MediaError) as caught:
        decode(source, **options)
    return caught.value.reason


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_every_format_gives_the_same_picture_from_path_bytes_and_file_object(suffix, tmp_path):
    data = images.encode(suffix, RGB)
    path = tmp_path / "photo.unrelated"
    path.write_bytes(data)
    samples = [decode(path), decode(str(path)), decode(data), decode(io.BytesIO(data))]
    with path.open("rb") as file:
        samples.append(decode(file))
    for sample in samples:
        assert sample.modality is Modality.FACE
        assert sample.media.shape == (40, 60, 3)
        assert sample.media.dtype == np.uint8
        assert sample.media.flags.c_contiguous
        assert images.colours(sample.media) == "RGBk"
        assert sample.sha256 == hashlib.sha256(data).hexdigest()
        assert (sample.facts["width"], sample.facts["height"]) == (60, 40)
    assert samples[0].source == str(path)
    assert samples[2].source == "<bytes>"
    assert len({sample.facts["format"] for sample in samples}) == 1


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    "make",
    [
        lambda o: images.jpeg_with_exif(RGB, images.exif(o)),
        lambda o: images.jpeg_with_exif(RGB, images.exif(o, order=">")),
        lambda o: images.png_with_exif(RGB, images.exif(o)),
        lambda o: images.webp_with_exif(RGB, images.exif(o)),
        lambda o: images.tiff(RGB, orientation=o),
        lambda o: images.tiff(RGB, orientation=o, bits=16, order=">"),
    ],
    ids=["jpeg", "jpeg-big-endian", "png", "webp", "tiff", "tiff16-big-endian"],
)
def test_orientation_is_applied_once_in_every_format(make, orientation):
    sample = decode(make(orientation))
    quarters, swapped = UPRIGHT[orientation]
    assert images.colours(sample.media) == quarters
    assert sample.media.shape == ((60, 40, 3) if swapped else (40, 60, 3))
    assert sample.facts["exif_orientation"] == orientation


@pytest.mark.parametrize(
    "block", [b"", b"II*\0", images.exif(0), images.exif(9), images.exif(6)[:12], b"XX" * 20]
)
def test_a_damaged_exif_block_leaves_the_photo_as_it_is(block):
    assert images.colours(decode(images.jpeg_with_exif(RGB, block)).media) == "RGBk"


def test_cmyk_jpeg_has_its_right_colours():
    sample = decode(images.CMYK_JPEG)
    assert images.colours(sample.media) == "RGBk"
    assert sample.facts["channels"] == 4


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bit_is_rounded_to_eight(suffix):
    values = np.array([[0, 127, 128, 257 * 200, 65535, 65406]], np.uint16).repeat(4, axis=0)
    sample = decode(images.encode(suffix, values))
    assert sample.facts["bits"] == 16
    assert sample.media[0, :, 0].tolist() == [0, 0, 0, 200, 255, 254]
    assert (sample.media[..., 0] == sample.media[..., 2]).all()


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparency_is_laid_over_white(suffix):
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    rgba[:, 30:, 3] = 0
    rgba[20:, :30, 3] = 128
    sample = decode(images.encode(suffix, rgba, cv2.IMWRITE_WEBP_QUALITY, 101))
    assert sample.media[5, 5].tolist() == list(images.RED)
    assert sample.media[5, 45].tolist() == [255, 255, 255]
    assert np.abs(sample.media[30, 5].astype(int) - [132, 132, 252]).max() <= 1


def test_palette_png_with_a_transparent_entry():
    rows = b"".join(b"\0" + bytes([0, 1, 2, 2]) for _ in range(4))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        images.png_chunk(kind, payload)
        for kind, payload in (
            (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 3, 0, 0, 0)),
            (b"PLTE", bytes(images.RED + images.GREEN + images.BLUE)),
            (b"tRNS", bytes([255, 255, 0])),
            (b"IDAT", __import__("zlib").compress(rows)),
            (b"IEND", b""),
        )
    )
    assert decode(data).media[0].tolist() == [list(images.RED), list(images.GREEN), [255] * 3, [255] * 3]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff", ".bmp"])
def test_grey_becomes_three_equal_channels(suffix):
    sample = decode(images.encode(suffix, texture()[..., 0]))
    assert sample.media.shape == (120, 160, 3)
    assert (sample.media[..., 0] == sample.media[..., 1]).all()
    assert (sample.media[..., 0] == sample.media[..., 2]).all()


def test_the_first_page_of_a_tiff_is_taken():
    assert images.colours(decode(images.tiff(RGB, pages=3)).media) == "RGBk"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_file_cut_short_is_refused(suffix, share):
    data = images.encode(suffix, texture())
    assert reason_of(data[: int(len(data) * share)]) in (Reason.TRUNCATED, Reason.UNSUPPORTED_FORMAT)
    assert reason_of(data[: max(64, int(len(data) * share))]) is Reason.TRUNCATED


def test_a_jpeg_cut_short_is_refused_although_its_thumbnail_ends_well():
    thumbnail = images.encode(".jpg", RGB)
    data = images.jpeg_with_exif(texture(), images.exif(1) + thumbnail)
    assert decode(data).media.shape == (120, 160, 3)
    assert reason_of(data[: len(data) * 2 // 3]) is Reason.TRUNCATED


def test_a_progressive_jpeg_and_a_jpeg_with_a_trailer_are_read():
    data = images.encode(".jpg", texture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert decode(data).media.shape == (120, 160, 3)
    assert decode(data + b"trailer of a moving photo" * 50).media.shape == (120, 160, 3)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"just a text\n" * 50, "not an image"),
        (b"BMW is a car maker, not a bitmap.....", "not an image"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC"),
        (b"\0\0\0\x18ftypavif" + b"\0" * 40, "AVIF"),
        (b"GIF89a" + b"\0" * 40, "GIF"),
        (b"%PDF-1.7" + b"\0" * 40, "PDF"),
        (b"RIFF\0\0\0\0WAVEfmt " + b"\0" * 40, "RIFF"),
        (b"fLaC" + b"\0" * 40, "FLAC"),
    ],
)
def test_what_is_no_photo_is_named_with_the_way_out(data, named, tmp_path):
    path = tmp_path / "renamed.jpg"
    path.write_bytes(data)
    with pytest.raises(MediaError, match=named) as caught:
        decode(path)
    assert caught.value.reason is Reason.UNSUPPORTED_FORMAT
    assert "renamed.jpg" in str(caught.value)
    assert "JPEG, PNG, WebP, BMP and TIFF" in str(caught.value)


def test_missing_directory_empty_and_odd_names(tmp_path):
    (tmp_path / "empty.jpg").touch()
    assert reason_of(tmp_path / "nothing.jpg") is Reason.MISSING_FILE
    assert reason_of(tmp_path) is Reason.NOT_A_FILE
    assert reason_of(tmp_path / "empty.jpg") is Reason.EMPTY_FILE
    assert reason_of(b"") is Reason.EMPTY_FILE
    assert reason_of(io.BytesIO()) is Reason.EMPTY_FILE
    assert reason_of("nul\0name.jpg") is Reason.MISSING_FILE
    assert reason_of("x" * 10_000) is Reason.MISSING_FILE
    assert reason_of(tmp_path / "empty.jpg" / "below-a-file.jpg") is Reason.MISSING_FILE


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert reason_of(tmp_path / "pipe.jpg") is Reason.NOT_A_FILE


def test_wrong_kinds_of_source_are_usage_errors():
    with pytest.raises(UsageError, match="binary"):
        decode(io.StringIO("text"))
    with pytest.raises(UsageError, match="int"):
        decode(7)
    closed = io.BytesIO(b"x")
    closed.close()
    assert reason_of(closed) is Reason.MISSING_FILE


def test_an_enormous_size_is_refused_before_anything_is_allocated():
    data = images.png_of_size(50_000, 50_000)
    tracemalloc.start()
    try:
        assert reason_of(data) is Reason.OVER_LIMITS
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_limits_on_bytes_pixels_and_side(tmp_path):
    data = images.encode(".png", texture())
    assert reason_of(data, limits=DecodeLimits(max_bytes=len(data) - 1)) is Reason.OVER_LIMITS
    assert reason_of(data, limits=DecodeLimits(max_pixels=120 * 160 - 1)) is Reason.OVER_LIMITS
    assert reason_of(data, limits=DecodeLimits(max_side_px=159)) is Reason.OVER_LIMITS
    assert reason_of(texture(), limits=DecodeLimits(max_side_px=159)) is Reason.OVER_LIMITS
    exact = DecodeLimits(max_bytes=len(data), max_pixels=120 * 160, max_side_px=160)
    assert decode(data, limits=exact).media.shape == (120, 160, 3)
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(10_000_000_000)  # sparse: takes no room
    assert reason_of(huge) is Reason.OVER_LIMITS
    with huge.open("rb") as file:
        assert reason_of(file) is Reason.OVER_LIMITS


def test_arrays_of_every_kind():
    grey = texture()[..., 0]
    for array in (grey, grey[..., None]):
        media = decode(array).media
        assert media.shape == (120, 160, 3)
        assert (media == grey[..., None]).all()
    assert (decode(texture()).media == texture()).all()
    assert (decode(texture().astype(np.uint16) * 257).media == texture()).all()
    assert (decode(texture().astype(np.float32) / 255).media == texture()).all()
    assert (decode(texture()[::-1, ::-1]).media == texture()[::-1, ::-1]).all()
    clear = np.dstack([texture(), np.zeros((120, 160), np.uint8)])
    assert (decode(clear).media == 255).all()


def test_a_sample_does_not_share_memory_with_the_callers_array():
    array = texture()
    sample = decode(array)
    array[:] = 0
    assert sample.media.any()


def test_hashes_of_arrays_tell_shape_and_type_apart():
    flat = np.zeros((8, 8), np.uint8)
    hashes = {decode(a).sha256 for a in (flat, flat.reshape(4, 16), flat.astype(np.float32), flat + 1)}
    assert len(hashes) == 4
    assert decode(flat).sha256 == decode(flat.copy()).sha256


@pytest.mark.parametrize(
    "array",
    [
        np.full((8, 8), np.nan, np.float32),
        np.full((8, 8, 3), np.inf),
        np.full((8, 8), 200.0),
        np.full((8, 8), -0.1),
        np.zeros((8, 8, 2), np.uint8),
        np.zeros((8,), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 8), np.int64),
        np.zeros((8, 8), bool),
        np.full((8, 8), "a"),
    ],
)
def test_arrays_that_are_no_photo_are_refused(array):
    assert reason_of(array) is Reason.INVALID_SAMPLES


def test_opencv_says_nothing_of_its_own(capfd):
    for suffix in (".jpg", ".png", ".tiff", ".webp"):
        data = bytearray(images.encode(suffix, texture()))
        reason_of(bytes(data[: len(data) // 2]))
        data[40 : len(data) - 40] = bytes(len(data) - 80)
        with pytest.raises(VerifyError):
            decode(bytes(data))
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([".jpg", ".png", ".webp", ".bmp", ".tiff"]), st.integers(0, 2**32 - 1))
def test_damaged_files_are_either_read_or_refused_by_name(suffix, seed):
    source = random.Random(seed)
    data = bytearray(images.encode(suffix, RGB))
    for _ in range(source.randint(1, 8)):
        data[source.randrange(min(len(data), 200))] = source.randrange(256)
    try:
        sample = decode(bytes(data), limits=DecodeLimits(max_pixels=1_000_000))
    except MediaError:
        return
    assert sample.media.dtype == np.uint8
    assert sample.media.ndim == 3
    assert sample.media.shape[2] == 3


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x20\0\0\0WEBP", b"BM", b"II*\0", b"MM\0*"]
    ),
    st.binary(max_size=300),
)
def test_the_header_reader_never_fails_otherwise(magic, rest):
    try:
        header = read_header(magic + rest)
    except HeaderError:
        return
    assert header is None or 1 <= header.orientation <= 8


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_lossless_files_come_back_to_the_bit(array):
    for suffix in (".png", ".bmp", ".tiff"):
        assert (decode(images.encode(suffix, array)).media == array).all()
