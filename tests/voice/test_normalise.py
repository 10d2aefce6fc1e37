from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.voice.sounds import RATE, noise, tone
from verify.errors import ModelError
from verify.types import Modality, Sample, SpeechRegion
from verify.voice.normalise import chunks, ge2e_mel, joined, kaldi_fbank

KALDI = {"features": "kaldi-fbank", "bins": 80}
GE2E = {"features": "ge2e-mel"}


def sample(wave, *, start_s: float = 0.0) -> Sample:
    return Sample(Modality.VOICE, wave, "made", "", rate_hz=RATE, facts={"start_s": start_s})


def region(start_s: float, end_s: float) -> SpeechRegion:
    return SpeechRegion(start_s=start_s, end_s=end_s, score=0.9)


@pytest.mark.train
@pytest.mark.parametrize("bins", [40, 80])
@pytest.mark.parametrize("level", [1.0, 1e-2, 1e-5])
@pytest.mark.parametrize("kind", ["noise", "tone", "sweep", "silence", "offset"])
def test_fbank_is_kaldis(kind, level, bins):
    torch = pytest.importorskip("torch")
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    t = np.arange(RATE) / RATE
    wave = {
        "noise": noise(1.0, rms=0.2),
        "tone": tone(1.0),
        "sweep": np.sin(2 * np.pi * 3000 * t**2),
        "silence": np.zeros(RATE),
        "offset": noise(1.0) + 0.5,
    }[kind].astype(np.float32) * np.float32(level)
    double = torch.from_numpy(wave.astype(np.float64))[None]
    expected = kaldi.fbank(double, num_mel_bins=bins, sample_frequency=RATE, dither=0.0).numpy()
    got = kaldi_fbank(wave, bins=bins)
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-3


@pytest.mark.train
@pytest.mark.media
def test_fbank_of_speech_is_kaldis(data_dir):
    torch = pytest.importorskip("torch")
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    import soundfile

    wave, rate = soundfile.read(min((data_dir / "voices/librispeech_cohort").glob("*.flac")), dtype="float32")
    double = torch.from_numpy(wave.astype(np.float64))[None]
    expected = kaldi.fbank(double, num_mel_bins=80, sample_frequency=rate, dither=0.0).numpy()
    assert np.abs(kaldi_fbank(wave) - expected).max() <= 1e-3


def test_fbank_of_a_tone_peaks_where_kaldis_mel_scale_puts_it():
    mel = lambda hz: 1127 * np.log1p(hz / 700)  # noqa: E731
    for hz in (300, 1000, 4000):
        place = (mel(hz) - mel(20)) / (mel(8000) - mel(20)) * 81 - 1
        assert abs(int(kaldi_fbank(tone(0.5, hz=hz)).mean(axis=0).argmax()) - place) <= 1


@given(st.integers(0, 3000))
def test_fbank_has_a_frame_for_every_whole_window(count):
    features = kaldi_fbank(noise(1.0)[:count])
    assert features.shape == (max(0, 1 + (count - 400) // 160) if count >= 400 else 0, 80)


def test_silence_lies_on_the_floor():
    features = kaldi_fbank(np.zeros(1000, np.float32))
    assert np.allclose(features, np.log(np.finfo(np.float32).eps))


def test_ge2e_mel_is_a_linear_power_spectrum():
    wave = noise(1.0)
    assert ge2e_mel(wave).shape == (101, 40)
    assert np.allclose(ge2e_mel(2 * wave), 4 * ge2e_mel(wave), rtol=1e-4)
    # a Hann window of 400 spreads a tone's power of a^2/4 over a spectrum whose triangles have unit area
    peaks = ge2e_mel(tone(1.0, hz=500)).mean(axis=0)
    assert peaks.argmax() == round(500 / (200 / 3) / (15 + np.log(8) / (np.log(6.4) / 27)) * 41) - 1


def test_regions_are_joined_with_margins_and_nothing_twice():
    wave = np.arange(RATE, dtype=np.float32)
    got = joined(sample(wave, start_s=10.0), [region(10.2, 10.4), region(10.5, 10.6)], margin_s=0.1)
    assert np.array_equal(got, wave[1600 : 1600 + 9600])
    apart = joined(sample(wave, start_s=10.0), [region(10.0, 10.1), region(10.9, 11.0)], margin_s=0.1)
    assert np.array_equal(apart, np.r_[wave[:3200], wave[-3200:]])
    assert not len(joined(sample(wave), []))


@settings(max_examples=40, deadline=None)
@given(speech_s=st.floats(0.1, 30.0), max_chunk_s=st.sampled_from([2.0, 5.0, 10.0]))
def test_chunks_are_bounded_balanced_and_weigh_what_they_hold(speech_s, max_chunk_s):
    found = chunks(
        sample(noise(speech_s)), [region(0.0, speech_s)], contract=KALDI | {"max_chunk_s": max_chunk_s}
    )
    lengths = [len(chunk.features) for chunk in found]
    assert max(lengths) <= 100 * max_chunk_s
    assert max(lengths) - min(lengths) <= 1
    assert sum(lengths) == len(kaldi_fbank(noise(speech_s)))
    assert sum(chunk.net_speech_s for chunk in found) == pytest.approx(speech_s)
    for chunk in found:
        assert chunk.features.dtype == np.float32
        assert np.abs(chunk.features.mean(axis=0)).max() < 1e-3


@pytest.mark.parametrize("gain", [0.3, 1e-2, 1e-4])
def test_a_quiet_recording_gives_the_features_of_a_loud_one(gain):
    wave = noise(3.0, rms=0.05)
    loud, quiet = (
        chunks(sample(one), [region(0, 3)], contract=KALDI)[0].features
        for one in (wave, wave * np.float32(gain))
    )
    assert np.abs(loud - quiet).max() < 1e-3


def test_partials_overlap_by_half_and_are_never_nearly_empty():
    for speech_s, count in ((0.5, 1), (1.6, 1), (2.3, 2), (4.0, 4)):
        found = chunks(sample(noise(speech_s)), [region(0.0, speech_s)], contract=GE2E)
        assert [chunk.features.shape for chunk in found] == [(160, 40)] * count
        assert sum(chunk.net_speech_s for chunk in found) == pytest.approx(speech_s)


def test_partials_are_raised_to_a_level_but_never_lowered():
    quiet, normal, loud = (
        chunks(sample(noise(2.0, rms=rms)), [region(0, 2)], contract=GE2E)[0].features.mean()
        for rms in (0.001, 10**-1.5, 0.1)
    )
    assert quiet == pytest.approx(normal, rel=1e-3)
    assert loud == pytest.approx(normal * 10, rel=1e-2)


@pytest.mark.parametrize("contract", [KALDI, GE2E])
def test_no_speech_no_chunks(contract):
    assert chunks(sample(noise(1.0)), [], contract=contract) == ()


@pytest.mark.parametrize("contract", [KALDI, GE2E])
def test_digital_silence_gives_finite_features(contract):
    (chunk,) = chunks(sample(np.zeros(RATE, np.float32)), [region(0, 1)], contract=contract)
    assert np.isfinite(chunk.features).all()


@pytest.mark.parametrize(
    ("contract", "named"),
    [
        ({"features": "mfcc"}, "mfcc"),
        ({}, "None"),
        (KALDI | {"rate_hz": 8000}, "8000"),
        (KALDI | {"mean": "kept"}, "kept"),
        (GE2E | {"partial_frames": 80}, "partial_frames"),
    ],
)
def test_contracts_that_ask_for_something_else_are_refused(contract, named):
    with pytest.raises(ModelError, match=named):
        chunks(sample(noise(1.0)), [region(0, 1)], contract=contract)
