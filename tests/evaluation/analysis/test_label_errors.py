from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from tests.evaluation.analysis.makers import of_scores, people, side_of
from verify.evaluation.analysis import dependence, evidence_map, lookalikes, outliers
from verify.metrics import clopper_pearson


def listed(vectors, owner):
    side = side_of(vectors, owner)
    mapping = evidence_map(side)
    return outliers(side, mapping), lookalikes(side, mapping)


def test_clean_labels_give_no_list():
    odd, alike = listed(*people(40, 4, noise=0.5))
    assert odd == []
    assert all(one.evidence < 0 for one in alike)


@pytest.mark.parametrize("seed", range(3))
def test_planted_strangers_lead_the_list(seed):
    vectors, owner = people(80, 5, noise=0.7, seed=seed)
    rng = np.random.default_rng(seed)
    moved = rng.choice(owner.size, size=12, replace=False)
    owner[moved] = (owner[moved] + rng.integers(1, 80, size=12)) % 80
    odd, _ = listed(vectors, owner)
    first = {one.attempts[0] for one in odd[:12]}
    assert len(first & set(moved.tolist())) >= 11
    assert all(a.evidence >= b.evidence for a, b in pairwise(odd))


def test_two_strangers_among_five_samples_do_not_hide_each_other():
    vectors, owner = people(60, 5, noise=0.5)
    vectors[[0, 1]] = people(1, 2, noise=0.2, seed=9)[0]  # the same stranger, twice, with subject 0
    odd, _ = listed(vectors, owner)
    assert {one.attempts for one in odd} == {(0,), (1,)}
    assert all(one.others == 3 and one.score < 0.3 < one.agreement for one in odd)


def test_of_two_samples_that_disagree_either_may_be_wrong():
    vectors, owner = people(60, 2, noise=0.5)
    vectors[1] = people(1, 1, seed=9)[0][0]
    odd, _ = listed(vectors, owner)
    assert [one.attempts for one in odd] == [(0, 1)]
    assert np.isnan(odd[0].agreement)


def test_one_person_under_two_names_leads_the_pairs():
    vectors, owner = people(60, 6, noise=0.6)
    owner = np.where((owner == 7) & (np.arange(owner.size) % 2 == 0), 60, owner)
    _, alike = listed(vectors, owner)
    assert alike[0].subjects == (7, 60)
    assert alike[0].whole
    assert (alike[0].trials, alike[0].hits > 6) == (9, True)
    assert alike[0].evidence > 10
    assert alike[1].evidence < 0
    assert {owner[attempt] for attempt in alike[0].attempts} == {7, 60}


def test_a_sample_under_another_name_is_named_with_the_one_it_belongs_to():
    vectors, owner = people(60, 6, noise=0.6)
    owner[20] = 40  # was subject 3's
    odd, alike = listed(vectors, owner)
    assert odd[0].attempts == (20,)
    assert (alike[0].subjects, alike[0].attempts[0], alike[0].whole) == ((40, 3), 20, False)
    theirs = [other for other in range(18, 24) if other != 20]
    assert alike[0].attempts[1] == max(theirs, key=lambda other: vectors[20] @ vectors[other])
    assert alike[0].hits == alike[0].trials == 5  # on whichever side of a trial the sample stands


def test_a_sample_that_is_at_home_is_not_given_away():
    """It scores as high with the other subject, but with its own as well: alike, not mislabelled."""
    vectors, owner = people(60, 6, noise=0.3)
    vectors[owner == 5] = vectors[owner == 4] * 0.9 + 0.1 * vectors[owner == 5]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    _, alike = listed(vectors, owner)
    assert alike[0].subjects == (4, 5)
    assert alike[0].whole


def test_without_samples_pairs_of_subjects_are_listed_and_nothing_fails():
    rng = np.random.default_rng(0)
    a, b = np.triu_indices(30, 1)
    scores = rng.normal(0, 1, a.size)
    scores[(a == 2) & (b == 9)] = 8.0
    side = of_scores(rng.normal(6, 1, 60), scores, subject_a=a, subject_b=b)
    mapping = evidence_map(side)
    assert outliers(side, mapping) == []
    best = lookalikes(side, mapping)[0]
    assert (best.subjects, best.attempts, best.score, best.trials) == ((2, 9), (), 8.0, 1)
    facts = dependence(side, threshold=3.0)
    assert facts["pairs"][0]["subjects"] == ["2", "9"]
    json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize("mated", [[], [0.5] * 6])
def test_scores_that_say_nothing_list_nothing(mated):
    side = of_scores(mated, [0.5] * 6, subject_a=[0, 0, 0, 1, 1, 2], subject_b=[1, 2, 3, 2, 3, 3])
    assert evidence_map(side) is None
    facts = dependence(side, threshold=0.6)
    assert (facts["subjects"], facts["pairs"], facts["n_eff"]) == ([], [], 2.0)


def test_dependence_states_the_bounds_side_by_side():
    vectors, owner = people(60, 4, noise=0.5)
    vectors[owner < 6, :4] += 0.6  # a few who look alike
    side = side_of((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)), owner)
    facts = dependence(side, threshold=0.4, name_of=lambda name: name.upper())
    rate = side.non_mated.rate(0.4)
    assert facts["dyadic_upper"] == rate.upper
    assert facts["independent_upper"] == clopper_pearson(rate.errors, trials=rate.trials)[1]
    assert facts["independent_upper"] < facts["dyadic_upper"]
    assert facts["design_effect"] == pytest.approx(rate.trials / rate.n_eff)
    causes = [one for one in facts["subjects"] if one["kind"] == "non_mated"]
    errors, trials = side.non_mated.errors_by_subject(0.4)
    assert causes[0]["errors"] == errors.max()
    assert {one["subjects"][0] for one in causes[:6]} == {f"s{number}" for number in range(6)}
    assert causes[0]["trials"] == trials[int(causes[0]["subjects"][0][1:])]
    json.dumps(facts, allow_nan=False)


def test_suspects_are_named_with_their_errors_and_in_words():
    vectors, owner = people(60, 5, noise=0.5)
    owner[0] = 9
    facts = dependence(side_of(vectors, owner), threshold=0.5, listed=1)
    suspect = facts["subjects"][0]
    assert (suspect["subjects"], suspect["samples"], suspect["kind"]) == (["s9"], ["s9/0.jpg"], "mated")
    assert (suspect["errors"], suspect["trials"]) == (5, 5)
    assert "on average with the 5 other samples of s9, which score" in suspect["note"]
    pair = facts["pairs"][0]
    assert pair["subjects"] == ["s9", "s0"]
    assert pair["samples"][0] == "s9/0.jpg"
    assert pair["samples"][1].startswith("s0/")
    assert "filed under s9 but matches 4 of the 4 samples of s0" in pair["note"]
    assert "it may belong to s0" in pair["note"]
    assert "side" not in pair
    assert sum(one["kind"] == "mated" for one in facts["subjects"]) == 1


def test_a_sample_like_one_of_many_is_not_given_to_their_subject():
    vectors, owner = people(60, 6, noise=0.5)
    vectors[0] = 0.8 * vectors[30] + 0.6 * people(1, 1, seed=9)[0][0]  # like one sample of subject 5
    vectors[0] /= np.linalg.norm(vectors[0])
    vectors[31:36] = people(1, 5, noise=0.3, seed=8)[0]  # whose other samples are unlike that one
    odd, alike = listed(vectors, owner)
    assert (0,) in {one.attempts for one in odd}
    assert [one for one in alike if one.evidence > 0 and one.subjects == (0, 5)] == []


def two_sides():
    """The calibration side has subject 9's sample under 8's name, the test side is clean."""
    vectors, owner = people(60, 6, noise=0.5, seed=1)
    owner = np.where(np.arange(owner.size) == 9 * 6, 8, owner)
    return side_of(vectors, owner, name="calibration"), side_of(
        *people(60, 6, noise=0.5, seed=2), name="test"
    )


def test_wrong_labels_are_found_on_the_side_that_set_the_threshold():
    calibration, test = two_sides()
    alone = dependence(test, threshold=0.5)
    assert (alone["pairs"], [one for one in alone["subjects"] if one["kind"] == "mated"]) == ([], [])
    facts = dependence(test, threshold=0.5, calibration=calibration)
    odd = [one for one in facts["subjects"] if one["kind"] == "mated"]
    assert [(one["subjects"], one["side"]) for one in odd] == [(["s8"], "calibration")]
    assert (facts["pairs"][0]["subjects"], facts["pairs"][0]["side"]) == (["s8", "s9"], "calibration")
    for name in ("n_eff", "design_effect", "independent_upper", "dyadic_upper", "bootstrap_upper"):
        assert facts[name] == alone[name]
    json.dumps(facts, allow_nan=False)


def test_both_sides_share_one_list_of_the_length_asked_for():
    calibration, _ = two_sides()
    facts = dependence(calibration, threshold=0.3, calibration=calibration, listed=1)
    assert len(facts["pairs"]) == 1
    assert sum(one["kind"] == "mated" for one in facts["subjects"]) == 1
    causes = [one for one in facts["subjects"] if one["kind"] == "non_mated"]
    shares = [one["errors"] / one["trials"] for one in causes]
    assert shares == sorted(shares, reverse=True)
    assert {one["side"] for one in causes} == {"calibration", "test"}


def test_a_calibration_side_that_says_nothing_changes_nothing():
    _, test = two_sides()
    empty = of_scores([], [0.1, 0.2, 0.3], subject_a=[0, 0, 1], subject_b=[1, 2, 2])
    facts = dependence(test, threshold=0.5, calibration=empty)
    assert {one["side"] for one in facts["subjects"]} <= {"test"}
