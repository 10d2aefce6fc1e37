"""Training sees what the engine sees; augmentation is exactly repeatable and leaves people who they are."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.made import made_face, made_voice
from verify.errors import UsageError
from verify.types import Modality, Sample, SpeechRegion
from verify.voice.normalise import chunks

torch = pytest.importorskip("torch", reason="needs the training extra")

from verify.training.augment.face import FACE  # noqa: E402
from verify.training.augment.voice import VOICE  # noqa: E402
from verify.training.loader import Batch  # noqa: E402
from verify.training.pipeline import make_pipeline  # noqa: E402

pytestmark = pytest.mark.train

FACES = {"kind": "aligned-face", "alignment": "arcface-112", "size_px": [112, 112]}
VOICES = {"kind": "speech-features", "features": "kaldi-fbank", "bins": 80, "level_dbfs": -25.0}
ALL = {"face": dict.fromkeys(FACE, True), "voice": dict.fromkeys(VOICE, True)}


def batch_of(modality: str, count: int = 6) -> Batch:
    if modality == "face":
        media = np.stack([made_face(person, 0) for person in range(count)])
    else:
        media = np.stack([made_voice(person, 0, seconds=0.8) for person in range(count)])
    return Batch(torch.from_numpy(media), torch.arange(count) // 2, torch.arange(count))


def pipeline_of(modality, augment=None, **options: object):
    contract = FACES if modality == "face" else VOICES
    return make_pipeline(contract, augment, **{"seed": 1, "identities": 3} | options)


def test_without_training_faces_are_the_engines_input() -> None:
    batch = batch_of("face")
    inputs, labels = pipeline_of("face", ALL["face"], training=False)(batch, 0)
    assert inputs.dtype == torch.float32
    assert np.array_equal(inputs.numpy(), batch.media.numpy().transpose(0, 3, 1, 2).astype(np.float32))
    assert labels is batch.labels


@pytest.mark.parametrize(("training", "apart"), [(False, 2e-5), (True, 5e-3)])
@pytest.mark.parametrize("level", [1.0, 0.01])
def test_features_are_the_engines(training, apart, level) -> None:
    batch = batch_of("voice")
    batch = Batch((batch.media * level).to(torch.int16), batch.labels, batch.samples)
    found, _ = pipeline_of("voice", training=training)(batch, 0)
    for wave, features in zip(batch.media.numpy(), found.numpy(), strict=True):
        sample = Sample(
            modality=Modality.VOICE, media=wave.astype(np.float32) / 32768, source="made", sha256="", rate_hz=16_000,
            facts={},
        )  # fmt: skip
        (chunk,) = chunks(sample, [SpeechRegion(0.0, len(wave) / 16_000, 1.0)], contract=VOICES)
        assert features.shape == chunk.features.shape
        assert np.abs(features - chunk.features).max() < apart


@pytest.mark.parametrize("modality", ["face", "voice"])
def test_augmentation_depends_on_seed_rank_and_step_only(modality) -> None:
    batch = batch_of(modality)
    before = batch.media.clone()
    table = {name: 1.0 for name in ALL[modality] if name != "speed"}

    def seen(step=7, **options: object):
        return pipeline_of(modality, table, **options)(batch, step)[0]

    once = seen()
    used = pipeline_of(modality, table)
    for step in range(3):  # a run that has come from elsewhere
        used(batch, step)
    torch.rand(9)
    assert torch.equal(used(batch, 7)[0], once)
    for other in (seen(8), seen(seed=2), seen(rank=1)):
        assert not torch.equal(other, once)
    assert torch.equal(batch.media, before)  # what the loader gave may be seen again
    assert once.isfinite().all()
    if modality == "face":
        assert once.min() >= 0
        assert once.max() <= 255


def test_one_augmentation_does_not_move_the_dice_of_another() -> None:
    batch = batch_of("face", 1)
    blurred = pipeline_of("face", {"grey": 1.0})(batch, 3)[0]
    both = pipeline_of("face", {"grey": 1.0, "flip": 1.0})(batch, 3)[0]
    assert torch.equal(both.flip(3), blurred)
    noise = pipeline_of("face", {"grain": 1.0})(batch, 3)[0] - pipeline_of("face")(batch, 3)[0]
    after = (
        pipeline_of("face", {"grain": 1.0, "occlusion": 0.0})(batch, 3)[0] - pipeline_of("face")(batch, 3)[0]
    )
    assert torch.equal(noise, after)


def test_autocast_round_the_pipeline_changes_nothing() -> None:
    for modality in ("face", "voice"):
        pipeline, batch = pipeline_of(modality, ALL[modality]), batch_of(modality)
        plain, _ = pipeline(batch, 2)
        with torch.autocast("cpu", torch.bfloat16):
            inside, _ = pipeline(batch, 2)
        assert torch.equal(plain, inside)


def test_speed_makes_new_speakers_and_the_stretch_keeps_its_length() -> None:
    augment = {"speed": {"factors": [0.9, 1.1], "probability": 0.7}}
    pipeline = pipeline_of("voice", augment, identities=300)
    assert pipeline.identity_factor == 3
    assert pipeline.samples_needed(16_000) == 17_600
    labels = torch.arange(300).repeat_interleave(2)
    media = torch.from_numpy(made_voice(1, 0, seconds=0.11)[: pipeline.samples_needed(1600)]).expand(600, -1)
    seen = []
    for step in range(3):
        inputs, found = pipeline(Batch(media, labels, labels), step)
        assert inputs.shape == (600, 1 + (1600 - 400) // 160, 80)
        number, old = found // 300, found % 300
        assert torch.equal(old, labels)
        assert torch.equal(number[::2], number[1::2])
        assert set(number.tolist()) == {0, 1, 2}
        for n in range(3):  # a label is a speed
            assert (inputs[number == n] - inputs[number == n][0]).abs().max() < 1e-4
        assert (inputs[number == 0][0] - inputs[number == 1][0]).abs().max() > 0.1
        seen.append(number)
    assert not torch.equal(seen[0], seen[1])
    plain = pipeline_of("voice", {}, identities=300)
    assert plain.identity_factor == 1
    assert torch.equal(plain(Batch(media, labels, labels), 0)[1], labels)  # still the same classes


def test_processes_agree_on_who_is_a_new_speaker() -> None:
    batch = batch_of("voice")
    found = [pipeline_of("voice", {"speed": True, "noise": True}, rank=rank)(batch, 5) for rank in (0, 1)]
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][0], found[1][0])


def test_recordings_of_a_folder_move_with_the_pipeline(tmp_path) -> None:
    import soundfile

    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).normal(0, 0.1, 9000), 16_000)
    pipeline = pipeline_of("voice", {"noise": {"folder": str(tmp_path), "probability": 1.0}})
    assert not pipeline.state_dict()  # recordings do not go into checkpoints
    assert "noise_waves" in dict(pipeline.named_buffers())
    assert pipeline(batch_of("voice"), 0)[0].isfinite().all()


@pytest.mark.parametrize(
    ("contract", "augment", "options", "words"),
    [
        (FACES, {"flipp": 0.5}, {}, "did you mean 'flip'"),
        (FACES, {"flipp": 0.5}, {"training": False}, "did you mean 'flip'"),
        (VOICES, {"speed": 0.5}, {"identities": 0}, "how many there are"),
        ({"kind": "speech-features", "features": "ge2e-mel"}, {}, {}, "'ge2e-mel'"),
        ({"kind": "photo"}, {}, {}, "no network is trained for 'photo' inputs"),
    ],
)
def test_what_cannot_be_made_is_refused(contract, augment, options, words) -> None:
    with pytest.raises(UsageError, match=words):
        make_pipeline(contract, augment, **options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("modality", ["face", "voice"])
def test_on_a_gpu_the_same_is_drawn_and_nothing_waits(modality) -> None:
    noisy = ("speed", "noise", "room", "grain", "occlusion")
    table = {name: 1.0 for name in ALL[modality] if name not in noisy}
    here, there = pipeline_of(modality, table), pipeline_of(modality, ALL[modality]).cuda()
    batch = batch_of(modality)
    assert torch.allclose(
        pipeline_of(modality, table).cuda()(batch.to("cuda"), 3)[0].cpu(), here(batch, 3)[0], atol=2
    )
    pinned = batch.pin_memory()
    there(pinned.to("cuda"), 0)  # constants are sent once
    torch.cuda.set_sync_debug_mode("error")
    try:
        there(pinned.to("cuda"), 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


# who they are


def told_apart(before, after) -> tuple[float, float, float]:
    """Median cosine of (B, D) changed samples to their own, the 99th percentile of those to others, rank-1 share."""
    scores = after @ before.T
    others = scores[~np.eye(len(scores), dtype=bool)]
    right = scores.argmax(axis=1) == np.arange(len(scores))
    return float(np.median(scores.diagonal())), float(np.quantile(others, 0.99)), float(right.mean())


@pytest.fixture(scope="module")
def real_faces(data_dir, face_bundle) -> Batch:
    """One aligned photo of each of 8 people."""
    import cv2

    from verify.training.extraction import FaceExtractor

    extractor = FaceExtractor(face_bundle.locator(), contract=FACES)
    chips = []
    for folder in sorted((data_dir / "faces" / "celeba").iterdir())[:8]:
        data = extractor.extract(min(folder.iterdir())).media
        chips.append(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1])
    count = torch.arange(len(chips))
    return Batch(torch.from_numpy(np.stack(chips)), count, count)


@pytest.mark.media
@pytest.mark.models
def test_a_changed_face_is_still_that_person(real_faces, face_bundle) -> None:
    from verify.face.embed import FaceEmbedder

    embedder = FaceEmbedder(face_bundle)
    (threshold,) = {p.threshold for p in face_bundle.operating_points() if p.name == "face-fmr-1e-3"}

    def embedded(table):
        faces, _ = pipeline_of("face", table)(real_faces, 0)
        return embedder.embed(list(faces.round().byte().permute(0, 2, 3, 1).numpy()))

    before = embedded({})
    for name in FACE:
        after = embedded({name: 1.0})
        own, others, rank_1 = told_apart(before, after)
        assert own > others + 0.3, name
        assert rank_1 == 1.0, name
        assert ((before * after).sum(axis=1) >= threshold).all(), name
    together = told_apart(before, embedded(ALL["face"]))  # as a recipe has them: each with its probability
    assert together[0] > together[1] + 0.2


@pytest.mark.media
@pytest.mark.models
def test_a_changed_voice_is_still_that_speaker_but_for_speed(data_dir, voice_bundle) -> None:
    import soundfile

    from verify.voice.embed import VoiceEmbedder

    embedder = VoiceEmbedder(voice_bundle)
    speakers = sorted((data_dir / "voices" / "librispeech_test_other").iterdir())
    waves = [
        soundfile.read(
            max(one.iterdir(), key=lambda p: p.stat().st_size), start=16_000, frames=32_000, dtype="int16"
        )[0]
        for one in speakers
    ]
    count = torch.arange(len(waves))
    batch = Batch(torch.from_numpy(np.stack(waves)), count, count)

    def embedded(table):
        return embedder.embed(list(pipeline_of("voice", table)(batch, 0)[0].numpy()))

    before = embedded({})
    for name, options in [
        *((name, {}) for name in VOICE if name not in ("speed", "codec")),
        ("codec", {"kinds": ["mulaw"]}),
        ("codec", {"kinds": ["lowpass"]}),
        ("codec", {"kinds": ["telephone"]}),
    ]:
        own, others, rank_1 = told_apart(before, embedded({name: {"probability": 1.0, **options}}))
        assert own > others, (name, options)
        assert rank_1 >= 0.8, (name, options)
