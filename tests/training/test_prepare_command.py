"""`verify prepare` from the command line, on faces and voices that are there for anyone."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
import soundfile

from tests.cli.runner import Runner
from tests.training.made import made_voice
from verify.errors import MissingExtraError
from verify.training.shards import PreparedSet

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("_models_env")]


@pytest.fixture
def run(capsys):
    return Runner(capsys)


@pytest.fixture
def voices(tmp_path):
    for speaker in range(2):
        folder = tmp_path / "voices" / f"s{speaker}"
        folder.mkdir(parents=True)
        for take in range(2):
            soundfile.write(folder / f"{take}.wav", made_voice(speaker, take, seconds=2.0), 16_000)
    soundfile.write(tmp_path / "voices" / "s0" / "silence.wav", np.zeros(16_000, np.int16), 16_000)
    return tmp_path / "voices"


def test_voices_by_default(run, voices, tmp_path, voice_bundle) -> None:
    done = run("prepare", voices, "-o", tmp_path / "out", "--workers", 2)
    assert done.code == 0
    assert "4 samples of 2 subjects" in done.out
    assert "no_speech 1" in done.out
    opened = PreparedSet.open(tmp_path / "out")
    assert opened.contract == voice_bundle.card.input
    assert opened.locator == voice_bundle.card.requires["locator"]
    assert 8_000 < opened.lengths.min() <= opened.lengths.max() < 32_000
    again = run("prepare", voices, "-o", tmp_path / "out", "--json").json["prepared"]
    assert (again["made"], again["kept"], again["sha256"]) == (0, 1, opened.sha256)


def test_faces_for_a_model_and_for_an_alignment(run, samples, tmp_path, face_bundle) -> None:
    done = run("prepare", samples / "faces", "-o", tmp_path / "a", "--model", "face", "--png", "--json").json[
        "prepared"
    ]
    opened = PreparedSet.open(tmp_path / "a")
    assert len(opened) == done["samples"] > 3
    assert opened.contract == face_bundle.card.input
    assert opened.locator == face_bundle.card.requires["locator"]
    assert opened.media(0).shape == (112, 112, 3)
    other = run(
        "prepare", samples / "faces", "-o", tmp_path / "b", "--alignment", "facenet-160", "--locator", "yunet"
    )
    assert other.code == 0
    assert PreparedSet.open(tmp_path / "b").media(0).shape == (160, 160, 3)
    refused = run("prepare", samples / "faces", "-o", tmp_path / "b", "--model", "face")
    assert refused.code == 2
    assert (
        "was prepared with other settings (contract alignment 'facenet-160', now 'arcface-112'" in refused.err
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--alignment", "arcface-112"), "are for faces, and the data are voices"),
        (("--png",), "--png is for faces"),
        (("--model", "voice", "--locator", "yunet"), "leave --alignment and --locator out"),
    ],
)
def test_options_that_do_not_go_with_voices(run, voices, tmp_path, arguments, words) -> None:
    done = run("prepare", voices, "-o", tmp_path / "out", *arguments)
    assert (done.code, words in done.err) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--alignment", "arcface-122"), "did you mean 'arcface-112'?"),
        (("--locator", "silero-vad"), "finds no faces; there are yunet and mtcnn"),
        (("--locator", "yunt"), "yunet"),
    ],
)
def test_misspelt_options_of_faces(run, tmp_path, arguments, words) -> None:
    (tmp_path / "faces" / "p").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "faces" / "p" / "0.png"), np.zeros((50, 50, 3), np.uint8))
    done = run("prepare", tmp_path / "faces", "-o", tmp_path / "out", *arguments)
    assert done.code in (2, 5)
    assert words in done.err


def test_file_names_that_are_no_text(run, voices, tmp_path) -> None:
    strange = voices / "s1" / b"caf\xe9.wav".decode(errors="surrogateescape")
    (voices / "s1" / "0.wav").rename(strange)
    (voices / "s1" / b"\xff.wav".decode(errors="surrogateescape")).write_bytes(b"")
    done = run("prepare", voices, "-o", tmp_path / "out", "--json").json["prepared"]
    assert done["samples"] == 4
    assert "s1/caf?.wav" in PreparedSet.open(tmp_path / "out").paths


def test_without_pyarrow_the_extra_is_named(run, voices, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = run("prepare", voices, "-o", tmp_path / "out")
    assert done.code == MissingExtraError.exit_code
    assert "pip install '.[train]' in verify's source folder" in done.err
