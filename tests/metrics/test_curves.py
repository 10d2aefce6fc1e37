from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import det_curve as sklearn_det_curve
from sklearn.metrics import roc_auc_score

from tests.metrics.test_rates import TIED, golden
from verify.errors import ScoreError
from verify.metrics import auc, d_prime, det_curve, error_curve, roc_hull


def labelled(mated, non_mated):
    return np.repeat([1, 0], [len(mated), len(non_mated)]), np.concatenate([mated, non_mated])


def warped(scores):
    return np.exp(3 * np.asarray(scores)) - 2


@given(mated=TIED, non_mated=TIED)
def test_auc_is_that_of_scikit_learn_and_of_the_rank_test(mated, non_mated):
    found = auc(mated=mated, non_mated=non_mated)
    assert found == pytest.approx(roc_auc_score(*labelled(mated, non_mated)), abs=1e-12)
    u = (
        stats.mannwhitneyu(mated, non_mated, method="asymptotic").statistic
        if len(set(mated + non_mated)) > 1
        else None
    )
    if u is not None:
        assert found == pytest.approx(u / (len(mated) * len(non_mated)), abs=1e-12)


@given(mated=TIED, non_mated=TIED)
def test_a_strictly_increasing_map_changes_neither_auc_nor_hull(mated, non_mated):
    assert auc(mated=mated, non_mated=non_mated) == auc(mated=warped(mated), non_mated=warped(non_mated))
    hull = roc_hull(mated=mated, non_mated=non_mated)
    other = roc_hull(mated=warped(mated), non_mated=warped(non_mated))
    assert hull.fmr.tolist() == other.fmr.tolist()
    assert hull.fnmr.tolist() == other.fnmr.tolist()


@given(mated=TIED, non_mated=TIED)
def test_auc_of_swapped_classes_is_the_complement(mated, non_mated):
    assert auc(mated=mated, non_mated=non_mated) + auc(mated=non_mated, non_mated=mated) == pytest.approx(1)


@given(mated=TIED, non_mated=TIED)
@example(mated=[0.0] * 5 + [0.25] * 5 + [0.5], non_mated=[0.0] * 5 + [0.25] * 5 + [0.5])
def test_hull_is_convex_lies_below_the_curve_and_is_reached_at_its_thresholds(mated, non_mated):
    hull = roc_hull(mated=mated, non_mated=non_mated)
    curve = error_curve(mated=mated, non_mated=non_mated)
    assert (np.diff(hull.fmr) > 0).all()
    assert (np.diff(hull.fnmr) <= 0).all()
    assert (hull.fmr[-1], hull.fnmr[-1]) == (1, 0)
    slopes = np.diff(hull.fnmr) / np.diff(hull.fmr)
    assert (np.diff(slopes) > 0).all()
    assert (np.interp(curve.fmr, hull.fmr, hull.fnmr) <= curve.fnmr + 1e-12).all()
    for fmr, fnmr, threshold in zip(hull.fmr, hull.fnmr, hull.thresholds, strict=True):
        assert np.mean(np.asarray(non_mated) >= threshold) == fmr
        assert np.mean(np.asarray(mated) < threshold) == fnmr


def test_d_prime_is_welchs_t_of_equal_numbers():
    rng = np.random.default_rng(1)
    mated, non_mated = rng.normal(2, 1.5, 400), rng.normal(0, 1, 400)
    t = stats.ttest_ind(mated, non_mated, equal_var=False).statistic
    assert d_prime(mated=mated, non_mated=non_mated) == pytest.approx(t * np.sqrt(2 / 400), rel=1e-12)


def test_d_prime_and_auc_of_two_bells_agree():
    rng = np.random.default_rng(2)
    mated, non_mated = rng.normal(1.8, 1, 200_000), rng.normal(0, 1, 200_000)
    assert d_prime(mated=mated, non_mated=non_mated) == pytest.approx(1.8, abs=0.01)
    assert auc(mated=mated, non_mated=non_mated) == pytest.approx(stats.norm.cdf(1.8 / np.sqrt(2)), abs=0.002)


@pytest.mark.parametrize(
    ("mated", "non_mated", "says"),
    [([1.0], [0.0, 1.0], "^mated"), ([1.0, 2.0], [0.0], "^non_mated"), ([1.0, 1.0], [0.0, 0.0], "constant")],
)
def test_d_prime_without_spread_is_refused(mated, non_mated, says):
    with pytest.raises(ScoreError, match=says):
        d_prime(mated=mated, non_mated=non_mated)


@given(mated=TIED, non_mated=TIED, points=st.integers(2, 80))
def test_thinned_curve_keeps_its_ends_and_only_true_points(mated, non_mated, points):
    full = error_curve(mated=mated, non_mated=non_mated)
    thin = det_curve(mated=mated, non_mated=non_mated, points=points)
    assert thin.thresholds.size <= max(points, 2)
    assert set(thin.thresholds) <= set(full.thresholds)
    assert (np.diff(thin.thresholds) > 0).all()
    at = np.searchsorted(full.thresholds, thin.thresholds)
    assert thin.fmr.tolist() == full.fmr[at].tolist()
    assert thin.fnmr.tolist() == full.fnmr[at].tolist()
    assert (thin.fmr[0], thin.fmr[-1], thin.fnmr[0], thin.fnmr[-1]) == (1, 0, 0, 1)


def test_thinned_curve_keeps_the_tail_where_the_promises_are():
    rng = np.random.default_rng(3)
    thin = det_curve(mated=rng.normal(4, 1, 10**5), non_mated=rng.normal(0, 1, 10**5), points=200)
    assert thin.thresholds.size <= 200
    rates = np.sort(thin.fmr[thin.fmr > 0])
    assert rates[0] == 1e-5
    assert (np.diff(np.log10(rates[rates < 0.1])) < 0.35).all()  # no gap of more than a factor of 2.2


def test_curve_is_that_of_scikit_learn():
    scores = golden("nonsep")
    fmr, fnmr, thresholds = sklearn_det_curve(*labelled(**scores), drop_intermediate=False)
    curve = det_curve(**scores)
    at = np.searchsorted(curve.thresholds, thresholds[np.isfinite(thresholds)])
    assert curve.fmr[at] == pytest.approx(fmr[np.isfinite(thresholds)], abs=1e-12)
    assert curve.fnmr[at] == pytest.approx(fnmr[np.isfinite(thresholds)], abs=1e-12)


def test_one_point_is_no_curve():
    with pytest.raises(ScoreError, match="points must be at least 2"):
        det_curve(mated=[1.0], non_mated=[0.0], points=1)


@pytest.mark.parametrize("bad", [[], [0.1, np.nan], [np.inf], [[0.1, 0.2]], ["close"], None])
@pytest.mark.parametrize("argument", ["mated", "non_mated"])
def test_bad_scores_are_named(bad, argument):
    scores = {"mated": [0.5, 0.6], "non_mated": [0.1, 0.2]} | {argument: bad}
    for measure in (auc, d_prime, roc_hull, det_curve):
        with pytest.raises(ScoreError, match=rf"^{argument}"):
            measure(**scores)
