"""Which operating point may judge what: targets, spaces, attempts, names, galleries."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.fakes import LADDER, MODEL_ID, point
from verify.engine import Judge
from verify.engine.ladder import claim, far_claim
from verify.errors import UsageError
from verify.score_space import LlrMap, ScoreNorm, ScoreSpace
from verify.types import Rate

LLR = LlrMap(slope=10.0, intercept=-2.0)
NORM = ScoreNorm(ScoreSpace.AS_NORM, "c" * 64, 50, top_k=20)


def llr_point(target: float, threshold: float = 3.0, **changes: object):
    return point(target, threshold, name=f"llr-{target:g}", score_space="llr", llr=LLR, **changes)


def norm_point(target: float, threshold: float = 4.0, **changes: object):
    return point(target, threshold, name=f"norm-{target:g}", score_space="as-norm", norm=NORM, **changes)


def search_point(target: float, size: int, threshold: float = 0.45, **changes: object):
    named = f"search-{target:g}-{size}"
    return point(target, threshold, **({"name": named, "mode": "1:N", "gallery_size": size} | changes))


def name_of(ruling) -> str | None:
    return None if ruling.point is None else ruling.point.name


def chosen(points, **asked: object) -> str | None:
    return name_of(Judge(MODEL_ID, points, **asked).one_to_one())


def test_at_equal_targets_evidence_goes_before_normalised_and_raw_scores() -> None:
    points = (point(1e-3, 0.5), norm_point(1e-3), llr_point(1e-3))
    for order in (points, points[::-1]):
        assert chosen(order, target_fmr=1e-3) == "llr-0.001"
        assert chosen(order[:2] if order is points else order[1:], target_fmr=1e-3) == "norm-0.001"
    looser = (*points, point(2e-3, 0.45))
    assert (
        chosen(looser, target_fmr=2e-3) == "face-fmr-0.002"
    )  # the loosest that suffices, whatever its space
    assert chosen(looser, target_fmr=1.9e-3) == "llr-0.001"


def test_rates_that_differ_by_rounding_are_equal() -> None:
    products = (point(0.1 * 3, 0.4), llr_point(0.3))
    assert 0.1 * 3 != 0.3
    assert chosen(products, target_fmr=0.3) == "llr-0.3"


def test_extrapolated_rungs_are_used_only_when_asked_for() -> None:
    tail = point(1e-5, 0.7, extrapolated=True)
    points = (*LADDER, tail)
    assert chosen(points, target_fmr=1e-5) is None
    assert chosen(points, target_fmr=1e-5, allow_extrapolated=True) == tail.name
    by_name = Judge(MODEL_ID, points, point=tail.name).one_to_one()
    assert name_of(by_name) == tail.name
    assert "EXTRAPOLATED" in by_name.message
    assert Judge(MODEL_ID, (tail,)).one_to_one().threshold is None
    refused = Judge(MODEL_ID, points, target_fmr=1e-5).one_to_one().message
    assert "1e-05 EXTRAPOLATED" in refused


def test_a_point_by_name_is_taken_whatever_its_target() -> None:
    assert chosen(LADDER, point="face-fmr-0.01") == "face-fmr-0.01"
    with pytest.raises(UsageError, match=r"'face-fmr-5'; there are: .*face-fmr-0.0001"):
        Judge(MODEL_ID, LADDER, point="face-fmr-5")
    with pytest.raises(UsageError, match="verify calibrate"):
        Judge(MODEL_ID, (), point="face-fmr-5")
    found = Judge(MODEL_ID, (search_point(1e-2, 10),), point="search-0.01-10").one_to_one()
    assert found.threshold is None
    assert "searches" in found.message


@pytest.mark.parametrize(
    "asked",
    [
        {"target_fmr": 1e-3, "target_far": 1e-3},
        {"target_fmr": 1e-3, "point": "face-fmr-0.01"},
        {"target_far": 1e-3, "uncalibrated": 0.4},
        {"point": "face-fmr-0.01", "uncalibrated": 0.4},
    ],
)
def test_what_excludes_each_other_is_a_usage_error(asked: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        Judge(MODEL_ID, LADDER, **asked)


@pytest.mark.parametrize("attempts", [0, -1, 1.5, True, "3", None])
def test_attempts_are_a_count(attempts: object) -> None:
    with pytest.raises(UsageError, match="attempts"):
        Judge(MODEL_ID, LADDER, attempts=attempts)


@pytest.mark.parametrize("far", [0.0, 1.0, -1.0, float("nan"), "1e-3"])
def test_impossible_far_is_a_usage_error(far: object) -> None:
    with pytest.raises(UsageError, match="FAR"):
        Judge(MODEL_ID, LADDER, target_far=far)


def test_single_attempt_points_serve_several_attempts_by_the_union_bound() -> None:
    assert chosen(LADDER, target_fmr=1e-2, attempts=3) == "face-fmr-0.001"  # 3 x 1e-2 would not do
    assert chosen(LADDER, target_fmr=3e-2, attempts=3) == "face-fmr-0.01"
    assert chosen(LADDER, target_fmr=1e-4, attempts=2) is None
    message = Judge(MODEL_ID, LADDER, target_fmr=1e-2, attempts=3).one_to_one().message
    assert "0.003 in a transaction of 3 (union bound)" in message


def test_points_of_several_attempts_serve_exactly_that_many() -> None:
    three = point(1e-3, 0.55, name="three", attempts=3)
    points = (three, *LADDER)
    assert chosen(points, target_fmr=1e-3, attempts=3) == "three"
    assert chosen(points, target_fmr=1e-3) == "face-fmr-0.001"
    assert chosen((three,), target_fmr=0.5) is None
    assert chosen((three,), target_fmr=0.5, attempts=2) is None
    assert chosen((three,), target_fmr=0.5, attempts=6) is None
    assert "--attempts 3" in Judge(MODEL_ID, (three,), target_fmr=0.5).one_to_one().message
    assert "--attempts" not in Judge(MODEL_ID, LADDER, target_fmr=1e-9).one_to_one().message
    refused = Judge(MODEL_ID, points, point="three").one_to_one()
    assert refused.threshold is None
    assert "--attempts 3" in refused.message


def test_a_point_that_failed_on_another_set_than_its_own_decides_only_by_name() -> None:
    failed = point(1e-3, 0.5, name="failed", data={"failed": True})  # its own rates are within the target
    assert chosen((failed,)) is None
    assert chosen((failed,), target_fmr=1e-2) is None
    assert "FAILED" in Judge(MODEL_ID, (failed,), point="failed").one_to_one().message


def test_the_default_target_is_per_transaction_and_never_an_extrapolated_one() -> None:
    assert chosen(LADDER) == "face-fmr-0.001"
    assert chosen(LADDER, attempts=3) == "face-fmr-0.0001"  # three attempts at 1e-3 each would be 3e-3
    assert chosen((point(1e-4, 0.6),)) == "face-fmr-0.0001"
    assert chosen((point(2e-2, 0.3), point(1e-4, 0.6))) == "face-fmr-0.0001"  # never looser than need be
    assert chosen((point(4e-2, 0.2), point(2e-2, 0.3))) == "face-fmr-0.02"
    assert chosen((point(1e-2, 0.4), point(1e-3, 0.6, extrapolated=True))) == "face-fmr-0.01"


def fta(*lowers: float | None) -> dict[str, object]:
    return {
        "measured": {
            f"set {i}": {"fta": None if low is None else {"errors": 1, "trials": 2, "lower": low}}
            for i, low in enumerate(lowers)
        }
    }


def test_far_is_fmr_less_those_who_cannot_be_captured() -> None:
    rung = point(1e-3, 0.5, data=fta(0.2, 0.1))
    assert far_claim(rung, attempts=1) == pytest.approx(0.9e-3)  # the lowest of all sets
    assert chosen((rung,), target_far=0.9e-3) == rung.name
    assert chosen((rung,), target_far=0.89e-3) is None
    assert chosen((rung,), target_fmr=0.9e-3) is None
    assert far_claim(rung, attempts=3) == pytest.approx(2.7e-3)


@pytest.mark.parametrize(
    "data",
    [{}, fta(0.2, None), fta(float("nan")), fta(-0.5), fta(1.0), {"measured": 3}, {"measured": {"a": 3}}],
)
def test_far_without_a_sound_fta_is_the_fmr(data: dict[str, object]) -> None:
    rung = point(1e-3, 0.5, data=data)
    assert far_claim(rung, attempts=1) == rung.target_fmr
    refused = Judge(MODEL_ID, (rung,), target_far=9e-4).one_to_one()
    assert refused.threshold is None
    assert "FAR 0.0009" in refused.message
    assert "0.001" in refused.message  # the ladder
    assert chosen((rung,), target_far=1e-3) == rung.name


def test_a_point_calibrated_for_a_far_holds_it() -> None:
    rung = point(1.25e-3, 0.5, asked_kind="far", asked_rate=1e-3)
    assert chosen((rung,), target_far=1e-3) == rung.name
    assert chosen((rung,), target_far=9.9e-4) is None
    assert chosen((rung,), target_fmr=1e-3) is None
    two = dataclasses.replace(rung, attempts=2, data=fta(0.5))
    assert far_claim(two, attempts=2) == pytest.approx(min(1e-3, 1.25e-3 * 0.75))
    assert chosen((two,), target_far=1e-3) is None  # told of one attempt only


@given(st.floats(1e-6, 0.3), st.floats(0, 0.99), st.integers(1, 9), st.integers(1, 9))
def test_far_never_exceeds_fmr(target: float, lower: float, measured: int, attempts: int) -> None:
    rung = point(target, 0.5, attempts=measured, data=fta(lower))
    assert far_claim(rung, attempts=attempts) <= claim(rung, attempts=attempts)


def search(points, size: int, **asked: object):
    return Judge(MODEL_ID, points, **asked).one_to_many(size)


def test_searches_use_measured_points_while_the_gallery_fits() -> None:
    points = (*LADDER, search_point(1e-2, 100, 0.45), search_point(1e-2, 1000, 0.55))
    assert name_of(search(points, 100)) == "search-0.01-100"
    assert name_of(search(points, 101)) == "search-0.01-1000"
    assert "over 1000 subjects" in search(points, 101).message
    assert search(points, 1001).threshold is None
    assert name_of(search(points, 1001, target_fpir=0.05)) == "search-0.01-1000"  # two searches: 2e-2
    assert "0.02 over 1001 subjects by the union bound" in search(points, 1001, target_fpir=0.05).message
    assert name_of(search(points, 1001, target_fpir=0.2)) == "search-0.01-100"  # eleven searches: 0.11
    assert name_of(search(points, 5, target_fpir=1e-3)) == "face-fmr-0.0001"  # 5 x 1e-4


def test_a_stricter_measured_point_does_for_a_looser_target_and_not_the_other_way_round() -> None:
    points = (search_point(1e-2, 100),)
    assert name_of(search(points, 50, target_fpir=5e-2)) == "search-0.01-100"
    assert search(points, 50, target_fpir=5e-3).threshold is None


@pytest.mark.parametrize(
    "other", [llr_point(1e-6), norm_point(1e-6), llr_point(1e-6, mode="1:N", gallery_size=99)]
)
def test_searches_are_judged_in_raw_cosines_only(other) -> None:
    refused = search((other,), 2)
    assert refused.threshold is None
    assert "raw cosines" in refused.message
    assert name_of(search((other, *LADDER), 2)) == "face-fmr-0.001"
    assert search((other, *LADDER), 2, point=other.name).threshold is None


def test_refusals_name_the_ladder_that_there_is() -> None:
    only = search((search_point(1e-2, 100),), 3, target_fpir=1e-3).message
    assert "the ladder has FPIR 0.01 over 100 subjects;" in only
    assert "FMR none" not in only
    both = search((search_point(1e-2, 100), *LADDER), 3, target_fpir=1e-6).message
    assert "the ladder has FMR 0.01, 0.001, 0.0001 and FPIR 0.01 over 100 subjects;" in both


def test_extrapolated_points_serve_no_search_unasked() -> None:
    tail = search_point(1e-2, 100, extrapolated=True)
    assert search((tail,), 2).threshold is None
    assert name_of(search((tail,), 2, allow_extrapolated=True)) == tail.name
    assert name_of(search((tail,), 2, point=tail.name)) == tail.name


def test_a_search_point_by_name_brings_its_own_rate_at_its_own_size() -> None:
    points = (*LADDER, search_point(5e-2, 100))
    by_name = {"point": "search-0.05-100"}
    assert name_of(search(points, 100, **by_name)) == "search-0.05-100"
    assert search(points, 101, **by_name).threshold is None
    assert search(points, 100, **by_name, target_fpir=1e-2).threshold is None
    assert name_of(search(points, 200, **by_name, target_fpir=0.1)) == "search-0.05-100"
    assert search(points, 200, point="face-fmr-0.01").threshold is None


def test_attempts_count_in_searches_too() -> None:
    points = (search_point(1e-2, 100),)
    assert search(points, 100, attempts=2).threshold is None
    assert name_of(search(points, 100, attempts=2, target_fpir=2e-2)) == "search-0.01-100"


@given(st.integers(1, 10_000), st.floats(1e-4, 0.5))
def test_the_union_bound_is_never_overdrawn(size: int, fpir: float) -> None:
    points = (*LADDER, search_point(1e-3, 7))
    found = search(points, size, target_fpir=fpir).point
    if found is not None:
        searches = size if found.mode == "1:1" else -(-size // found.gallery_size)
        assert searches * found.target_fmr <= fpir * (1 + 1e-8)


def test_enrolment_is_checked_in_raw_cosines_whatever_decides() -> None:
    judge = Judge(MODEL_ID, (llr_point(1e-3), *LADDER), target_fmr=1e-3)
    assert name_of(judge.one_to_one()) == "llr-0.001"
    assert name_of(judge.in_cosine()) == "face-fmr-0.001"
    assert Judge(MODEL_ID, (llr_point(1e-3),)).in_cosine().threshold is None
    assert name_of(Judge(MODEL_ID, LADDER, target_far=1e-4).in_cosine()) == "face-fmr-0.0001"
    assert name_of(Judge(MODEL_ID, LADDER, point="face-fmr-0.01").in_cosine()) == "face-fmr-0.01"
    named = Judge(MODEL_ID, (llr_point(1e-3), *LADDER), point="llr-0.001")
    assert name_of(named.in_cosine()) == "face-fmr-0.001"


def test_scores_of_another_matcher_judge_nothing() -> None:
    foreign = point(1e-3, 17.0, score_space="foreign")
    assert chosen((foreign,), target_fmr=0.5) is None
    assert Judge(MODEL_ID, (foreign,), point=foreign.name).one_to_one().threshold is None


def rejection_point(target: float, *, kind: str = "fnmr", asked: float | None = 0.1, **changes: object):
    named = {"name": f"face-{kind}-{target:g}", "asked_kind": kind, "asked_rate": asked}
    return point(target, 0.3, **(named | changes))


@pytest.mark.parametrize("kind", ["fnmr", "frr"])
@pytest.mark.parametrize("target", [0.210347, 1e-2, 1e-3, 1e-5])
def test_a_limit_on_rejections_never_decides_unasked(kind: str, target: float) -> None:
    loose = rejection_point(target, kind=kind)
    alone = Judge(MODEL_ID, (loose,)).one_to_one()
    assert alone.threshold is None
    assert "--fmr" in alone.message
    assert "--point" in alone.message
    assert f"chosen for {kind.upper()}" in alone.message
    assert chosen((loose, *LADDER)) == "face-fmr-0.001"
    assert Judge(MODEL_ID, (loose,)).in_cosine().threshold is None


def test_a_limit_on_rejections_serves_a_rate_that_was_asked_for_and_says_what_it_is() -> None:
    loose = rejection_point(0.21)
    assert chosen((loose,), target_fmr=0.2) is None
    for asked in ({"target_fmr": 0.21}, {"target_far": 0.3}, {"point": loose.name}):
        ruling = Judge(MODEL_ID, (loose,), **asked).one_to_one()
        assert name_of(ruling) == loose.name
        assert "chosen for FNMR <= 0.1; its FMR is at most 0.21 by the 95% population bound" in ruling.message
        assert "meets" not in ruling.message
    unknown = Judge(MODEL_ID, (rejection_point(0.21, asked=None),), target_fmr=0.3).one_to_one()
    assert "chosen for a limit on its FNMR; its FMR is at most 0.21" in unknown.message


def test_no_search_goes_unasked_by_a_limit_on_missed_people() -> None:
    loose = search_point(5e-3, 10, asked_kind="fnir", asked_rate=0.1)
    assert Judge(MODEL_ID, (loose,)).one_to_many(10).threshold is None
    for asked in ({"target_fpir": 1e-2}, {"point": loose.name}):
        ruling = Judge(MODEL_ID, (loose,), **asked).one_to_many(10)
        assert name_of(ruling) == loose.name
        assert "chosen for FNIR <= 0.1 over 10 subjects; its FPIR is at most 0.005" in ruling.message


@pytest.mark.parametrize(
    ("target", "attempts", "decides"), [(5e-2, 1, True), (0.06, 1, False), (5e-2, 2, False)]
)
def test_the_default_is_never_looser_than_a_ceiling(target: float, attempts: int, *, decides: bool) -> None:
    ruling = Judge(MODEL_ID, (point(target, 0.3),), attempts=attempts).one_to_one()
    assert (ruling.threshold is not None) == decides
    assert decides or "decides unasked, which takes one chosen to hold FMR <= 0.05" in ruling.message
    asked = Judge(MODEL_ID, (point(target, 0.3),), attempts=attempts, target_fmr=0.2).one_to_one()
    assert asked.threshold == 0.3


def test_a_point_that_failed_on_its_own_test_subjects_is_used_only_by_name() -> None:
    failed = point(1e-3, 0.5, name="failed", fmr=Rate(3, 1000, 0.01))
    exact = point(1e-3, 0.5, name="exact", fmr=Rate(1, 1000, 0.01))
    assert chosen((exact,)) == "exact"
    for asked in ({}, {"target_fmr": 1e-3}, {"target_far": 0.5}):
        refused = Judge(MODEL_ID, (failed,), **asked).one_to_one()
        assert refused.threshold is None
        assert "FAILED on its test subjects" in refused.message
    assert chosen((failed, *LADDER), target_fmr=1e-3) == "face-fmr-0.001"
    assert Judge(MODEL_ID, (failed,)).in_cosine().threshold is None
    named = Judge(MODEL_ID, (failed,), point="failed").one_to_one()
    assert named.threshold == 0.5
    assert "FAILED on its test subjects: FMR 0.003 (3 of 1,000)" in named.message
    search = search_point(1e-2, 10, fmr=Rate(3, 100, 0.1))
    assert Judge(MODEL_ID, (search,)).one_to_many(10).threshold is None
    assert (
        "FAILED on its test subjects: FPIR"
        in Judge(MODEL_ID, (search,), point=search.name).one_to_many(10).message
    )


def test_a_far_point_says_far() -> None:
    far = point(1.1e-3, 0.5, name="far", asked_kind="far", asked_rate=1e-3)
    message = Judge(MODEL_ID, (far,), target_far=1e-3).one_to_one().message
    assert "meets FAR <= 0.001 (FMR <= 0.0011)" in message
