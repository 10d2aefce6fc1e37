"""How decisions are told to people and programs; options that exclude each other."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.engine.fakes import point
from verify.cli.decisions import evidence, print_decision, print_identification
from verify.score_space import LlrMap
from verify.types import (
    Candidate,
    Decision,
    Identification,
    IdentifyOutcome,
    Modality,
    Outcome,
    Rate,
    Reason,
)

if TYPE_CHECKING:
    from tests.cli.runner import Runner

LLR = point(1e-3, 4.0, name="by-evidence", score_space="llr", llr=LlrMap(10.0, -3.0), bound="prediction")
ACCEPT = Decision(
    Outcome.ACCEPT,
    Reason.SCORE_AT_OR_ABOVE_THRESHOLD,
    "because of this",
    Modality.FACE,
    "a" * 64,
    score=math.log(240),
    threshold=4.0,
    operating_point=LLR,
    subject_id="anna",
    score_space="llr",
    cosine=0.8481,
    llr=math.log(240),
)


@pytest.mark.parametrize(
    ("llr", "words"),
    [
        (math.log(240), "240 : 1 for one subject"),
        (-math.log(240), "240 : 1 for two subjects"),
        (math.log(2), "2 : 1 for one subject"),
        (math.log(123_456), "120,000 : 1 for one subject"),
        (0.0, "1.00 : 1 for one subject, which is next to none"),
        (-0.5, "1.65 : 1 for two subjects, which is next to none"),
        (20 * math.log(10), "more than 1,000,000 : 1 for one subject"),
        (-5000.0, "more than 1,000,000 : 1 for two subjects"),
    ],
)
def test_evidence_in_words(llr: float, words: str) -> None:
    assert evidence(llr) == words


def told(capsys: pytest.CaptureFixture[str], decision: Decision, code: int) -> str:
    assert print_decision(decision, as_json=False) == code
    return capsys.readouterr().out


def test_a_decision_in_evidence_tells_score_cosine_evidence_and_bound(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = told(capsys, ACCEPT, 0)
    assert "ACCEPT anna" in out
    assert "+5.4806 >= threshold +4.0000 (log likelihood ratio)" in out
    assert "cosine     +0.8481" in out
    assert "240 : 1 for one subject" in out
    assert "population bound at 95% confidence" in out  # of the rates measured, however it was chosen
    assert "EXTRAPOLATED" not in out


def test_the_proof_names_the_bound_of_its_own_rates(capsys: pytest.CaptureFixture[str]) -> None:
    predicted = replace(LLR, bound="population", fmr=replace(LLR.fmr, bound="wilson-dyadic-prediction"))
    assert "prediction bound at 95%" in told(capsys, replace(ACCEPT, operating_point=predicted), 0)


def test_a_decision_in_cosine_says_the_cosine_once(capsys: pytest.CaptureFixture[str]) -> None:
    plain = replace(
        ACCEPT, score=0.45, threshold=0.5, cosine=0.45, llr=None, score_space="cosine",
        outcome=Outcome.REJECT, reason=Reason.SCORE_BELOW_THRESHOLD, operating_point=point(1e-3, 0.5),
    )  # fmt: skip
    out = told(capsys, plain, 1)
    assert "+0.4500 < threshold +0.5000 (cosine)" in out
    assert out.count("0.4500") == 1
    assert "evidence" not in out


def test_extrapolated_and_transactions_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    tail = replace(ACCEPT, operating_point=replace(LLR, extrapolated=True, attempts=3))
    out = told(capsys, tail, 0)
    assert "EXTRAPOLATED" in out.splitlines()[0]
    assert "in transactions of 3 attempts" in out


def test_a_search_tells_fpir(capsys: pytest.CaptureFixture[str]) -> None:
    found = Identification(
        IdentifyOutcome.MATCH, Reason.SCORE_AT_OR_ABOVE_THRESHOLD, "found", Modality.FACE, "a" * 64, 10,
        candidates=(Candidate("anna", 0.7), Candidate("bob", 0.1)), threshold=0.5,
        operating_point=point(1e-2, 0.5, mode="1:N", gallery_size=100, fmr=Rate(1, 10_000, 5e-4)),
    )  # fmt: skip
    assert print_identification(found, as_json=False) == 0
    out = capsys.readouterr().out
    assert "FPIR 1.00e-04" in out
    assert "FNIR" in out
    assert "FMR" not in out


def test_json_has_space_cosine_and_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_decision(ACCEPT, as_json=True) == 0
    payload = json.loads(capsys.readouterr().out)
    assert (payload["score_space"], payload["cosine"]) == ("llr", 0.8481)
    assert payload["llr"] == payload["score"]
    assert payload["operating_point"]["llr"]["slope"] == 10.0
    assert payload["operating_point"]["extrapolated"] is False


@pytest.mark.parametrize(
    "options",
    [
        ("--fmr", "1e-3", "--far", "1e-3"),
        ("--fmr", "1e-3", "--point", "x"),
        ("--far", "1e-3", "--point", "x"),
        ("--uncalibrated", "0.3", "--far", "1e-3"),
        ("--uncalibrated", "0.3", "--point", "x"),
        ("--attempts", "0"),
        ("--attempts", "many"),
    ],
)
@pytest.mark.parametrize("command", [("match", "anna", "probe.jpg"), ("compare", "one.jpg", "other.jpg")])
def test_options_that_exclude_each_other_are_usage_errors(
    run: Runner, command: tuple[str, ...], options: tuple[str, ...]
) -> None:
    assert run(*command, *options).code == 2


def test_the_proof_of_one_attempt_of_several_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def proof(one: Decision, attempts: int) -> str:
        print_decision(one, as_json=False, attempts=attempts)
        return next(line for line in capsys.readouterr().out.splitlines() if "proof" in line)

    assert "per attempt" in proof(ACCEPT, 3)
    assert "per attempt" not in proof(ACCEPT, 1)
    of_three = replace(ACCEPT, operating_point=replace(LLR, attempts=3))
    assert "per attempt" not in proof(of_three, 3)
    assert "in transactions of 3 attempts" in proof(of_three, 3)


def test_a_point_that_failed_is_marked_where_it_is_used_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    failed = replace(ACCEPT, operating_point=replace(LLR, fmr=Rate(9, 10, 1.0)))
    assert "FAILED" in told(capsys, failed, 0).splitlines()[0]
