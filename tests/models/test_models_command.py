from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.models.conftest import WEIGHTS, sha
from verify.cli import main
from verify.models import open_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, shelf: Path) -> Callable:
    monkeypatch.setenv("VERIFY_MODELS", str(shelf))

    def call(*args: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["models", *args])
        seen = capsys.readouterr()
        assert ended.value.code == code, seen.err
        return seen.out, seen.err

    return call


def test_the_life_of_a_model(run, known, shelf: Path) -> None:
    (shelf / "tiny.onnx").write_bytes(WEIGHTS)
    known("")
    out, _ = run("list", "--json")
    assert [(line["name"], line["state"]) for line in json.loads(out)["models"]] == [
        ("finder", "-"),
        ("tiny", "-"),
    ]
    out, err = run("pull", "tiny", "--json")
    assert [item["status"] for item in json.loads(out)["models"]] == ["installed", "installed"]
    assert err == ""
    out, _ = run("list")
    assert "installed" in out
    assert "MIT" in out
    out, _ = run("show", "tiny")
    assert out.splitlines()[:2] == ["name: tiny", "licence: MIT"]
    assert sha(WEIGHTS) in out
    out, _ = run("show", "tiny", "--json")
    assert json.loads(out)["model_id"] == open_bundle("tiny", models_dir=shelf).model_id
    out, _ = run("remove", "finder")
    assert "it was the locator of tiny" in out
    out, _ = run("remove", "tiny", "--json")
    assert json.loads(out) == {"removed": str(shelf / "tiny"), "used_by": []}
    run("remove", "tiny", code=5)


def test_models_that_are_not_here_are_shown_with_their_sources(run, known) -> None:
    known('[[model.source]]\nkind = "url"\naddress = "https://example.org/tiny.onnx"\n')
    out, _ = run("show", "tiny")
    assert "installed: False" in out
    assert "https://example.org/tiny.onnx" in out


@pytest.mark.parametrize("command", ["show", "pull", "remove", "build"])
def test_an_unknown_name_ends_with_5_and_the_known_names(run, known, command: str) -> None:
    known("")
    out, err = run(command, "timy", "--json", code=5)
    assert "did you mean tiny" in err
    assert json.loads(out)["error"] == "UnknownModelError"


def test_offline_without_files_ends_with_5_and_the_way_out(run, known) -> None:
    known('[[model.source]]\nkind = "url"\naddress = "https://example.org/tiny.onnx"\n')
    _, err = run("pull", "tiny", "--offline", code=5)
    assert "download https://example.org/tiny.onnx" in err
    assert "--from-file FILE" in err


def test_a_damaged_bundle_is_listed_as_such(run, known, shelf: Path) -> None:
    known("")
    (shelf / "tiny").mkdir()
    (shelf / "tiny" / "card.json").write_text("{")
    out, err = run("list")
    assert "damaged" in out
    assert "not valid JSON" in err
    run("show", "tiny", code=5)


def test_a_licence_that_must_be_accepted_ends_with_2(run, known) -> None:
    known("", extra='licence_notice = "Research only."\ncommercial_use = false')
    _, err = run("pull", "tiny", code=2)
    assert "Research only." in err
    out, _ = run("list")
    assert "MIT !" in out


def test_models_that_are_no_torch_weights_are_not_built(run, known) -> None:
    known("")
    _, err = run("build", "tiny", code=2)
    assert "verify models pull tiny" in err


def test_a_file_that_is_not_there_is_a_usage_error(run, known) -> None:
    known("")
    run("pull", "tiny", "--from-file", "no-such-file", code=2)
