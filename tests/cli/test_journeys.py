"""What a person does at the command line, start to end, on real faces and voices."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.runner import Runner

pytestmark = pytest.mark.models


@pytest.fixture
def media(request: pytest.FixtureRequest) -> dict[str, Path]:
    return request.getfixturevalue(request.param)


# what the shipped points prove: a search is promised the FMR of a single comparison times the subjects enrolled
@pytest.mark.parametrize(
    ("media", "fmr", "fpir"), [("faces", 5e-3, "0.02"), ("voices", 5e-2, "0.1")], indirect=["media"]
)
@pytest.mark.usefixtures("home")
def test_enrol_match_identify_delete(run: Runner, media: dict[str, Path], fmr: float, fpir: str) -> None:
    assert run("enroll", "anna", media["anna"]).code == 0
    assert run("enroll", "bob", media["bob"]).code == 0
    accept = run("match", "anna", media["anna again"], "--json")
    assert (accept.code, accept.json["outcome"]) == (0, "accept")
    assert accept.json["operating_point"]["target_fmr"] <= fmr
    reject = run("match", "bob", media["anna again"], "--json")
    assert (reject.code, reject.json["outcome"]) == (1, "reject")
    found = run("identify", media["bob again"], "--fpir", fpir, "--json")
    assert (found.code, found.json["subject_id"]) == (0, "bob")
    assert run("gallery", "delete", "bob", "--yes").code == 0
    gone = run("match", "bob", media["bob again"], "--json")
    assert (gone.code, gone.json["reason"]) == (3, "unknown_subject")
    unknown = run("identify", media["bob again"], "--fpir", fpir, "--json")
    assert (unknown.code, unknown.json["outcome"]) == (1, "unknown")


@pytest.mark.usefixtures("home")
def test_nothing_decides_without_an_operating_point(run: Runner, faces: dict[str, Path]) -> None:
    for fmr in ("1e-9",):
        result = run("compare", faces["anna"], faces["anna again"], "--fmr", fmr, "--json")
        assert (result.code, result.json["reason"]) == (3, "no_operating_point")
    spoken = run("compare", faces["anna"], faces["anna again"], "--uncalibrated", "0.3")
    assert spoken.code == 0
    assert "UNCALIBRATED" in spoken.out


HOSTILE_IDS = ["../x", "'; DROP TABLE subject; --", '"quoted"', "🧑‍🚀", "имя", "a" * 256]


@pytest.mark.parametrize("subject", HOSTILE_IDS)
def test_hostile_subject_ids_are_just_data(
    subject: str, run: Runner, home: Path, faces: dict[str, Path]
) -> None:
    before = {path.name for path in home.parent.iterdir()}
    assert run("enroll", subject, faces["anna"]).code == 0
    assert run("match", subject, faces["anna again"]).code == 0
    assert run("gallery", "show", subject).code == 0
    assert run("gallery", "delete", subject, "--yes").code == 0
    assert {path.name for path in home.parent.iterdir()} == before


@pytest.mark.parametrize("subject", ["", "x" * 10_000, "new\nline", "nul\0"])
@pytest.mark.usefixtures("home")
def test_impossible_subject_ids_are_refused_shortly(
    subject: str, run: Runner, faces: dict[str, Path]
) -> None:
    result = run("enroll", subject, faces["anna"])
    assert result.code in (2, 4)
    assert len(result.err) < 1000


@pytest.mark.usefixtures("home")
def test_duplicate_subject_and_same_sample(run: Runner, faces: dict[str, Path]) -> None:
    assert run("enroll", "anna", faces["anna"]).code == 0
    again = run("enroll", "anna", faces["anna"], "--json")
    assert again.code == 0
    assert again.json["added"] == []
    assert again.json["findings"][0]["reason"] == "already_enrolled"
    other = run("enroll", "someone else", faces["anna again"], "--json")
    assert [(f["reason"], f["subject_id"]) for f in other.json["findings"]] == [
        ("looks_like_another_subject", "anna")
    ]
    refused = run("enroll", "third", faces["anna again"], "--refuse-lookalikes", "--json")
    assert (refused.code, refused.json["added"]) == (3, [])
    assert {f["subject_id"] for f in refused.json["left_out"]} == {"anna", "someone else"}


@pytest.mark.usefixtures("home")
def test_retried_key_enrols_once(run: Runner, faces: dict[str, Path]) -> None:
    first = run("enroll", "anna", faces["anna"], "--key", "k1", "--json").json
    second = run("enroll", "anna", faces["anna"], "--key", "k1", "--json").json
    assert second["replayed"]
    assert first["added"][0]["template_id"] == second["added"][0]["template_id"]
    clash = run("enroll", "bob", faces["bob"], "--key", "k1")
    assert clash.code == 4


def test_corrupt_and_future_galleries_are_refused(run: Runner, home: Path, faces: dict[str, Path]) -> None:
    import sqlite3

    gallery = home / "gallery.db"
    assert run("enroll", "anna", faces["anna"]).code == 0
    with sqlite3.connect(gallery) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    future = run("match", "anna", faces["anna again"])
    assert future.code == 4
    assert "99" in future.err
    for name in (gallery.name + "-wal", gallery.name + "-shm"):
        (home / name).unlink(missing_ok=True)
    gallery.write_bytes(b"not a database, just bytes\n" * 400)
    corrupt = run("match", "anna", faces["anna again"])
    assert corrupt.code == 4
    assert str(gallery) in corrupt.err
    assert gallery.read_bytes().startswith(b"not a database")


def test_gallery_of_another_model_is_no_decision(run: Runner, home: Path, faces: dict[str, Path]) -> None:
    import sqlite3

    assert run("enroll", "anna", faces["anna"]).code == 0
    with sqlite3.connect(home / "gallery.db") as db:
        table = next(
            name
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")
            if any(column[1] == "model_id" for column in db.execute(f"PRAGMA table_info({name})"))
        )
        db.execute(f"UPDATE {table} SET model_id = '{'f' * 64}'")  # noqa: S608  a name out of the schema
    db.close()
    for command in (("match", "anna", faces["anna again"]), ("identify", faces["anna again"])):
        result = run(*command, "--json")
        assert (result.code, result.json["reason"]) == (3, "model_mismatch")
    assert run("enroll", "bob", faces["bob"]).code == 5


@pytest.fixture
def tree(home: Path, faces: dict[str, Path], bad: dict[str, Path]) -> Path:
    folder = home / "staff"
    for subject, sources in {
        "anna": [faces["anna"], faces["anna again"]],
        "bob": [faces["bob"], faces["bob again"], bad["cut.jpg"]],
        "carl": [faces["stranger"]],
        "nobody": [bad["noise.png"]],
    }.items():
        (folder / subject).mkdir(parents=True)
        for i, source in enumerate(sources):
            (folder / subject / f"{i}{source.suffix}").write_bytes(source.read_bytes())
    return folder


def test_bulk_enrolment_lists_what_failed_and_resumes(run: Runner, home: Path, tree: Path) -> None:
    first = run("enroll", "--from", tree, "--failures", home / "failed.csv", "--json")
    assert first.code == 4
    assert (first.json["subjects"], first.json["templates_added"]) == (4, 5)
    assert {(row["subject"], row["reason"]) for row in first.json["failed"]} == {
        ("bob", "truncated"),
        ("nobody", "no_face"),
    }
    with (home / "failed.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 2
    second = run("enroll", "--from", tree, "--json")
    assert (second.json["templates_added"], second.json["already_enrolled"]) == (0, 5)


def test_bulk_enrolment_from_csv(run: Runner, home: Path, tree: Path) -> None:
    table = home / "staff.csv"
    table.write_text(f"subject,path\nanna,{tree}/anna/0.jpg\ncarl,staff/carl/0.jpg\n", encoding="utf-8")
    result = run("enroll", "--from", table, "--json")
    assert (result.code, result.json["templates_added"]) == (0, 2)
    table.write_text("subject,path\nanna,gone.jpg\nbob,staff/bob/1.jpg\n", encoding="utf-8")
    partly = run("enroll", "--from", table, "--json")
    assert (partly.code, partly.json["templates_added"]) == (4, 1)
    assert [(row["subject"], row["reason"]) for row in partly.json["failed"]] == [("anna", "missing_file")]
    nowhere = run("enroll", "--from", table, "--failures", home / "no such folder" / "f.csv")
    assert nowhere.code == 5
    table.write_text("subject,path\nanna\n", encoding="utf-8")
    assert run("enroll", "--from", table).code == 4
    assert run("enroll", "--from", home / "none.csv").code == 4


def test_bulk_enrolment_of_faces_and_voices_together(
    run: Runner, home: Path, tree: Path, voices: dict[str, Path]
) -> None:
    (tree / "anna" / "speech.wav").write_bytes(voices["anna"].read_bytes())
    result = run("enroll", "--from", tree, "--json")
    assert (result.json["subjects"], result.json["templates_added"]) == (4, 6)
    assert run("match", "anna", voices["anna again"]).code == 0
    assert run("gallery", "show", "anna", "--json").code == 0
    assert home.exists()


def test_interrupted_bulk_enrolment_keeps_what_was_done(
    home: Path, tree: Path, faces: dict[str, Path]
) -> None:
    for i in range(60):
        (tree / f"extra{i:02}").mkdir()
        (tree / f"extra{i:02}" / "0.jpg").write_bytes(faces["stranger"].read_bytes() + bytes([i]))
    command = [sys.executable, "-m", "verify", "enroll", "--from", str(tree)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    gallery = home / "gallery.db"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _count(home) < 3:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    done = _count(home)
    assert 3 <= done < 64
    assert gallery.exists()
    check = subprocess.run(
        [sys.executable, "-m", "verify", "gallery", "check", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert check.returncode == 0, check.stdout


def _count(home: Path) -> int:
    from verify.gallery import SqliteGallery

    if not (home / "gallery.db").exists():
        return 0
    with SqliteGallery(home / "gallery.db") as gallery:
        return len(gallery.subjects())


def test_two_processes_enrol_at_once(home: Path, faces: dict[str, Path]) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "verify", "enroll", subject, str(faces[subject]), "--json"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for subject in ("anna", "bob", "stranger")
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert all(len(json.loads(output)["added"]) == 1 for output in outputs)
    assert _count(home) == 3


def test_demo_on_sample_media_needs_no_data(run: Runner, home: Path) -> None:
    result = run("demo", "-o", home / "demo")
    assert result.code == 0, result.out + result.err
    assert "sample media" in result.out
    page = (home / "demo/report.html").read_text()
    assert "FALSE ACCEPT" not in page
    assert "http" not in page.replace("http-equiv", "")
    report = json.loads((home / "demo/report.json").read_text())
    assert {part["modality"] for part in report} == {"face", "voice"}


def test_demo_without_network_or_data_says_what_is_missing(
    run: Runner, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFY_MODELS", str(home / "no models"))
    result = run("demo", "--offline")
    assert result.code == 5
    assert "--data" in result.err


@pytest.mark.media
def test_demo_on_real_media(run: Runner, home: Path, data_dir: Path) -> None:
    result = run("demo", "--data", data_dir, "-o", home / "demo", "--json")
    rows = [row for part in result.json["parts"] for row in part["rows"]]
    assert len(rows) > 40
    assert sum(row["verdict"] == "right" for row in rows) >= 0.8 * len(rows)
    assert not [row for row in rows if row["verdict"] == "FALSE ACCEPT"]
    assert not [row for part in result.json["parts"] for row in part["rows"] if part["templates"] < 10]


@pytest.mark.usefixtures("home")
def test_doctor_finds_a_healthy_installation(run: Runner) -> None:
    result = run("doctor", "--json")
    assert result.code == 0, result.out
    assert {check["state"] for check in result.json["checks"]} <= {"ok", "warning"}


def test_doctor_names_a_damaged_gallery(run: Runner, home: Path) -> None:
    (home / "gallery.db").write_bytes(b"rubbish" * 1000)
    result = run("doctor", "--json")
    assert result.code == 5
    assert [c["check"] for c in result.json["checks"] if c["state"] == "failed"] == ["gallery"]
