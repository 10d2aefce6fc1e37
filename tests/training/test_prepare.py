"""Preparing: once, in parallel, resumable, every failure listed; and shards that are read in place or refused."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import soundfile

from tests.training.made import made_face, made_voice
from verify.data.manifest import read_manifest
from verify.errors import DataError, InsufficientTrialsError, StorageError, UsageError
from verify.models.bundle import open_bundle
from verify.training import prepare as preparing
from verify.training.extraction import (
    JPEG,
    PNG,
    Extracted,
    contract_of,
    encode_face,
    encode_voice,
    open_extractor,
    to_int16,
)
from verify.training.prepare import Preparation, prepare, write_prepared
from verify.training.shards import PreparedSet
from verify.types import Modality, Reason

pytest.importorskip("pyarrow")
FACES = Preparation(modality=Modality.FACE, contract=contract_of(Modality.FACE))
VOICES = Preparation(modality=Modality.VOICE, contract=contract_of(Modality.VOICE))
ROOT = Path(__file__).resolve().parents[2]


class Stub:
    """Takes a file's photo as its face; one file shows nobody; can be interrupted."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.seen: list[Path] = []
        self.interrupt_at = interrupt_at

    def extract(self, path):
        if self.interrupt_at is not None and len(self.seen) >= self.interrupt_at:
            raise KeyboardInterrupt
        self.seen.append(path)
        if path.stem == "nobody":
            return Extracted(failure=Reason.NO_FACE, message="no face, said in words")
        face = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        return Extracted(media=encode_face(face), length=1)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Five people of three photos, in chunks of four files."""
    monkeypatch.setattr(preparing, "CHUNK_FILES", 4)
    for person in range(5):
        folder = tmp_path / "people" / f"p{person}"
        folder.mkdir(parents=True)
        for sample in range(3):
            cv2.imwrite(str(folder / f"{sample}.png"), made_face(person, sample))
    return tmp_path / "people"


def run(photos, out, stub=None, **how: Any):
    return prepare(
        read_manifest(photos),
        out,
        how=how.pop("how", FACES),
        extractor=stub or Stub(),
        root=photos,
        workers=1,
        **how,
    )


def test_every_file_is_there_or_listed(photos, tmp_path) -> None:
    (photos / "p1" / "nobody.png").write_bytes(b"x")
    (photos / "p2" / "again.png").write_bytes((photos / "p2" / "0.png").read_bytes())
    (photos / "p3" / "stolen.png").write_bytes((photos / "p4" / "0.png").read_bytes())
    done = run(photos, tmp_path / "out")
    assert (done.samples, done.subjects, done.copies) == (14, 5, 1)
    assert done.failures == {"claimed_by_several_subjects": 2, "no_face": 1}
    with (tmp_path / "out" / "fta.csv").open() as file:
        listed = {(row["file"], row["reason"], row["subject"]) for row in csv.DictReader(file)}
    assert listed == {
        ("p1/nobody.png", "no_face", "p1"),
        ("p3/stolen.png", "claimed_by_several_subjects", "p3"),
        ("p4/0.png", "claimed_by_several_subjects", "p4"),
    }
    opened = PreparedSet.open(tmp_path / "out")
    assert opened.subjects == ("p0", "p1", "p2", "p3", "p4")
    assert [opened.subjects[owner] for owner in opened.owner] == [path[:2] for path in opened.paths]
    face = opened.media(opened.paths.index("p3/1.png"))
    assert face.dtype == np.uint8
    assert np.abs(face.astype(int) - cv2.imread(str(photos / "p3" / "1.png"))[:, :, ::-1]).mean() < 3


def test_goes_on_after_an_interruption(photos, tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "out", Stub(interrupt_at=10))
    assert len(list((tmp_path / "out").glob("shard-*"))) == 2
    with pytest.raises(DataError, match="interrupted; run the same `verify prepare` again"):
        PreparedSet.open(tmp_path / "out")
    stub = Stub()
    done = run(photos, tmp_path / "out", stub)
    assert (done.kept, done.made) == (2, 2)
    assert len(stub.seen) == 7
    assert done.sha256 == run(photos, tmp_path / "other").sha256


KILLED = """
import sys, time
from pathlib import Path
from typing import Any
from tests.training import test_prepare as here
class Slow(here.Stub):
    def extract(self, path):
        time.sleep(0.05)
        return super().extract(path)
here.preparing.CHUNK_FILES = 4
here.run(Path(sys.argv[1]), Path(sys.argv[2]), Slow())
"""


def test_kill_9_loses_no_finished_shard(photos, tmp_path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(photos), str(out)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not list(out.glob("shard-00001*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    there = {path: path.read_bytes() for path in out.glob("shard-*")}
    assert 2 <= len(there) < 4
    done = run(photos, out)
    assert done.kept == len(there)
    assert all(path.read_bytes() == before for path, before in there.items())
    PreparedSet.open(out).check()
    assert not list(out.glob(".*"))


def test_run_again_remakes_what_is_damaged_and_nothing_else(photos, tmp_path) -> None:
    before = run(photos, tmp_path / "out")
    shard = tmp_path / "out" / "shard-00002.arrow"
    shard.write_bytes(shard.read_bytes()[:-100])
    stub = Stub()
    after = run(photos, tmp_path / "out", stub)
    assert (after.kept, after.made, len(stub.seen)) == (3, 1, 4)
    assert after.sha256 == before.sha256
    stub = Stub()
    assert run(photos, tmp_path / "out", stub).made == 0
    assert not stub.seen


def test_changed_data_makes_anew_what_changed(photos, tmp_path) -> None:
    first = run(photos, tmp_path / "out")
    cv2.imwrite(str(photos / "p4" / "0.png"), made_face(4, 9))
    (photos / "p4" / "2.png").unlink()
    done = run(photos, tmp_path / "out")
    assert (done.kept, done.samples) == (3, 14)
    assert done.sha256 != first.sha256


def test_other_settings_are_refused_or_forced(photos, tmp_path) -> None:
    run(photos, tmp_path / "out")
    other = Preparation(modality=Modality.FACE, contract=FACES.contract, rules={"gate": True})
    with pytest.raises(UsageError, match=r"other settings \(rules gate None, now True\).*--force"):
        run(photos, tmp_path / "out", how=other)
    done = run(photos, tmp_path / "out", how=other, force=True)
    assert (done.kept, done.made) == (0, 4)


def test_a_folder_of_something_else_is_left_alone(photos, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match=r"holds other things \(letter.txt\)"):
        run(photos, tmp_path / "mine")


def test_no_sample_at_all(photos, tmp_path) -> None:
    for path in sorted(photos.glob("*/*.png")):
        path.write_bytes(path.read_bytes() + b"\0")
        path.rename(path.with_name("nobody.png"))
    with pytest.raises(InsufficientTrialsError, match="no_face: 5"):
        run(photos, tmp_path / "out")


def test_a_full_disk_keeps_what_is_finished(disk) -> None:
    def faces():
        for n in range(400):
            yield f"p{n % 7}", f"{n}.png", np.random.default_rng(n).integers(0, 255, (112, 112, 3), np.uint8)

    with pytest.raises(StorageError, match="No space left"):
        write_prepared(disk.folder / "out", faces(), name="full", how=FACES, rows_per_shard=8)
    assert list((disk.folder / "out").glob("shard-*"))
    assert not list((disk.folder / "out").glob(".shard*"))


@pytest.fixture
def small(tmp_path):
    faces = ((f"p{n // 2}", f"{n}.png", made_face(n // 2, n % 2)) for n in range(6))
    return write_prepared(tmp_path / "small", faces, name="small", how=FACES, rows_per_shard=4)


@pytest.mark.parametrize("size", [0, 8, 500, -1])
def test_a_cut_shard_is_refused_by_name(small, size) -> None:
    shard = small.path / "shard-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:size])
    with pytest.raises(DataError, match=r"shard-00001.arrow: missing, cut short or damaged"):
        PreparedSet.open(small.path)


def test_a_missing_or_foreign_shard_is_refused_by_name(small) -> None:
    shards = [small.path / f"shard-0000{n}.arrow" for n in (0, 1)]
    shards[1].write_bytes(shards[0].read_bytes())
    with pytest.raises(DataError, match=r"shard-00001.arrow: holds other rows"):
        PreparedSet.open(small.path)
    shards[1].unlink()
    with pytest.raises(DataError, match=r"shard-00001.arrow: missing"):
        PreparedSet.open(small.path)


def test_one_flipped_bit_of_media_is_found(small) -> None:
    shard = small.path / "shard-00000.arrow"
    data = bytearray(shard.read_bytes())
    face = small._shards[0].media(2).tobytes()
    data[data.index(face) + len(face) // 2] ^= 1
    shard.write_bytes(data)
    opened = PreparedSet.open(small.path)
    opened.media(1)
    with pytest.raises(DataError, match=r"shard-00000.arrow, row 2: 2.png is damaged"):
        opened.media(2)
    with pytest.raises(DataError, match="row 2"):
        opened.check()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 9}, "version 9 is not known"),
        ({"format": "x"}, "not the index"),
        ({"sha256": "0"}, "sha256 is not"),
    ],
)
def test_a_strange_index_is_refused(small, change, words) -> None:
    index = small.path / "index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | change))
    with pytest.raises(DataError, match=words):
        PreparedSet.open(small.path).check()


def test_rows_out_of_reach(small) -> None:
    for arguments in ({"i": 6}, {"i": -1}, {"i": 0, "start": -1}):
        with pytest.raises(UsageError, match="no sample"):
            small.media(**arguments)
    with pytest.raises(UsageError, match="no stretches"):
        small.media(0, start=1)


def test_the_hash_is_of_samples_not_of_shards(small, tmp_path) -> None:
    faces = [(f"p{n // 2}", f"{n}.png", made_face(n // 2, n % 2)) for n in range(6)]
    other = write_prepared(tmp_path / "other", faces, name="renamed", how=FACES, rows_per_shard=100)
    assert other.sha256 == small.sha256
    faces[3] = ("somebody", *faces[3][1:])
    changed = write_prepared(tmp_path / "changed", faces, name="small", how=FACES)
    assert changed.sha256 != small.sha256


def test_png_is_exact_and_jpeg_nearly() -> None:
    face = made_face(3, 1)
    exact, near = (
        cv2.imdecode(np.frombuffer(encode_face(face, encoding=kind), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        for kind in (PNG, JPEG)
    )
    assert (exact == face).all()
    assert 0 < np.abs(near.astype(int) - face).mean() < 2
    for wrong in (face.astype(np.float32), face[:, :, 0]):
        with pytest.raises(UsageError, match="an aligned face is"):
            encode_face(wrong)


def test_voices_and_their_stretches(tmp_path) -> None:
    waves = [made_voice(n // 2, n % 2, seconds=0.5 + 0.1 * n) for n in range(4)]
    rows = ((f"s{n // 2}", f"{n}.wav", wave) for n, wave in enumerate(waves))
    voices = write_prepared(tmp_path / "voices", rows, name="voices", how=VOICES, rows_per_shard=3)
    assert voices.lengths.tolist() == [len(wave) for wave in waves]
    for n, wave in enumerate(waves):
        assert voices.media(n).dtype == np.int16
        assert (voices.media(n) == wave).all()
        assert (voices.media(n, start=100, count=50) == wave[100:150]).all()
    assert len(voices.media(0, start=len(waves[0]) - 5, count=50)) == 5
    with pytest.raises(UsageError, match="int16 with N >= 1"):
        encode_voice(np.zeros(0, np.int16))


def test_samples_beyond_full_scale_are_clipped_not_wrapped() -> None:
    assert to_int16(np.array([-1.5, -1, 0, 0.99999, 1.0], np.float32)).tolist() == [
        -32768,
        -32768,
        0,
        32767,
        32767,
    ]


@pytest.mark.models
def test_prepared_speech_is_what_the_runtime_hears(voice_bundle, tmp_path) -> None:
    from verify.voice.decode import open_audio
    from verify.voice.locate import SileroLocator
    from verify.voice.normalise import chunks, joined, kaldi_fbank, raised

    speech = np.concatenate(
        [np.zeros(8000, np.int16), made_voice(1, 0, seconds=3.0), np.zeros(8000, np.int16)]
    )
    path = tmp_path / "one.wav"
    soundfile.write(path, speech, 16_000)
    contract = voice_bundle.card.input
    extractor = open_extractor(
        voice_bundle.locator(),
        modality=Modality.VOICE,
        contract=contract,
        encoding="int16",
        min_speech_s=0.3,
        gate=False,
    )
    got = np.frombuffer(extractor.extract(path).media, "<i2").astype(np.float32) / 32768
    (block,) = open_audio(path)
    regions = SileroLocator(voice_bundle.locator()).locate(block)
    assert np.abs(got - joined(block, regions, margin_s=contract["margin_s"])).max() <= 0.5 / 32768
    (chunk,) = chunks(block, regions, contract=contract)
    features = kaldi_fbank(raised(got, level_dbfs=contract["level_dbfs"]))
    features -= features.mean(axis=0)
    assert np.abs(features - chunk.features).max() < 0.05


@pytest.mark.models
def test_prepared_faces_are_what_the_runtime_sees(face_bundle, samples) -> None:
    from verify.face.decode import decode
    from verify.face.locate import choose, open_locator
    from verify.face.normalise import normalise

    photo = next(path for path in sorted((samples / "faces").rglob("*")) if path.suffix in (".jpg", ".png"))
    extractor = open_extractor(
        face_bundle.locator(), modality=Modality.FACE, contract=face_bundle.card.input, encoding=PNG,
        min_speech_s=0.0, gate=False,
    )  # fmt: skip
    got = cv2.imdecode(np.frombuffer(extractor.extract(photo).media, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    sample = decode(photo)
    region = choose(open_locator(face_bundle.locator()).locate(sample))
    assert (got == normalise(sample, region, contract=face_bundle.card.input)).all()


@pytest.mark.models
def test_contracts_are_the_cards(face_bundle, voice_bundle) -> None:
    assert contract_of(Modality.FACE) == face_bundle.card.input
    assert contract_of(Modality.VOICE) == voice_bundle.card.input


@pytest.mark.models
@pytest.mark.usefixtures("_models_env")
def test_what_a_file_holds_never_ends_the_run(models_dir, tmp_path) -> None:
    folder = tmp_path / "voices" / "s0"
    folder.mkdir(parents=True)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("hello")
    soundfile.write(folder / "silence.wav", np.zeros(32_000, np.int16), 16_000)
    soundfile.write(folder / "speech.wav", made_voice(2, 0, seconds=3.0), 16_000)
    extractor = open_extractor(
        open_bundle("silero-vad", models_dir=models_dir), modality=Modality.VOICE, contract=VOICES.contract,
        encoding="int16", min_speech_s=0.3, gate=False,
    )  # fmt: skip
    done = prepare(
        read_manifest(tmp_path / "voices"), tmp_path / "out", how=VOICES, extractor=extractor, workers=2
    )
    assert done.samples == 1
    assert set(done.failures) >= {"empty_file", "no_speech"}
    assert sum(done.failures.values()) == 3
