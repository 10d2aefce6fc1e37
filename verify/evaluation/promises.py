"""What operating points promise, held against trials that they were not chosen on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.evaluation.analysis import far_frr, fmr_of, fnmr_of, fta_of, rate_facts
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.pipeline import outside
from verify.evaluation.prepare import prepare
from verify.evaluation.spaces import LlrSource
from verify.score_space import ScoreSpace
from verify.types import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.evaluation.side import Side
    from verify.evaluation.sources import TrialSource
    from verify.facts import Verdict
    from verify.types import OperatingPoint


def why_left_out(point: OperatingPoint) -> str:
    """Why a point cannot be held against plain pairs of samples of one model; empty if it can."""
    if point.fusion is not None:
        return "its scores are of several models together, which are not measured here"
    if point.norm is not None or (point.llr is not None and point.llr.norm is not None):
        return "its scores are normalised by a cohort, which is not at hand here"
    if point.attempts > 1:
        return f"it judges transactions of {point.attempts} attempts, and the trials here are single ones"
    return ""


def judged_by(
    source: TrialSource, plain: Side, points: Sequence[OperatingPoint]
) -> list[tuple[OperatingPoint, Side]]:
    """Each 1:1 point with the trials in its own score space; a space is prepared once."""
    spaces: dict[str, Side] = {}
    found = []
    for point in points:
        if point.mode != "1:1":
            continue
        if point.score_space != ScoreSpace.LLR or point.llr is None:
            found.append((point, plain))
            continue
        key = repr(point.llr)
        if key not in spaces:
            inner = source
            if isinstance(inner, EmbeddedSource):  # the engine gives no decision on these: they failed
                inner = inner.without(outside(inner, point.llr), reason=Reason.OUTSIDE_CALIBRATED_RANGE)
            spaces[key] = prepare(LlrSource(inner, mapping=point.llr), plain.among, part="given")
        found.append((point, spaces[key]))
    return found


def verdict(point: OperatingPoint, side: Side, name: str, *, confidence: float, whom: str) -> Verdict:
    """PASS if the rate that a point promises, and the FMR that it states with it, were kept on these trials.

    An extrapolated point can fail here, but not pass: these trials are too few for what it promises.

    Args:
        point: of mode 1:1.
        side: the trials, in the point's score space.
        name: of the data set.
        confidence: of the one-sided bounds that are told beside the rates; they decide nothing.
        whom: on whom it is judged, in words.
    """
    fmr = fmr_of(side, threshold=point.threshold, confidence=confidence)
    fnmr = fnmr_of(side, threshold=point.threshold, confidence=confidence)
    fta = fta_of(side, confidence=confidence)
    far, frr = far_frr(
        None if fmr is None else fmr.value, None if fnmr is None else fnmr.value, fta.value if fta else None
    )
    held = fmr is not None and fmr.value <= point.target_fmr
    rate = (
        "unknown"
        if fmr is None
        else f"{fmr.value:.3g} ({fmr.errors:,} of {fmr.trials:,}, at most {fmr.upper:.3g})"
    )
    kind, promised = "fmr", point.target_fmr
    if not point.limits_false_matches and point.asked_rate is not None:  # two promises, and both must hold
        kind, promised = point.asked_kind, point.asked_rate
        missed = frr if kind == "frr" else None if fnmr is None else fnmr.value
        held = held and missed is not None and missed <= promised
        shown = "unknown" if missed is None else f"{missed:.3g}"
        rate = f"{shown}, with an FMR of {rate} where {point.target_fmr:g} was promised"
    said = "kept" if held else "exceeded"
    mark = "EXTRAPOLATED by a fitted tail, not proven: " if point.extrapolated else ""
    return {
        "asked_kind": kind,
        "asked_rate": promised,
        "target_fmr": point.target_fmr,
        "threshold": point.threshold,
        "calibration": rate_facts(point.calibration_fmr),
        "fmr": rate_facts(fmr),
        "fnmr": rate_facts(fnmr),
        "far": far,
        "frr": frr,
        "verdict": "FAIL" if not held else "INSUFFICIENT DATA" if point.extrapolated else "PASS",
        "extrapolated": point.extrapolated,
        "governed_by": name,
        "message": f"{mark}{point.name}: the promised {kind.upper()} {promised:g} was {said} {whom}: {rate}",
    }
