from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.engine.fakes import LADDER, MODEL_ID, FakeCapturer, point, template
from verify.engine import Verifier
from verify.errors import DuplicateSubjectError, MediaError, ModelMismatchError, UsageError
from verify.gallery.memory import MemoryGallery
from verify.types import IdentifyOutcome, Outcome, Reason


@pytest.fixture
def capturer() -> FakeCapturer:
    return FakeCapturer(points=LADDER)


@pytest.fixture
def verifier(capturer: FakeCapturer) -> Verifier:
    return Verifier(capturer, gallery=MemoryGallery())


def test_enrolled_subject_is_accepted_and_another_rejected(verifier: Verifier) -> None:
    verifier.enroll("anna", ["anna-1", "anna-2"])
    accepted = verifier.match("anna", "anna-9")
    assert accepted.accepted
    assert accepted.operating_point is LADDER[1]
    assert accepted.score is not None
    assert accepted.score >= accepted.threshold == 0.50
    rejected = verifier.match("anna", "bob-1")
    assert (rejected.outcome, rejected.reason) == (Outcome.REJECT, Reason.SCORE_BELOW_THRESHOLD)
    assert not rejected.accepted


def test_a_decision_has_no_truth_value(verifier: Verifier) -> None:
    verifier.enroll("anna", ["anna-1"])
    with pytest.raises(TypeError, match="accepted"):
        bool(verifier.match("anna", "anna-2"))
    with pytest.raises(TypeError, match="outcome"):
        bool(verifier.identify("anna-2"))


def test_score_equal_to_the_threshold_is_an_accept(capturer: FakeCapturer) -> None:
    verifier = Verifier(capturer, gallery=MemoryGallery(), uncalibrated=0.0)
    score = verifier.compare("anna-1", "bob-1").score
    assert score is not None
    assert Verifier(capturer, uncalibrated=score).compare("anna-1", "bob-1").accepted
    assert (
        not Verifier(capturer, uncalibrated=float(np.nextafter(score, 2))).compare("anna-1", "bob-1").accepted
    )


def test_without_operating_point_the_engine_refuses(capturer: FakeCapturer) -> None:
    verifier = Verifier(capturer, gallery=MemoryGallery(), operating_points=())
    verifier.enroll("anna", ["anna-1"])
    for decision in (verifier.match("anna", "anna-1"), verifier.compare("anna-1", "anna-1")):
        assert (decision.outcome, decision.reason) == (Outcome.NO_DECISION, Reason.NO_OPERATING_POINT)
        assert decision.score is None
    assert verifier.identify("anna-1").reason is Reason.NO_OPERATING_POINT


def test_uncalibrated_says_so_in_every_result(capturer: FakeCapturer) -> None:
    verifier = Verifier(capturer, gallery=MemoryGallery(), operating_points=(), uncalibrated=0.4)
    verifier.enroll("anna", ["anna-1"])
    for result in (
        verifier.match("anna", "anna-2"),
        verifier.compare("anna-1", "anna-2"),
        verifier.identify("anna-2"),
    ):
        assert not result.calibrated
        assert result.operating_point is None
        assert "UNCALIBRATED" in result.message


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, float("nan"), "1e-3"])
def test_impossible_targets_are_usage_errors(capturer: FakeCapturer, rate: float) -> None:
    with pytest.raises(UsageError):
        Verifier(capturer, target_fmr=rate)
    with pytest.raises(UsageError):
        Verifier(capturer, target_fpir=rate)


def test_the_ladder_gives_the_loosest_sufficient_rung_and_refuses_past_its_end(
    capturer: FakeCapturer,
) -> None:
    def threshold(fmr: float) -> float | None:
        return Verifier(capturer, target_fmr=fmr).judge.one_to_one().threshold

    assert threshold(0.5) == 0.40
    assert threshold(1e-2) == 0.40
    assert threshold(9e-3) == 0.50
    assert threshold(1e-4) == 0.60
    assert threshold(9e-5) is None


def test_growing_gallery_climbs_the_ladder_then_refuses(capturer: FakeCapturer) -> None:
    judge = Verifier(capturer, target_fpir=1e-2).judge
    assert judge.one_to_many(1).threshold == 0.40
    assert judge.one_to_many(2).threshold == 0.50
    assert judge.one_to_many(100).threshold == 0.60
    assert judge.one_to_many(101).threshold is None


def test_identify_refuses_a_gallery_that_outgrew_its_proof(capturer: FakeCapturer) -> None:
    verifier = Verifier(capturer, gallery=MemoryGallery(), target_fpir=1e-4)
    verifier.enroll("anna", ["anna-1"])
    assert verifier.identify("anna-2").outcome is IdentifyOutcome.MATCH
    verifier.enroll("bob", ["bob-1"])
    found = verifier.identify("anna-2")
    assert (found.outcome, found.reason) == (
        IdentifyOutcome.NO_DECISION,
        Reason.GALLERY_OUTGREW_OPERATING_POINT,
    )
    assert found.subject_id is None


def test_operating_point_of_another_model_is_refused(capturer: FakeCapturer) -> None:
    with pytest.raises(ModelMismatchError, match="verify calibrate"):
        Verifier(capturer, operating_points=[point(1e-3, 0.5, model_id="b" * 64)])


def test_open_set_outcomes(verifier: Verifier) -> None:
    assert verifier.identify("anna-1").reason is Reason.EMPTY_GALLERY
    for subject in ("anna", "bob", "carl"):
        verifier.enroll(subject, [f"{subject}-1", f"{subject}-2"])
    match = verifier.identify("bob-7")
    assert (match.outcome, match.subject_id) == (IdentifyOutcome.MATCH, "bob")
    unknown = verifier.identify("stranger-1")
    assert (unknown.outcome, unknown.subject_id) == (IdentifyOutcome.UNKNOWN, None)
    assert len(unknown.candidates) == 3
    verifier.enroll("anna under another id", ["anna-3"])
    ambiguous = verifier.identify("anna-8")
    assert (ambiguous.outcome, ambiguous.subject_id) == (IdentifyOutcome.AMBIGUOUS, None)


def test_capture_failures_are_no_decisions_with_their_reason(verifier: Verifier) -> None:
    verifier.enroll("anna", ["anna-1"])
    assert verifier.match("anna", "!empty").reason is Reason.NO_FACE
    assert verifier.identify("!empty").reason is Reason.NO_FACE
    assert verifier.compare("anna-1", "!empty").reason is Reason.NO_FACE
    assert verifier.compare("!empty", "anna-1").outcome is Outcome.NO_DECISION
    with pytest.raises(MediaError):
        verifier.match("anna", "!broken")


def test_unknown_subject_is_no_decision_and_costs_no_capture(
    verifier: Verifier, capturer: FakeCapturer
) -> None:
    decision = verifier.match("nobody", "anna-1")
    assert (decision.outcome, decision.reason) == (Outcome.NO_DECISION, Reason.UNKNOWN_SUBJECT)
    assert capturer.seen == []


def test_failed_samples_are_reported_and_the_rest_is_enrolled(verifier: Verifier) -> None:
    done = verifier.enroll("anna", ["anna-1", "!empty", "!broken", "anna-2"])
    assert [record.source for record in done.added] == ["anna-1", "anna-2"]
    assert [failure.failure for failure in done.failures] == [Reason.NO_FACE, Reason.TRUNCATED]


def test_same_sample_is_stored_once(verifier: Verifier) -> None:
    verifier.enroll("anna", ["anna-1", "anna-1"])
    again = verifier.enroll("anna", ["anna-1"])
    assert not again.added
    assert [finding.reason for finding in again.findings if finding.reason is Reason.ALREADY_ENROLLED]
    assert len(verifier.gallery.templates("anna", model_id=MODEL_ID)) == 1


def test_retry_with_the_same_key_is_one_enrolment(verifier: Verifier, capturer: FakeCapturer) -> None:
    first = verifier.enroll("anna", ["anna-1"], idempotency_key="k")
    captured = len(capturer.seen)
    second = verifier.enroll("anna", ["anna-1"], idempotency_key="k")
    assert second.replayed
    assert [r.template_id for r in second.added] == [r.template_id for r in first.added]
    assert len(capturer.seen) == captured
    with pytest.raises(DuplicateSubjectError):
        verifier.enroll("bob", ["bob-1"], idempotency_key="k")
    with pytest.raises(DuplicateSubjectError):
        verifier.enroll("anna", [b"other bytes"], idempotency_key="k")


def test_a_stranger_among_the_samples_is_left_out(verifier: Verifier) -> None:
    done = verifier.enroll("anna", ["anna-1", "bob-1", "anna-2"])
    assert [record.source for record in done.added] == ["anna-1", "anna-2"]
    assert [(f.reason, f.source) for f in done.left_out] == [(Reason.INCONSISTENT_WITH_REFERENCE, "bob-1")]
    later = verifier.enroll("anna", ["bob-2"])
    assert not later.added
    kept = verifier.enroll("anna", ["bob-2"], allow_inconsistent=True)
    assert len(kept.added) == 1


def test_two_samples_that_disagree_are_both_left_out(verifier: Verifier) -> None:
    done = verifier.enroll("anna", ["anna-1", "bob-1"])
    assert not done.added
    assert [finding.source for finding in done.left_out] == ["anna-1", "bob-1"]


def test_look_alikes_are_reported_or_refused(verifier: Verifier) -> None:
    verifier.enroll("anna", ["anna-1", "anna-2"])
    reported = verifier.enroll("anne", ["anna-3"])
    assert len(reported.added) == 1
    assert [(f.reason, f.subject_id) for f in reported.findings] == [
        (Reason.LOOKS_LIKE_ANOTHER_SUBJECT, "anna")
    ]
    refused = verifier.enroll("ann", ["anna-4"], refuse_lookalikes=True)
    assert not refused.added
    assert {finding.reason for finding in refused.left_out} == {Reason.LOOKS_LIKE_ANOTHER_SUBJECT}


def test_the_cap_keeps_the_first_samples_and_reports_the_rest(capturer: FakeCapturer) -> None:
    verifier = Verifier(capturer, gallery=MemoryGallery(max_templates=3))
    done = verifier.enroll("anna", [f"anna-{i}" for i in range(5)])
    assert [record.source for record in done.added] == ["anna-0", "anna-1", "anna-2"]
    capped = [f.source for f in done.findings if f.reason is Reason.TEMPLATE_CAP_REACHED]
    assert capped == ["anna-3", "anna-4"]
    looked_at = len(capturer.seen)
    later = verifier.enroll("anna", ["anna-7"])
    assert (later.added, later.findings[0].reason) == ((), Reason.TEMPLATE_CAP_REACHED)
    assert len(capturer.seen) == looked_at


@pytest.mark.parametrize("sources", ["anna-1", b"anna", [], ()])
def test_samples_must_be_a_list_of_some(verifier: Verifier, sources: object) -> None:
    with pytest.raises(UsageError, match="list"):
        verifier.enroll("anna", sources)


def test_templates_of_another_model_are_never_compared(verifier: Verifier) -> None:
    verifier.enroll("anna", ["anna-1"])
    other = Verifier(FakeCapturer(model_id="b" * 64), gallery=verifier.gallery, uncalibrated=0.4)
    assert other.match("anna", "anna-1").reason is Reason.MODEL_MISMATCH
    assert other.identify("anna-1").reason is Reason.MODEL_MISMATCH
    with pytest.raises(ModelMismatchError):
        other.enroll("bob", ["bob-1"])


def test_more_templates_never_raise_a_strangers_chance(verifier: Verifier) -> None:
    """The mean over templates keeps the promise that the maximum breaks."""
    strangers = [template(f"stranger{i}-1").vector for i in range(2000)]
    verifier.enroll("anna", ["anna-1"], allow_inconsistent=True)
    one = verifier.gallery.templates("anna", model_id=MODEL_ID) @ np.array(strangers).T
    verifier.enroll("anna", [f"anna-{i}" for i in range(2, 8)])
    many = verifier.gallery.templates("anna", model_id=MODEL_ID) @ np.array(strangers).T
    at = np.quantile(one[0], 0.99)
    assert (many.mean(axis=0) >= at).mean() <= 0.012
    assert (many.max(axis=0) >= at).mean() > 0.015


def test_the_score_is_the_mean_over_templates_in_match_and_identify(verifier: Verifier) -> None:
    verifier.enroll("anna", ["anna-1", "anna-2", "anna-3"])
    verifier.enroll("bob", ["bob-1", "bob-2"])
    probe = template("anna-9").vector
    single = verifier.gallery.templates("anna", model_id=MODEL_ID) @ probe
    assert single.max() - single.mean() > 1e-3  # else the two could not be told apart
    assert verifier.match("anna", "anna-9").score == pytest.approx(float(single.mean()), abs=1e-6)
    best = verifier.identify("anna-9").candidates[0]
    assert best.score == pytest.approx(float(single.mean()), abs=1e-6)


@pytest.mark.parametrize(("given", "expected"), [({}, "refuse"), ({"faces": "largest"}, "largest")])
def test_several_faces_in_a_probe_are_refused_unless_asked_otherwise(
    capturer: FakeCapturer, given: dict[str, str], expected: str
) -> None:
    verifier = Verifier(capturer, gallery=MemoryGallery(), **given)
    verifier.enroll("anna", ["anna-1"])
    assert {policy.faces for policy in capturer.policies} == {"refuse"}  # enrolment always refuses
    capturer.policies.clear()
    verifier.match("anna", "anna-2")
    verifier.identify("anna-2")
    verifier.compare("anna-1", "anna-2")
    assert [policy.faces for policy in capturer.policies] == [expected] * 4


def test_matches_from_many_threads_while_others_enrol(verifier: Verifier) -> None:
    for i in range(20):
        verifier.enroll(f"s{i}", [f"s{i}-1", f"s{i}-2"])
    wrong: list[str] = []

    def ask(i: int) -> None:
        for k in range(3, 9):
            if (
                not verifier.match(f"s{i}", f"s{i}-{k}").accepted
                or verifier.match(f"s{i}", f"s{(i + 1) % 20}-{k}").accepted
            ):
                wrong.append(f"s{i}-{k}")
            verifier.enroll(f"new {i} {k}", [f"new{i}{k}-1"])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
