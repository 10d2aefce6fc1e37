"""Did the promise hold on people who took no part? One verdict for each target.

FAIL if the rate asked for, as measured on the test subjects, is above the target: in the set that governed the
threshold, or in any set (and all pooled) that can tell, which is to say that at least `MIN_ERRORS` errors are behind
the excess, or that the lower bound of the rate lies above the target. A threshold from a fitted tail
never passes, because no trials stand behind it.

Of several attempts, all failing makes the FTA of a transaction FTA ** K where it lets strangers off (FAR), and any
failing makes it 1 - (1 - FTA) ** K where it counts against the subject (FRR): the worse of both each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verify.evaluation.analysis import far_frr, rate_facts
from verify.evaluation.targets import Kind, Target
from verify.metrics.choosing import MIN_ERRORS
from verify.types import Rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verify.evaluation.calibrate import Calibration
    from verify.facts import Verdict
    from verify.types import OperatingPoint

PASS, FAIL, INSUFFICIENT = "PASS", "FAIL", "INSUFFICIENT DATA"


def verdicts(calibration: Calibration) -> list[Verdict]:
    """Points first, in their order, then what the data cannot support."""
    missing = [_insufficient(target, message) for target, message in calibration.unsupported.items()]
    return [verdict_of(point) for point in calibration.points] + missing


def verdict_of(point: OperatingPoint) -> Verdict:
    """What the test subjects say of a point; see the module for when it fails."""
    target = target_of(point)
    fta = _fta(point)
    far, frr = (
        (None, None)
        if fta is None
        else _per_transaction(point.fmr.value, point.fnmr.value, fta, point.attempts)
    )
    exceeding = exceeded_by(point)
    word = FAIL if exceeding else INSUFFICIENT if point.extrapolated else PASS
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
        "verdict": word,
        "extrapolated": point.extrapolated,
        "governed_by": str(point.data["governed_by"]),
        "message": _sentence(point, target, exceeding),
    }


def failed(point: OperatingPoint) -> bool:
    """Whether the test subjects exceeded what the point was chosen to hold."""
    return bool(exceeded_by(point))


def measured(point: OperatingPoint) -> float:
    """The asked rate, on the test subjects of the set that governed; where no capture is known, none has failed."""
    far, frr = _per_transaction(point.fmr.value, point.fnmr.value, _fta(point) or 0.0, point.attempts)
    return {
        Kind.FMR: point.fmr.value,
        Kind.FPIR: point.fmr.value,
        Kind.FNMR: point.fnmr.value,
        Kind.FNIR: point.fnmr.value,
        Kind.FAR: far,
        Kind.FRR: frr,
    }[target_of(point).kind]


def exceeded_by(point: OperatingPoint) -> dict[str, float]:
    """Set (or all pooled) -> its measured rate, where the test subjects exceed the target; the governing one first."""
    target, governing = target_of(point), str(point.data["governed_by"])
    found = {governing: value} if (value := measured(point)) > target.rate else {}
    for name, rates in point.data["measured"].items():
        at = _asked_rate(rates, target, attempts=point.attempts)
        if at is not None and name != governing:
            value, lower, errors = at
            if value > target.rate and (errors >= MIN_ERRORS or lower > target.rate):
                found[name] = value
    return found


def target_of(point: OperatingPoint) -> Target:
    """What was asked for."""
    rate = point.target_fmr if point.asked_rate is None else point.asked_rate
    return Target(Kind(point.asked_kind), rate)


def _fta(point: OperatingPoint) -> float | None:
    fta = point.data["measured"][str(point.data["governed_by"])]["fta"]
    return Rate(**fta).value if fta else None


def _per_transaction(fmr: float, fnmr: float, fta: float, attempts: int) -> tuple[float, float]:
    """(FAR, FRR) of transactions, from their FMR and FNMR and the FTA of one attempt."""
    far, _ = far_frr(fmr, None, fta**attempts)
    _, frr = far_frr(None, fnmr, 1.0 - (1.0 - fta) ** attempts)
    return float(far or 0.0), float(frr or 0.0)


def _asked_rate(
    rates: Mapping[str, Any], target: Target, *, attempts: int
) -> tuple[float, float, int] | None:
    """(value, lower bound, errors) of the asked rate in one view's test rates; None where it has no such trials."""
    found = rates["fmr" if target.limits_false_matches else "fnmr"]
    if not found:
        return None
    rate = Rate(**found)
    if not rate.trials:
        return None
    fta = Rate(**rates["fta"]) if rates["fta"] else Rate(errors=0, trials=1, upper=0.0)
    if target.kind is Kind.FAR:
        far, _ = _per_transaction(rate.value, 0.0, fta.value, attempts)
        low, _ = _per_transaction(rate.lower, 0.0, fta.upper, attempts)
        return far, low, rate.errors
    if target.kind is Kind.FRR:
        _, frr = _per_transaction(0.0, rate.value, fta.value, attempts)
        _, low = _per_transaction(0.0, rate.lower, fta.lower, attempts)
        return frr, low, rate.errors + fta.errors
    return rate.value, rate.lower, rate.errors


def _sentence(point: OperatingPoint, target: Target, exceeding: Mapping[str, float]) -> str:
    found = measured(point)
    if exceeding:
        several = len(point.data["measured"]) > 1
        by = ", ".join(
            f"{value:.3g} in {name}" if several else f"{value:.3g}" for name, value in exceeding.items()
        )
        tail = " and EXTRAPOLATED from a fitted tail" if point.extrapolated else ""
        return (
            f"{target.words}: threshold {point.threshold:.6g} was chosen for it{tail}, but the test subjects, "
            f"who took no part, exceeded it: {by} was measured; nothing is promised"
        )
    if point.extrapolated:
        return (
            f"{target.words}: threshold {point.threshold:.6g} is EXTRAPOLATED from a fitted tail; no trials "
            f"support it, and nothing is promised; {found:.3g} was measured on test subjects"
        )
    who = "a further group of as many people" if point.bound == "prediction" else "all people like these"
    return (
        f"{target.words}: threshold {point.threshold:.6g} is promised for {who} at {point.confidence:.0%} confidence "
        f"({point.bound} bound); {found:.3g} was measured on test subjects who took no part"
    )


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
