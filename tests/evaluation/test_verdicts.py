"""When a target is held, exceeded, or cannot be told: on the test subjects, in every set that can tell."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.evaluation.people import PeopleCapturer, write_people
from verify.data.splits import part_of
from verify.evaluation.job import Method, calibrate_scores, run_calibration
from verify.evaluation.targets import Kind, Target
from verify.evaluation.verdicts import exceeded_by, failed, verdict_of, verdicts
from verify.types import Modality, OperatingPoint, Rate


def rate(errors: int, trials: int, *, lower: float = 0.0, upper: float = 1.0) -> Rate:
    return Rate(errors, trials, upper=upper, lower=lower)


def point(
    *,
    kind: str = "fmr",
    asked: float = 0.01,
    fmr: Rate,
    fnmr: Rate,
    fta: Rate | None = None,
    others: dict[str, dict[str, Rate | None]] | None = None,
    **more: Any,
) -> OperatingPoint:
    """A point that the set "own" governs."""
    views = {"own": {"fmr": fmr, "fnmr": fnmr, "fta": fta}, **(others or {})}
    return OperatingPoint(
        name="p", model_id="ab" * 32, modality=Modality.FACE, threshold=0.5, target_fmr=asked, fmr=fmr, fnmr=fnmr,
        asked_kind=kind, asked_rate=asked, calibration_fmr=rate(1, 1000, upper=asked),
        data={
            "governed_by": "own",
            "measured": {
                name: {key: None if one is None else dataclasses.asdict(one) for key, one in rates.items()}
                for name, rates in views.items()
            },
        },
        **more,
    )  # fmt: skip


def test_the_test_subjects_decide_not_those_who_chose_the_threshold():
    held = point(fmr=rate(5, 1000), fnmr=rate(1, 100))
    broken = point(fmr=rate(11, 1000), fnmr=rate(1, 100))
    assert held.calibration_fmr == broken.calibration_fmr
    assert verdict_of(held)["verdict"] == "PASS"
    assert "promised" in verdict_of(held)["message"]
    assert verdict_of(broken)["verdict"] == "FAIL"
    assert "exceeded it: 0.011" in verdict_of(broken)["message"]
    assert verdict_of(broken)["message"].endswith("nothing is promised")
    assert (failed(held), failed(broken)) == (False, True)


@pytest.mark.parametrize(
    ("theirs", "exceeds"),
    [
        (rate(10, 900, lower=0.005), True),  # ten errors tell
        (rate(9, 800, lower=0.005), False),  # nine may be two people
        (rate(9, 100, lower=0.02), True),  # unless even the lower bound lies above
        (rate(9, 1000, lower=0.0), False),
    ],
)
def test_a_set_that_can_tell_fails_the_target_and_is_named(theirs, exceeds):
    others = {"small": {"fmr": theirs, "fnmr": None, "fta": None}}
    found = point(fmr=rate(5, 1000), fnmr=rate(1, 100), others=others)
    assert set(exceeded_by(found)) == ({"small"} if exceeds else set())
    assert verdict_of(found)["verdict"] == ("FAIL" if exceeds else "PASS")
    assert ("in small" in verdict_of(found)["message"]) == exceeds


@pytest.mark.parametrize("attempts", [1, 3])
def test_far_and_frr_take_the_failures_of_a_transaction_the_worse_way(attempts):
    fta = rate(50, 100)
    far = point(kind="far", fmr=rate(20, 1000), fnmr=rate(10, 100), fta=fta, attempts=attempts)
    verdict = verdict_of(far)
    assert verdict["far"] == pytest.approx(0.02 * (1 - 0.5**attempts))
    failing = 1 - 0.5**attempts
    assert verdict["frr"] == pytest.approx(failing + 0.1 * (1 - failing))
    # FAR 0.012: held by single attempts (0.01), not by three (0.0175)
    asked = dataclasses.replace(far, asked_rate=0.012)
    assert verdict_of(asked)["verdict"] == ("PASS" if attempts == 1 else "FAIL")
    frr = dataclasses.replace(far, asked_kind="frr", asked_rate=0.6)
    assert verdict_of(frr)["verdict"] == ("PASS" if attempts == 1 else "FAIL")


def test_far_and_frr_of_another_set_count_its_own_failures():
    theirs = {"fmr": rate(20, 1000), "fnmr": rate(10, 100), "fta": rate(1, 1000)}
    own: dict[str, Any] = {"fmr": rate(20, 1000), "fnmr": rate(10, 100), "fta": rate(50, 100)}
    far = point(kind="far", asked=0.012, others={"other": theirs}, **own)
    assert set(exceeded_by(far)) == {"other"}
    frr = point(kind="frr", asked=0.2, others={"other": theirs}, **own)
    assert set(exceeded_by(frr)) == {"own"}


def test_a_fitted_tail_never_passes():
    by_tail = point(fmr=rate(0, 1000), fnmr=rate(1, 100), extrapolated=True)
    assert verdict_of(by_tail)["verdict"] == "INSUFFICIENT DATA"
    assert verdict_of(by_tail)["extrapolated"]
    assert "nothing is promised" in verdict_of(by_tail)["message"]
    broken = point(fmr=rate(30, 1000), fnmr=rate(1, 100), extrapolated=True)
    assert verdict_of(broken)["verdict"] == "FAIL"
    assert "EXTRAPOLATED" in verdict_of(broken)["message"]


def test_points_come_first_then_what_the_data_cannot_support():
    made = SimpleNamespace(
        points=(point(fmr=rate(5, 1000), fnmr=rate(1, 100)),), unsupported={Target(Kind.FMR, 1e-9): "too few"}
    )
    assert [one["verdict"] for one in verdicts(made)] == ["PASS", "INSUFFICIENT DATA"]


def score_file(path, *, subjects, repeats, prefix, seed, test_shift=0.0):
    """Scores of strangers; those of test subjects are higher by a shift."""
    rng = np.random.default_rng(seed)
    names = [f"{prefix}{i}" for i in range(subjects)]
    rows = ["score,mated,subject_a,subject_b"]
    for i, one in enumerate(names):
        rows += [f"{rng.normal(5, 1):.6f},1,{one},{one}" for _ in range(2)]
        for other in names[i + 1 :]:
            tested = part_of(one, seed=0) == part_of(other, seed=0) == "test"
            rows += [
                f"{rng.normal(test_shift if tested else 0.0, 1):.6f},0,{one},{other}" for _ in range(repeats)
            ]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_no_pass_where_the_test_people_of_a_small_set_exceed_the_target(tmp_path):
    big = score_file(tmp_path / "big.csv", subjects=150, repeats=2, prefix="a", seed=1)
    small = score_file(tmp_path / "small.csv", subjects=30, repeats=1, prefix="b", seed=2, test_shift=1.5)
    job = calibrate_scores([big, small], targets=[2e-2], method=Method(bound="population"))
    (made,), (verdict,) = job.calibration.points, verdicts(job.calibration)
    assert made.data["governed_by"] != "small"
    assert "small" in exceeded_by(made)
    assert verdict["verdict"] == "FAIL"
    assert "in small" in verdict["message"]


def test_rates_are_those_of_test_subjects_alone(tmp_path):
    """Calibration subjects never fail and always match; test subjects do neither."""
    people = write_people(tmp_path / "people", subjects=80, samples=4)
    for folder in people.iterdir():
        if part_of(folder.name, seed=0) == "test":
            (folder / "nobody.jpg").write_text(f"nobody {folder.name}")

    class Forgetful(PeopleCapturer):
        def _capture(self, path):
            self.noise = 0.9 if part_of(path.parent.name, seed=0) == "test" else 0.1
            return super()._capture(path)

    job = run_calibration(
        Forgetful(), [people], targets=[0.2, Target(Kind.FNMR, 0.1)], method=Method(bound="population"),
        keep_cache=False,
    )  # fmt: skip
    test = job.calibration.whole.test
    for made in job.calibration.points:
        measured = made.data["measured"]["people"]
        assert measured["fta"]["errors"] == int(job.calibration.sets[0].test.among.sum())
        assert measured["fta"]["trials"] == 5 * measured["fta"]["errors"]
        assert made.fnmr.trials == test.mated.size
        assert made.fnmr.errors == np.count_nonzero(test.mated < made.threshold)
        assert made.fmr.trials == test.non_mated.trials
    by_fnmr = job.calibration.points[-1]
    assert by_fnmr.fnmr.value > 0.5  # among those who chose it, at most one in ten
    assert verdict_of(by_fnmr)["verdict"] == "FAIL"
