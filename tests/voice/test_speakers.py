"""One speaker a recording: enrolment holds a recording against itself."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from verify.capture import CapturePolicy, Capturer, Profile
from verify.types import Reason
from verify.voice.embed import lowest_pair
from verify.voice.normalise import short_pieces


@given(st.integers(1, 1000))
def test_pieces_cover_the_chunk_and_are_centred(frames: int) -> None:
    features = np.random.default_rng(frames).normal(size=(frames, 8)).astype(np.float32)
    pieces = short_pieces(features)
    assert sum(map(len, pieces)) == frames
    assert len(pieces) == max(1, frames // 200)
    assert all(abs(piece.mean(axis=0)).max() < 1e-3 for piece in pieces)


def test_lowest_pair() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    assert lowest_pair(vectors) == 0.0
    assert lowest_pair(vectors[:2]) == pytest.approx(0.8)
    assert lowest_pair(vectors[:1]) == 1.0


@pytest.mark.models
@pytest.mark.media
def test_one_speaker_passes_and_two_are_refused(data_dir: Path, voice_bundle) -> None:
    capturer = Capturer(voice_bundle, policy=CapturePolicy(profile=Profile.ENROLMENT))
    folders = sorted((data_dir / "voices" / "librispeech_test_other").iterdir())
    waves = [
        soundfile.read(max(folder.iterdir(), key=lambda p: p.stat().st_size), dtype="float32")[0]
        for folder in folders
    ]

    def capture(*parts: np.ndarray):
        media = io.BytesIO()
        soundfile.write(media, np.concatenate(parts), 16_000, format="WAV")
        return capturer.capture(media.getvalue())

    alone = [capture(wave[: 10 * 16_000]).failure for wave in waves]
    assert alone == [None] * len(waves)
    halves = [wave[: 5 * 16_000] for wave in waves]
    together = [capture(one, other).failure for one, other in itertools.pairwise(halves)]
    assert together.count(Reason.SEVERAL_SPEAKERS) >= 0.8 * len(together)


@pytest.mark.models
def test_a_long_recording_is_the_mean_of_its_chunks(samples: Path, voice_bundle) -> None:
    """Two speakers as a probe: the template is no chunk's own, but the mean of them all."""
    from verify.voice.decode import open_audio
    from verify.voice.embed import VoiceEmbedder, average
    from verify.voice.locate import SileroLocator
    from verify.voice.normalise import chunks

    turns = [
        soundfile.read(path, dtype="float32")[0] for path in sorted((samples / "voices").glob("*/*.wav"))
    ]
    media = io.BytesIO()
    soundfile.write(media, np.concatenate(turns), 16_000, format="WAV")
    captured = Capturer(voice_bundle).capture(media.getvalue())
    assert captured.template is not None
    locator, embedder = SileroLocator(voice_bundle.locator()), VoiceEmbedder(voice_bundle)
    pieces = [
        piece
        for block in open_audio(media.getvalue())
        for piece in chunks(block, locator.locate(block), contract=voice_bundle.card.input)
    ]
    assert len(pieces) > 1
    vectors = embedder.embed([piece.features for piece in pieces])
    mean = average(vectors, [piece.net_speech_s for piece in pieces])
    assert float(captured.template.vector @ mean) > 1 - 1e-5
    assert (vectors @ captured.template.vector).max() < 0.99
