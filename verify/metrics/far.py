"""From matching to the whole system: rates per attempt, with captures that failed (ISO/IEC 19795-1)."""

from __future__ import annotations

from verify.metrics.scores import checked_rate


def far(*, fmr: float, fta: float) -> float:
    """False-accept rate of a single attempt: FAR = FMR (1 - FTA)."""
    return checked_rate(fmr, name="fmr") * (1.0 - checked_rate(fta, name="fta"))


def frr(*, fnmr: float, fta: float) -> float:
    """False-reject rate of a single attempt: FRR = FTA + FNMR (1 - FTA)."""
    share = checked_rate(fta, name="fta")
    return share + checked_rate(fnmr, name="fnmr") * (1.0 - share)


def gfar(*, fmr: float, fta: float, fte: float) -> float:
    """Generalised false-accept rate, failures to enrol included: GFAR = (1 - FTE) FAR."""
    return (1.0 - checked_rate(fte, name="fte")) * far(fmr=fmr, fta=fta)


def gfrr(*, fnmr: float, fta: float, fte: float) -> float:
    """Generalised false-reject rate, failures to enrol included: GFRR = FTE + (1 - FTE) FRR."""
    share = checked_rate(fte, name="fte")
    return share + (1.0 - share) * frr(fnmr=fnmr, fta=fta)
