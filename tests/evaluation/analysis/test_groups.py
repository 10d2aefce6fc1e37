from __future__ import annotations

import json

import numpy as np
import pytest

from tests.evaluation.analysis.makers import people, side_of, unit
from verify.errors import InsufficientTrialsError
from verify.evaluation.analysis import groups
from verify.evaluation.analysis.subsets import between
from verify.metrics import mated_rate, non_mated_rate

LABELS = tuple(("a", "b", "c", "")[number % 4] for number in range(80))


def population(seed, *, labels=LABELS):
    """Group b looks more alike than the others."""
    vectors, owner = people(80, 3, seed=seed)
    shift = np.array([label == "b" for label in labels])[owner]
    return side_of(unit(vectors + 0.09 * shift[:, None]), owner, groups={"group": labels})


CALIBRATION, TEST = population(1), population(2)


def found(side=TEST, **options: float):
    return groups(CALIBRATION, side, columns=["group"], **({"threshold": 0.4} | options))[0]


def members(label):
    return np.array([one == label for one in LABELS])


@pytest.mark.parametrize(("one", "other"), [("a", "a"), ("b", "b"), ("a", "b"), ("c", "b")])
@pytest.mark.parametrize("at_least", [-np.inf, 0.3])
def test_trials_between_groups_are_those_picked_by_hand(one, other, at_least):
    tail = TEST.non_mated.tail
    left, right = members(one), members(other)
    a, b = tail.subject_a, tail.subject_b
    picked = (left[a] & right[b]) | (left[b] & right[a])
    by_hand = non_mated_rate(
        non_mated=tail.score[picked], subject_a=a[picked], subject_b=b[picked], threshold=0.3
    )
    rate = between(TEST.non_mated, left, right, at_least=at_least).rate(0.3)
    assert (rate.errors, rate.trials) == (by_hand.errors, by_hand.trials)
    assert (rate.lower, rate.upper, rate.n_eff) == pytest.approx(
        (by_hand.lower, by_hand.upper, by_hand.n_eff)
    )


def test_groups_that_overlap_are_refused():
    with pytest.raises(InsufficientTrialsError, match="must not share"):
        between(TEST.non_mated, members("a") | members("b"), members("b"))


def test_nobody_is_no_group():
    assert between(TEST.non_mated, members("nobody"), members("a")) is None


def test_rates_by_group_and_across():
    facts = found(target_fmr=0.05)
    assert [line["name"] for line in facts["groups"]] == ["a", "b", "c"]
    assert [(line["a"], line["b"]) for line in facts["across"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert facts["worst_fmr"] == "b"
    inside = members("b")[TEST.mated_subject]
    by_hand = mated_rate(mated=TEST.mated[inside], subject=TEST.mated_subject[inside], threshold=0.4)
    assert facts["groups"][1]["fnmr"]["upper"] == by_hand.upper
    assert "20 subjects have no label" in facts["note"]
    json.dumps(facts, allow_nan=False)


def test_the_threshold_for_the_worst_group_holds_for_every_group():
    facts = found(target_fmr=0.05)
    at = facts["worst_threshold"]
    assert "b asks for the highest threshold" in facts["note"]
    for label in "abc":
        rate = between(CALIBRATION.non_mated, members(label), members(label)).rate(at)
        assert rate.value <= 0.05
        assert rate.upper <= 0.05 or rate.errors == 0
    assert at > CALIBRATION.non_mated.choose([0.05])[0.05].threshold  # what everybody together asks for


def test_a_group_too_small_for_the_target_leaves_no_threshold():
    facts = found(target_fmr=1e-6)
    assert facts["worst_threshold"] is None
    assert "too few calibration subjects" in facts["note"]


def test_zero_errors_show_bounds_and_no_ratio():
    facts = found(threshold=0.75)
    assert any(line["fmr"]["errors"] == 0 and line["fmr"]["upper"] > 0 for line in facts["groups"])
    assert (facts["fmr_max_over_geometric_mean"], facts["fmr_gini"]) == (None, None)
    assert "no ratio between groups" in facts["note"]


def test_ratio_and_inequality_where_all_groups_err():
    facts = found(threshold=0.2)
    rates = np.array([line["fmr"]["value"] for line in facts["groups"]])
    assert facts["fmr_max_over_geometric_mean"] == pytest.approx(rates.max() / rates.prod() ** (1 / 3))
    pairs = np.abs(rates[:, None] - rates).sum()
    assert facts["fmr_gini"] == pytest.approx(3 / 2 * pairs / (2 * 9 * rates.mean()))


def test_few_subjects_are_named_and_not_measured():
    labels = ("tiny", "tiny", "tiny", *(["rest"] * 77))
    facts = found(population(2, labels=labels))
    tiny = next(line for line in facts["groups"] if line["name"] == "tiny")
    assert (tiny["fmr"], tiny["fnmr"], tiny["subjects"], tiny["too_few"]) == (None, None, 3, True)
    assert "too few subjects to measure (under 4): tiny" in facts["note"]
    assert facts["across"] == []


def test_a_column_that_is_an_id_is_cut_short():
    facts = found(population(2, labels=tuple(str(number) for number in range(80))))
    assert len(facts["groups"]) == 16
    assert facts["note"].startswith("80 groups")


def test_columns_without_labels_are_left_out():
    assert groups(CALIBRATION, TEST, columns=["nothing", "group"], threshold=0.3)[0]["column"] == "group"
    assert groups(CALIBRATION, population(2, labels=("",) * 80), columns=["group"], threshold=0.3) == []
