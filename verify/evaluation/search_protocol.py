"""Open-set identification as a protocol: galleries drawn from the subjects, thresholds from the ladder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError, UsageError
from verify.evaluation.analysis import rate_facts, search_scores
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.familiar import STRANGERS
from verify.evaluation.figures import Figure
from verify.metrics.one_to_n import fpir_if_independent
from verify.metrics.rates import threshold_at_fmr
from verify.score_space import ScoreSpace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.analysis import SearchScores
    from verify.evaluation.sources import TrialSource
    from verify.facts import OneToN, Verdict
    from verify.types import OperatingPoint

TARGET_FPIR = 1e-2  # what the engine asks of a search unless told otherwise
AT_FPIR = (1e-1, 1e-2)
RANKS = (1, 5, 10)
_SAME = "threshold set on these very searches: for comparison with published figures"


def identification(
    source: TrialSource,
    *,
    points: Sequence[OperatingPoint],
    sizes: Sequence[int],
    confidence: float = 0.95,
    seed: int = 0,
    among: NDArray[np.bool_] | None = None,
    whom: Callable[[OperatingPoint], str] = lambda _: STRANGERS,
) -> tuple[list[OneToN], list[Figure], list[Verdict]]:
    """Search galleries of each size with probes enrolled in them and not.

    The threshold at a size is the one that the engine would take for FPIR 1e-2: a measured point of mode ``1:N``
    for at least that many subjects, else the loosest 1:1 point on cosines with FMR <= FPIR / size.

    Args:
        source: of embedded media.
        points: the thresholds.
        sizes: of the galleries.
        confidence: of the one-sided bounds.
        seed: of the galleries drawn.
        among: (S,) which subjects take part; None takes all.
        whom: on whom a point is judged here, in words.

    Returns:
        (rates at each size that has a threshold, figures, verdicts).

    Raises:
        UsageError: scores without templates.
        InsufficientTrialsError: a gallery larger than the subjects allow.
    """
    if not sizes:
        return [], [], []
    if not isinstance(source, EmbeddedSource):
        msg = f"{source.name}: a {source.kind} has no templates to search; give a folder or manifest of media"
        raise UsageError(msg)
    rows: list[OneToN] = []
    figures: list[Figure] = []
    verdicts: list[Verdict] = []
    for size in sorted(set(sizes)):
        scores = search_scores(source.vectors, source.owner, among, gallery_size=size, seed=seed)
        if not scores.mated_score.size:
            msg = f"{source.name}: no enrolled subject has a second sample to search with; bring two of each"
            raise InsufficientTrialsError(msg)
        figures += [
            Figure(
                f"rank-{rank}, {size:,} enrolled",
                float(np.mean(scores.mated_rank <= rank)),
                f"{scores.mated_rank.size:,} searches for somebody enrolled; any score counts",
            )
            for rank in RANKS
            if rank <= size
        ]
        figures += [_at_fpir(scores, target, confidence=confidence) for target in AT_FPIR]
        point = _point_for(points, size)
        if point is not None:
            rows.append(_row(scores, point, confidence=confidence))
        on = STRANGERS if point is None else whom(point)
        verdicts.append(_verdict(scores, point, source.name, confidence=confidence, whom=on))
    return rows, figures, verdicts


def _point_for(points: Sequence[OperatingPoint], size: int) -> OperatingPoint | None:
    """What the engine would take; see `verify.engine.thresholds`."""
    usable = [p for p in points if p.limits_false_matches and not p.extrapolated and not p.failed_its_test]
    measured = [
        p for p in usable if p.mode == "1:N" and p.gallery_size >= size and p.target_fmr <= TARGET_FPIR
    ]
    if measured:
        return min(measured, key=lambda p: (-p.target_fmr, p.gallery_size))
    limit = TARGET_FPIR / size
    single = [
        p
        for p in usable
        if p.mode == "1:1"
        and p.score_space == ScoreSpace.COSINE
        and (p.target_fmr <= limit or math.isclose(p.target_fmr, limit, rel_tol=1e-9))
    ]
    return max(single, key=lambda p: p.target_fmr, default=None)


def _at_fpir(scores: SearchScores, target: float, *, confidence: float) -> Figure:
    threshold = threshold_at_fmr(non_mated=scores.best_non_mated, target=target)
    missed = scores.fnir(threshold, confidence=confidence)
    name = f"FNIR at FPIR {target:g}, {scores.gallery_size:,} enrolled"
    if missed is None:  # there are mated searches: looked at before
        return Figure(name, math.nan)
    note = f"{missed.errors:,} of {missed.trials:,}, at most {missed.upper:.3g}; threshold {threshold:.4f}; {_SAME}"
    return Figure(name, missed.value, note)


def _row(scores: SearchScores, point: OperatingPoint, *, confidence: float) -> OneToN:
    rate = min(point.fmr.value, 1.0) if point.mode == "1:1" else 0.0
    return {
        "gallery_size": scores.gallery_size,
        "threshold": point.threshold,
        "fpir": rate_facts(scores.fpir(point.threshold, confidence=confidence)),
        "fnir": rate_facts(scores.fnir(point.threshold, confidence=confidence)),
        "fpir_independent": fpir_if_independent(fmr=rate, gallery_size=scores.gallery_size),
        "rank_1": scores.rank_1,
        "measured": True,
    }


def _verdict(
    scores: SearchScores, point: OperatingPoint | None, name: str, *, confidence: float, whom: str
) -> Verdict:
    size = scores.gallery_size
    asked = f"FPIR {TARGET_FPIR:g} over {size:,} subjects"
    if point is None:
        return {
            "asked_kind": "fpir",
            "asked_rate": TARGET_FPIR,
            "target_fmr": None,
            "threshold": None,
            "calibration": None,
            "fmr": None,
            "fnmr": None,
            "far": None,
            "frr": None,
            "verdict": "INSUFFICIENT DATA",
            "extrapolated": False,
            "governed_by": name,
            "message": f"{asked}: no operating point supports it, so the engine gives no decision at this size",
        }
    fpir = scores.fpir(point.threshold, confidence=confidence)
    fnir = scores.fnir(point.threshold, confidence=confidence)
    held = fpir.value <= TARGET_FPIR
    return {
        "asked_kind": "fpir",
        "asked_rate": TARGET_FPIR,
        "target_fmr": point.target_fmr,
        "threshold": point.threshold,
        "calibration": rate_facts(point.calibration_fmr),
        "fmr": rate_facts(fpir),
        "fnmr": rate_facts(fnir),
        "far": None,
        "frr": None,
        "verdict": "PASS" if held else "FAIL",
        "extrapolated": point.extrapolated,
        "governed_by": name,
        "message": f"{asked}, by {point.name}: {'kept' if held else 'exceeded'} {whom}: {fpir.value:.3g} "
        f"({fpir.errors:,} of {fpir.trials:,} searches, at most {fpir.upper:.3g})",
    }
