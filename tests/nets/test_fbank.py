"""What networks train on is what the runtime gives them."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.voice.sounds import RATE, noise, tone
from verify.nets.registry import SPEECH_80
from verify.types import Modality, Sample, SpeechRegion
from verify.voice.normalise import chunks

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch", reason="needs the training extra")


def runtime(wave: np.ndarray, **contract: object) -> np.ndarray:
    sample = Sample(Modality.VOICE, wave, "made", "", rate_hz=RATE)
    region = SpeechRegion(start_s=0.0, end_s=len(wave) / RATE, score=1.0)
    (chunk,) = chunks(sample, (region,), contract={**SPEECH_80, **contract})
    return chunk.features


def sounds() -> np.ndarray:
    """(4, 24000): loud, quiet, far below Kaldi's floor, and a tone with an offset, whose bands differ most."""
    rows = [noise(1.5, rms=0.2, seed=1), noise(1.5, rms=2e-3, seed=2), noise(1.5, rms=1e-6, seed=3)]
    return np.stack([*rows, tone(1.5) * np.float32(0.01) + np.float32(0.1)])


@pytest.mark.parametrize(("dtype", "limit"), [("float64", 2e-5), ("float32", 2e-2)])
@pytest.mark.parametrize("level_dbfs", [-25.0, -40.0])
def test_features_are_the_runtimes(dtype, limit, level_dbfs) -> None:
    from verify.nets.fbank import KaldiFbank

    waves = sounds()
    fbank = KaldiFbank(level_dbfs=level_dbfs, dtype=getattr(torch, dtype))
    found = fbank(torch.from_numpy(waves))
    assert found.shape == (4, 148, 80)
    assert found.dtype == torch.float32
    for row, wave in zip(found, waves, strict=True):
        assert np.abs(row.numpy() - runtime(wave, level_dbfs=level_dbfs)).max() <= limit


@settings(max_examples=15, deadline=None)
@given(st.integers(400, 3000), st.sampled_from([24, 40, 80]), st.floats(-70, 0), st.integers(0, 99))
def test_features_are_the_runtimes_at_any_length_and_level(length, bins, level, seed) -> None:
    from verify.nets.fbank import KaldiFbank

    wave = noise(length / RATE, rms=10 ** (level / 20), seed=seed)[:length]
    found = KaldiFbank(bins)(torch.from_numpy(wave)[None])[0]
    expected = runtime(wave, bins=bins)
    assert found.shape == expected.shape
    assert np.abs(found.numpy() - expected).max() <= 2e-5


@pytest.mark.media
def test_features_of_speech_are_the_runtimes(data_dir) -> None:
    from verify.nets.fbank import KaldiFbank

    files = sorted((data_dir / "voices" / "librispeech_cohort").glob("*.flac"))[:5]
    waves = np.stack([soundfile.read(path, dtype="float32")[0][: 2 * RATE] for path in files])
    for dtype, limit in ((torch.float64, 2e-5), (torch.float32, 1e-2)):
        found = KaldiFbank(dtype=dtype)(torch.from_numpy(waves))
        for row, wave in zip(found, waves, strict=True):
            assert np.abs(row.numpy() - runtime(wave)).max() <= limit


def test_silence_stays_finite_and_rows_keep_apart() -> None:
    from verify.nets.fbank import KaldiFbank

    waves = np.stack([np.zeros(4000, np.float32), noise(0.25, rms=0.1)])
    both = KaldiFbank()(torch.from_numpy(waves))
    torch.testing.assert_close(both[0], torch.zeros_like(both[0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(both[1:], KaldiFbank()(torch.from_numpy(waves[1:])))


def test_mean_and_level_can_be_left() -> None:
    from verify.nets.fbank import KaldiFbank
    from verify.voice.normalise import kaldi_fbank

    wave = noise(0.5, rms=0.01)
    found = KaldiFbank(level_dbfs=None, mean=False)(torch.from_numpy(wave)[None])[0]
    assert np.abs(found.numpy() - kaldi_fbank(wave)).max() <= 2e-5


def test_autocast_and_gradients_leave_features_alone() -> None:
    from verify.nets.fbank import KaldiFbank

    waves = torch.from_numpy(noise(0.5))[None].requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = KaldiFbank()(waves)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    torch.testing.assert_close(found, KaldiFbank()(waves.detach()))


@pytest.mark.parametrize("shape", [(400,), (2, 399), (1, 2, 800)])
def test_waves_of_another_shape_are_refused(shape) -> None:
    from verify.nets.fbank import KaldiFbank

    with pytest.raises(ValueError, match=r"waves must be \(B, N\) with N >= 400"):
        KaldiFbank()(torch.zeros(shape))
