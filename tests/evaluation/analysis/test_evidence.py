from __future__ import annotations

import json

import numpy as np
import pytest

from tests.evaluation.analysis.makers import of_scores
from verify.evaluation.analysis import evidence
from verify.evaluation.analysis.evidence import reliability
from verify.score_space import LlrMap


def gaussian(seed, *, mean=4.0, subjects=80):
    """Scores whose llr is known: normal with unit variance and means 0 and `mean`."""
    rng = np.random.default_rng(seed)
    a, b = np.triu_indices(subjects, 1)
    return of_scores(rng.normal(mean, 1, 3000), rng.normal(0, 1, a.size), subject_a=a, subject_b=b)


def test_the_fitted_map_is_the_true_one_and_its_cost_near_the_least():
    facts = evidence(gaussian(1), gaussian(2))
    assert facts["llr_map"]["slope"] == pytest.approx(4.0, rel=0.15)
    assert facts["llr_map"]["intercept"] == pytest.approx(-8.0, rel=0.15)
    assert facts["min_cllr"] <= facts["cllr"] < facts["min_cllr"] + 0.02
    assert facts["eer"] == pytest.approx(0.0228, abs=0.006)  # Phi(-2)
    assert facts["d_prime"] == pytest.approx(4.0, abs=0.1)
    assert facts["auc"] == pytest.approx(0.99766, abs=0.002)
    assert [(line["prior"], line["minimum"] <= line["actual"]) for line in facts["dcf"]] == [
        (0.01, True),
        (0.05, True),
    ]
    json.dumps(facts, allow_nan=False)


def test_scores_that_are_llrs_already_are_judged_as_they_are():
    side = gaussian(3)
    honest = evidence(side, side, scores_are_llrs=False, llr_map=LlrMap(slope=4.0, intercept=-8.0))
    boasting = evidence(side, side, scores_are_llrs=True)  # raw scores are no llrs
    assert honest["cllr"] < boasting["cllr"]
    assert honest["min_cllr"] == boasting["min_cllr"]
    assert boasting["llr_map"] is None


def test_reliability_lies_on_the_diagonal_for_true_llrs():
    rng = np.random.default_rng(0)
    facts = reliability(
        mated_llr=4 * rng.normal(4, 1, 50_000) - 8, non_mated_llr=4 * rng.normal(0, 1, 50_000) - 8
    )
    assert sum(facts["trials"]) == 100_000
    for predicted, seen in zip(facts["llr_predicted"], facts["llr_seen"], strict=True):
        if seen is not None and abs(predicted) < 5:
            assert seen == pytest.approx(predicted, abs=0.4)


def test_a_bin_without_one_class_has_nothing_to_show():
    facts = reliability(mated_llr=np.full(9, 5.0), non_mated_llr=np.full(9, -5.0))
    assert facts == {"llr_predicted": [-5.0, 5.0], "llr_seen": [None, None], "trials": [9, 9]}


@pytest.mark.parametrize("mated", [[], [1.0] * 4])
def test_no_evidence_without_two_different_classes(mated):
    side = of_scores(mated, [1.0] * 6, subject_a=[0, 0, 0, 1, 1, 2], subject_b=[1, 2, 3, 2, 3, 3])
    assert evidence(side, side) is None
