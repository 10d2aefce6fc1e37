from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import ScoreError
from verify.metrics import (
    eer_min_difference,
    eer_rocch,
    error_curve,
    fmr,
    fnmr,
    threshold_at_fmr,
    threshold_at_fnmr,
)
from verify.metrics.rates import errors_allowed

GOLDEN = Path(__file__).parent / "golden"
# few distinct values, so that most lists are full of ties
TIED = st.lists(st.integers(-6, 6).map(lambda k: k / 4), min_size=1, max_size=60)
TARGETS = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.29, 0.5, 0.9, 1.0]))


def golden(name: str) -> dict[str, list[float]]:
    with (GOLDEN / f"{name}.csv").open(newline="") as file:
        rows = [(float(row["score"]), row["mated"] == "1") for row in csv.DictReader(file)]
    return {"mated": [s for s, m in rows if m], "non_mated": [s for s, m in rows if not m]}


@pytest.mark.parametrize(("target", "expected"), [(0.01, 0.48), (0.1, 0.12), (1.0, 0.0)])
def test_fnmr_at_fmr_of_the_golden_scores(target, expected):
    scores = golden("nonsep")
    threshold = threshold_at_fmr(non_mated=scores["non_mated"], target=target)
    assert fnmr(mated=scores["mated"], threshold=threshold) == pytest.approx(expected, abs=1e-12)


def test_equal_error_rate_of_the_golden_scores():
    assert eer_rocch(**golden("linsep")).value == 0.0
    found = eer_rocch(**golden("nonsep"))
    assert found.value == pytest.approx(0.1163636, abs=5e-8)
    assert found.method == "rocch"
    assert eer_min_difference(**golden("linsep")).value == 0.0


@given(non_mated=TIED, target=TARGETS)
def test_threshold_at_fmr_is_the_smallest_that_meets_the_target(non_mated, target):
    threshold = threshold_at_fmr(non_mated=non_mated, target=target)
    meeting = [s for s in non_mated if sum(n >= s for n in non_mated) / len(non_mated) <= target]
    expected = min(meeting) if meeting else np.nextafter(max(non_mated), np.inf)
    assert threshold == expected
    assert fmr(non_mated=non_mated, threshold=threshold) <= target


@given(mated=TIED, target=TARGETS)
def test_threshold_at_fnmr_is_the_largest_that_meets_the_target(mated, target):
    threshold = threshold_at_fnmr(mated=mated, target=target)
    candidates = [*mated, float(np.nextafter(max(mated), np.inf))]
    assert threshold == max(t for t in candidates if sum(m < t for m in mated) / len(mated) <= target)


@given(mated=TIED, non_mated=TIED)
def test_curve_is_monotone_and_agrees_with_counting(mated, non_mated):
    curve = error_curve(mated=mated, non_mated=non_mated)
    assert (np.diff(curve.fmr) <= 0).all()
    assert (np.diff(curve.fnmr) >= 0).all()
    assert (curve.fmr[0], curve.fmr[-1], curve.fnmr[0], curve.fnmr[-1]) == (1, 0, 0, 1)
    for t, false_match, false_non_match in zip(curve.thresholds, curve.fmr, curve.fnmr, strict=True):
        assert false_match == sum(n >= t for n in non_mated) / len(non_mated)
        assert false_non_match == sum(m < t for m in mated) / len(mated)


@given(mated=TIED, non_mated=TIED, target=TARGETS)
def test_a_strictly_increasing_map_changes_no_rate(mated, non_mated, target):
    def warp(scores):
        return np.exp(3 * np.asarray(scores)) - 2

    at = threshold_at_fmr(non_mated=non_mated, target=target)
    warped_at = threshold_at_fmr(non_mated=warp(non_mated), target=target)
    assert fmr(non_mated=non_mated, threshold=at) == fmr(non_mated=warp(non_mated), threshold=warped_at)
    for eer in (eer_rocch, eer_min_difference):
        assert eer(mated=mated, non_mated=non_mated) == eer(mated=warp(mated), non_mated=warp(non_mated))


@given(mated=TIED, non_mated=TIED)
def test_rocch_eer_is_that_of_the_best_line_below_the_curve(mated, non_mated):
    """The hull's height at FMR = FNMR is the largest that any supporting line reaches there."""
    curve = error_curve(mated=mated, non_mated=non_mated)
    # a line w x + (1 - w) y = c with all points on or above meets the diagonal at c
    corners = np.stack([curve.fmr, curve.fnmr])
    dx, dy = np.subtract.outer(curve.fmr, curve.fmr), np.subtract.outer(curve.fnmr, curve.fnmr)
    span = np.abs(dx) + np.abs(dy)
    weights = np.append(np.abs(dy[span > 0]) / span[span > 0], [0.0, 1.0])
    best = max(float((w * corners[0] + (1 - w) * corners[1]).min()) for w in weights)
    assert eer_rocch(mated=mated, non_mated=non_mated).value == pytest.approx(best, abs=1e-12)


@given(target=st.floats(0, 1), trials=st.integers(1, 10**9))
def test_errors_allowed_is_exactly_at_most(target, trials):
    k = errors_allowed(target, trials=trials)
    assert k / trials <= target
    assert k == trials or (k + 1) / trials > target


def test_constant_scores_are_accepted_all_or_none():
    assert threshold_at_fmr(non_mated=[0.5] * 9, target=0.99) == np.nextafter(0.5, 1)
    assert threshold_at_fmr(non_mated=[0.5] * 9, target=1.0) == 0.5
    assert eer_rocch(mated=[0.5] * 9, non_mated=[0.5] * 3).value == 0.5


@pytest.mark.parametrize("bad", [[], [0.1, np.nan], [np.inf], [[0.1, 0.2]], ["close"], None])
@pytest.mark.parametrize("argument", ["mated", "non_mated"])
def test_bad_scores_are_named(bad, argument):
    scores = {"mated": [0.5], "non_mated": [0.1]} | {argument: bad}
    for measure in (eer_rocch, eer_min_difference, error_curve):
        with pytest.raises(ScoreError, match=rf"^{argument}"):
            measure(**scores)


def test_the_message_names_the_value():
    with pytest.raises(ScoreError, match="score 2 of 3 is nan"):
        fmr(non_mated=[0.1, 0.2, float("nan")], threshold=0.0)


@pytest.mark.parametrize("target", [-0.1, 1.1, float("nan")])
def test_bad_targets_are_named(target):
    with pytest.raises(ScoreError, match="target must be a rate"):
        threshold_at_fmr(non_mated=[0.5], target=target)
    with pytest.raises(ScoreError, match="target must be a rate"):
        threshold_at_fnmr(mated=[0.5], target=target)


def test_classes_are_passed_by_name_only():
    with pytest.raises(TypeError):
        fmr([0.1], threshold=0.5)  # type: ignore[misc, call-arg]
    with pytest.raises(TypeError):
        eer_rocch([0.1], [0.5])  # type: ignore[misc]


@given(mated=TIED, non_mated=TIED, kind=st.sampled_from(["f4", "f8"]))
def test_the_halved_eer_is_that_of_the_curve(mated, non_mated, kind):
    scores = {"mated": np.array(mated, kind), "non_mated": np.array(non_mated, "f8")}
    curve = error_curve(**scores)
    least = int(np.argmin(np.abs(curve.fmr - curve.fnmr)))
    assert eer_min_difference(**scores).value == (curve.fmr[least] + curve.fnmr[least]) / 2
