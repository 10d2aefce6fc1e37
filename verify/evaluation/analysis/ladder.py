"""The ladder of targets, and what became of each threshold on people who took no part in choosing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.evaluation.analysis.rates import fmr_of, fnmr_of, rate_facts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from verify.evaluation.side import Side
    from verify.facts import Rung, Transfer
    from verify.metrics.prediction import Bound

LADDER = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_EXTRAPOLATED = "EXTRAPOLATED: a tail fitted to the scores, not trials, stands behind this threshold"


def ladder(
    calibration: Side,
    test: Side,
    *,
    chosen: Mapping[float, float | str],
    confidence: float = 0.95,
    bound: Bound = "population",
    extrapolated: Collection[float] = (),
) -> list[Rung]:
    """One rung for each target, loosest first.

    Args:
        calibration: the subjects on whom the thresholds were chosen.
        test: subjects who took no part.
        chosen: target FMR -> threshold, or the message that says why there is none.
        confidence: of each one-sided bound.
        bound: ``population`` or ``prediction``: of the calibration rate, which the target is held
            against. Test rates always carry the population bound: they are measurements.
        extrapolated: the targets among `chosen` whose threshold comes from a fitted tail.
    """
    return [
        _rung(
            calibration,
            test,
            target=target,
            choice=chosen[target],
            confidence=confidence,
            bound=bound,
            fitted=target in extrapolated,
        )
        for target in sorted(chosen, reverse=True)
    ]


def transfer(
    calibration: Side, test: Side, thresholds: Mapping[float, float], *, confidence: float = 0.95
) -> list[Transfer]:
    """The same thresholds on both sides, loosest target first; empty where a side has no non-mated trials.

    Args:
        calibration: the subjects on whom the thresholds were chosen.
        test: subjects who took no part.
        thresholds: target FMR -> threshold.
        confidence: of each one-sided bound.
    """
    lines: list[Transfer] = []
    for target, threshold in sorted(thresholds.items(), reverse=True):
        there = rate_facts(fmr_of(calibration, threshold=threshold, confidence=confidence))
        here = rate_facts(fmr_of(test, threshold=threshold, confidence=confidence))
        if there is None or here is None:
            continue
        lines.append(
            {
                "target_fmr": target,
                "threshold": threshold,
                "calibration_fmr": there,
                "test_fmr": here,
                "calibration_fnmr": rate_facts(
                    fnmr_of(calibration, threshold=threshold, confidence=confidence)
                ),
                "test_fnmr": rate_facts(fnmr_of(test, threshold=threshold, confidence=confidence)),
            }
        )
    return lines


def _rung(
    calibration: Side,
    test: Side,
    *,
    target: float,
    choice: float | str,
    confidence: float,
    bound: Bound,
    fitted: bool,
) -> Rung:
    if isinstance(choice, str):
        return {
            "target_fmr": target,
            "threshold": None,
            "support": "insufficient",
            "calibration": None,
            "fmr": None,
            "fnmr": None,
            "message": choice,
        }
    threshold = float(choice)
    return {
        "target_fmr": target,
        "threshold": threshold,
        "support": "extrapolated" if fitted else "supported",
        "calibration": rate_facts(
            fmr_of(calibration, threshold=threshold, confidence=confidence, bound=bound)
        ),
        "fmr": rate_facts(fmr_of(test, threshold=threshold, confidence=confidence)),
        "fnmr": rate_facts(fnmr_of(test, threshold=threshold, confidence=confidence)),
        "message": _EXTRAPOLATED if fitted else "",
    }
