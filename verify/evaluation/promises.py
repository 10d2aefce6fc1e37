"""What operating points promise, held against trials that they were not chosen on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.evaluation.analysis import far_frr, fmr_of, fnmr_of, fta_of, rate_facts
from verify.evaluation.prepare import prepare
from verify.evaluation.spaces import LlrSource
from verify.score_space import ScoreSpace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.evaluation.side import Side
    from verify.evaluation.sources import TrialSource
    from verify.facts import Verdict
    from verify.types import OperatingPoint


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
            spaces[key] = prepare(LlrSource(source, mapping=point.llr), plain.among, part="given")
        found.append((point, spaces[key]))
    return found


def verdict(point: OperatingPoint, side: Side, name: str, *, confidence: float, whom: str) -> Verdict:
    """PASS if the rate that a point promises, and the FMR that it states with it, were kept on these trials.

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
        "verdict": "PASS" if held else "FAIL",
        "extrapolated": point.extrapolated,
        "governed_by": name,
        "message": f"{point.name}: the promised {kind.upper()} {promised:g} was {said} {whom}: {rate}",
    }
