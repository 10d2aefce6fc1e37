from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.voice.sounds import RATE, noise, tone
from verify.errors import UsageError
from verify.protocols import Locator
from verify.types import Modality, Sample
from verify.voice.decode import open_audio
from verify.voice.locate import FRAME, SileroLocator, frames_with_context, regions

FRAME_S = FRAME / RATE


def spans(probabilities, **options: Any):
    options = {"start_s": 0.0, "duration_s": len(probabilities) * FRAME_S} | options
    return [(r.start_s, r.end_s) for r in regions(np.asarray(probabilities, np.float32), **options)]


def test_frames_carry_the_end_of_the_frame_before():
    wave = np.arange(1, 1200, dtype=np.float32)
    frames = frames_with_context(wave)
    assert frames.shape == (3, 576)
    assert not frames[0, :64].any()
    assert np.array_equal(frames[0, 64:], wave[:512])
    assert np.array_equal(frames[1, :64], wave[448:512])
    assert np.array_equal(frames[2, 64 : 64 + 1199 - 1024], wave[1024:])
    assert not frames[2, 64 + 1199 - 1024 :].any()


def test_speech_is_padded_and_kept_inside_the_block():
    assert spans([0.0] * 10 + [0.9] * 20 + [0.0] * 10) == [(10 * FRAME_S - 0.03, 30 * FRAME_S + 0.03)]
    assert spans([0.9] * 20, duration_s=0.63) == [(0.0, 0.63)]


def test_a_probability_between_the_thresholds_keeps_the_state():
    assert spans([0.0] * 5 + [0.9] * 10 + [0.4] * 10 + [0.0] * 5) == [
        (5 * FRAME_S - 0.03, 25 * FRAME_S + 0.03)
    ]
    assert spans([0.4] * 30) == []


def test_short_speech_is_dropped_and_short_silence_bridged():
    assert spans([0.0] * 5 + [0.9] * 7 + [0.0] * 20) == []
    assert len(spans([0.9] * 10 + [0.0] * 3 + [0.9] * 10)) == 1
    assert len(spans([0.9] * 10 + [0.0] * 4 + [0.9] * 10)) == 2


def test_regions_count_from_the_recordings_start():
    assert spans([0.0] * 5 + [0.9] * 20 + [0.0] * 5, start_s=100.0) == [
        (pytest.approx(100 + 5 * FRAME_S - 0.03), pytest.approx(100 + 25 * FRAME_S + 0.03))
    ]


@given(arrays(np.float32, st.integers(0, 200), elements=st.floats(0, 1, width=32)))
def test_regions_are_ordered_apart_and_inside(probabilities):
    duration_s = max(0.0, len(probabilities) * FRAME_S - 0.01)
    found = regions(probabilities, start_s=0.0, duration_s=duration_s)
    ends = 0.0
    for region in found:
        assert ends <= region.start_s < region.end_s <= duration_s
        assert 0 < region.score <= 1  # bridged silences pull it down
        ends = region.end_s


@pytest.mark.models
def test_silence_tone_and_noise_hold_no_speech(voice_bundle):
    locator = SileroLocator(voice_bundle.locator())
    for wave in (np.zeros(5 * RATE, np.float32), tone(5), noise(5), np.full(5 * RATE, 0.5, np.float32)):
        (sample,) = open_audio(wave)
        assert locator.locate(sample) == ()


@pytest.mark.models
def test_it_is_a_locator_for_voices_at_16_khz_only(voice_bundle):
    locator = SileroLocator(voice_bundle.locator())
    assert isinstance(locator, Locator)
    with pytest.raises(UsageError, match="8000 Hz"):
        locator.locate(Sample(Modality.VOICE, np.zeros(8000, np.float32), "a.wav", "", rate_hz=8000))
    with pytest.raises(UsageError, match="face"):
        locator.locate(Sample(Modality.FACE, np.zeros((2, 2, 3), np.uint8), "a.png", ""))


@pytest.mark.models
@pytest.mark.media
def test_speech_is_found_where_it_is(voice_bundle, data_dir):
    locator = SileroLocator(voice_bundle.locator())
    (speech,) = open_audio(min((data_dir / "voices/librispeech_test_other").glob("*/*.flac")))
    silence = np.zeros(3 * RATE, np.float32)
    (sample,) = open_audio(np.concatenate([silence, speech.media[: 10 * RATE], silence]))
    found = locator.locate(sample)
    assert found
    assert found[0].start_s > 2.9
    assert found[-1].end_s < 13.1
    assert sum(region.end_s - region.start_s for region in found) > 4


@pytest.mark.models
@pytest.mark.media
def test_cutting_into_blocks_neither_loses_speech_nor_counts_it_twice(voice_bundle, data_dir):
    locator = SileroLocator(voice_bundle.locator())
    files = sorted((data_dir / "voices/librispeech_test_other").glob("*/*.flac"))
    wave = np.concatenate([next(iter(open_audio(path))).media for path in files[:16]])
    whole = Sample(Modality.VOICE, wave, "whole", "", rate_hz=RATE)
    expected = sum(region.end_s - region.start_s for region in locator.locate(whole))
    blocks = list(open_audio(wave))
    assert len(blocks) > 2
    found = [region for block in blocks for region in locator.locate(block)]
    assert all(one.end_s <= other.start_s for one, other in pairwise(found))
    assert sum(region.end_s - region.start_s for region in found) == pytest.approx(expected, rel=0.01)
