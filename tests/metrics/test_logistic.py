from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from tests.metrics.test_rates import golden
from verify.errors import ScoreError
from verify.metrics import (
    DEFAULT_TERMS,
    QUALITY_PRIOR,
    TermSpec,
    cllr,
    fit_fusion,
    fit_llr,
    fnmr,
    fused_llr,
    in_range,
    llr_of,
    min_cllr,
    threshold_at_fmr,
)
from verify.score_space import Combine, FusionPart, LlrMap, ScoreNorm, ScoreSpace, Transform

BELL = {
    "mated": np.random.default_rng(1).normal(2, 1, 30_000),
    "non_mated": np.random.default_rng(2).normal(-1, 1, 60_000),
}


@pytest.mark.parametrize("prior", [0.5, 0.01])
def test_two_bells_of_one_width_give_their_true_llr(prior):
    """N(2, 1) against N(-1, 1): llr = 3 s - 1.5."""
    found = fit_llr(**BELL, prior=prior)
    assert found.slope == pytest.approx(3, rel=0.03)
    assert found.intercept == pytest.approx(-1.5, abs=0.06)
    assert found.terms == ()


@settings(max_examples=25)
@given(
    shift=st.floats(0.5, 4),
    middle=st.floats(-50, 50),
    width=st.floats(0.01, 100),
    prior=st.floats(0.02, 0.98),
)
def test_any_two_bells_of_one_width_give_their_true_llr(shift, middle, width, prior):
    rng = np.random.default_rng(5)
    low, high = middle - shift * width / 2, middle + shift * width / 2
    found = fit_llr(
        mated=rng.normal(high, width, 20_000), non_mated=rng.normal(low, width, 20_000), prior=prior
    )
    at = middle + width * np.array([-1.0, 0.0, 1.0])
    assert llr_of(found, at) == pytest.approx(shift * (at - middle) / width, abs=0.2)


def test_quality_that_changes_the_slope_is_found():
    """Scores of quality q: N(q, 1) if mated, N(-q, 1) if not, so llr = 2 q s."""
    rng = np.random.default_rng(3)
    q, sign = rng.uniform(0.5, 2, (2, 40_000)), np.repeat([1, -1], 20_000)
    s = rng.normal(q.min(axis=0) * sign, 1)
    columns = {"q": (q[0], q[1])}
    mated, non_mated = ({"q": (q[0][sign == k], q[1][sign == k])} for k in (1, -1))
    found = fit_llr(
        mated=s[sign > 0],
        non_mated=s[sign < 0],
        terms=[TermSpec("q")],
        mated_quality=mated,
        non_mated_quality=non_mated,
    )
    # at one standard deviation of score, over the whole range of quality
    assert llr_of(found, np.ones(40_000), quality=columns) == pytest.approx(2 * q.min(axis=0), abs=0.25)
    assert found.terms[0].low == pytest.approx(q.min())
    assert found.terms[0].high == pytest.approx(q.max())
    plain = fit_llr(mated=s[sign > 0], non_mated=s[sign < 0])
    better = llr_of(found, s, quality=columns)
    assert cllr(mated_llr=better[sign > 0], non_mated_llr=better[sign < 0]) < min_cllr(
        mated=llr_of(plain, s[sign > 0]), non_mated=llr_of(plain, s[sign < 0])
    )


def test_evidence_by_duration_beats_one_constant_threshold_on_subjects_never_seen():
    """Short captures score lower and wider, mated or not: as voices do."""
    rng = np.random.default_rng(10)

    def trials(n, *, mated):
        seconds = rng.uniform(0.7, 8, (2, n))
        shorter = seconds.min(axis=0)
        middle = (0.25 + 0.25 * np.log1p(shorter)) if mated else 0.02 + 0.06 * shorter
        return middle + rng.normal(0, 0.12, n), {"net_speech_s": (seconds[0], seconds[1])}

    (mated, of_mated), (non_mated, of_non_mated) = trials(20_000, mated=True), trials(40_000, mated=False)
    terms = DEFAULT_TERMS["voice"]
    found = fit_llr(
        mated=mated,
        non_mated=non_mated,
        prior=QUALITY_PRIOR,
        terms=terms,
        mated_quality=of_mated,
        non_mated_quality=of_non_mated,
    )
    (mated, of_mated), (non_mated, of_non_mated) = trials(20_000, mated=True), trials(40_000, mated=False)
    inside = [in_range(found, quality) for quality in (of_mated, of_non_mated)]
    llrs = [
        llr_of(found, s, quality=q)[k]
        for s, q, k in zip((mated, non_mated), (of_mated, of_non_mated), inside, strict=True)
    ]
    for target in (1e-2, 1e-3):
        constant = fnmr(mated=mated, threshold=threshold_at_fmr(non_mated=non_mated, target=target))
        calibrated = fnmr(mated=llrs[0], threshold=threshold_at_fmr(non_mated=llrs[1], target=target))
        assert calibrated < 0.8 * constant


def test_coefficients_are_those_of_scikit_learn():
    rng = np.random.default_rng(4)
    mated, non_mated = rng.normal(0.6, 0.2, 900), rng.normal(0.1, 0.1, 2100)
    q = rng.uniform(1, 9, 3000)
    found = fit_llr(
        mated=mated,
        non_mated=non_mated,
        prior=0.2,
        terms=[TermSpec("q", Transform.LOG)],
        mated_quality={"q": (q[:900], q[:900])},
        non_mated_quality={"q": (q[900:], q[900:])},
    )
    s, label = np.concatenate([mated, non_mated]), np.repeat([1, 0], [900, 2100])
    weight = np.where(label == 1, 0.2 / 900, 0.8 / 2100)
    f = np.log(q)
    middle, width = (np.average(s, weights=weight), 0.0)
    width = np.sqrt(np.average((s - middle) ** 2, weights=weight))
    z, f = (
        (s - middle) / width,
        (f - np.average(f, weights=weight))
        / np.sqrt(np.average((f - np.average(f, weights=weight)) ** 2, weights=weight)),
    )
    # the same ridge: 0.01 / 900 / 2 |b|^2 beside a loss whose weights sum to 1
    other = LogisticRegression(C=900 / 0.01, tol=1e-12, max_iter=10_000).fit(
        np.stack([z, f, z * f], axis=1), label, sample_weight=weight
    )
    expected = other.decision_function(np.stack([z, f, z * f], axis=1)) - logit(0.2)
    assert llr_of(found, s, quality={"q": (q, q)}) == pytest.approx(expected, abs=1e-4)


def test_separable_scores_have_a_finite_answer_and_the_right_order():
    found = fit_llr(**golden("linsep"))
    assert 0 < found.slope < 100
    assert (
        cllr(
            mated_llr=llr_of(found, golden("linsep")["mated"]),
            non_mated_llr=llr_of(found, golden("linsep")["non_mated"]),
        )
        < 0.01
    )
    single = fit_llr(mated=[1.0], non_mated=[0.0])
    assert single.slope > 0
    assert llr_of(single, [0.5]) == pytest.approx(0, abs=1e-9)


def test_number_of_trials_of_a_class_and_repeating_them_does_not_matter():
    once = fit_llr(**BELL)
    thrice = fit_llr(mated=BELL["mated"], non_mated=np.tile(BELL["non_mated"], 3))
    assert thrice.slope == pytest.approx(once.slope, rel=1e-6)
    assert thrice.intercept == pytest.approx(once.intercept, rel=1e-6)


def test_weights_stand_for_repeated_trials():
    mated, non_mated = BELL["mated"][:500], BELL["non_mated"][:500]
    times = np.arange(500) % 3
    weighted = fit_llr(mated=mated, non_mated=non_mated, mated_weight=times)
    repeated = fit_llr(mated=np.repeat(mated, times), non_mated=non_mated)
    assert weighted.slope == pytest.approx(repeated.slope, rel=1e-3)
    assert weighted.intercept == pytest.approx(repeated.intercept, abs=1e-2)


@settings(max_examples=20)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-1e3, 1e3))
def test_the_unit_of_the_scores_does_not_matter(scale, shift):
    mated, non_mated = BELL["mated"][:300], BELL["non_mated"][:300]
    here = llr_of(fit_llr(mated=mated, non_mated=non_mated), mated)
    there = fit_llr(mated=mated * scale + shift, non_mated=non_mated * scale + shift)
    assert llr_of(there, mated * scale + shift) == pytest.approx(here, rel=1e-4, abs=1e-4)


@settings(max_examples=60)
@given(data=st.data())
def test_llr_never_falls_as_the_score_rises_whatever_the_quality(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    sizes = data.draw(st.integers(2, 12)), data.draw(st.integers(2, 12))
    quality = [{"q": tuple(rng.lognormal(0, 1, (2, n)))} for n in sizes]
    specs = [TermSpec("q", t, c) for t in Transform for c in (Combine.MIN, Combine.MAX)]
    try:
        found = fit_llr(
            mated=rng.normal(0.5, 1, sizes[0]),
            non_mated=rng.normal(0, 1, sizes[1]),
            terms=data.draw(st.lists(st.sampled_from(specs), max_size=3, unique=True)),
            mated_quality=quality[0],
            non_mated_quality=quality[1],
        )
    except ScoreError as error:
        assert "higher" in str(error)  # noqa: PT017
        return
    low, high = (found.terms[0].low, found.terms[0].high) if found.terms else (1.0, 1.0)
    x, y = rng.uniform(low, high * 2, (2, 20))
    llrs = np.stack([llr_of(found, np.full(20, s), quality={"q": (x, y)}) for s in (-9, -1, 0, 0.1, 3, 9)])
    assert (np.diff(llrs, axis=0) > 0).all()


@settings(max_examples=60)
@given(
    mated=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=12),
    non_mated=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=12),
    prior=st.floats(1e-6, 1 - 1e-6),
)
def test_whatever_the_scores_there_is_a_rising_map_or_a_refusal(mated, non_mated, prior):
    try:
        found = fit_llr(mated=mated, non_mated=non_mated, prior=prior)
    except ScoreError as error:
        assert "higher" in str(error) or "constant" in str(error) or "precision" in str(error)  # noqa: PT017
        return
    llrs = llr_of(found, sorted(mated + non_mated))
    assert np.isfinite(llrs).all()
    assert (np.diff(llrs) >= 0).all()
    assert found.slope > 0


def test_an_outlier_leaves_a_fit(recwarn):
    found = fit_llr(mated=np.append(BELL["mated"][:500], 1e6), non_mated=BELL["non_mated"][:500])
    assert found.slope > 0
    assert not recwarn.list


def test_an_interaction_that_would_turn_the_score_round_is_left_out():
    rng = np.random.default_rng(6)
    q = np.repeat([1.0, 2.0], 500)
    mated, non_mated = rng.normal(np.where(q > 1, 4, -2), 1), rng.normal(0, 1, 1000)
    found = fit_llr(
        mated=mated,
        non_mated=non_mated,
        terms=[TermSpec("q")],
        mated_quality={"q": (q, q)},
        non_mated_quality={"q": (q, q)},
    )
    assert found.terms[0].slope == 0
    assert found.terms[0].weight != 0
    assert found.slope > 0


def test_a_term_that_must_not_interact_does_not():
    rng = np.random.default_rng(7)
    q = rng.uniform(1, 2, 2000)
    found = fit_llr(
        mated=rng.normal(2 * q, 1),
        non_mated=rng.normal(0, 1, 2000),
        terms=[TermSpec("q", interacts=False)],
        mated_quality={"q": (q, q)},
        non_mated_quality={"q": (q, q)},
    )
    assert found.terms[0].slope == 0
    assert found.terms[0].weight < 0


def test_a_constant_measure_adds_nothing_but_its_range():
    same = {"q": (np.full(300, 4.0), np.full(300, 4.0))}
    scores = {"mated": BELL["mated"][:300], "non_mated": BELL["non_mated"][:300]}
    found = fit_llr(**scores, terms=[TermSpec("q")], mated_quality=same, non_mated_quality=same)
    plain = fit_llr(**scores)
    assert (found.slope, found.intercept) == pytest.approx((plain.slope, plain.intercept))
    assert (found.terms[0].weight, found.terms[0].slope) == (0, 0)
    assert np.isnan(llr_of(found, [1.0], quality={"q": ([3.9], [4.0])})).all()


def test_the_normalisation_is_recorded():
    norm = ScoreNorm(method=ScoreSpace.S_NORM, cohort_sha256="0" * 64, cohort_size=100)
    assert fit_llr(mated=[2.0, 1.0], non_mated=[0.0, 1.2], norm=norm).norm == norm


def test_defaults_know_both_modalities_and_refuse_edits():
    assert set(DEFAULT_TERMS) == {"face", "voice"}
    with pytest.raises(TypeError):
        DEFAULT_TERMS["face"] = ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mated": [1.0, 1.0], "non_mated": [1.0]}, "constant scores"),
        ({"mated": [0.0, 1.0], "non_mated": [2.0, 3.0]}, "not higher"),
        ({"mated": []}, "^mated"),
        ({"non_mated": [np.nan]}, "^non_mated"),
        ({"mated": ["near"]}, "^mated"),
        ({"prior": 0.0}, "prior"),
        ({"prior": 1.0}, "prior"),
        ({"prior": np.nan}, "prior"),
        ({"mated": [1e300, 2e300]}, "double precision"),
        ({"mated_weight": [1.0]}, "mated_weight"),
        ({"mated_weight": [1.0, -1.0]}, "mated_weight"),
        ({"non_mated_weight": [0.0, 0.0]}, "non_mated_weight"),
        ({"terms": [TermSpec("size")]}, "no 'size'"),
        ({"terms": [TermSpec("q")], "mated_quality": {"q": ([1.0], [1.0])}}, "mated"),
        (
            {"terms": [TermSpec("q")], "non_mated_quality": {"q": ([1.0, np.nan], [1.0, 1.0])}},
            "non_mated_quality",
        ),
        (
            {"terms": [TermSpec("q", Transform.LOG)], "mated_quality": {"q": ([0.0, 1.0], [1.0, 1.0])}},
            "logarithm",
        ),
    ],
)
def test_bad_input_is_named(change, says):
    q = {"q": ([1.0, 2.0], [2.0, 3.0])}
    given = {
        "mated": [1.0, 2.0],
        "non_mated": [0.0, 0.5],
        "mated_quality": q,
        "non_mated_quality": q,
    } | change
    with pytest.raises(ScoreError, match=says):
        fit_llr(**given)


def part(name: str) -> FusionPart:
    return FusionPart(model_id=name, modality="face", weight=1.0, llr=LlrMap(slope=1.0, intercept=0.0))


def test_independent_evidence_adds_up():
    rng = np.random.default_rng(8)
    mated = [rng.normal(2, 2, 40_000) for _ in range(2)]  # llr of N(2, 4) against N(-2, 4) is s itself
    non_mated = [rng.normal(-2, 2, 40_000) for _ in range(2)]
    fusion = fit_fusion(mated_llrs=mated, non_mated_llrs=non_mated, parts=[part("a"), part("b")])
    assert [p.weight for p in fusion.parts] == pytest.approx([1, 1], abs=0.05)
    assert fusion.intercept == pytest.approx(0, abs=0.05)
    assert [p.model_id for p in fusion.parts] == ["a", "b"]
    both, one = fused_llr(fusion, non_mated), non_mated[0]
    at = {
        "both": threshold_at_fmr(non_mated=both, target=0.01),
        "one": threshold_at_fmr(non_mated=one, target=0.01),
    }
    assert fnmr(mated=fused_llr(fusion, mated), threshold=at["both"]) < 0.7 * fnmr(
        mated=mated[0], threshold=at["one"]
    )


def test_the_same_evidence_twice_counts_once():
    fusion = fit_fusion(
        mated_llrs=[BELL["mated"]] * 2, non_mated_llrs=[BELL["non_mated"]] * 2, parts=[part("a"), part("b")]
    )
    assert sum(p.weight for p in fusion.parts) == pytest.approx(3, rel=0.03)
    assert fusion.parts[0].weight == pytest.approx(fusion.parts[1].weight)


def test_no_weight_is_negative_and_silence_has_none():
    rng = np.random.default_rng(9)
    good, bad, silent = (
        (rng.normal(2, 1, 900), rng.normal(-2, 1, 900)),
        (rng.normal(-1, 1, 900), rng.normal(1, 1, 900)),
        900,
    )
    fusion = fit_fusion(
        mated_llrs=[good[0], bad[0], np.zeros(silent)],
        non_mated_llrs=[good[1], bad[1], np.zeros(silent)],
        parts=[part("good"), part("bad"), part("silent")],
    )
    assert fusion.parts[0].weight > 0
    assert [p.weight for p in fusion.parts[1:]] == [0, 0]
    with pytest.raises(ScoreError, match="no model's evidence"):
        fit_fusion(mated_llrs=[bad[0]], non_mated_llrs=[bad[1]], parts=[part("bad")])


@pytest.mark.parametrize(
    ("mated", "non_mated", "parts"),
    [
        ([], [], []),
        ([[1.0, 2.0]], [[0.0]], [part("a"), part("b")]),
        ([[1.0, 2.0], [1.0]], [[0.0], [0.0]], [part("a"), part("b")]),
        ([[1.0, np.nan]], [[0.0]], [part("a")]),
    ],
)
def test_fusions_of_what_does_not_fit_are_refused(mated, non_mated, parts):
    with pytest.raises(ScoreError):
        fit_fusion(mated_llrs=mated, non_mated_llrs=non_mated, parts=parts)


def test_fitting_changes_no_part_but_its_weight():
    before = part("a")
    after = fit_fusion(mated_llrs=[BELL["mated"]], non_mated_llrs=[BELL["non_mated"]], parts=[before]).parts[
        0
    ]
    assert replace(after, weight=before.weight) == before
