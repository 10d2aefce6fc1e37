"""Did the promise hold on people who took no part? One verdict for each target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.evaluation.analysis import far_frr, rate_facts
from verify.evaluation.targets import Kind, Target
from verify.types import Rate

if TYPE_CHECKING:
    from verify.evaluation.calibrate import Calibration
    from verify.facts import Verdict
    from verify.types import OperatingPoint

PASS, FAIL, INSUFFICIENT = "PASS", "FAIL", "INSUFFICIENT DATA"


def verdicts(calibration: Calibration) -> list[Verdict]:
    """Points first, in their order, then what the data cannot support."""
    missing = [_insufficient(target, message) for target, message in calibration.unsupported.items()]
    return [verdict_of(point) for point in calibration.points] + missing


def verdict_of(point: OperatingPoint) -> Verdict:
    """PASS if the rate asked for, as measured on the test subjects, is at or below the target."""
    target = target_of(point)
    governed_by = str(point.data["governed_by"])
    fta = point.data["measured"][governed_by]["fta"]
    share = Rate(**fta).value if fta else None
    far, frr = far_frr(point.fmr.value, point.fnmr.value, share)
    found = measured(point)
    held = found is not None and found <= target.rate
    return {
        "asked_kind": str(target.kind),
        "asked_rate": target.rate,
        "target_fmr": point.target_fmr,
        "threshold": point.threshold,
        "calibration": rate_facts(point.calibration_fmr),
        "fmr": rate_facts(point.fmr),
        "fnmr": rate_facts(point.fnmr),
        "far": far,
        "frr": frr,
        "verdict": PASS if held else FAIL,
        "extrapolated": point.extrapolated,
        "governed_by": governed_by,
        "message": _sentence(point, target, found),
    }


def measured(point: OperatingPoint) -> float | None:
    """The asked rate, on the test subjects of the set that governed; None if it cannot be known."""
    target = target_of(point)
    fta = point.data["measured"][str(point.data["governed_by"])]["fta"]
    far, frr = far_frr(point.fmr.value, point.fnmr.value, Rate(**fta).value if fta else 0.0)
    return {
        Kind.FMR: point.fmr.value,
        Kind.FPIR: point.fmr.value,
        Kind.FNMR: point.fnmr.value,
        Kind.FNIR: point.fnmr.value,
        Kind.FAR: far,
        Kind.FRR: frr,
    }[target.kind]


def target_of(point: OperatingPoint) -> Target:
    """What was asked for."""
    rate = point.target_fmr if point.asked_rate is None else point.asked_rate
    return Target(Kind(point.asked_kind), rate)


def _sentence(point: OperatingPoint, target: Target, found: float | None) -> str:
    who = "a further group of as many people" if point.bound == "prediction" else "all people like these"
    if point.extrapolated:
        sentence = (
            f"{target.words}: threshold {point.threshold:.6g} is EXTRAPOLATED from a fitted tail; no trials "
            "support it, and nothing is promised"
        )
        return sentence if found is None else f"{sentence}; {found:.3g} was measured on test subjects"
    sentence = (
        f"{target.words}: threshold {point.threshold:.6g} is promised for {who} at {point.confidence:.0%} confidence "
        f"({point.bound} bound)"
    )
    if found is not None:
        sentence += f"; {found:.3g} was measured on test subjects who took no part"
    return sentence


def _insufficient(target: Target, message: str) -> Verdict:
    return {
        "asked_kind": str(target.kind),
        "asked_rate": target.rate,
        "target_fmr": None,
        "threshold": None,
        "calibration": None,
        "fmr": None,
        "fnmr": None,
        "far": None,
        "frr": None,
        "verdict": INSUFFICIENT,
        "extrapolated": False,
        "governed_by": "",
        "message": message,
    }
