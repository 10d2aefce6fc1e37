from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import ScoreError
from verify.metrics import fused_llr, fusion_id, in_range, llr_of
from verify.score_space import Combine, Fusion, FusionPart, LlrMap, QualityTerm, Transform

SECONDS = QualityTerm(
    measure="net_speech_s",
    transform=Transform.LOG,
    combine=Combine.MIN,
    centre=1.0,
    scale=0.5,
    weight=-2.0,
    slope=3.0,
    low=0.5,
    high=8.0,
)
MAP = LlrMap(slope=30.0, intercept=-12.0, terms=(SECONDS,))
PLAIN = LlrMap(slope=30.0, intercept=-12.0)


def seconds(x, y):
    return {"net_speech_s": (np.asarray(x, float), np.asarray(y, float))}


def test_llr_by_hand():
    f = (np.log(2.0) - 1.0) / 0.5
    expected = -12 + 30 * 0.4 + (-2 + 3 * 0.4) * f
    assert llr_of(MAP, [0.4], quality=seconds([2.0], [5.0])) == pytest.approx(expected, rel=1e-12)
    assert llr_of(PLAIN, [0.4, 0.5]) == pytest.approx([0.0, 3.0])


@pytest.mark.parametrize(
    ("combine", "value"), [(Combine.MIN, 2.0), (Combine.MAX, 5.0), (Combine.MEAN, np.sqrt(10.0))]
)
def test_pairs_are_combined_after_the_transform(combine, value):
    term = QualityTerm("net_speech_s", Transform.LOG, combine, 0.0, 1.0, 1.0, 0.0, 0.5, 8.0)
    mapping = LlrMap(slope=1.0, intercept=0.0, terms=(term,))
    assert llr_of(mapping, [0.0], quality=seconds([2.0], [5.0])) == pytest.approx(np.log(value))
    plain = LlrMap(
        slope=1.0, intercept=0.0, terms=(QualityTerm("q", Transform.IDENTITY, combine, 0, 1, 1, 0, 0, 9),)
    )
    means = {Combine.MIN: 2.0, Combine.MAX: 5.0, Combine.MEAN: 3.5}
    assert llr_of(plain, [0.0], quality={"q": ([2.0], [5.0])}) == pytest.approx(means[combine])


@given(scores=st.lists(st.floats(-1, 1), min_size=2, max_size=30), x=st.floats(0.5, 20), y=st.floats(0.5, 20))
def test_llr_rises_with_the_score_and_does_not_mind_who_is_first(scores, x, y):
    s = np.unique(scores)
    here = llr_of(MAP, s, quality=seconds([x] * s.size, [y] * s.size))
    there = llr_of(MAP, s, quality=seconds([y] * s.size, [x] * s.size))
    assert here.tolist() == there.tolist()
    assert (np.diff(here) >= 0).all()


def test_more_than_was_calibrated_counts_as_the_most_calibrated():
    longest = llr_of(MAP, [0.7], quality=seconds([8.0], [8.0]))
    assert llr_of(MAP, [0.7], quality=seconds([800.0], [9.0])).tolist() == longest.tolist()


def test_less_than_was_calibrated_is_no_evidence():
    x = [0.5, 0.49, np.nan, 2.0, 0.0, -1.0]
    y = [0.5, 2.0, 2.0, np.nan, 2.0, 2.0]
    inside = [True, False, False, False, False, False]
    assert in_range(MAP, seconds(x, y)).tolist() == inside
    llrs = llr_of(MAP, np.full(6, 0.99), quality=seconds(x, y))
    assert np.isfinite(llrs).tolist() == inside
    assert not (llrs[1:] >= -1e9).any()  # meets no threshold whatever


def test_a_measure_that_is_missing_is_no_evidence():
    assert not in_range(MAP, {}, trials=3).any()
    assert not in_range(MAP, {"snr_db": ([9.0, 9.0], [9.0, 9.0])}).any()
    assert np.isnan(llr_of(MAP, [0.9, 0.9])).all()


def test_range_without_terms_is_everywhere():
    assert in_range(PLAIN, {}).tolist() == [True]
    assert in_range(PLAIN, {}, trials=3).tolist() == [True] * 3
    assert in_range(PLAIN, seconds([np.nan] * 2, [1.0] * 2)).tolist() == [True] * 2
    assert llr_of(PLAIN, []).size == 0


@pytest.mark.parametrize("scores", [[np.nan], [np.inf], ["near"], [[0.1]]])
def test_bad_scores_are_refused(scores):
    with pytest.raises(ScoreError, match="scores"):
        llr_of(PLAIN, scores)


@pytest.mark.parametrize(
    "quality", [seconds([1.0], [1.0]), seconds([1.0] * 2, [1.0]), {"net_speech_s": ("a", "b")}]
)
def test_measures_that_do_not_fit_are_named(quality):
    with pytest.raises(ScoreError, match="net_speech_s"):
        llr_of(MAP, [0.1, 0.2], quality=quality)


def fusion(*weights: float, intercept: float = 0.0) -> Fusion:
    parts = tuple(FusionPart(f"{k:064x}", "face", weight, PLAIN) for k, weight in enumerate(weights))
    return Fusion(parts=parts, intercept=intercept)


def test_fused_evidence_is_the_weighted_sum():
    found = fused_llr(fusion(0.5, 2.0, intercept=-1.0), [[2.0, 0.0], [3.0, -1.0]])
    assert found.tolist() == [6.0, -3.0]


def test_a_part_without_evidence_leaves_none():
    found = fused_llr(fusion(1.0, 1.0), [[5.0, np.nan, 5.0], [np.nan, 5.0, 5.0]])
    assert np.isnan(found).tolist() == [True, True, False]


@pytest.mark.parametrize("llrs", [[[1.0]], [[1.0], [1.0, 2.0]], [[1.0], ["x"]], [[1.0], [[1.0]]]])
def test_fusing_what_does_not_fit_is_refused(llrs):
    with pytest.raises(ScoreError, match="llrs"):
        fused_llr(fusion(1.0, 1.0), llrs)


def test_fusion_id_depends_on_the_models_and_their_order_only():
    one = fusion(1.0, 2.0).parts
    assert fusion_id(one) == fusion_id(fusion(0.3, 0.1).parts)
    assert fusion_id(one) != fusion_id(one[::-1])
    assert fusion_id(one) != fusion_id(one[:1])
    assert fusion_id(one[:1]) != one[0].model_id
    text = b"verify fusion 1\n" + f"{0:064x}\n{1:064x}".encode()
    assert fusion_id(one) == hashlib.sha256(text).hexdigest()  # stored in operating points: never to change
