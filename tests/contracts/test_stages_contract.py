"""What every Locator and every Embedder promises, run by each that the default bundles hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from verify.models import ModelBundle
from verify.protocols import Embedder, Locator
from verify.types import Modality, Sample

pytestmark = pytest.mark.models


def blank(modality: Modality) -> Sample:
    media = np.zeros((480, 640, 3), np.uint8) if modality is Modality.FACE else np.zeros(48_000, np.float32)
    return Sample(modality, media, "<blank>", "0" * 64, rate_hz=0 if modality is Modality.FACE else 16_000)


@pytest.fixture(params=["face", "voice"])
def bundle(request: pytest.FixtureRequest) -> ModelBundle:
    return request.getfixturevalue(f"{request.param}_bundle")


@pytest.fixture
def locator(bundle: ModelBundle) -> Locator:
    from verify.face.locate import open_locator
    from verify.voice.locate import SileroLocator

    found = bundle.locator()
    return open_locator(found) if bundle.modality is Modality.FACE else SileroLocator(found)


@pytest.fixture
def embedder(bundle: ModelBundle) -> Embedder:
    from verify.face.embed import open_embedder
    from verify.voice.embed import VoiceEmbedder

    return open_embedder(bundle) if bundle.modality is Modality.FACE else VoiceEmbedder(bundle)


@pytest.fixture
def sample(bundle: ModelBundle, samples: Path) -> Sample:
    if bundle.modality is Modality.FACE:
        from verify.face.decode import decode

        return decode(samples / "faces/jacinda-ardern/2018.jpg")
    from verify.voice.decode import open_audio

    return next(iter(open_audio(samples / "voices/speaker-91/turn-1.wav")))


def inputs(bundle: ModelBundle, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    if bundle.modality is Modality.FACE:
        return [rng.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in range(count)]
    return [rng.normal(size=(length, 80)).astype(np.float32) for length in rng.integers(150, 200, count)]


def test_locator_finds_the_subject_and_nothing_in_nothing(locator: Locator, sample: Sample) -> None:
    assert isinstance(locator, Locator)
    assert len(locator.locate(sample)) >= 1
    assert locator.locate(blank(sample.modality)) == ()


def test_locator_is_deterministic_across_threads(locator: Locator, sample: Sample) -> None:
    alone = [repr(region) for region in locator.locate(sample)]
    with ThreadPoolExecutor(4) as pool:
        for regions in pool.map(locator.locate, [sample] * 8):
            assert [repr(region) for region in regions] == alone


def test_embedder_gives_unit_rows_of_its_model(embedder: Embedder, bundle: ModelBundle) -> None:
    assert isinstance(embedder, Embedder)
    assert embedder.model_id == bundle.model_id
    vectors = embedder.embed(inputs(bundle, 5))
    assert vectors.shape == (5, embedder.dim) == (5, bundle.card.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dim)


def test_embedder_does_not_depend_on_the_batch(embedder: Embedder, bundle: ModelBundle) -> None:
    many = inputs(bundle, 5)
    together = embedder.embed(many)
    alone = np.concatenate([embedder.embed([one]) for one in many])
    assert np.sum(together * alone, axis=1).min() > 1 - 1e-5


def test_embedder_is_safe_across_threads(embedder: Embedder, bundle: ModelBundle) -> None:
    many = inputs(bundle, 4)
    alone = embedder.embed(many)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(embedder.embed, [many] * 8):
            np.testing.assert_allclose(vectors, alone, atol=1e-5)
