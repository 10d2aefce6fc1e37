from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from tests.metrics.test_rates import TIED, golden
from verify.errors import ScoreError
from verify.metrics import PavMap, cllr, min_cllr


@given(mated=TIED, non_mated=TIED)
def test_llrs_are_those_of_isotonic_regression(mated, non_mated):
    """The posterior at the data's own prior, by another implementation, with ties pooled."""
    scores, inverse = np.unique([*mated, *non_mated], return_inverse=True)
    is_mated = np.repeat([1.0, 0.0], [len(mated), len(non_mated)])
    trials = np.bincount(inverse)
    share = np.bincount(inverse, weights=is_mated) / trials
    posterior = IsotonicRegression().fit_transform(scores, share, sample_weight=trials)
    llrs = PavMap.fit(mated=mated, non_mated=non_mated).llr(scores)
    odds = np.exp(llrs) * len(mated) / len(non_mated)
    expected = np.where(np.isinf(odds), 1.0, odds / (1 + np.where(np.isinf(odds), 0, odds)))
    assert posterior == pytest.approx(expected, abs=1e-9)


@given(mated=TIED, non_mated=TIED, probes=st.lists(st.floats(-3, 3), min_size=1, max_size=30))
def test_map_is_monotone_everywhere_and_counts_every_score_once(mated, non_mated, probes):
    found = PavMap.fit(mated=mated, non_mated=non_mated)
    assert (np.diff(found.edges) > 0).all()
    assert (found.llrs[1:] > found.llrs[:-1]).all()
    assert (found.mated.sum(), found.non_mated.sum()) == (len(mated), len(non_mated))
    assert (found.mated + found.non_mated > 0).all()
    llrs = found.llr(np.sort(probes))
    assert (llrs[1:] >= llrs[:-1]).all()


@given(mated=TIED, non_mated=TIED)
def test_blocks_hold_the_scores_that_they_count(mated, non_mated):
    found = PavMap.fit(mated=mated, non_mated=non_mated)
    for scores, counts in ((mated, found.mated), (non_mated, found.non_mated)):
        place = np.searchsorted(found.edges, scores, side="right")
        assert np.bincount(place, minlength=counts.size).tolist() == counts.tolist()


@given(mated=TIED, non_mated=TIED)
def test_min_cllr_is_the_cllr_of_the_map_on_its_own_scores(mated, non_mated):
    found = PavMap.fit(mated=mated, non_mated=non_mated)
    own = cllr(mated_llr=found.llr(mated), non_mated_llr=found.llr(non_mated))
    assert min_cllr(mated=mated, non_mated=non_mated) == pytest.approx(own, abs=1e-12)


def test_one_sided_ends_are_certain_and_the_rest_is_not():
    found = PavMap.fit(**golden("nonsep"))
    assert found.llrs[0] == -np.inf
    assert found.llrs[-1] == np.inf
    assert np.isfinite(found.llrs[1:-1]).all()


def test_neighbouring_floats_and_the_largest_ones_keep_apart():
    low = 0.1
    high = float(np.nextafter(low, 1))
    found = PavMap.fit(mated=[high], non_mated=[low])
    assert found.llr([low, high]).tolist() == [-np.inf, np.inf]
    found = PavMap.fit(mated=[1.7e308], non_mated=[-1.7e308])
    assert found.llr([-1e308, 1e308]).tolist() == [-np.inf, np.inf]


def test_constant_scores_tell_nothing():
    found = PavMap.fit(mated=[0.5] * 3, non_mated=[0.5] * 9)
    assert found.llr([-1, 0.5, 2]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("bad", [[], [0.1, np.nan], [np.inf], [[0.1]], ["close"], None])
def test_bad_scores_are_named(bad):
    with pytest.raises(ScoreError, match=r"^non_mated"):
        PavMap.fit(mated=[0.5], non_mated=bad)
    with pytest.raises(ScoreError, match=r"^scores"):
        PavMap.fit(mated=[0.5], non_mated=[0.1]).llr(bad)
