"""The engine in the score spaces: evidence by each template's own quality, norms by their cohort."""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.engine.fakes import LADDER, MODEL_ID, FakeCapturer, point, subject_direction, template
from verify.engine import Verifier
from verify.engine.evidence import enrolled_side
from verify.errors import GalleryError, ModelIntegrityError
from verify.gallery.memory import MemoryGallery
from verify.metrics.normalisation import cohort_stats, norm_scores
from verify.models.cohorts import write_cohort
from verify.score_space import Combine, LlrMap, QualityTerm, ScoreNorm, ScoreSpace, Transform
from verify.types import IdentifyOutcome, Outcome, Reason

if TYPE_CHECKING:
    from pathlib import Path

    from verify.types import OperatingPoint

TERM = QualityTerm(
    measure="sharpness",
    transform=Transform.IDENTITY,
    combine=Combine.MIN,
    centre=0.5,
    scale=0.2,
    weight=1.5,
    slope=2.0,
    low=0.2,
    high=0.9,
)
PLAIN = LlrMap(slope=20.0, intercept=-8.0)
BY_QUALITY = LlrMap(slope=20.0, intercept=-8.0, terms=(TERM,))


def llr_point(llr: LlrMap = BY_QUALITY, threshold: float = 2.0, **changes: object):
    values = {"name": "face-llr", "score_space": "llr", "llr": llr}
    return point(1e-3, threshold, **(values | changes))


def opened(*points: OperatingPoint, **how: object) -> Verifier:
    return Verifier(FakeCapturer(points=points), gallery=MemoryGallery(), **how)


def cosine(one: str, other: str) -> float:
    return float(template(one).vector.astype(float) @ template(other).vector.astype(float))


def llr(score: float, *sharpness: float) -> float:
    """The map written out by hand."""
    f = (min(min(value, 0.9) for value in sharpness) - 0.5) / 0.2
    return -8.0 + 20.0 * score + (1.5 + 2.0 * score) * f


def test_evidence_is_the_mean_over_templates_each_with_its_own_quality() -> None:
    verifier = opened(llr_point())
    names = ("anna-1@0.3", "anna-2@0.8", "anna-3@0.45")
    verifier.enroll("anna", list(names))
    decision = verifier.match("anna", "anna-9@0.6")
    expected = [llr(cosine(name, "anna-9@0.6"), float(name.partition("@")[2]), 0.6) for name in names]
    assert decision.llr == pytest.approx(np.mean(expected), abs=1e-5)
    assert (decision.score, decision.score_space, decision.threshold) == (decision.llr, "llr", 2.0)
    assert decision.cosine == pytest.approx(np.mean([cosine(name, "anna-9@0.6") for name in names]), abs=1e-6)
    shuffled = [
        llr(cosine(name, "anna-9@0.6"), value, 0.6)
        for name, value in zip(names, (0.8, 0.45, 0.3), strict=True)
    ]
    assert abs(np.mean(shuffled) - decision.llr) > 1e-3  # else a mix-up of templates would not show


def test_quality_decides_between_equal_cosines() -> None:
    verifier = opened(llr_point(threshold=10.0))
    verifier.enroll("anna", ["anna-1@0.9"])
    good = verifier.match("anna", "anna-9@0.9")
    assert good.accepted
    gallery = MemoryGallery()
    poor = Verifier(FakeCapturer(points=(llr_point(threshold=10.0),)), gallery=gallery)
    poor.enroll("anna", ["anna-1@0.2"])
    assert poor.match("anna", "anna-9@0.2").outcome is Outcome.REJECT


def test_a_measure_above_the_calibrated_range_counts_as_the_highest() -> None:
    verifier = opened(llr_point())
    at_top = verifier.compare("anna-1@0.9", "anna-2@0.9").llr
    assert verifier.compare("anna-1@0.9", "anna-2@0.9").llr == at_top
    above = verifier.compare("anna-1@5", "anna-2@7")
    assert above.llr == pytest.approx(llr(cosine("anna-1@5", "anna-2@7"), 0.9, 0.9), abs=1e-5)


@pytest.mark.parametrize(
    ("enrolled", "probe", "told"),
    [
        ("anna-1", "anna-9@0.1", ("anna-9@0.1", "sharpness is 0.1", "0.2 to 0.9", "another sample")),
        ("anna-1", "anna-9@none", ("anna-9@none", "has no sharpness", "another sample")),
        ("anna-1", "anna-9@nan", ("has no sharpness",)),
        ("anna-1@0.1", "anna-9", ("of 'anna'", "sharpness is 0.1", "0.2 to 0.9", "enrol again")),
        ("anna-1@none", "anna-9", ("of 'anna'", "has no sharpness", "enrol again")),
    ],
)
def test_outside_the_calibrated_range_there_is_no_decision(
    enrolled: str, probe: str, told: tuple[str, ...]
) -> None:
    verifier = opened(llr_point(threshold=-1000.0))  # any score would be an accept
    verifier.enroll("anna", [enrolled])
    for decision in (verifier.match("anna", probe), verifier.compare(enrolled, probe)):
        assert (decision.outcome, decision.reason) == (Outcome.NO_DECISION, Reason.OUTSIDE_CALIBRATED_RANGE)
        assert (decision.score, decision.llr, decision.threshold) == (None, None, None)
        assert decision.operating_point is not None
    message = verifier.match("anna", probe).message
    for words in told:
        assert words in message


def test_one_template_out_of_range_among_good_ones_is_no_decision() -> None:
    verifier = opened(llr_point(threshold=-1000.0))
    verifier.enroll("anna", ["anna-1", "anna-2@0.1", "anna-3"])
    decision = verifier.match("anna", "anna-9")
    assert decision.reason is Reason.OUTSIDE_CALIBRATED_RANGE
    assert "anna-2@0.1" in decision.message


def test_a_map_without_terms_needs_no_quality() -> None:
    verifier = opened(llr_point(PLAIN))
    verifier.enroll("anna", ["anna-1@none"])
    decision = verifier.match("anna", "anna-9@none")
    assert decision.llr == pytest.approx(20.0 * cosine("anna-1@none", "anna-9@none") - 8.0, abs=1e-5)
    assert decision.accepted


def test_a_cosine_rung_tells_evidence_that_does_not_decide() -> None:
    told = opened(point(1e-3, 0.5, llr=BY_QUALITY))
    decision = told.compare("anna-1@0.6", "anna-2@0.7")
    assert decision.score_space == "cosine"
    assert decision.score == decision.cosine == pytest.approx(cosine("anna-1@0.6", "anna-2@0.7"), abs=1e-6)
    assert decision.llr == pytest.approx(llr(decision.score, 0.6, 0.7), abs=1e-5)
    outside = told.compare("anna-1@0.1", "anna-2@0.7")
    assert outside.llr is None
    assert outside.outcome in (Outcome.ACCEPT, Outcome.REJECT)
    assert opened(point(1e-3, 0.5)).compare("anna-1", "anna-2").llr is None


@pytest.fixture
def cohort() -> np.ndarray:
    return np.array([subject_direction(f"stranger {i}") for i in range(40)], np.float32)


def normed(folder: Path, cohort: np.ndarray, method: ScoreSpace, *, top_k: int = 0) -> ScoreNorm:
    return ScoreNorm(method, write_cohort(folder, cohort), len(cohort), top_k)


@pytest.mark.parametrize(("space", "top_k"), [("z-norm", 0), ("t-norm", 0), ("s-norm", 0), ("as-norm", 15)])
def test_norm_spaces_average_normalised_scores_over_templates(
    tmp_path: Path, cohort: np.ndarray, space: str, top_k: int
) -> None:
    norm = normed(tmp_path, cohort, ScoreSpace(space), top_k=top_k)
    verifier = opened(cohorts=tmp_path, operating_points=(point(1e-3, 3.0, score_space=space, norm=norm),))
    verifier.enroll("anna", ["anna-1", "anna-2"])
    decision = verifier.match("anna", "anna-9")
    each = []
    for name in ("anna-1", "anna-2"):
        stats = [
            cohort_stats([template(n).vector], cohort, method=norm.method, top_k=top_k)
            for n in (name, "anna-9")
        ]
        scores = norm_scores([cosine(name, "anna-9")], method=norm.method, enrol=stats[0], probe=stats[1])
        each.append(float(scores[0]))
    assert decision.score == pytest.approx(np.mean(each), abs=1e-4)
    assert (decision.score_space, decision.llr) == (space, None)
    assert decision.cosine is not None
    assert decision.cosine < 1.0 < decision.score
    assert decision.accepted
    assert verifier.match("anna", "bob-1").outcome is Outcome.REJECT


def test_evidence_of_normalised_scores(tmp_path: Path, cohort: np.ndarray) -> None:
    norm = normed(tmp_path, cohort, ScoreSpace.S_NORM)
    mapping = LlrMap(slope=2.0, intercept=-5.0, norm=norm)
    points = (
        llr_point(mapping),
        point(1e-2, 3.0, name="norm", score_space="s-norm", norm=norm, llr=mapping),
    )
    by_llr = opened(cohorts=tmp_path, operating_points=points).compare("anna-1", "anna-2")
    by_norm = opened(cohorts=tmp_path, operating_points=points, point="norm").compare("anna-1", "anna-2")
    assert by_norm.score is not None
    assert by_llr.score == by_llr.llr == by_norm.llr == pytest.approx(2.0 * by_norm.score - 5.0)


def test_a_missing_or_exchanged_cohort_decides_nothing(tmp_path: Path, cohort: np.ndarray) -> None:
    norm = normed(tmp_path, cohort, ScoreSpace.S_NORM)
    rung = point(1e-3, -1000.0, score_space="s-norm", norm=norm)
    for folder in (None, tmp_path / "elsewhere"):
        with pytest.raises(ModelIntegrityError, match="cohort"):
            opened(operating_points=(rung,), cohorts=folder).compare("anna-1", "bob-1")
    np.save(next(tmp_path.glob("cohort-*.npy")), cohort[::-1])
    with pytest.raises(ModelIntegrityError, match="hash differs"):
        opened(operating_points=(rung,), cohorts=tmp_path).compare("anna-1", "bob-1")


def test_the_bundles_own_points_find_their_cohort_beside_them(tmp_path: Path, cohort: np.ndarray) -> None:
    norm = normed(tmp_path, cohort, ScoreSpace.T_NORM)
    rung = point(1e-3, 3.0, score_space="t-norm", norm=norm)
    verifier = Verifier(FakeCapturer(points=(rung,), folder=tmp_path))
    assert verifier.compare("anna-1", "anna-2").score_space == "t-norm"


def test_a_space_without_its_recipe_decides_nothing() -> None:
    for space in ("llr", "as-norm", "fused-llr"):
        with pytest.raises(ModelIntegrityError, match="recipe"):
            opened(point(1e-3, -1000.0, score_space=space)).compare("anna-1", "bob-1")


def test_overflowing_evidence_is_no_decision() -> None:
    wild = llr_point(LlrMap(slope=1e308, intercept=1e308), threshold=0.0)
    with np.errstate(over="ignore"):
        decision = opened(wild).compare("anna-1", "anna-2")
    assert decision.reason is Reason.OUTSIDE_CALIBRATED_RANGE


def test_searches_take_the_cosine_rung_beside_an_llr_rung() -> None:
    verifier = opened(llr_point(), *LADDER, target_fpir=2e-2)
    verifier.enroll("anna", ["anna-1"])
    verifier.enroll("bob", ["bob-1"])
    assert verifier.match("anna", "anna-2").score_space == "llr"
    found = verifier.identify("anna-2")
    assert (found.outcome, found.subject_id) == (IdentifyOutcome.MATCH, "anna")
    assert found.operating_point is LADDER[0]
    only = Verifier(FakeCapturer(points=(llr_point(),)), gallery=verifier.gallery).identify("anna-2")
    assert (only.outcome, only.reason) == (IdentifyOutcome.NO_DECISION, Reason.NO_OPERATING_POINT)
    assert "raw cosines" in only.message


def test_a_measured_search_point_serves_until_the_gallery_outgrows_it() -> None:
    measured = point(1e-2, 0.5, name="search", mode="1:N", gallery_size=2)
    verifier = opened(measured)
    for name in ("anna", "bob"):
        verifier.enroll(name, [f"{name}-1"])
    assert verifier.identify("anna-2").operating_point is measured
    verifier.enroll("carl", ["carl-1"])
    grown = verifier.identify("anna-2")
    assert (grown.outcome, grown.reason) == (
        IdentifyOutcome.NO_DECISION,
        Reason.GALLERY_OUTGREW_OPERATING_POINT,
    )


def test_enrolment_checks_cosines_where_llr_decides() -> None:
    verifier = opened(llr_point(threshold=5.0), point(1e-3, 0.5))
    done = verifier.enroll("anna", ["anna-1", "bob-1", "anna-2"])
    assert [one.source for one in done.left_out] == ["bob-1"]
    own = Verifier(
        FakeCapturer(points=LADDER), gallery=MemoryGallery(), operating_points=(llr_point(threshold=5.0),)
    )
    assert len(own.enroll("anna", ["anna-1", "bob-1", "anna-2"]).left_out) == 1  # by the bundle's own rung
    assert own.match("anna", "anna-9").score_space == "llr"
    unchecked = opened(llr_point()).enroll("anna", ["anna-1", "bob-1"])
    assert len(unchecked.added) == 2
    assert [one.reason for one in unchecked.findings] == [Reason.NO_OPERATING_POINT]


class Restless(MemoryGallery):
    """Somebody enrols between every two reads."""

    def __init__(self, changes: int) -> None:
        super().__init__()
        self.verifier = Verifier(FakeCapturer(points=LADDER), gallery=self)
        self.changes = changes

    def templates(self, subject_id, *, model_id):
        found = super().templates(subject_id, model_id=model_id)
        if self.changes:
            self.changes -= 1
            self.delete(subject_id)
            sharpness = 0.3 + self.changes / 1000
            vector = template(f"anna-{self.changes}")
            record = dataclasses.replace(
                self.pattern, source=f"anna-{self.changes}", quality={"sharpness": sharpness}
            )
            self.add(subject_id, [vector], records=[record])
        return found


def test_vectors_and_qualities_are_of_the_same_moment() -> None:
    gallery = Restless(0)
    gallery.verifier.enroll("anna", ["anna-x"])
    gallery.pattern = next(iter(gallery.records("anna")))
    gallery.changes = 5
    side = enrolled_side(gallery, "anna", model_id=MODEL_ID, with_quality=True)
    assert side is not None
    assert side.quality == ({"sharpness": 0.3},)  # of the last one written
    assert np.array_equal(side.vectors[0], template("anna-0").vector)
    gallery.changes = 10_000
    with pytest.raises(GalleryError, match="try again"):
        enrolled_side(gallery, "anna", model_id=MODEL_ID, with_quality=True)


def test_matches_in_norm_and_llr_spaces_from_many_threads(tmp_path: Path, cohort: np.ndarray) -> None:
    norm = normed(tmp_path, cohort, ScoreSpace.AS_NORM, top_k=10)
    mapping = LlrMap(slope=2.0, intercept=-5.0, terms=(TERM,), norm=norm)
    verifier = opened(operating_points=(llr_point(mapping),), cohorts=tmp_path)
    verifier.enroll("anna", ["anna-1@0.4", "anna-2@0.7"])
    alone = verifier.match("anna", "anna-9@0.5").score
    found: list[float | None] = []

    def ask(number: int) -> None:
        for k in range(10):
            found.append(verifier.match("anna", "anna-9@0.5").score)
            verifier.enroll(f"other {number} {k}", [f"other{number}{k}-1"])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 80


def test_the_observer_sees_everything_but_templates() -> None:
    seen: list[object] = []
    verifier = opened(llr_point(), *LADDER, on_decision=seen.append)
    verifier.enroll("anna", ["anna-1"])
    results = [
        verifier.match("anna", "anna-2"),
        verifier.match("nobody", "anna-2"),
        verifier.compare("anna-1", "bob-1"),
        verifier.compare("anna-1", "!empty"),
        verifier.identify("anna-2"),
    ]
    assert [one.outcome for one in seen] == [one.outcome for one in results]
    assert [one.message for one in seen] == [one.message for one in results]
    assert seen[0].llr == results[0].llr
    captures = [c for one in seen for c in (one.probe, getattr(one, "reference", None)) if c is not None]
    assert len(captures) == 6
    for capture in captures:
        assert capture.template is None or capture.template.vector.size == 0
        if capture.template is not None:
            owner = capture.template.vector.base
            assert owner is None  # no way back to the numbers
    assert seen[3].probe.failure is Reason.NO_FACE
    assert results[0].probe.template.vector.size  # the caller's own result is whole


def test_a_failing_observer_changes_no_decision(caplog: pytest.LogCaptureFixture) -> None:
    def fail(result: object) -> None:
        message = f"disk full at {result.outcome}"
        raise OSError(message)

    verifier = opened(point(1e-3, 0.5), on_decision=fail)
    with caplog.at_level(logging.WARNING, logger="verify.engine"):
        assert verifier.compare("anna-1", "anna-2").accepted
        assert not verifier.compare("anna-1", "bob-2").accepted
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "decision stands: OSError: disk full at accept" in caplog.text


def test_a_failed_capture_stands_where_its_score_would_have_been() -> None:
    verifier = opened(llr_point())
    verifier.enroll("anna", ["anna-1@0.6"])
    nobody = verifier.match("bob", "bob-1@0.6")
    for found in (verifier.match("anna", "!empty"), verifier.compare("anna-1", "!empty"), nobody):
        assert found.outcome is Outcome.NO_DECISION
        assert found.score_space == "llr"  # else the drift log counts it among another ladder's decisions
        assert found.score is None
