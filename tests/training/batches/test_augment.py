"""Each augmentation is shown as a picture or a sound, does what its name says, and is drawn from its own dice."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.training.made import made_face, made_voice
from verify.errors import DataError, UsageError

torch = pytest.importorskip("torch", reason="needs the training extra")
cv2 = pytest.importorskip("cv2")

from verify.training.augment import channel, quality, surroundings, voice  # noqa: E402
from verify.training.augment.dice import Dice  # noqa: E402
from verify.training.augment.face import FACE  # noqa: E402
from verify.training.augment.kinds import Scene, read  # noqa: E402
from verify.training.augment.showing import applied, draw_faces, write_voices  # noqa: E402
from verify.training.augment.voice import VOICE  # noqa: E402

pytestmark = pytest.mark.train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def faces():
    return np.stack([made_face(person, 0) for person in range(4)])


@pytest.fixture(scope="module")
def waves():
    return np.stack([made_voice(person, 0, seconds=1.0) for person in range(4)])


@pytest.fixture(scope="module")
def photos(faces):
    """(4, 3, 112, 112) float."""
    return torch.from_numpy(faces).permute(0, 3, 1, 2).float().contiguous()


@pytest.fixture(scope="module")
def sounds(waves):
    """(4, 16000) float in [-1, 1]."""
    return torch.from_numpy(waves).float() / 32768


def one(known, name, **options: object):
    return read({name: options}, known)[name]


def dice_of(name="test", *, seed=0, rank=0, step=0):
    return Dice(seed=seed, rank=rank, step=step, name=name, device=CPU)


# what a person looks at and listens to


def test_every_augmentation_of_faces_is_a_row_of_a_picture(faces, tmp_path) -> None:
    sheet = cv2.imread(str(draw_faces(faces, tmp_path)))
    rows = np.split(sheet[:, -(112 + 4) * len(faces) :].astype(int), 1 + len(FACE))
    for name, row in zip(FACE, rows[1:], strict=True):
        for column in range(len(faces)):  # every face is changed, and is still a picture of that face
            cut = slice(column * 116 + 2, column * 116 + 114)
            before, after = rows[0][2:114, cut], row[2:114, cut]
            if name == "flip":
                after = after[:, ::-1]
                assert np.array_equal(before, after)
                continue
            assert 0.2 < np.abs(before - after).mean() < 70, (name, column)
            assert np.corrcoef(before.mean(2).ravel(), after.mean(2).ravel())[0, 1] > 0.4, (name, column)


def test_every_augmentation_of_voices_is_a_sound_and_a_row_of_a_picture(waves, tmp_path) -> None:
    sheet, files = write_voices(waves, tmp_path)
    assert cv2.imread(str(sheet)).shape[0] == (80 + 4) * (len(VOICE) + 2)  # the original, and two speeds
    names = {path.stem.removeprefix("augmentation_").split("_")[0] for path in files}
    assert names == {"original", *VOICE} - {"spec"}
    original, _ = soundfile.read(files[0])
    for path in files[1:]:
        wave, rate = soundfile.read(path)
        assert rate == 16_000
        assert np.abs(wave).max() > 0.02
        count = min(len(wave), len(original))
        assert np.abs(wave[:count] - original[:count]).max() > 1e-3, path


@pytest.mark.parametrize("kind", [*FACE.values(), *VOICE.values()], ids=lambda k: k.__name__)
def test_every_augmentation_says_what_it_is_and_every_option_what_it_means(kind) -> None:
    assert kind.__doc__
    assert kind.__doc__[0].isupper()
    for option in kind.__slots__:
        assert f"{option}:" in kind.__doc__, option


# what each does


@pytest.mark.parametrize("chosen", [10, 25, 50, 75, 95])
def test_jpeg_is_the_jpeg_of_the_usual_library(faces, photos, chosen) -> None:
    ours = quality.compressed(photos, torch.full((len(faces),), float(chosen)))
    for face, mine, before in zip(faces, ours, photos, strict=True):
        _, data = cv2.imencode(".jpg", face[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, chosen])
        theirs = (
            torch.from_numpy(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1].copy()).permute(2, 0, 1).float()
        )
        lost = (theirs - before).abs().mean()
        apart = (theirs - mine).abs().mean()  # what rounding leaves: about one grey level
        assert apart < 1.3
        assert apart < 0.2 * lost


def test_jpeg_takes_photos_of_any_size(photos) -> None:
    cut = photos[:, :, :51, :70]
    changed = applied(one(FACE, "jpeg"), cut, name="jpeg")
    assert changed.shape == cut.shape
    assert (changed - cut).abs().mean() < 20


def test_blur_of_a_point_is_a_gaussian_that_keeps_the_light() -> None:
    point = torch.zeros(1, 3, 112, 112)
    point[:, :, 56, 50] = 255
    sigma = 0.018 * 112
    blurred = applied(one(FACE, "blur", sigma=[0.018, 0.018]), point, name="blur")
    assert blurred.sum() == pytest.approx(3 * 255, rel=1e-3)
    assert blurred[0, 0, 56, 50] == pytest.approx(255 / (2 * np.pi * sigma**2), rel=0.02)
    assert blurred[0, 0, 56, 52] / blurred[0, 0, 56, 50] == pytest.approx(np.exp(-2 / sigma**2), rel=1e-3)
    flat = torch.full((1, 3, 112, 112), 200.0)
    assert torch.allclose(applied(one(FACE, "blur"), flat, name="blur"), flat, atol=1e-2)


@pytest.mark.parametrize("side", [28, 40, 90])
def test_downscale_is_a_smaller_photo_enlarged(photos, side) -> None:
    changed = applied(one(FACE, "downscale", scale=[side / 112] * 2), photos, name="downscale")
    resize = torch.nn.functional.interpolate
    small = resize(photos, size=(side, side), mode="bilinear", antialias=True)
    assert torch.allclose(changed, resize(small, size=(112, 112), mode="bilinear"), atol=0.02)


@pytest.mark.parametrize("area", [0.05, 0.2])
def test_occlusion_covers_the_area_it_says(area) -> None:
    middle = torch.full((400, 3, 112, 112), -1.0)
    changed = applied(one(FACE, "occlusion", area=[area, area], aspect=[1, 1]), middle, name="occlusion")
    covered = (changed[:, 0] >= 0).float().mean(dim=(1, 2))
    assert covered.max() == pytest.approx(area, rel=0.08)
    assert covered.mean() > area / 2.5  # the rest hangs over the edge


def test_crop_moves_no_further_than_it_says() -> None:
    ramp = torch.arange(112.0).expand(64, 3, 112, 112) * 2
    moved = applied(one(FACE, "crop", shift=0.05, zoom=[1, 1], turn_rad=0.0), ramp.contiguous(), name="crop")
    shift_px = (moved - ramp)[:, 0, 40:70, 40:70].mean(dim=(1, 2)) / 2
    assert shift_px.abs().max() <= 0.05 * 112 + 0.1
    assert shift_px.abs().max() > 0.03 * 112
    assert shift_px.min() < 0 < shift_px.max()


def test_grey_and_colour_at_zero_change_what_they_should(photos) -> None:
    grey = applied(one(FACE, "grey"), photos, name="grey")
    assert torch.equal(grey[:, 0], grey[:, 2])
    still = applied(
        one(FACE, "colour", brightness=0.0, contrast=0.0, saturation=0.0, warmth=0.0), photos, name="colour"
    )
    assert torch.allclose(still, photos, atol=1e-3)


@pytest.mark.parametrize("kinds", [["coloured"], ["babble"], ["coloured", "babble"]])
@pytest.mark.parametrize("snr_db", [0.0, 15.0])
def test_noise_has_the_level_it_says(sounds, kinds, snr_db) -> None:
    changed = applied(one(VOICE, "noise", snr_db=[snr_db] * 2, kinds=kinds), sounds, name="noise")
    noise = changed - sounds
    found_db = 10 * torch.log10(sounds.square().mean(1) / noise.square().mean(1))
    assert torch.allclose(found_db, torch.tensor(snr_db), atol=0.05)


def test_noise_of_silence_is_silence_and_never_nan() -> None:
    for name in ("noise", "room", "codec", "gain"):
        changed = applied(one(VOICE, name), torch.zeros(6, 8000), name=name)
        assert changed.abs().max() < 0.005, name
        assert changed.isfinite().all()


@pytest.fixture
def noises(tmp_path):
    """A folder with a tone at 3 kHz in a folder of its own, and what is no recording."""
    folder = tmp_path / "noises"
    (folder / "street").mkdir(parents=True)
    tone = 0.1 * np.sin(2 * np.pi * 3000 * np.arange(8000) / 16_000)
    soundfile.write(folder / "street" / "tone.wav", tone, 16_000)
    (folder / "readme.txt").write_text("a tone")
    return folder


def test_noise_comes_from_the_users_folder(sounds, noises) -> None:
    changed = applied(one(VOICE, "noise", folder=str(noises), snr_db=[10, 10]), sounds, name="noise")
    spectrum = torch.fft.rfft(changed - sounds).abs().square()  # 16,000 samples: a line a hertz
    assert (spectrum[:, 2990:3011].sum(1) > 0.95 * spectrum.sum(1)).all()


def test_rooms_come_from_the_users_folder(sounds, tmp_path) -> None:
    response = np.zeros(4000)
    response[100], response[900] = 0.5, 0.25  # 50 ms later an echo of half the size
    soundfile.write(tmp_path / "hall.wav", response, 16_000)
    changed = applied(one(VOICE, "room", folder=str(tmp_path)), sounds, name="room")
    wanted = sounds.clone()
    wanted[:, 800:] += 0.5 * sounds[:, :-800]
    cosine = torch.nn.functional.cosine_similarity(changed, wanted)
    assert cosine.min() > 0.999
    assert torch.allclose(changed.square().mean(1), sounds.square().mean(1), rtol=1e-3)


def test_a_synthesised_room_decays_as_it_says() -> None:
    room = surroundings.Room(decay_s=(0.4, 0.4), direct_db=(0.0, 0.0))
    response = room._synthesised(200, dice_of())
    direct, echo = response[:, 0].square(), response[:, 1:].square().sum(1)
    assert torch.allclose(10 * torch.log10(direct / echo), torch.tensor(0.0), atol=0.2)
    level_db = 10 * torch.log10(response.square().mean(0).reshape(-1)[160:6400].reshape(-1, 160).mean(1))
    slope = np.polyfit(np.arange(len(level_db)) * 0.01, level_db.numpy(), 1)[0]
    assert slope == pytest.approx(-60 / 0.4, rel=0.05)


def test_mulaw_is_the_standards_to_within_its_pieces(sounds) -> None:
    loud = sounds / sounds.abs().max()
    error = (channel.mulaw(loud) - loud).abs()
    assert (error <= 0.03 * loud.abs() + 2e-4).all()  # relative, as logarithmic steps are
    assert len(torch.unique(channel.mulaw(torch.linspace(-1, 1, 50_000)))) == 256


@pytest.mark.parametrize(
    ("kind", "kept_hz", "lost_hz"),
    [("telephone", 1000, 4500), ("telephone", 2000, 100), ("lowpass", 2000, 6000)],
)
def test_codecs_let_through_their_band_only(kind, kept_hz, lost_hz) -> None:
    time = torch.arange(16_000) / 16_000
    tones = torch.stack([0.3 * torch.sin(2 * torch.pi * hz * time) for hz in (kept_hz, lost_hz)])
    changed = applied(one(VOICE, "codec", kinds=[kind], cutoff_hz=[4000, 4000]), tones, name="codec")
    kept, lost = (torch.fft.rfft(changed).abs()[:, 50:] / 4800)[[0, 1], [kept_hz - 50, lost_hz - 50]]
    assert kept == pytest.approx(0.5, rel=0.05)
    assert lost < 0.01


def test_gain_cuts_what_is_beyond_full_scale(sounds) -> None:
    changed = applied(one(VOICE, "gain", gain_db=[40, 40]), sounds, name="gain")
    assert changed.max() <= 1
    assert changed.min() >= -1
    assert ((changed.abs() > 0.999).float().mean(1) > 0.01).all()
    assert torch.equal(changed * 32768, (changed * 32768).round())


@given(
    bands=st.integers(0, 4), band=st.integers(0, 10), moments=st.integers(0, 3), moment=st.floats(0, 0.2),
    frames=st.integers(1, 60),
)  # fmt: skip
def test_spec_blanks_no_more_than_it_says(bands, band, moments, moment, frames) -> None:
    features = torch.ones(5, frames, 40)
    options = {"bands": bands, "band": band, "moments": moments, "moment": moment}
    kept = applied(one(VOICE, "spec", **options), features, name="spec") > 0
    assert kept.flatten(1).any(1).all()
    assert ((~kept.any(dim=1)).sum(1) <= bands * band).all()
    assert ((~kept.any(dim=2)).sum(1) <= moments * moment * frames).all()


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1])
def test_speed_moves_pitch_and_length_together(factor) -> None:
    tone = torch.sin(2 * torch.pi * 500 * torch.arange(16_000) / 16_000)[None]
    faster = voice.played(tone, factor)
    assert faster.shape[1] == pytest.approx(16_000 / factor, abs=1)
    spectrum = torch.fft.rfft(faster[0]).abs()
    assert spectrum.argmax().item() * 16_000 / faster.shape[1] == pytest.approx(500 * factor, rel=0.01)


@given(st.integers(1, 500), st.floats(0, 1), st.integers(0, 10**6), st.integers(0, 10**6))
def test_speed_chooses_by_identity_and_step(identities, probability, seed, step) -> None:
    speed = voice.Speed(probability=probability, factors=(0.9, 1.1, 1.2))
    labels = torch.arange(identities).repeat(2)
    number = speed.chosen(labels, seed=seed, step=step)
    assert torch.equal(number[:identities], number[identities:])
    assert number.min() >= 0
    assert number.max() <= 3


def test_speeds_come_as_often_as_they_should() -> None:
    speed = voice.Speed(probability=0.6, factors=(0.9, 1.1))
    labels = torch.arange(50)
    counts = torch.stack(
        [torch.bincount(speed.chosen(labels, seed=1, step=s), minlength=3) for s in range(200)]
    )
    assert torch.allclose(counts.sum(0) / counts.sum(), torch.tensor([0.4, 0.3, 0.3]), atol=0.02)
    assert counts.float().std(0).min() > 1  # not the same identities in each step


# whose turn it is


@given(count=st.integers(1, 70), probability=st.floats(0, 1), step=st.integers(0, 10**9))
def test_the_dice_choose_the_expected_number(count, probability, step) -> None:
    rows = dice_of(step=step).chosen(count, probability)
    number = 0 if rows is None else len(rows)
    assert abs(number - probability * count) < 1
    if rows is not None:
        assert rows.tolist() == sorted(set(rows.tolist()))
        assert rows.max() < count


def test_dice_differ_by_seed_rank_step_and_name_and_by_nothing_else() -> None:
    def thrown(**changed: object):
        dice = dice_of(**changed)
        return (*dice.uniform(3, (0, 1)).tolist(), *dice.whole(3, 0, 99).tolist(), *dice.normal(2).tolist())

    assert thrown() == thrown()
    assert len({thrown(), thrown(seed=1), thrown(rank=1), thrown(step=1), thrown(name="other")}) == 5


def test_rows_that_are_not_chosen_stay_as_they_are(photos) -> None:
    whole = photos.repeat(5, 1, 1, 1)
    changed = one(FACE, "blur", probability=0.25)(Scene(dice_of("blur"), whole.clone()))
    moved = (changed != whole).flatten(1).any(1)
    assert moved.sum() == 5
    assert torch.equal(changed[~moved], whole[~moved])


# what a recipe may say


def test_a_table_takes_numbers_switches_and_options() -> None:
    table = {"jpeg": {"quality": [40, 80]}, "flip": 0.25, "blur": True, "grey": False}
    found = read(table, FACE)
    assert list(found) == ["flip", "blur", "jpeg"]  # in nature's order
    assert found["flip"].probability == 0.25
    assert found["jpeg"].quality == (40.0, 80.0)
    assert found["blur"] == FACE["blur"]()


@pytest.mark.parametrize(
    ("known", "table", "words"),
    [
        (FACE, {"jpg": 0.5}, "augment: no augmentation 'jpg'; did you mean 'jpeg'"),
        (FACE, {"speed": 0.5}, "no augmentation 'speed'; there are: blur, colour"),
        (FACE, {"blur": {"sigmma": [1, 2]}}, "augment, blur: no key 'sigmma'; did you mean 'sigma'"),
        (FACE, {"flip": 1.5}, "augment, flip, probability: must be from 0 to 1, not 1.5"),
        (FACE, {"flip": "often"}, "augment, flip, probability: must be a number, not 'often'"),
        (FACE, {"blur": {"sigma": [0.02, 0.01]}}, "augment, blur, sigma: must be two ascending numbers"),
        (
            FACE,
            {"jpeg": {"quality": [0, 50]}},
            "augment, jpeg, quality: must be two ascending numbers from 1",
        ),
        (
            FACE,
            {"crop": {"turn_rad": 20.0}},
            "augment, crop, turn_rad: must be radians from 0 to 1, not 20.0",
        ),
        (FACE, {"crop": {"shift": 4.0}}, "shift: must be a share of the side"),
        (FACE, {"colour": {"contrast": 1.0}}, "contrast: must be a share"),
        (FACE, {"occlusion": {"area": [0.1, 0.9]}}, "area: must be two ascending numbers from 0.0 to 0.6"),
        (VOICE, {"noise": {"kinds": ["pink"]}}, "kinds: must be of coloured, babble, not 'pink'"),
        (VOICE, {"noise": {"snr_db": 10}}, "snr_db: must be a list, not 10"),
        (VOICE, {"codec": {"kinds": []}}, "kinds: must be some of telephone"),
        (VOICE, {"codec": {"kinds": ["mp3"]}}, "kinds: must be of telephone, mulaw, lowpass, not 'mp3'"),
        (VOICE, {"speed": {"factors": [0.9, 1.0]}}, "factors: must be from 0.5 to 2.0, and not 1, not 1.0"),
        (VOICE, {"speed": {"factors": [0.9, 0.9]}}, "factors: must be all different"),
        (VOICE, {"speed": {"factors": []}}, "factors: must be at least one"),
        (VOICE, {"spec": {"moment": 0.7}}, "moments x moment: must be at most 0.6, not 0.7"),
        (VOICE, {"spec": {"bands": 3, "band": 20}}, "bands x band: must be at most 40, not 60"),
        (VOICE, {"spec": {"bands": -1}}, "bands: must be at least 0, not -1"),
    ],
)
def test_what_a_recipe_gets_wrong_is_said_with_the_way_out(known, table, words) -> None:
    with pytest.raises(UsageError) as caught:
        read(table, known)
    assert words in str(caught.value)


def test_folders_that_hold_nothing_to_hear_are_refused(tmp_path) -> None:
    def material(folder):
        return one(VOICE, "noise", folder=str(folder)).material()

    with pytest.raises(UsageError, match=r"augment, noise, folder: .*there is no such folder"):
        material(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="there are no recordings in it"):
        material(tmp_path)
    soundfile.write(tmp_path / "still.wav", np.zeros(4000), 16_000)
    with pytest.raises(UsageError, match="all 1 recordings are silent"):
        material(tmp_path)
    (tmp_path / "broken.flac").write_bytes(b"fLaC" + bytes(40))
    with pytest.raises(DataError, match=r"augment, noise, folder: .*broken\.flac"):
        material(tmp_path)
