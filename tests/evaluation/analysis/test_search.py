from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.analysis.makers import people, side_of, unit
from verify.errors import InsufficientTrialsError, ScoreError, UsageError
from verify.evaluation.analysis import enrolment_counts, one_to_n, search_scores
from verify.metrics import fmr, fpir_if_independent
from verify.types import Rate

VECTORS, OWNER = people(40, 4, noise=0.8)


def test_a_gallery_of_one_is_a_comparison():
    scores = search_scores(VECTORS, OWNER, gallery_size=1, rounds=40)
    assert (scores.mated_rank == 1).all()
    everything = side_of(VECTORS, OWNER)
    for threshold in (0.0, 0.2, 0.3):
        expected = fmr(non_mated=everything.non_mated.tail.score, threshold=threshold)
        assert scores.fpir(threshold).value == pytest.approx(expected, abs=0.03)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 11), st.integers(1, 2), st.integers(0, 5))
def test_searches_are_what_a_search_by_hand_finds(size, templates, seed):
    vectors, owner = people(12, 3, noise=1.0, seed=seed)
    scores = search_scores(vectors, owner, gallery_size=size, templates=templates, rounds=1, seed=seed)
    assert scores.best_non_mated.size == 36
    assert (scores.probe_subject != scores.nearest_subject).all()
    assert scores.mated_score.size == 12 * (3 - templates)
    assert (scores.mated_rank >= 1).all()
    assert (scores.mated_rank <= size).all()


def test_the_whole_side_as_gallery_is_exact():
    """One sample a subject and everybody enrolled: the best score is the largest off the diagonal."""
    vectors, owner = people(30, 1)
    scores = search_scores(vectors, owner, gallery_size=29, rounds=1)
    cosines = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(scores.probe_subject)
    assert scores.best_non_mated[order] == pytest.approx(cosines.max(axis=1), abs=1e-6)
    assert scores.nearest_subject[order].tolist() == cosines.argmax(axis=1).tolist()
    assert scores.mated_score.size == 0
    assert (scores.rank_1, scores.fnir(0.5)) == (None, None)


def test_ranks_are_counted_against_the_subjects_enrolled_beside_the_own():
    """Two samples each, everybody in the gallery but one who has to make room for the own reference."""
    vectors, owner = people(10, 2, noise=2.5)
    scores = search_scores(vectors, owner, gallery_size=9, rounds=1, seed=3)
    assert scores.mated_rank.max() > 1  # noise makes errors
    assert scores.fnir(-1.0).errors == np.count_nonzero(scores.mated_rank > 1)
    assert scores.fnir(2.0).value == 1
    assert scores.rank_1 == np.mean(scores.mated_rank == 1)


def test_equal_scores_rank_behind():
    """Everybody looks the same: the own subject never comes first, save alone."""
    vectors = np.tile(unit(np.ones((1, 4))), (12, 1))
    scores = search_scores(vectors, np.repeat(np.arange(6), 2), gallery_size=4, rounds=1)
    assert (scores.mated_rank == 4).all()


def test_larger_galleries_give_more_false_alarms_and_the_bound_holds_the_rate():
    sides = [search_scores(VECTORS, OWNER, gallery_size=size) for size in (1, 5, 20, 39)]
    rates = [side.fpir(0.35) for side in sides]
    assert [rate.value for rate in rates] == sorted(rate.value for rate in rates)
    assert all(rate.lower <= rate.value <= rate.upper for rate in rates)
    assert all(rate.bound == "wilson-dyadic" for rate in rates)
    assert rates[-1].n_eff < rates[-1].trials  # rounds are no new people


def test_the_same_seed_searches_the_same_galleries():
    first, again, other = (
        search_scores(VECTORS, OWNER, gallery_size=7, rounds=2, seed=seed) for seed in (1, 1, 2)
    )
    assert (first.best_non_mated == again.best_non_mated).all()
    assert (first.best_non_mated != other.best_non_mated).any()


def test_subjects_who_are_not_asked_for_take_no_part():
    among = np.arange(40) < 12
    failed = VECTORS.copy()
    failed[OWNER == 3] = np.nan
    scores = search_scores(failed, OWNER, among, gallery_size=10)
    assert set(scores.probe_subject.tolist()) == set(range(12)) - {3}
    assert set(scores.nearest_subject.tolist()) <= set(range(12)) - {3}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"gallery_size": 40}, InsufficientTrialsError, "needs 41 subjects"),
        ({"gallery_size": 3, "templates": 9}, InsufficientTrialsError, "there are 0"),
        ({"gallery_size": 0}, UsageError, "start at 1"),
        ({"gallery_size": 3, "rounds": 0}, UsageError, "start at 1"),
    ],
)
def test_searches_that_cannot_be_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        search_scores(VECTORS, OWNER, **options)


@pytest.mark.parametrize(
    ("vectors", "owner"), [(VECTORS * 2, OWNER), (VECTORS, OWNER[:-1]), (VECTORS, OWNER + 0.5)]
)
def test_bad_embeddings_are_refused(vectors, owner):
    with pytest.raises(ScoreError):
        search_scores(vectors, owner, gallery_size=3)


def test_one_to_n_measures_as_far_as_it_can_and_projects_beyond():
    rate = Rate(errors=10, trials=10_000, upper=2e-3)
    rows = one_to_n(VECTORS, OWNER, threshold=0.5, fmr=rate)
    assert [row["gallery_size"] for row in rows] == [1, 10, 39, 100, 1_000, 10_000, 100_000, 1_000_000]
    assert [row["measured"] for row in rows] == [True] * 3 + [False] * 5
    assert rows[3]["fpir"] is rows[3]["fnir"] is rows[3]["rank_1"] is None
    for row in rows:
        assert row["fpir_independent"] == fpir_if_independent(fmr=1e-3, gallery_size=row["gallery_size"])
        assert row["fpir_union_upper"] == min(1, row["gallery_size"] * 2e-3)
    json.dumps(rows, allow_nan=False)


def test_after_no_error_the_bound_is_projected_not_zero():
    rows = one_to_n(VECTORS, OWNER, threshold=0.9, fmr=Rate(errors=0, trials=99, upper=1e-3))
    assert rows[0]["fpir_independent"] == pytest.approx(1e-3)


def test_a_rising_map_changes_scores_and_threshold_but_no_rate():
    plain = one_to_n(VECTORS, OWNER, threshold=0.4, fmr=Rate(1, 1000, 5e-3), sizes=[5])
    mapped = one_to_n(
        VECTORS,
        OWNER,
        threshold=4.0 * 0.4 - 1,
        fmr=Rate(1, 1000, 5e-3),
        sizes=[5],
        to_score=lambda scores: 4.0 * scores - 1,
    )
    assert plain[0]["fpir"] == mapped[0]["fpir"]
    assert plain[0]["fnir"] == mapped[0]["fnir"]


def test_more_templates_cost_fewer_false_non_matches_on_the_same_probes():
    vectors, owner = people(60, 8, noise=1.2)
    counts = enrolment_counts(vectors, owner, threshold=0.3)
    assert [one["templates"] for one in counts] == [1, 2, 3, 5]
    assert len({(one["fmr"]["trials"], one["fnmr"]["trials"]) for one in counts}) == 1
    assert counts[0]["fnmr"]["trials"] == 60 * 3
    missed = [one["fnmr"]["value"] for one in counts]
    assert missed[0] > missed[1] > missed[-1]
    json.dumps(counts, allow_nan=False)


def test_one_template_is_a_comparison_and_the_mean_of_two_is_a_mean():
    """Probe and templates worked out by hand for identical templates: the mean changes nothing."""
    vectors, owner = people(20, 4, noise=0.6)
    vectors = vectors[np.repeat(np.arange(0, 80, 4), 4)]  # every subject has four equal samples
    counts = enrolment_counts(vectors, owner, threshold=0.3)
    assert [one["templates"] for one in counts] == [1, 2, 3]
    assert len({one["fmr"]["errors"] / one["fmr"]["trials"] for one in counts}) == 1
    assert all(one["fnmr"]["errors"] == 0 for one in counts)


def test_counts_that_too_few_subjects_reach_are_left_out():
    vectors, owner = people(30, 3)
    assert [one["templates"] for one in enrolment_counts(vectors, owner, threshold=0.3)] == [1, 2]
    assert enrolment_counts(*people(30, 1), threshold=0.3) == []
    assert enrolment_counts(*people(5, 9), threshold=0.3) == []
