from __future__ import annotations

import gc
import hashlib
import io
import os
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.voice.sounds import RATE, encoded, noise, tone
from verify.errors import MediaError
from verify.types import Modality, Reason
from verify.voice.decode import AudioLimits, open_audio

LOSSLESS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("AIFF", "PCM_16"),
]
LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]


def whole(source, **options: Any) -> np.ndarray:
    return np.concatenate([block.media for block in open_audio(source, **options)])


def refusal(source, **options: Any) -> MediaError:
    with pytest.raises(MediaError) as caught:
        for _ in open_audio(source, **options):
            pass
    return caught.value


@pytest.mark.parametrize(("container", "subtype"), LOSSLESS)
def test_lossless_formats_give_the_samples_back(container, subtype):
    wave = tone(0.5) + noise(0.5)
    got = whole(encoded(wave, container=container, subtype=subtype))
    assert got.dtype == np.float32
    assert np.abs(got - wave).max() < (0.01 if subtype == "PCM_U8" else 1e-4)


@pytest.mark.parametrize(("container", "subtype"), LOSSY)
def test_lossy_formats_keep_the_tone(container, subtype):
    got = whole(encoded(tone(1.0), container=container, subtype=subtype))
    assert abs(len(got) - RATE) <= RATE // 100
    spectrum = np.abs(np.fft.rfft(got[:RATE] * np.hanning(len(got[:RATE]))))
    assert abs(spectrum.argmax() * RATE / len(got[:RATE]) - 440) < 3


def test_every_way_to_name_a_recording_gives_the_same(tmp_path):
    data = encoded(tone(1.0), container="FLAC")
    path = tmp_path / "a.flac"
    path.write_bytes(data)
    with path.open("rb") as file:
        recordings = [open_audio(source) for source in (str(path), path, data, io.BytesIO(data), file)]
    medias = [next(iter(recording)).media for recording in recordings]
    assert all(np.array_equal(medias[0], media) for media in medias)
    assert {recording.sha256 for recording in recordings} == {hashlib.sha256(data).hexdigest()}
    assert recordings[0].source == str(path)
    assert recordings[2].source == "<bytes>"


def test_a_block_says_what_it_is():
    recording = open_audio(encoded(np.stack([tone(1, rate=48000)] * 2, axis=1), rate=48000))
    (block,) = recording
    assert block.modality is Modality.VOICE
    assert block.rate_hz == RATE
    assert block.media.shape == (RATE,)
    assert not block.media.flags.writeable
    assert recording.facts == {
        "format": "WAV", "subtype": "PCM_16", "rate_hz": 48000, "channels": 2, "duration_s": 1.0,
    }  # fmt: skip
    assert block.facts["start_s"] == 0.0
    assert block.facts["original_samples"] == 96000


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_resampling_keeps_duration_and_pitch(rate):
    got = whole(tone(2.0, hz=1000, rate=rate), rate_hz=rate)
    assert abs(len(got) - 2 * RATE) <= 2
    middle = got[RATE // 2 : RATE // 2 + RATE]
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.01)
    assert np.abs(np.fft.rfft(middle)).argmax() == 1000


def test_what_lies_above_8_khz_does_not_fold_down():
    got = whole(tone(1.0, hz=12000, rate=48000), rate_hz=48000)
    assert np.abs(got[2000:-2000]).max() < 1e-3


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"), [("int16", 2**15, 0), ("int32", 2**31, 0), ("uint8", 2**7, 128)]
)
def test_integer_arrays_are_at_full_scale(dtype, scale, offset):
    wave = tone(0.1)
    array = np.round(wave.astype(np.float64) * scale + offset).astype(dtype)
    assert np.abs(whole(array) - wave).max() < 1.1 / scale * max(1, scale / 2**23)


def test_channels_are_averaged_and_dead_ones_only_cost_level():
    left = tone(0.5)
    assert np.allclose(whole(np.stack([left, np.zeros_like(left)], axis=1)), left / 2, atol=1e-6)
    constant = whole(np.stack([left, np.full_like(left, 0.3)], axis=1))
    assert np.allclose(constant - constant.mean(), left / 2, atol=1e-3)


@settings(max_examples=15, deadline=None)
@given(seconds=st.floats(25, 130), rate=st.sampled_from([16000, 8000, 44100]))
def test_blocks_are_contiguous_bounded_and_never_tiny(seconds, rate):
    wave = noise(seconds, rate=rate)
    blocks = list(open_audio(wave, rate_hz=rate))
    lengths = [len(block.media) for block in blocks]
    at = 0
    for block in blocks:
        assert block.facts["start_s"] == at / RATE
        at += len(block.media)
    assert max(lengths) <= 30 * RATE
    assert len(blocks) == 1 or min(lengths) >= 10 * RATE - 1
    assert abs(at - len(wave) * RATE / rate) <= 2
    assert sum(block.facts["original_samples"] for block in blocks) == len(wave)
    if rate == RATE:
        assert np.array_equal(np.concatenate([block.media for block in blocks]), wave)


def test_cuts_fall_into_silence():
    wave = noise(60, rms=0.1)
    wave[14 * RATE : 15 * RATE] *= 0.01
    first, *_ = open_audio(wave)
    assert 14 * RATE < len(first.media) < 15 * RATE


def test_iterating_again_decodes_again():
    recording = open_audio(encoded(tone(1), container="FLAC"))
    assert np.array_equal(next(iter(recording)).media, next(iter(recording)).media)


def test_clipping_is_counted_before_resampling_and_a_lone_peak_is_none():
    wave = tone(1.0, rate=48000, peak=3.0)
    (block,) = open_audio(encoded(np.clip(wave, -1, 1), rate=48000), rate_hz=48000)
    assert block.facts["clipped_samples"] == pytest.approx((np.abs(wave) >= 1).sum(), rel=0.01)
    lone = tone(1.0)
    lone[100] = 1.0
    (block,) = open_audio(lone)
    assert block.facts["clipped_samples"] == 0


@pytest.mark.parametrize(("container", "subtype"), [*LOSSLESS, *LOSSY])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97])
def test_a_recording_cut_short_is_refused(container, subtype, kept):
    wave = noise(4.0)
    data = encoded(wave, container=container, subtype=subtype)
    error = refusal(data[: int(len(data) * kept)])
    assert error.reason is Reason.TRUNCATED
    assert "<bytes>" in str(error)


def test_a_wav_written_to_a_pipe_is_whole():
    data = bytearray(encoded(tone(1.0)))
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    assert len(whole(bytes(data))) == RATE


def test_a_damaged_flac_is_refused():
    data = bytearray(encoded(noise(4.0), container="FLAC"))
    data[len(data) // 2 : len(data) // 2 + 300] = b"\x55" * 300
    assert refusal(bytes(data)).reason is Reason.TRUNCATED


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "M4A"),
        (b"\x1a\x45\xdf\xa3\x01\0\0\0", "WebM"),
        (b"#!AMR\n\x3c", "AMR"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
        (b"\xff\xf1\x50\x80\x02\x1f\xfc", "AAC"),
        (b"RIFF\x10\0\0\0AVI LIST", "RIFF"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        ("Guten Tag, größer\n".encode() * 20, "text"),
        (bytes(range(7, 256)) * 4, "unknown format"),
    ],
)
def test_other_formats_are_named_with_the_way_out(tmp_path, head, named):
    path = tmp_path / "recording.wav"
    path.write_bytes(head + b"\x07" * (0 if named == "text" else 500))
    error = refusal(path)
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert named in str(error)
    assert "ffmpeg" in str(error)
    assert str(path) in str(error)


@pytest.mark.parametrize("container", ["CAF", "AU", "W64"])
def test_formats_that_libsndfile_reads_but_verify_does_not_are_refused(container):
    assert refusal(encoded(tone(0.1), container=container)).reason is Reason.UNSUPPORTED_FORMAT


def test_missing_empty_directory_and_pipe(tmp_path):
    assert refusal(tmp_path / "none.wav").reason is Reason.MISSING_FILE
    assert refusal(tmp_path).reason is Reason.NOT_A_FILE
    (tmp_path / "empty.wav").touch()
    assert refusal(tmp_path / "empty.wav").reason is Reason.EMPTY_FILE
    assert refusal(tmp_path / "empty.wav" / "below").reason is Reason.MISSING_FILE
    assert refusal("with\0null").reason is Reason.NOT_A_FILE
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe").reason is Reason.NOT_A_FILE


def test_a_header_without_audio_is_empty():
    assert refusal(encoded(np.zeros(0, np.float32))).reason is Reason.EMPTY_FILE


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 5000, 15999])
def test_nan_and_infinity_are_refused(bad, where):
    wave = tone(1.0)
    wave[where] = bad
    for source in (wave, wave.astype(np.float64), encoded(wave, subtype="FLOAT")):
        assert refusal(source).reason is Reason.INVALID_SAMPLES


def test_integers_in_float_clothes_are_refused():
    assert "full scale" in str(refusal(tone(0.1) * 32768))
    assert refusal(np.array([1e300, 0.0])).reason is Reason.INVALID_SAMPLES


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((2, 3, 4), np.float32), Reason.INVALID_SAMPLES),
        (np.zeros((), np.float32), Reason.INVALID_SAMPLES),
        (np.zeros(10, np.complex64), Reason.INVALID_SAMPLES),
        (np.zeros(10, np.int64), Reason.INVALID_SAMPLES),
        (np.array(["a"]), Reason.INVALID_SAMPLES),
        (np.zeros(0, np.float32), Reason.EMPTY_FILE),
        (np.zeros((10, 0), np.float32), Reason.EMPTY_FILE),
        (np.zeros((2, 16000), np.float32), Reason.OVER_LIMITS),
    ],
)
def test_arrays_of_the_wrong_kind(array, reason):
    assert refusal(array).reason is reason


def test_a_transposed_array_says_so():
    assert "transpose" in str(refusal(np.zeros((2, 16000), np.float32)))


@pytest.mark.parametrize("source", [3, None, ["a.wav"], io.StringIO("text")])
def test_sources_that_are_none(source):
    assert refusal(source).reason is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    "limits",
    [
        AudioLimits(max_bytes=1000),
        AudioLimits(max_duration_s=0.5),
        AudioLimits(max_channels=1),
        AudioLimits(max_rate_hz=8000),
        AudioLimits(min_rate_hz=44100),
    ],
)
def test_limits_hold_for_every_kind_of_source(tmp_path, limits):
    wave = np.stack([tone(1.0)] * 2, axis=1)
    data = encoded(wave)
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    for source in (wave, data, path, io.BytesIO(data)):
        assert refusal(source, limits=limits).reason is Reason.OVER_LIMITS


def test_headers_that_lie_about_shape_are_refused_before_decoding():
    data = bytearray(encoded(tone(0.1)))
    for offset, code, value in ((24, "<I", 4_000_000_000), (24, "<I", 1), (22, "<H", 60_000), (22, "<H", 0)):
        lying = data.copy()
        struct.pack_into(code, lying, offset, value)
        with pytest.raises(MediaError):
            open_audio(bytes(lying))


@settings(max_examples=60, deadline=None)
@given(
    st.binary(min_size=0, max_size=300),
    st.sampled_from([b"", b"RIFF\x24\0\0\0WAVEfmt ", b"fLaC", b"OggS\0", b"FORM"]),
)
def test_no_bytes_do_worse_than_a_media_error(junk, head):
    try:
        whole(head + junk)
    except MediaError as error:
        assert str(error).startswith("<bytes>")  # noqa: PT017 (both endings are fine)


def test_a_recording_left_half_read_closes_quietly(tmp_path):
    path = tmp_path / "long.wav"
    path.write_bytes(encoded(noise(70)))
    for _ in open_audio(path):
        break
    gc.collect()  # an unclosed file would be a ResourceWarning, and warnings are errors
    path.unlink()


def test_repr_shows_no_audio():
    recording = open_audio(tone(1.0))
    (block,) = recording
    assert "array(" not in repr(recording) + repr(block)


def test_a_path_that_is_not_readable_is_named(tmp_path):
    name = tmp_path / ("x" * 300)
    error = refusal(name)
    assert error.reason is Reason.NOT_A_FILE
