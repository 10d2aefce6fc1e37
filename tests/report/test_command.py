"""`verify report`: a page for one file, a page for two, thumbnails on request, and errors that say what to do."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.cli.runner import Runner
from tests.report import made
from verify.report.facts import write_facts
from verify.report.thumbnails import thumbnails


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def facts(tmp_path):
    path = tmp_path / "facts.json"
    write_facts(path, made.full())
    return path


def test_page_lies_beside_its_facts(run, facts) -> None:
    result = run("report", facts)
    assert result.code == 0
    assert facts.with_suffix(".html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "facts.html" in result.out


def test_json_says_where_what_and_which_verdict(run, facts, tmp_path) -> None:
    result = run("report", facts, "-o", tmp_path / "page.html", "--json")
    assert result.json["facts"][0]["verdicts"][0]["verdict"] == "PASS"
    assert result.json["bytes"] == (tmp_path / "page.html").stat().st_size
    assert result.json["facts"][0]["sha256"] in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_failed_verdict_is_no_failed_command(run, tmp_path) -> None:
    write_facts(tmp_path / "fail.json", made.failing())
    assert run("report", tmp_path / "fail.json").code == 0


def test_compare_warns_where_the_data_differ(run, facts, tmp_path) -> None:
    other = made.full()
    other["sets"][0]["data_sha256"] = "0" * 64
    write_facts(tmp_path / "b.json", other)
    result = run("report", "--compare", facts, tmp_path / "b.json")
    assert result.code == 0
    assert "warning: The data differ" in result.err
    assert (tmp_path / "facts-b.html").is_file()


def test_usage_errors(run, facts, tmp_path) -> None:
    assert run("report", facts, facts).code == 2
    assert run("report", "--compare", facts).code == 2
    assert run("report", facts, "-o", facts).code == 2
    assert run("report", "--compare", facts, facts, "--thumbnails", tmp_path).code == 2
    assert run("report", facts, "--thumbnails", tmp_path / "nowhere").code == 2
    assert facts.read_text(encoding="utf-8").startswith("{")


def test_bad_facts_are_bad_data_and_name_the_field(run, facts) -> None:
    text = facts.read_text(encoding="utf-8")
    facts.write_text(text.replace('"verdict": "PASS"', '"verdict": "GREAT"'), encoding="utf-8")
    result = run("report", facts, "--json")
    assert result.code == 4
    assert "verdicts[0].verdict is GREAT" in result.json["message"]
    assert run("report", facts.with_name("none.json")).code == 4


def test_a_folder_that_is_not_there_is_named_before_the_work(run, facts, tmp_path) -> None:
    result = run("report", facts, "-o", tmp_path / "no" / "page.html")
    assert result.code == 2
    assert "there is no folder" in result.err


def test_a_page_that_is_there_is_only_replaced_by_force(run, facts) -> None:
    page = facts.with_suffix(".html")
    page.write_text("mine", encoding="utf-8")
    result = run("report", facts)
    assert result.code == 2
    assert "exists already" in result.err
    assert "--force" in result.err
    assert page.read_text(encoding="utf-8") == "mine"
    assert run("report", facts, "--force").code == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_operating_points_are_not_taken_for_a_later_version(run, tmp_path) -> None:
    path = tmp_path / "operating_points.json"
    path.write_text('{"schema": 2, "points": [], "sha256": ""}', encoding="utf-8")
    result = run("report", path)
    assert result.code == 4
    assert "is a file of operating points" in result.err
    assert "upgrade" not in result.err


def photo(path, *, size=(300, 200)) -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)


def test_thumbnails_only_when_asked_and_with_a_warning(run, facts, tmp_path) -> None:
    pair = made.full()["dependence"]["pairs"][0]
    for name in pair["samples"]:
        photo(tmp_path / "media" / name)
    assert run("report", facts).code == 0
    assert "<img" not in facts.with_suffix(".html").read_text(encoding="utf-8")
    result = run("report", facts, "--thumbnails", tmp_path / "media", "--force")
    assert result.code == 0  # both photos of the pair are shown
    assert "holds photos of people" in result.err
    assert facts.with_suffix(".html").read_text(encoding="utf-8").count("<img") == 2


def test_thumbnails_are_small_and_stay_in_their_folder(tmp_path) -> None:
    import cv2

    photo(tmp_path / "media" / "a.jpg")
    photo(tmp_path / "secret.jpg")
    (tmp_path / "media" / "text.jpg").write_text("no photo")
    (tmp_path / "media" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    names = [
        "a.jpg",
        "../secret.jpg",
        str(tmp_path / "secret.jpg"),
        "link.jpg",
        "text.jpg",
        "gone.jpg",
        "\0",
        ".",
    ]
    made_of, left_out = thumbnails(names, tmp_path / "media")
    assert list(made_of) == ["a.jpg"]
    assert left_out == names[1:]
    small = cv2.imdecode(np.frombuffer(made_of["a.jpg"], np.uint8), cv2.IMREAD_COLOR)
    assert max(small.shape[:2]) == 64


def test_thumbnails_keep_their_budget(tmp_path) -> None:
    names = [f"{k}.jpg" for k in range(20)]
    for name in names:
        photo(tmp_path / name, size=(64, 64))
    made_of, left_out = thumbnails(names, tmp_path, budget=20_000)
    assert 0 < sum(map(len, made_of.values())) <= 20_000
    assert left_out


def test_report_of_json_printed_by_another_tool_is_the_same(run, facts, tmp_path) -> None:
    document = json.loads(facts.read_text(encoding="utf-8"))
    (tmp_path / "again.json").write_text(json.dumps(document, indent=4, sort_keys=True), encoding="utf-8")
    run("report", facts)
    run("report", tmp_path / "again.json")
    assert (tmp_path / "again.html").read_bytes() == facts.with_suffix(".html").read_bytes()
