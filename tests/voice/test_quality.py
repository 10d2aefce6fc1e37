from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.voice.sounds import RATE, noise, tone
from verify.types import Modality, Quality, Reason, Sample, SpeechRegion
from verify.voice.decode import open_audio
from verify.voice.quality import VoiceQualityLimits, VoiceQualityMeter

PROBE = VoiceQualityLimits.for_probe()
SPEECH = [SpeechRegion(start_s=2.0, end_s=6.0, score=0.9)]


def measured(wave, regions, *, limits: VoiceQualityLimits = PROBE, rate: int = RATE) -> Quality:
    meter = VoiceQualityMeter(limits)
    for block in open_audio(wave, rate_hz=rate):
        meter.add(block, regions)
    return meter.result()


def burst(*, snr_db: float, seconds: float = 8.0) -> np.ndarray:
    """Loud noise from 2 s to 6 s over soft noise, as speech over its background."""
    wave = noise(seconds, rms=0.1 / 10 ** (snr_db / 20))
    wave[2 * RATE : 6 * RATE] += noise(4.0, rms=0.1, seed=1)
    return wave


@pytest.mark.parametrize("snr_db", [0.0, 5.0, 10.0, 20.0, 40.0])
def test_snr_is_what_was_mixed(snr_db):
    assert measured(burst(snr_db=snr_db), SPEECH).measures["snr_db"] == pytest.approx(snr_db, abs=1.0)


def test_a_bang_in_a_pause_does_not_make_a_recording_noisy():
    wave = burst(snr_db=30.0)
    wave[7 * RATE : 7 * RATE + 4000] = noise(0.25, rms=0.3)
    assert measured(wave, SPEECH).measures["snr_db"] == pytest.approx(30.0, abs=1.0)


def test_without_pauses_the_quietest_speech_stands_for_the_noise():
    wave = noise(4.0, rms=0.1)
    wave[:: RATE // 2] = 0
    for start in range(0, len(wave), RATE // 2):
        wave[start : start + 1600] *= 0.1
    found = measured(wave, [SpeechRegion(0.0, 4.0, 0.9)]).measures["snr_db"]
    assert found == pytest.approx(20.0, abs=2.0)


def test_digital_silence_in_the_pauses_is_a_bounded_snr():
    wave = np.zeros(8 * RATE, np.float32)
    wave[2 * RATE : 6 * RATE] = noise(4.0)
    assert measured(wave, SPEECH).measures["snr_db"] == 60.0


@pytest.mark.parametrize(
    ("rate", "low", "high"), [(8000, 3500, 4300), (16000, 7800, 8000), (48000, 7500, 8000)]
)
def test_bandwidth_shows_telephone_audio(rate, low, high):
    quality = measured(noise(8.0, rate=rate, rms=0.1), SPEECH, rate=rate)
    assert low <= quality.measures["bandwidth_hz"] <= high


def test_narrow_band_is_a_reason_only_where_asked_for():
    wave = noise(8.0, rate=8000, rms=0.1)
    asked = VoiceQualityLimits(min_bandwidth_hz=4500, min_snr_db=-60)
    assert Reason.NARROW_BAND in measured(wave, SPEECH, limits=asked, rate=8000).reasons
    for limits in (PROBE, VoiceQualityLimits.for_enrolment()):
        assert Reason.NARROW_BAND not in measured(wave, SPEECH, limits=limits, rate=8000).reasons


@pytest.mark.parametrize("limits", [PROBE, VoiceQualityLimits.for_enrolment()])
def test_clipped_audio_is_named_also_when_it_was_recorded_at_another_rate(limits):
    quality = measured(np.clip(tone(8.0, rate=44100, peak=2.0), -1, 1), SPEECH, limits=limits, rate=44100)
    assert Reason.CLIPPED in quality.reasons
    assert quality.measures["clipped_share"] == pytest.approx(2 / 3, abs=0.01)


def test_no_speech_is_the_only_reason_when_there_is_none():
    for wave in (np.zeros(4 * RATE, np.float32), noise(4.0), tone(4.0, peak=1.0)):
        quality = measured(wave, [])
        assert quality.reasons == (Reason.NO_SPEECH,)
        assert quality.measures["net_speech_s"] == 0.0
        assert all(np.isfinite(value) for value in quality.measures.values())


def test_too_little_speech_comes_first():
    quality = measured(burst(snr_db=0.0), [SpeechRegion(2.0, 2.3, 0.9)])
    assert quality.reasons == (Reason.TOO_LITTLE_SPEECH, Reason.NOISY)
    assert quality.measures["net_speech_s"] == pytest.approx(0.3)
    assert measured(burst(snr_db=40.0), SPEECH).ok


def test_the_limit_of_net_speech_is_the_callers():
    regions = [SpeechRegion(2.0, 3.0, 0.9)]
    lifted = VoiceQualityLimits.for_probe(min_net_speech_s=0.5)
    assert measured(burst(snr_db=40.0), regions, limits=lifted).ok
    assert measured(burst(snr_db=40.0), regions).reasons == (Reason.TOO_LITTLE_SPEECH,)


def test_enrolment_asks_for_more_than_a_probe():
    wave = burst(snr_db=5.0)
    assert measured(wave, SPEECH).ok
    assert measured(wave, SPEECH, limits=VoiceQualityLimits.for_enrolment()).reasons == (Reason.NOISY,)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=6, unique=True))
def test_measures_do_not_depend_on_the_blocks(cuts):
    wave = burst(snr_db=15.0)
    bounds = [0, *sorted(RATE * cut // 12 // 400 * 400 for cut in cuts), len(wave)]
    meter = VoiceQualityMeter(PROBE)
    for low, high in pairwise(bounds):
        start_s, end_s = low / RATE, high / RATE
        regions = [
            SpeechRegion(max(start_s, one.start_s), min(end_s, one.end_s), one.score)
            for one in SPEECH
            if one.start_s < end_s and one.end_s > start_s
        ]
        facts = {"start_s": start_s}
        meter.add(Sample(Modality.VOICE, wave[low:high], "cut", "", rate_hz=RATE, facts=facts), regions)
    whole = measured(wave, SPEECH).measures
    parts = meter.result().measures
    for name in ("net_speech_s", "duration_s", "clipped_share"):
        assert parts[name] == pytest.approx(whole[name], abs=1e-3)
    assert parts["snr_db"] == pytest.approx(whole["snr_db"], abs=0.5)
    assert parts["level_dbfs"] == pytest.approx(whole["level_dbfs"], abs=0.2)


def test_a_block_shorter_than_a_frame_counts_its_time_only():
    quality = measured(noise(0.01), [])
    assert quality.measures["duration_s"] == pytest.approx(0.01)
