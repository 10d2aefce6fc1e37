from __future__ import annotations

import json

import numpy as np
import pytest

from tests.evaluation.analysis.makers import of_scores, people, side_of
from verify.errors import InsufficientTrialsError
from verify.evaluation.analysis import curve, far_frr, histogram, ladder, rate_facts, side_facts, transfer
from verify.metrics import fmr, fnmr, mated_rate, non_mated_rate
from verify.types import Rate, Reason

CALIBRATION = side_of(*people(seed=1))
TEST = side_of(*people(seed=2))


def scores_of(side):
    return side.mated, side.non_mated.tail.score


def test_rates_as_facts_are_json_and_keep_every_number():
    rate = Rate(errors=3, trials=40, upper=0.2, lower=0.01, bound="wilson-dyadic", n_eff=31.5)
    assert json.loads(json.dumps(rate_facts(rate))) == {
        "value": 0.075, "errors": 3, "trials": 40, "lower": 0.01, "upper": 0.2, "bound": "wilson-dyadic", "n_eff": 31.5,
    }  # fmt: skip
    assert rate_facts(None) is None
    assert rate_facts(Rate(errors=0, trials=0, upper=1.0)) is None


def test_the_ladder_measures_both_sides_and_says_why_a_rung_is_missing():
    rungs = ladder(
        CALIBRATION,
        TEST,
        chosen={1e-3: 0.55, 1e-1: 0.2, 1e-6: "far too few", 1e-4: 0.7},
        bound="prediction",
        extrapolated={1e-4},
    )
    assert [rung["target_fmr"] for rung in rungs] == [1e-1, 1e-3, 1e-4, 1e-6]
    assert [rung["support"] for rung in rungs] == ["supported", "supported", "extrapolated", "insufficient"]
    assert rungs[3] == {
        "target_fmr": 1e-6, "threshold": None, "support": "insufficient", "calibration": None, "fmr": None,
        "fnmr": None, "message": "far too few",
    }  # fmt: skip
    assert "EXTRAPOLATED" in rungs[2]["message"]
    assert rungs[0]["calibration"]["bound"].endswith("-prediction")
    assert not rungs[0]["fmr"]["bound"].endswith("-prediction")
    mated, non_mated = scores_of(TEST)
    assert rungs[1]["fmr"]["value"] == fmr(non_mated=non_mated, threshold=0.55)
    assert rungs[1]["fnmr"]["value"] == fnmr(mated=mated, threshold=0.55)
    json.dumps(rungs, allow_nan=False)


def test_transfer_holds_the_same_threshold_against_both_sides():
    lines = transfer(CALIBRATION, TEST, {1e-2: 0.4, 1e-1: 0.2})
    assert [line["target_fmr"] for line in lines] == [1e-1, 1e-2]
    for side, which in ((CALIBRATION, "calibration"), (TEST, "test")):
        mated, non_mated = scores_of(side)
        assert lines[1][f"{which}_fmr"]["value"] == fmr(non_mated=non_mated, threshold=0.4)
        assert lines[1][f"{which}_fnmr"]["value"] == fnmr(mated=mated, threshold=0.4)


def test_the_curve_is_the_rates_and_its_bounds_hold_them():
    drawn = curve(TEST, points=201)
    mated, non_mated = scores_of(TEST)
    columns = {name: np.array(values) for name, values in drawn.items()}
    assert len({column.size for column in columns.values()}) == 1
    assert columns["thresholds"].size <= 201
    assert (np.diff(columns["thresholds"]) > 0).all()
    for t, false_match, false_non_match in zip(drawn["thresholds"], drawn["fmr"], drawn["fnmr"], strict=True):
        assert false_match == fmr(non_mated=non_mated, threshold=t)
        assert false_non_match == fnmr(mated=mated, threshold=t)
    for rate in ("fmr", "fnmr"):
        assert (columns[f"{rate}_lower"] <= columns[rate]).all()
        assert (columns[rate] <= columns[f"{rate}_upper"]).all()
    assert (columns["fmr"][0], columns["fmr"][-1], columns["fnmr"][0], columns["fnmr"][-1]) == (1, 0, 0, 1)


def alike_at_the_top():
    """A few who look alike drive the highest scores, so that the effective trials fall where the rate does."""
    vectors, owner = people(40, 4, noise=0.5, seed=3)
    vectors[owner < 3, :6] += 0.9
    return side_of(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), owner)


@pytest.mark.parametrize("side", [TEST, alike_at_the_top()], ids=["plain", "alike"])
def test_the_bounds_drawn_fall_and_rise_with_their_rates(side):
    drawn = {name: np.array(values) for name, values in curve(side).items()}
    assert drawn["fmr"][-1] == 0
    for end in ("lower", "upper"):
        assert (np.diff(drawn[f"fmr_{end}"]) <= 0).all()
        assert (np.diff(drawn[f"fnmr_{end}"]) >= 0).all()
    for rate in ("fmr", "fnmr"):
        assert (drawn[f"{rate}_lower"] <= drawn[rate]).all()
        assert (drawn[rate] <= drawn[f"{rate}_upper"]).all()
    assert drawn["fmr_upper"][-1] > 0  # no error seen is not a rate of zero


def test_the_bounds_of_the_curve_are_the_two_sided_ones_where_they_are_measured():
    drawn = curve(TEST)
    _, non_mated = scores_of(TEST)
    tail = TEST.non_mated.tail
    for at in np.flatnonzero((np.array(drawn["fmr"]) > 2e-3) & (np.array(drawn["fmr"]) < 0.05))[::10]:
        exact = non_mated_rate(
            non_mated=non_mated,
            subject_a=tail.subject_a,
            subject_b=tail.subject_b,
            threshold=drawn["thresholds"][at],
            confidence=0.975,
        )
        assert drawn["fmr_upper"][at] == pytest.approx(exact.upper, rel=0.1)
        assert drawn["fmr_lower"][at] == pytest.approx(exact.lower, rel=0.15)


def test_the_tail_of_the_curve_is_not_a_straight_line():
    rates = np.array(curve(TEST)["fmr"])
    assert np.count_nonzero((rates > 0) & (rates < 1e-2)) > 50


@pytest.mark.parametrize("score", [0.0, -3.5, 1e6])
def test_constant_scores_can_be_drawn(score):
    side = of_scores([score] * 6, [score] * 6, subject_a=[0, 0, 0, 1, 1, 2], subject_b=[1, 2, 3, 2, 3, 3])
    drawn = curve(side)
    assert drawn["fmr"][0] == 1
    assert drawn["fmr"][-1] == 0
    counts = histogram(side)
    assert (sum(counts["mated"]), sum(counts["non_mated"])) == (6, 6)
    json.dumps([drawn, counts], allow_nan=False)


@pytest.mark.parametrize("bins", [1, 7, 200, 10_000])
def test_the_histogram_counts_every_score_once(bins):
    counts = histogram(TEST, bins)
    assert len(counts["edges"]) == min(bins, 200) + 1
    assert sum(counts["mated"]) == TEST.mated.size
    assert sum(counts["non_mated"]) == TEST.non_mated.trials
    assert np.array(counts["mated"]).tolist() == np.histogram(TEST.mated, bins=counts["edges"])[0].tolist()


def test_nothing_is_drawn_without_mated_trials():
    side = of_scores([], [0.1, 0.2, 0.3], subject_a=[0, 0, 1], subject_b=[1, 2, 2])
    with pytest.raises(InsufficientTrialsError, match="no mated trials"):
        curve(side)
    with pytest.raises(InsufficientTrialsError, match="no mated trials"):
        histogram(side)
    assert transfer(side, side, {0.1: 0.2})[0]["test_fnmr"] is None


def failing_side():
    """Three subjects: all samples fail, one fails, none fails."""
    vectors, owner = people(3, 3)
    failures = [Reason.NO_FACE] * 3 + [Reason.BLURRED] + [None] * 5
    vectors[:4] = np.nan
    return side_of(vectors, owner, failures=failures)


def test_failures_are_counted_by_reason_and_a_subject_without_samples_cannot_be_enrolled():
    facts = side_facts(failing_side())
    assert facts["failures_to_acquire"] == {"no_face": 3, "blurred": 1}
    assert (facts["attempts"], facts["fta"]["errors"], facts["fta"]["trials"]) == (9, 4, 9)
    assert (facts["fte"]["errors"], facts["fte"]["trials"]) == (1, 3)
    assert facts["possible_non_mated_trials"] == facts["non_mated_trials"] == 6
    assert side_facts(failing_side(), possible=99)["possible_non_mated_trials"] == 99


def test_a_subjects_attempts_are_one_cluster():
    facts = side_facts(failing_side())
    wrong = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0], dtype=float)
    rate = mated_rate(mated=1 - wrong, subject=np.repeat([0, 1, 2], 3), threshold=0.5)
    assert facts["fta"]["upper"] == rate.upper
    assert facts["fta"]["n_eff"] < 9


def test_scores_alone_tell_no_failures():
    side = of_scores([0.9], [0.1, 0.2, 0.3], subject_a=[0, 0, 1], subject_b=[1, 2, 2])
    facts = side_facts(side)
    assert (facts["fta"], facts["fte"], facts["attempts"]) == (None, None, 0)
    assert facts["possible_non_mated_trials"] == 3


def test_far_and_frr_of_an_attempt():
    assert far_frr(0.01, 0.1, 0.2) == pytest.approx((0.008, 0.28))
    assert far_frr(None, 0.1, 0.0) == (None, 0.1)
    assert far_frr(0.01, 0.1, None) == (None, None)
