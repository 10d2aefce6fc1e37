from __future__ import annotations

import pytest

from tests.evaluation.analysis.makers import of_scores, people, side_of
from verify.errors import ScoreError
from verify.evaluation.analysis import planning
from verify.metrics import zero_error_bound

SIDE = side_of(*people(100, 3))


def test_without_an_error_the_rule_of_three_counts_pairs_who_share_nobody():
    for target in (0.1, 1e-3, 1e-6):
        subjects = planning(SIDE, targets=[target])[0]["subjects_zero_errors"]
        assert zero_error_bound(subjects // 2) <= target < zero_error_bound(subjects // 2 - 1)


def test_stricter_targets_take_more_subjects_and_a_prediction_more_than_a_population():
    plans = planning(SIDE, targets=[1e-5, 1e-2, 1e-4, 1e-3])
    assert [plan["target_fmr"] for plan in plans] == [1e-2, 1e-3, 1e-4, 1e-5]
    wanted = [plan["subjects_expected"] for plan in plans]
    assert wanted == sorted(wanted)
    assert all(plan["subjects_expected"] < plan["subjects_zero_errors"] for plan in plans)
    further = planning(SIDE, targets=[1e-3], bound="prediction")[0]["subjects_expected"]
    assert further > wanted[1]


def test_what_is_planned_does():
    """Twice the subjects as planned support the target; a third of them does not."""
    planned = planning(SIDE, targets=[2e-3])[0]["subjects_expected"]
    more = side_of(*people(2 * planned, 3, seed=5)).non_mated.choose([2e-3])[2e-3]
    assert more.rate.upper <= 2e-3
    fewer = side_of(*people(planned // 3, 3, seed=5)).non_mated.choose([2e-3])[2e-3]
    assert isinstance(fewer, Exception)


def test_the_note_says_whether_these_are_enough():
    assert planning(SIDE, targets=[0.1])[0]["note"] == "the 100 calibration subjects are enough"
    note = planning(SIDE, targets=[1e-6])[0]["note"]
    assert "100 calibration subjects so far" in note
    assert "with errors as frequent and as clustered as here" in note
    assert "if not one errs" not in note  # the larger number of the two is not the way to take


def test_the_note_names_the_way_without_errors_only_where_it_is_the_shorter_one():
    for target in (0.3, 0.1, 1e-2, 1e-3, 1e-4):
        plan = planning(SIDE, targets=[target])[0]
        shorter = plan["subjects_zero_errors"] < (plan["subjects_expected"] or 0)
        assert (f"{plan['subjects_zero_errors']:,} prove it if not one errs" in plan["note"]) <= shorter


def test_too_little_to_plan_with():
    side = of_scores([0.9], [0.1, 0.2, 0.3], subject_a=[0, 0, 1], subject_b=[1, 2, 2])
    assert planning(side, targets=[1e-3])[0]["subjects_expected"] is None
    with pytest.raises(ScoreError):
        planning(side, targets=[2.0])
