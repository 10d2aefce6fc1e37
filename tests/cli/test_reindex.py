"""``verify gallery reindex`` as a user runs it, on real photos and a bundle whose model_id has changed."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from tests.cli.runner import Runner
from verify.models.card import read_card

pytestmark = [pytest.mark.models, pytest.mark.media]


@pytest.fixture
def changed(home: Path, models_dir: Path) -> Path:
    """SFace under another model_id: its card says that something else is done to the embedding."""
    folder = home / "changed"
    shutil.copytree(
        models_dir / "sface", folder, ignore=shutil.ignore_patterns("operating_points.json", ".*")
    )
    card = read_card(folder / "card.json")
    card = dataclasses.replace(
        card, name="sface-changed", postprocessing=dict(card.postprocessing) | {"note": "changed"}
    )
    card = dataclasses.replace(card, model_id=card.expected_model_id())
    (folder / "card.json").write_text(json.dumps(card.to_json()))
    return folder


@pytest.fixture
def enrolled(run: Runner, home: Path, faces: dict[str, Path]) -> Path:
    folder = home / "photos"
    folder.mkdir()
    for name in ("anna", "bob"):
        shutil.copy(faces[name], folder / f"{name}.jpg")
        assert run("enroll", name, folder / f"{name}.jpg").code == 0
    return folder


def test_a_gallery_goes_over_to_a_changed_model(
    run: Runner, enrolled: Path, changed: Path, faces: dict[str, Path], home: Path
) -> None:
    judged = ("--model", changed, "--uncalibrated", "0.4")
    refused = run("match", "anna", faces["anna again"], *judged)
    assert refused.code == 3
    assert "verify gallery reindex" in refused.out
    planned = run("gallery", "reindex", "--model", changed, "--dry-run", "--json")
    assert (planned.code, planned.json["templates_renewed"], planned.json["dry_run"]) == (0, 2, True)
    assert run("match", "anna", faces["anna again"], *judged).code == 3
    (enrolled / "bob.jpg").unlink()
    done = run("gallery", "reindex", "--model", changed, "--failures", home / "again.csv")
    assert done.code == 4
    assert "1 wait for re-enrolment" in done.out
    assert "bob" in done.err
    assert "no operating point" in done.err
    with (home / "again.csv").open() as file:
        assert [row["subject"] for row in csv.DictReader(file)] == ["bob"]
    assert run("match", "anna", faces["anna again"], *judged).code == 0
    assert run("match", "anna", faces["bob again"], *judged).code == 1
    waiting = run("match", "bob", faces["bob again"], *judged)
    assert waiting.code == 3
    assert "re-enrolment" in waiting.out
    assert run("match", "bob", faces["bob again"], "--model", "face").code == 0
    assert run("enroll", "bob", faces["bob"], "--model", changed).code == 0
    last = run("gallery", "reindex", "--model", changed, "--retire", "--json")
    assert last.json["subjects_to_enroll_again"] == []
    assert run("match", "bob", faces["bob again"], *judged).code == 0
    assert run("gallery", "check").code == 0


def test_nothing_to_do_is_no_error(run: Runner, enrolled: Path) -> None:
    del enrolled
    done = run("gallery", "reindex", "--model", "face")
    assert done.code == 0
    assert "nothing to do" in done.out
    assert run("gallery", "reindex", "--model", "voice").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "face+voice"), "in turn"),
        (("--model", "face", "--keep-old", "--retire"), "exclude each other"),
        (("--model", "face", "--sources", "nowhere"), "no folder"),
        (("--model", "face", "--from", "abcdef"), "no one other model"),
        ((), "--model"),
    ],
)
def test_usage_errors_say_the_way_out(run: Runner, enrolled: Path, arguments, said: str) -> None:
    del enrolled
    refused = run("gallery", "reindex", *arguments)
    assert refused.code == 2
    assert said in refused.err


def test_no_gallery_is_bad_data_and_makes_none(run: Runner, home: Path) -> None:
    refused = run("gallery", "reindex", "--model", "face", "-g", home / "other.db")
    assert refused.code == 4
    assert not (home / "other.db").exists()
