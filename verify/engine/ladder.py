"""What an operating point may be used for, and which of several goes first: plain rules on points.

**What a point claims.** A point measured for a transaction of K attempts holds for transactions of K
attempts. A point measured for single attempts holds for a transaction of K at K times its rate (the
union bound, which needs no independence). No other point may be used.

**Which goes first.** The loosest claim that suffices. At equal claims llr goes before the norm
spaces and these before raw cosine, because each step knows more about the pair of captures; within a
space the higher threshold.

**Which are not used unless somebody names them.** A point whose own test subjects showed more false
matches than its target. A point that was chosen for a limit on rejections (FNMR, FRR, FNIR) serves a rate
that was asked for and that it proves, and never goes unasked: what it lets in is whatever came of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from verify.score_space import ScoreSpace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from verify.types import OperatingPoint

_RANKS = {ScoreSpace.FUSED_LLR: 0, ScoreSpace.LLR: 1, ScoreSpace.COSINE: 3}
_NORM_RANK = 2
_DIGITS = 9  # rates equal to this many digits are equal


def claim(point: OperatingPoint, *, attempts: int) -> float:
    """The FMR (mode 1:N: the FPIR) that a point holds for a transaction of `attempts`; inf if for none such."""
    if point.attempts == attempts:
        return point.target_fmr
    return attempts * point.target_fmr if point.attempts == 1 else math.inf


def far_claim(point: OperatingPoint, *, attempts: int) -> float:
    """The FAR that a point holds for a transaction of `attempts`: who cannot be captured cannot be accepted.

    FAR = FMR (1 - FTA), with the lowest of the FTA's lower bounds that the point records for its data
    sets; in a transaction of K measured attempts only those whose captures all fail drop out, FTA^K. FAR
    over k attempts is at most k times the FAR of one. A point that was calibrated for a FAR holds that one.
    """
    share = _lowest_fta(point) ** point.attempts
    held = claim(point, attempts=attempts) * (1.0 - share)
    if point.asked_kind == "far" and point.asked_rate is not None and held < math.inf:
        held = min(held, point.asked_rate * (attempts / point.attempts))
    return held


def at_most(rate: float, limit: float) -> bool:
    """Whether a rate is at or below a limit, give or take the rounding of a product."""
    return rate <= limit or math.isclose(rate, limit, rel_tol=10.0**-_DIGITS)


def in_order(points: Iterable[OperatingPoint], *, attempts: int) -> tuple[OperatingPoint, ...]:
    """Loosest claim first; at equal claims by what the space knows, then the higher threshold."""

    def key(point: OperatingPoint) -> tuple[float, int, float, str]:
        loose = -float(f"{claim(point, attempts=attempts):.{_DIGITS - 1}e}")
        rank = _RANKS.get(ScoreSpace(point.score_space), _NORM_RANK)
        return loose, rank, -point.threshold, point.name

    return tuple(sorted(points, key=key))


def in_words(point: OperatingPoint, *, attempts: int) -> str:
    """What a point's threshold was chosen for and what stands behind it, in one sentence."""
    space = "" if point.score_space == ScoreSpace.COSINE else f" ({point.score_space})"
    if attempts == 1:
        tail = ""
    elif point.attempts == attempts:
        tail = f" in a transaction of {attempts} attempts"
    else:
        tail = (
            f" an attempt, {claim(point, attempts=attempts):g} in a transaction of {attempts} (union bound)"
        )
    failed = ""
    if point.failed_its_test:
        failed = (
            f"; FAILED on its test subjects: {_rate(point)} {point.fmr.value:.3g} "
            f"({point.fmr.errors:,} of {point.fmr.trials:,})"
        )
    return f"{point.name}: threshold {point.threshold:.4f}{space}, {_proof(point)}{tail}{failed}"


def _proof(point: OperatingPoint) -> str:
    many = f" over {point.gallery_size} subjects" if point.mode == "1:N" else ""
    held = f"{_rate(point)} <= {point.target_fmr:g}{many}"
    if point.extrapolated:
        return f"EXTRAPOLATED: a fitted tail, not trials, puts {held}"
    bound = f"{point.confidence:.0%} {point.bound} bound on the calibration subjects"
    asked = "" if point.asked_rate is None else f"{point.asked_kind.upper()} <= {point.asked_rate:g}{many}"
    if not point.limits_false_matches:
        asked = asked or f"a limit on its {point.asked_kind.upper()}"
        return f"chosen for {asked}; its {_rate(point)} is at most {point.target_fmr:g} by the {bound}"
    if point.asked_kind == "far" and asked:
        return f"chosen so that the {bound} meets {asked} ({held})"
    return f"chosen so that the {bound} meets {held}"


def _rate(point: OperatingPoint) -> str:
    return "FPIR" if point.mode == "1:N" else "FMR"


def _lowest_fta(point: OperatingPoint) -> float:
    """The lowest lower bound among the recorded FTAs; 0, which claims nothing, unless every set has one."""
    measured = point.data.get("measured")
    sets = list(measured.values()) if isinstance(measured, dict) else []
    lowest = [_lower(one.get("fta")) if isinstance(one, dict) else 0.0 for one in sets]
    return min(lowest, default=0.0)


def _lower(rate: object) -> float:
    lower = rate.get("lower") if isinstance(rate, dict) else None
    sound = isinstance(lower, int | float) and not isinstance(lower, bool) and 0.0 <= lower < 1.0
    return float(lower) if sound and lower is not None else 0.0


def rungs(points: Sequence[OperatingPoint]) -> str:
    """The ladder in words, for refusals: rates with whatever keeps a point from being used."""
    claims = ", ".join(_rung(point) for point in points if point.mode == "1:1")
    searches = ", ".join(_rung(point) for point in points if point.mode == "1:N")
    return " and ".join([f"FMR {claims}"] * bool(claims) + [f"FPIR {searches}"] * bool(searches))


def _rung(point: OperatingPoint) -> str:
    return (
        f"{point.target_fmr:g}"
        + (f" over {point.gallery_size} subjects" if point.mode == "1:N" else "")
        + ("" if point.score_space == ScoreSpace.COSINE else f" ({point.score_space})")
        + ("" if point.attempts == 1 else f" for {point.attempts} attempts")
        + (" EXTRAPOLATED" if point.extrapolated else "")
        + ("" if point.limits_false_matches else f" (chosen for {point.asked_kind.upper()})")
        + (" (FAILED on its test subjects)" if point.failed_its_test else "")
    )
