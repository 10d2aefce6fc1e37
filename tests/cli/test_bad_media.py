"""Hostile photos and recordings from the command line: exit code, reason, nothing stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.runner import Runner

pytestmark = pytest.mark.models

UNREADABLE = {
    "missing.jpg": "missing_file",
    "folder": "not_a_file",
    "empty.jpg": "empty_file",
    "cut.jpg": "truncated",
    "text.jpg": "unsupported_format",
    "bomb.png": "over_limits",
    "cut.flac": "truncated",
    "text.wav": "unsupported_format",
    "nan.wav": "invalid_samples",
}
NO_DECISION = {
    "noise.png": {"no_face"},
    "drawn.png": {"no_face", "uncertain_face"},
    "silence.wav": {"no_speech"},
    "short.wav": {"too_little_speech", "no_speech"},
    "clipped.wav": {"clipped"},
}


def _model(name: str) -> str:
    return "voice" if name.endswith((".wav", ".flac")) else "face"


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_probe_is_bad_data(
    name: str, run: Runner, home: Path, bad: dict[str, Path], faces: dict[str, Path], voices: dict[str, Path]
) -> None:
    good = (voices if _model(name) == "voice" else faces)["anna"]
    for pair in ((good, bad[name]), (bad[name], good)):
        result = run("compare", *pair, "--model", _model(name), "--json")
        assert result.code == 4
        assert result.json["reason"] == UNREADABLE[name]
        assert str(bad[name]) in result.json["message"]
    assert not (home / "gallery.db").exists()


@pytest.mark.parametrize("name", NO_DECISION)
@pytest.mark.usefixtures("home")
def test_unusable_probe_is_no_decision(
    name: str, run: Runner, bad: dict[str, Path], faces: dict[str, Path], voices: dict[str, Path]
) -> None:
    good = (voices if _model(name) == "voice" else faces)["anna"]
    result = run("compare", good, bad[name], "--json")
    assert result.code == 3
    assert result.json["outcome"] == "no_decision"
    assert result.json["reason"] in NO_DECISION[name]
    assert result.json["score"] is None
    assert not result.json["accepted"]


@pytest.mark.parametrize("name", [*UNREADABLE, *NO_DECISION, "two.png"])
@pytest.mark.usefixtures("home")
def test_bad_sample_is_never_enrolled(name: str, run: Runner, bad: dict[str, Path]) -> None:
    result = run("enroll", "anna", bad[name], "--model", _model(name), "--json")
    assert result.code == (4 if name in UNREADABLE else 3)
    assert result.json["added"] == []
    wanted = {UNREADABLE[name]} if name in UNREADABLE else NO_DECISION.get(name, {"several_faces"})
    assert result.json["failures"][0]["failure"] in wanted
    assert run("gallery", "list", "--json").json["subjects"] == []


@pytest.mark.parametrize("name", ["deep.png", "grey.png", "cmyk.jpg", "telephone.wav"])
@pytest.mark.usefixtures("home")
def test_odd_but_good_media_is_decided(
    name: str, run: Runner, bad: dict[str, Path], faces: dict[str, Path], voices: dict[str, Path]
) -> None:
    good = (voices if _model(name) == "voice" else faces)["anna again"]
    result = run("compare", good, bad[name], "--uncalibrated", "0.3", "--json")
    assert result.code == 0
    assert result.json["accepted"]
    assert not result.json["calibrated"]


@pytest.mark.usefixtures("home")
def test_two_faces_are_no_decision_unless_the_largest_is_asked_for(
    run: Runner, bad: dict[str, Path], faces: dict[str, Path]
) -> None:
    for who in ("anna", "bob"):
        assert run("enroll", who, faces[who]).code == 0
        for command in (("match", who), ("compare", faces[who]), ("identify",)):
            result = run(*command, bad["two.png"], "--json")
            assert (result.code, result.json["reason"]) == (3, "several_faces")
    asked = [
        run("match", who, bad["two.png"], "--faces", "largest", "--json").json for who in ("anna", "bob")
    ]
    assert sorted(decision["accepted"] for decision in asked) == [False, True]


@pytest.mark.usefixtures("home")
def test_locator_named_as_model_is_refused(run: Runner, faces: dict[str, Path]) -> None:
    for command in (("compare", faces["anna"]), ("enroll", "anna"), ("match", "anna")):
        result = run(*command, faces["anna again"], "--model", "yunet")
        assert result.code in (4, 5)
        assert "embedder" in result.err or "no gallery" in result.err


def test_a_pipe_as_probe_does_not_hang(run: Runner, home: Path, faces: dict[str, Path]) -> None:
    import os

    os.mkfifo(home / "pipe.jpg")
    assert run("compare", home / "pipe.jpg", faces["anna"]).code == 4
