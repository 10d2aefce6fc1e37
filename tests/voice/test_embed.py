from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.voice.sounds import RATE
from verify.errors import ModelError, UsageError
from verify.protocols import Embedder
from verify.voice.decode import open_audio
from verify.voice.embed import DOUBTFUL_AGREEMENT, VoiceEmbedder, agreement, average
from verify.voice.locate import SileroLocator
from verify.voice.normalise import chunks


def unit(rows) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class FakeInput:
    name = "features"
    shape = ("B", "T", 3)


class FakeSession:
    """Embeds by the mean over time; remembers the batches that it saw."""

    def __init__(self, *, scale: float = 1.0) -> None:
        self.batches: list[tuple[int, ...]] = []
        self.scale = scale

    def get_inputs(self):
        return [FakeInput]

    def run(self, _names, feed):
        self.batches.append(feed["features"].shape)
        return [unit(feed["features"].mean(axis=1)) * self.scale]


class FakeBundle:
    name = "fake"
    model_id = "f" * 64

    class card:  # noqa: N801 (stands for an attribute)
        dim = 3

    def __init__(self, session) -> None:
        self._session = session

    def session(self, *, threads: int = 1):
        assert threads == 1
        return self._session


def test_it_is_an_embedder():
    embedder = VoiceEmbedder(FakeBundle(FakeSession()))
    assert isinstance(embedder, Embedder)
    assert (embedder.model_id, embedder.dim) == ("f" * 64, 3)


@given(st.lists(st.integers(1, 5), max_size=40), st.integers(0, 99))
def test_rows_keep_the_order_and_equal_lengths_run_together(lengths, seed):
    session = FakeSession()
    rng = np.random.default_rng(seed)
    batch = [rng.standard_normal((length, 3)).astype(np.float32) for length in lengths]
    rows = VoiceEmbedder(FakeBundle(session)).embed(batch)
    assert rows.shape == (len(batch), 3)
    for row, features in zip(rows, batch, strict=True):
        assert np.allclose(row, unit(features.mean(axis=0)), atol=1e-5)
    assert len(session.batches) <= len(set(lengths)) + len(lengths) // 16
    assert max((shape[0] for shape in session.batches), default=0) <= 16


@pytest.mark.parametrize("shape", [(4, 2), (4,), (0, 3), (1, 4, 3)])
def test_features_of_the_wrong_shape_are_named(shape):
    with pytest.raises(UsageError, match="fake"):
        VoiceEmbedder(FakeBundle(FakeSession())).embed([np.zeros(shape, np.float32)])


@pytest.mark.parametrize("scale", [2.0, np.nan])
def test_a_model_that_gives_no_unit_vectors_is_a_model_error(scale):
    with pytest.raises(ModelError, match="fake"):
        VoiceEmbedder(FakeBundle(FakeSession(scale=scale))).embed([np.ones((4, 3), np.float32)])


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=10), st.integers(0, 99))
def test_an_average_is_of_unit_norm_and_weighted(weights, seed):
    vectors = unit(np.random.default_rng(seed).standard_normal((len(weights), 8)) + 1)
    mean = average(vectors, weights)
    assert mean.dtype == np.float32
    assert np.linalg.norm(mean) == pytest.approx(1, abs=1e-6)
    expected = np.asarray(weights) @ vectors.astype(np.float64)
    assert np.allclose(mean, expected / np.linalg.norm(expected), atol=1e-6)
    assert agreement(vectors, mean) == pytest.approx(min(1.0, float((vectors @ mean).min())), abs=1e-6)


@pytest.mark.parametrize(
    ("vectors", "weights"),
    [
        (np.zeros((0, 4), np.float32), []),
        (np.eye(2, dtype=np.float32), [1.0]),
        (np.eye(2, dtype=np.float32), [1.0, 0.0]),
        (np.eye(2, dtype=np.float32), [1.0, np.nan]),
        (np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32), [1.0, 1.0]),
    ],
)
def test_averages_that_mean_nothing_are_refused(vectors, weights):
    with pytest.raises(UsageError):
        average(vectors, weights)


def embedded(wave, *, bundle, locator, embedder) -> tuple[np.ndarray, float]:
    found = [
        chunk
        for block in open_audio(wave)
        for chunk in chunks(block, locator.locate(block), contract=bundle.card.input)
    ]
    vectors = embedder.embed([chunk.features for chunk in found])
    mean = average(vectors, [chunk.net_speech_s for chunk in found])
    return mean, agreement(vectors, mean)


@pytest.fixture(scope="module")
def voices(data_dir) -> dict[str, list[np.ndarray]]:
    folders = sorted((data_dir / "voices/librispeech_test_other").iterdir())[:3]
    return {
        folder.name: [next(iter(open_audio(path))).media for path in sorted(folder.glob("*.flac"))[:3]]
        for folder in folders
    }


@pytest.mark.models
@pytest.mark.media
def test_one_speaker_is_nearer_than_another(voice_bundle, voices):
    stages = {
        "bundle": voice_bundle,
        "locator": SileroLocator(voice_bundle.locator()),
        "embedder": VoiceEmbedder(voice_bundle),
    }
    rows, names = [], []
    for name, waves in voices.items():
        for wave in waves:
            rows.append(embedded(wave, **stages)[0])
            names.append(name)
    scores = np.array(rows) @ np.array(rows).T
    same = np.equal.outer(names, names)
    assert scores[same].min() > scores[~same].max()


@pytest.mark.models
@pytest.mark.media
def test_two_speakers_in_one_recording_show_in_the_agreement(voice_bundle, voices):
    stages = {
        "bundle": voice_bundle,
        "locator": SileroLocator(voice_bundle.locator()),
        "embedder": VoiceEmbedder(voice_bundle),
    }
    (first, second, *_) = voices.values()
    one = np.concatenate([first[0], first[1], first[2]])
    two = np.concatenate([np.tile(first[0], 3)[: 30 * RATE], np.tile(second[0], 3)[: 30 * RATE]])
    assert embedded(two, **stages)[1] < DOUBTFUL_AGREEMENT < embedded(one, **stages)[1]


@pytest.mark.models
def test_an_embedder_gives_the_same_from_many_threads(voice_bundle):
    embedder = VoiceEmbedder(voice_bundle)
    rng = np.random.default_rng(0)
    batches = [[rng.standard_normal((120, 80)).astype(np.float32)] for _ in range(6)]
    alone = [embedder.embed(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(embedder.embed, batches))
    for one, other in zip(alone, together, strict=True):
        assert np.allclose(one, other, atol=1e-6)
