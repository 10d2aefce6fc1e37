"""Which threshold rules, what it is said to hold, and that failed captures enter it the worse way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.people import PeopleCapturer, write_people
from verify.evaluation import calibrate as calibrating
from verify.evaluation.choosing import Choices, choices_of, fmr_needed, fta_of
from verify.evaluation.job import Method, run_calibration
from verify.evaluation.mated_thresholds import choose_for_fnmr
from verify.evaluation.prepare import POOLED
from verify.evaluation.targets import Kind, Target
from verify.evaluation.thresholds import ChosenThreshold
from verify.evaluation.verdicts import verdict_of
from verify.types import Rate


def run(*folders: Path, targets, **method: Any):
    return run_calibration(
        PeopleCapturer(),
        folders,
        targets=targets,
        method=Method(**{"bound": "population", **method}),
        keep_cache=False,
    )


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("data") / "people", subjects=60, samples=4, failing=20)


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """Every second capture of everybody fails."""
    root = write_people(tmp_path_factory.mktemp("data") / "failing", subjects=60, samples=4)
    for folder in root.iterdir():
        for k in range(4):
            (folder / f"f{k}.jpg").write_text(f"nobody {folder.name} {k}")
    return root


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_far_counts_on_no_more_failures_than_are_proven(attempts):
    fta = Rate(40, 100, lower=0.2, upper=0.6)
    needed = fmr_needed(Target(Kind.FAR, 0.01), fta, attempts=attempts)
    assert needed == pytest.approx(0.01 / (1 - 0.2**attempts))
    assert fmr_needed(Target(Kind.FMR, 0.01), fta, attempts=attempts) == 0.01
    assert fmr_needed(Target(Kind.FRR, 0.01), fta, attempts=attempts) is None


@pytest.mark.parametrize("attempts", [1, 2])
def test_an_frr_leaves_the_fnmr_what_failures_may_not_take(people, attempts):
    view = run(people, targets=[0.2]).calibration.whole
    frr = Target(Kind.FRR, 0.5)
    found = choices_of(
        view, [frr], ladder=(), confidence=0.95, bound="population", ceiling=1.0, attempts=attempts
    ).targets[frr]
    fta = fta_of(view.calibration, confidence=0.95)
    failing = 1 - (1 - fta.upper) ** attempts
    assert 0.05 < failing < 0.5
    wanted = choose_for_fnmr(
        view.calibration, (0.5 - failing) / (1 - failing), confidence=0.95, bound="population"
    )
    without = choose_for_fnmr(view.calibration, 0.5, confidence=0.95, bound="population")
    assert found.threshold == wanted.threshold < without.threshold


def test_the_bound_of_failures_is_named(people):
    message = run(people, targets=[0.2, Target(Kind.FRR, 0.05)], bound="prediction").calibration.unsupported[
        Target(Kind.FRR, 0.05)
    ]
    assert "by the prediction bound" in message
    assert "by the population bound" in message
    assert "of the calibration subjects" in message


def test_a_point_is_said_to_hold_no_less_than_was_proven(failing):
    """A FAR leaves room for failed captures, so its FMR is above it, and the engine must be told so."""
    (far,) = run(failing, targets=[Target(Kind.FAR, 0.1)]).calibration.points
    assert far.calibration_fmr.upper > 0.1
    assert far.target_fmr == far.calibration_fmr.upper
    assert far.asked_rate == 0.1
    (fmr,) = run(failing, targets=[0.1]).calibration.points
    assert fmr.target_fmr == 0.1 >= fmr.calibration_fmr.upper


def choosing(monkeypatch, by_view: dict[str, tuple[dict[float, float], set[float]]]) -> None:
    """Let each view ask for given thresholds: target -> threshold, and those that are extrapolated."""

    def fake(view, targets, *, ladder, **_: object):
        asked, beyond = by_view[view.name]
        rate = Rate(1, 100, upper=0.02)
        return Choices(
            targets={target: ChosenThreshold(asked[target.rate], rate) for target in targets},
            ladder={rung: ChosenThreshold(asked.get(rung, 0.9), rate) for rung in ladder},
            extrapolated=frozenset(target for target in targets if target.rate in beyond),
            extrapolated_rungs=frozenset(beyond & set(ladder)),
        )

    monkeypatch.setattr(calibrating, "choices_of", fake)


def test_a_stricter_limit_never_gets_a_lower_threshold(monkeypatch, people):
    choosing(monkeypatch, {"people": ({0.1: 0.5, 0.01: 0.4}, set())})
    made = run(people, targets=[0.1, 0.01]).calibration
    assert [point.threshold for point in made.points] == [0.5, 0.5]
    assert [made.rungs[0.1], made.rungs[0.01]] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("beyond", "extrapolated"), [((), False), (("few",), True), ((POOLED,), True), (("people",), False)]
)
def test_what_governs_by_a_fitted_tail_is_called_so(monkeypatch, people, tmp_path, beyond, extrapolated):
    few = write_people(tmp_path / "few", subjects=20, samples=2)
    thresholds = {POOLED: 0.3, "people": 0.2, "few": 0.4}
    choosing(
        monkeypatch, {name: ({0.1: t}, {0.1} if name in beyond else set()) for name, t in thresholds.items()}
    )
    made = run(people, few, targets=[0.1]).calibration
    (point,) = made.points
    assert point.data["governed_by"] == "few"
    assert point.extrapolated == extrapolated
    assert (0.1 in made.extrapolated) == extrapolated
    assert (verdict_of(point)["verdict"] == "INSUFFICIENT DATA") == extrapolated
    assert point.target_fmr == (0.1 if extrapolated else max(0.1, point.calibration_fmr.upper))


def test_several_models_extrapolate_only_when_asked_and_say_so(people):
    from verify.evaluation.fused_job import run_fused_calibration

    other = PeopleCapturer(noise=1.2)
    other.model_id = "cd" * 32
    points = {
        asked: run_fused_calibration(
            [PeopleCapturer(), other],
            [people],
            targets=[0.1, 2e-3],
            method=Method(bound="population", extrapolate=asked),
            keep_cache=False,
        ).calibration.points
        for asked in (False, True)
    }
    assert [point.extrapolated for point in points[False]] == [False]
    assert [point.extrapolated for point in points[True]] == [False, True]
