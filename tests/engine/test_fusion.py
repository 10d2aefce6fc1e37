"""Several models as one: whose evidence is summed, who stands in for whom, and what is refused."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.engine.fakes import DIM, point, subject_direction
from verify.engine.fusion import FusedVerifier
from verify.engine.verifier import Verifier
from verify.errors import DuplicateSubjectError, MediaError, ModelMismatchError, UsageError
from verify.gallery import MemoryGallery
from verify.metrics.evidence import fusion_id
from verify.score_space import Combine, Fusion, FusionPart, LlrMap, QualityTerm, Transform
from verify.types import Capture, Modality, OperatingPoint, Outcome, Quality, Reason, Template

A, B, V = "a" * 64, "b" * 64, "c" * 64
FACE, VOICE = Modality.FACE, Modality.VOICE


@dataclass
class Model:
    """A capturer; ``anna-3`` is anna's third sample. Names in `fails` give no template."""

    model_id: str
    modality: Modality = FACE
    points: tuple[OperatingPoint, ...] = ()
    fails: dict[str, Reason] = field(default_factory=dict)
    quality: dict[str, float] = field(default_factory=lambda: {"sharpness": 1.0})
    seen: list[str] = field(default_factory=list)
    name: str = "fake"
    path: None = None

    @property
    def bundle(self):
        return self

    def operating_points(self):
        return self.points

    def capture(self, source, *, policy=None):
        del policy
        self.seen.append(source)
        if source.startswith("!"):
            message = f"{source}: cut off"
            raise MediaError(message, reason=Reason.TRUNCATED)
        sha = hashlib.sha256(source.encode()).hexdigest()
        if source in self.fails:
            return Capture(
                source, sha, self.modality, failure=self.fails[source], message=f"{source}: failed"
            )
        subject = source.split("-", maxsplit=1)[0]
        vector = subject_direction(f"{self.model_id[0]}{subject}") + 0.35 * subject_direction(
            f"noise {self.model_id[0]} {source}"
        )
        template = Template(
            (vector / np.linalg.norm(vector)).astype(np.float32), self.model_id, self.modality
        )
        return Capture(source, sha, self.modality, template, Quality(self.quality))

    def capture_many(self, sources, *, workers=None, policy=None):
        del workers
        for source in sources:
            try:
                yield self.capture(source, policy=policy)
            except MediaError as error:
                yield Capture(source, "", self.modality, failure=error.reason, message=str(error))


def part(model_id: str, modality: Modality, *, weight: float = 0.5, **recipe: object) -> FusionPart:
    return FusionPart(
        model_id, modality.value, weight, LlrMap(**({"slope": 20.0, "intercept": -10.0} | recipe))
    )


def fused_point(
    target: float, threshold: float, *parts: FusionPart, intercept: float = 0.0, **changes: object
):
    values = {
        "name": f"fused-fmr-{target:g}",
        "model_id": fusion_id(parts),
        "score_space": "fused-llr",
        "fusion": Fusion(parts, intercept),
        "modality": Modality(parts[0].modality),
    }
    return point(target, threshold, **(values | changes))


def own_point(model: str, modality: Modality, target: float, threshold: float) -> OperatingPoint:
    return point(
        target, threshold, name=f"{modality}-{model[0]}-{target:g}", model_id=model, modality=modality
    )


FACES = (part(A, FACE), part(B, FACE))
BOTH = (part(A, FACE), part(V, VOICE))


def faces(*points: OperatingPoint, **how: object) -> FusedVerifier:
    ladder = points or (fused_point(1e-2, 0.0, *FACES), fused_point(1e-3, 2.0, *FACES))
    return FusedVerifier([Model(A), Model(B)], ladder, gallery=MemoryGallery(), **how)


def door(
    face: Model | None = None, voice: Model | None = None, *points: OperatingPoint, **how: object
) -> FusedVerifier:
    """Face and voice with anna enrolled by both; fused ladder 1e-3, singles at 1e-3 in the bundles."""
    face = face or Model(A, FACE, (own_point(A, FACE, 1e-3, 0.5),))
    voice = voice or Model(V, VOICE, (own_point(V, VOICE, 1e-3, 0.6),))
    verifier = FusedVerifier(
        [face, voice], points or (fused_point(1e-3, 2.0, *BOTH),), gallery=MemoryGallery(), **how
    )
    verifier.enroll("anna", {FACE: ["anna-1", "anna-2"], VOICE: ["anna-v1"]})
    return verifier


def test_the_score_is_the_weighted_sum_of_the_parts_evidence() -> None:
    parts = (part(A, FACE, weight=0.7, slope=10.0, intercept=-4.0), part(B, FACE, weight=0.2))
    with faces(fused_point(1e-3, 1.0, *parts, intercept=0.25)) as verifier:
        verifier.enroll("anna", ["anna-1", "anna-2"])
        decision = verifier.match("anna", "anna-3")
    cosines = []
    for model in (Model(A), Model(B)):
        vectors = [model.capture(f"anna-{i}").template.vector.astype(float) for i in (1, 2, 3)]
        cosines.append((vectors[2] @ vectors[0] + vectors[2] @ vectors[1]) / 2)
    llrs = [10.0 * cosines[0] - 4.0, 20.0 * cosines[1] - 10.0]
    assert decision.score == pytest.approx(0.25 + 0.7 * llrs[0] + 0.2 * llrs[1], abs=1e-5)
    assert [p.llr for p in decision.parts] == pytest.approx(llrs, abs=1e-5)
    assert [p.cosine for p in decision.parts] == pytest.approx(cosines, abs=1e-6)
    assert [p.model_id for p in decision.parts] == [A, B]
    assert (decision.outcome, decision.score_space, decision.cosine) == (Outcome.ACCEPT, "fused-llr", None)
    assert decision.model_id == fusion_id(parts)


def test_accepts_exactly_at_the_threshold_and_rejects_a_hair_below() -> None:
    with faces() as verifier:
        verifier.enroll("anna", ["anna-1"])
        score = verifier.match("anna", "anna-2").score
        gallery = verifier.gallery
        for threshold, outcome in (
            (score, Outcome.ACCEPT),
            (math.nextafter(score, math.inf), Outcome.REJECT),
        ):
            exact = FusedVerifier(
                [Model(A), Model(B)], [fused_point(1e-3, threshold, *FACES)], gallery=gallery
            )
            assert exact.match("anna", "anna-2").outcome is outcome


def test_strangers_are_rejected_and_compare_stores_nothing() -> None:
    with faces() as verifier:
        verifier.enroll("anna", ["anna-1"])
        assert verifier.match("anna", "bob-1").outcome is Outcome.REJECT
        assert verifier.compare("anna-1", "anna-2").accepted
        assert verifier.compare("anna-1", "bob-2").outcome is Outcome.REJECT
        assert list(verifier.gallery.subjects()) == ["anna"]


def test_order_of_the_models_does_not_matter() -> None:
    ladder = [fused_point(1e-3, 2.0, part(A, FACE, weight=0.9), part(B, FACE, weight=0.1))]
    scores = [
        FusedVerifier(models, ladder).compare("anna-1", "anna-2").score
        for models in ([Model(A), Model(B)], [Model(B), Model(A)])
    ]
    assert scores[0] == scores[1]


def test_the_ladder_refuses_what_it_does_not_reach() -> None:
    with faces(target_fmr=1e-4) as verifier:
        verifier.enroll("anna", ["anna-1"])
        decision = verifier.match("anna", "anna-1")
    assert (decision.outcome, decision.reason) == (Outcome.NO_DECISION, Reason.NO_OPERATING_POINT)
    assert decision.score is None
    assert "0.001" in decision.message


def test_without_a_point_of_the_fusion_there_is_no_decision() -> None:
    singles = (own_point(A, FACE, 1e-3, -1.0), own_point(B, FACE, 1e-3, -1.0))
    decision = faces(*singles).compare("anna-1", "anna-2")
    assert decision.reason is Reason.NO_OPERATING_POINT
    assert "verify calibrate --model" in decision.message


def test_an_encoder_that_fails_fails_the_sample() -> None:
    broken = Model(B, fails={"anna-2": Reason.NO_FACE})
    points = [fused_point(1e-3, -100.0, *FACES), own_point(A, FACE, 1e-3, -1.0)]
    with FusedVerifier([Model(A), broken], points, gallery=MemoryGallery()) as verifier:
        verifier.enroll("anna", ["anna-1"])
        decision = verifier.match("anna", "anna-2")
    assert (decision.outcome, decision.reason) == (Outcome.NO_DECISION, Reason.NO_FACE)
    assert [p.failure for p in decision.parts] == [None, Reason.NO_FACE]
    assert decision.score is None


def test_face_and_voice_decide_together() -> None:
    decision = door().match("anna", {FACE: "anna-3", VOICE: "anna-v2"})
    assert decision.accepted
    assert decision.score_space == "fused-llr"
    assert [p.modality for p in decision.parts] == [FACE, VOICE]
    assert "alone" not in decision.message


@pytest.mark.parametrize(
    ("given", "model", "absent"),
    [({FACE: "anna-3"}, A, VOICE), ({VOICE: "anna-v2"}, V, FACE)],
    ids=["no voice", "no face"],
)
def test_a_missing_part_leaves_the_other_to_its_own_point_at_the_same_target(given, model, absent) -> None:
    decision = door().match("anna", given)
    assert decision.accepted
    assert (decision.model_id, decision.score_space) == (model, "cosine")
    assert decision.operating_point.model_id == model
    assert decision.operating_point.target_fmr == 1e-3
    assert f"no {absent.value} sample" in decision.message
    assert "alone" in decision.message
    assert [p.cosine is None for p in decision.parts] == [p.modality is absent for p in decision.parts]


def test_a_failed_part_is_named_and_the_other_decides() -> None:
    voice = Model(V, VOICE, (own_point(V, VOICE, 1e-3, 0.6),), {"mumble": Reason.NO_SPEECH})
    decision = door(voice=voice).match("anna", {FACE: "anna-3", VOICE: "mumble"})
    assert decision.accepted
    assert decision.parts[1].failure is Reason.NO_SPEECH
    assert "mumble: failed" in decision.message


def test_what_stands_in_never_holds_less_than_the_target() -> None:
    loose = Model(A, FACE, (own_point(A, FACE, 1e-2, -1.0),))
    decision = door(face=loose).match("anna", {FACE: "anna-3"})
    assert (decision.outcome, decision.reason) == (Outcome.NO_DECISION, Reason.NO_OPERATING_POINT)
    assert decision.score is None
    mixed = Model(A, FACE, (own_point(A, FACE, 1e-2, -1.0), own_point(A, FACE, 1e-4, 0.55)))
    decision = door(face=mixed).match("anna", {FACE: "anna-3"})
    assert decision.operating_point.target_fmr == 1e-4


def test_a_point_chosen_by_name_binds_the_part_that_stands_in() -> None:
    ladder = (fused_point(1e-2, 0.0, *BOTH), fused_point(1e-4, 2.0, *BOTH))
    decision = door(None, None, *ladder, point="fused-fmr-0.0001").match("anna", {FACE: "anna-3"})
    assert decision.reason is Reason.NO_OPERATING_POINT
    assert door(None, None, *ladder, point="fused-fmr-0.01").match("anna", {FACE: "anna-3"}).accepted


def test_everyone_means_everyone() -> None:
    verifier = door(everyone=True)
    assert verifier.match("anna", {FACE: "anna-3", VOICE: "anna-v2"}).accepted
    decision = verifier.match("anna", {FACE: "anna-3"})
    assert decision.outcome is Outcome.NO_DECISION
    assert "no voice sample" in decision.message


def test_a_part_without_a_reference_does_not_speak() -> None:
    verifier = door()
    verifier.enroll("bob", {FACE: ["bob-1"]})
    decision = verifier.match("bob", {FACE: "bob-2", VOICE: "bob-v1"})
    assert decision.accepted
    assert decision.parts[1].failure is Reason.UNKNOWN_SUBJECT
    assert decision.model_id == A


def test_nobody_enrolled_is_no_decision() -> None:
    decision = door().match("zoe", {FACE: "zoe-1", VOICE: "zoe-v1"})
    assert (decision.outcome, decision.reason) == (Outcome.NO_DECISION, Reason.UNKNOWN_SUBJECT)


def test_all_parts_failed_is_no_decision() -> None:
    face = Model(A, FACE, (own_point(A, FACE, 1e-3, -1.0),), {"dark": Reason.TOO_DARK})
    voice = Model(V, VOICE, (own_point(V, VOICE, 1e-3, -1.0),), {"hum": Reason.NO_SPEECH})
    decision = door(face, voice).match("anna", {FACE: "dark", VOICE: "hum"})
    assert (decision.outcome, decision.reason) == (Outcome.NO_DECISION, Reason.TOO_DARK)
    assert "hum: failed" in decision.message


def test_a_capture_outside_the_calibrated_range_leaves_the_other_to_decide() -> None:
    term = QualityTerm("sharpness", Transform.IDENTITY, Combine.MIN, 0.0, 1.0, 0.0, 0.0, low=2.0, high=3.0)
    parts = (part(A, FACE, terms=(term,)), part(V, VOICE))
    decision = door(None, None, fused_point(1e-3, 0.0, *parts)).match(
        "anna", {FACE: "anna-3", VOICE: "anna-v2"}
    )
    assert decision.parts[0].failure is Reason.OUTSIDE_CALIBRATED_RANGE
    assert decision.model_id == V
    assert "sharpness" in decision.message


def test_an_unreadable_sample_is_an_error_not_a_missing_part() -> None:
    with pytest.raises(MediaError):
        door().match("anna", {FACE: "anna-3", VOICE: "!broken"})


def test_enrolment_writes_all_models_or_none() -> None:
    lost = Model(B, fails={"anna-2": Reason.NO_FACE})
    with FusedVerifier([Model(A), lost], [], gallery=MemoryGallery()) as verifier:
        done = verifier.enroll("anna", ["anna-1", "anna-2", "!cut"], idempotency_key="k")
        assert sorted((r.model_id, r.source) for r in done.added) == [(A, "anna-1"), (B, "anna-1")]
        assert [f.failure for f in done.failures] == [Reason.NO_FACE, Reason.TRUNCATED]
        again = verifier.enroll("anna", ["anna-1", "anna-2", "!cut"], idempotency_key="k")
        assert again.replayed
        assert len(list(verifier.gallery.records("anna"))) == 2
        with pytest.raises(DuplicateSubjectError):
            verifier.enroll("bob", ["bob-1"], idempotency_key="k")


def test_a_gallery_of_one_model_grows_by_the_other() -> None:
    gallery = MemoryGallery()
    Verifier(Model(A), gallery=gallery, operating_points=()).enroll("anna", ["anna-1"])
    verifier = FusedVerifier([Model(A), Model(B)], [fused_point(1e-3, 2.0, *FACES)], gallery=gallery)
    decision = verifier.match("anna", "anna-2")
    assert (decision.outcome, decision.reason) == (Outcome.NO_DECISION, Reason.MODEL_MISMATCH)
    assert "enrol" in decision.message
    assert verifier.stored_samples("anna") == set()
    added = verifier.enroll("anna", ["anna-1"]).added
    assert [(r.model_id, r.source) for r in added] == [(B, "anna-1")]
    assert len(verifier.stored_samples("anna")) == 1
    assert verifier.match("anna", "anna-2").accepted
    assert not verifier.enroll("anna", ["anna-1"]).added


def test_a_sample_that_one_models_check_refuses_is_left_out_for_all() -> None:
    points = (own_point(A, FACE, 1e-3, 0.5), fused_point(1e-3, 2.0, *FACES))
    with faces(*points) as verifier:
        verifier.enroll("anna", ["anna-1", "anna-2"])
        done = verifier.enroll("anna", ["bob-1", "anna-3"])
        assert [r.source for r in done.added] == ["anna-3", "anna-3"]
        assert [f.reason for f in done.left_out] == [Reason.INCONSISTENT_WITH_REFERENCE]


def test_the_cap_holds_for_every_model() -> None:
    with FusedVerifier([Model(A), Model(B)], [], gallery=MemoryGallery(max_templates=2)) as verifier:
        done = verifier.enroll("anna", [f"anna-{i}" for i in range(4)])
        assert len(done.added) == 4
        assert {f.reason for f in done.findings} >= {Reason.TEMPLATE_CAP_REACHED}
        assert not verifier.enroll("anna", ["anna-9"]).added


def test_a_gallery_of_other_models_is_refused() -> None:
    gallery = MemoryGallery()
    Verifier(Model("d" * 64), gallery=gallery, operating_points=()).enroll("anna", ["anna-1"])
    verifier = FusedVerifier([Model(A), Model(B)], [], gallery=gallery)
    with pytest.raises(ModelMismatchError, match="dddd"):
        verifier.enroll("anna", ["anna-1"])


@pytest.mark.parametrize(
    "wrong",
    [
        fused_point(1e-3, 2.0, part(A, FACE), part("d" * 64, FACE)),
        fused_point(1e-3, 2.0, *FACES, model_id="e" * 64),
        fused_point(1e-3, 2.0, part(A, VOICE), part(B, FACE)),
        fused_point(1e-3, 2.0, part(A, FACE, weight=-1.0), part(B, FACE)),
        fused_point(1e-3, 2.0, part(A, FACE, weight=math.inf), part(B, FACE)),
        own_point("d" * 64, FACE, 1e-3, 0.5),
    ],
    ids=["stranger", "id", "modality", "negative", "infinite", "single stranger"],
)
def test_points_that_do_not_fit_the_models_are_refused(wrong: OperatingPoint) -> None:
    with pytest.raises(ModelMismatchError, match="calibrate"):
        faces(wrong)


def test_points_of_both_orders_are_refused() -> None:
    both = (fused_point(1e-2, 0.0, *FACES), fused_point(1e-3, 0.0, *reversed(FACES)))
    with pytest.raises(ModelMismatchError, match="order"):
        faces(*both)


def test_usage_errors_name_the_way_out() -> None:
    with pytest.raises(UsageError, match="two models"):
        FusedVerifier([Model(A)], [])
    with pytest.raises(UsageError, match="two models"):
        FusedVerifier([Model(A), Model(A)], [])
    verifier = faces()
    with pytest.raises(UsageError, match="1:1"):
        verifier.identify("anna-1")
    with pytest.raises(UsageError, match="face"):
        verifier.match("anna", {VOICE: "anna-1"})
    with pytest.raises(UsageError, match="list"):
        verifier.enroll("anna", "anna-1")
    with pytest.raises(UsageError, match="gallery"):
        FusedVerifier([Model(A), Model(B)], []).match("anna", "anna-1")
    with pytest.raises(UsageError, match="mapping"):
        door().match("anna", b"bytes")


def test_three_models_fall_back_on_the_two_that_are_calibrated_together() -> None:
    three = (part(A, FACE), part(B, FACE), part(V, VOICE))
    ladder = (fused_point(1e-3, 2.0, *three), fused_point(1e-3, 1.0, *FACES, name="faces"))
    models = [Model(A), Model(B), Model(V, VOICE)]
    with FusedVerifier(models, ladder, gallery=MemoryGallery()) as verifier:
        verifier.enroll("anna", {FACE: ["anna-1"], VOICE: ["anna-v1"]})
        alone = verifier.match("anna", {FACE: "anna-2"})
        assert alone.operating_point.name == "faces"
        assert alone.accepted
        whole = verifier.match("anna", {FACE: "anna-2", VOICE: "anna-v2"})
        assert whole.operating_point.name == "fused-fmr-0.001"
        assert verifier.match("anna", {VOICE: "anna-v2"}).reason is Reason.NO_OPERATING_POINT


def test_the_observer_sees_decisions_without_templates() -> None:
    seen = []
    door(on_decision=seen.append).match("anna", {FACE: "anna-3", VOICE: "anna-v2"})
    (decision,) = seen
    assert decision.probe.template.vector.size == 0
    assert decision.accepted


def test_each_models_templates_stand_under_their_own_model_id() -> None:
    with faces() as verifier:
        verifier.enroll("anna", ["anna-1"])
        assert verifier.gallery.templates("anna", model_id=A).shape == (1, DIM)
        assert verifier.gallery.templates("anna", model_id=B).shape == (1, DIM)
        assert not verifier.gallery.templates("anna", model_id=verifier.model.model_id).size
