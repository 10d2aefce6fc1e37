"""Rates by a quality measure: whom does one threshold serve badly?

A pair is as good as its worse capture, so it belongs to the stratum of the lower of its two values. Beside each
stratum's rates stands the FNMR that one constant threshold on the raw score would give, if it is set to the same FMR
over all strata together: what a score that knows the quality is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.evaluation.analysis.rates import rate_facts
from verify.metrics.dyadic import mated_rate
from verify.metrics.non_mated import NonMatedAccumulator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from verify.evaluation.side import Side
    from verify.evaluation.sources import TrialSource
    from verify.facts import StrataFacts, Stratum
    from verify.types import Rate

# edges that people think in; other measures are cut at their quartiles
NATURAL = {
    "net_speech_s": (1.0, 2.0, 3.0, 4.0, 6.0, 10.0),
    "snr_db": (5.0, 10.0, 15.0, 20.0, 30.0),
    "face_size_px": (40.0, 60.0, 80.0, 120.0, 200.0),
}
_MAX_TRIALS = 2_000_000  # non-mated trials passed over; of more, a random part of the subjects is taken
_QUARTILES = (0.25, 0.5, 0.75)


def strata(
    test: Side,
    *,
    source: TrialSource,
    measure: str,
    threshold: float,
    edges: Sequence[float] = (),
    raw: Side | None = None,
    raw_source: TrialSource | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> StrataFacts | None:
    """FMR and FNMR at `threshold`, by the lower value of each pair.

    Args:
        test: the side, in the score space that is judged.
        source: its trials, in the same space, with the measure.
        measure: key of `Quality.measures`.
        threshold: of the verdict.
        edges: where to cut, ascending; empty takes natural edges if there are any for the measure, else
            the quartiles of the mated pairs.
        raw: the same side in its raw space; with `raw_source` it gives `fnmr_constant`.
        raw_source: its trials in the raw space. `fnmr_constant` is fair if both spaces have the same captures, and
            means nothing for transactions of several attempts: leave `raw` out there.
        confidence: of each one-sided bound.
        seed: of the choice of subjects if there are too many trials.

    Returns:
        The facts; None if the source lacks the measure, or no mated pair has it.
    """
    if measure not in source.measures:
        return None
    mated = _mated(source, test.among, measure)
    known = np.isfinite(mated.lower)
    if not known.any():
        return None
    cuts = _cuts(mated.lower[known], edges or NATURAL.get(measure, ()))
    non_mated = _NonMated(source, _fewer(test, seed=seed), measure, cuts)
    ends = np.array([min(mated.lower[known].min(), non_mated.low), *cuts, np.nextafter(np.inf, 0)])
    ends[-1] = np.nextafter(max(mated.lower[known].max(), non_mated.high), np.inf)
    constant = None
    if raw is not None and raw_source is not None:
        constant = _constant(test, threshold=threshold, raw=raw, raw_source=raw_source, like=mated)
    stratum = np.where(known, np.searchsorted(cuts, mated.lower, side="right"), -1)
    return {
        "measure": measure,
        "strata": [
            _stratum(
                (float(ends[k]), float(ends[k + 1])),
                fmr=non_mated.rate(k, threshold=threshold, confidence=confidence),
                fnmr=_fnmr(mated.accepted(threshold), mated.subject, stratum == k, confidence=confidence),
                constant=None
                if constant is None
                else _fnmr(constant, mated.subject, (stratum == k) & (constant >= 0), confidence=confidence),
            )
            for k in range(cuts.size + 1)
        ],
    }


@dataclass(frozen=True, slots=True)
class _Mated:
    """(M,) the mated trials: score, subject, lower value of the pair, and which attempts met."""

    score: NDArray[np.float64]
    subject: NDArray[np.int64]
    lower: NDArray[np.float64]
    attempts: NDArray[np.int64]

    def accepted(self, threshold: float) -> NDArray[np.float64]:
        """(M,) 1.0 where the score meets the threshold."""
        return (self.score >= threshold).astype(np.float64)


class _NonMated:
    """The non-mated trials of each stratum, from one pass over the source."""

    def __init__(
        self, source: TrialSource, among: NDArray[np.bool_], measure: str, cuts: NDArray[np.float64]
    ) -> None:
        self.low, self.high = np.inf, -np.inf
        number = np.cumsum(among) - 1  # dense, so that pairs are counted in little memory
        strata = [NonMatedAccumulator(subjects=int(among.sum())) for _ in range(cuts.size + 1)]
        filled = np.zeros(len(strata), dtype=bool)
        for block in source.blocks(among, measures=(measure,)):
            lower = np.minimum(*block.quality[measure])
            wanted = ~block.mated & np.isfinite(lower)
            if not wanted.any():
                continue
            self.low = min(self.low, float(lower[wanted].min()))
            self.high = max(self.high, float(lower[wanted].max()))
            stratum = np.where(wanted, np.searchsorted(cuts, lower, side="right"), -1)
            for k in np.unique(stratum[wanted]).tolist():
                here = stratum == k
                filled[k] = True
                strata[k].add(block.score[here], number[block.subject_a[here]], number[block.subject_b[here]])
        self._strata = [one.finish() if full else None for one, full in zip(strata, filled, strict=True)]

    def rate(self, stratum: int, *, threshold: float, confidence: float) -> Rate | None:
        """FMR of a stratum; None without trials."""
        scores = self._strata[stratum]
        return None if scores is None else scores.rate(threshold, confidence=confidence)


def _mated(source: TrialSource, among: NDArray[np.bool_], measure: str | None) -> _Mated:
    columns: tuple[list[NDArray[Any]], ...] = ([], [], [], [])
    for block in source.blocks(among, measures=(measure,) if measure else (), mated_only=True):
        same = block.mated
        lower = np.minimum(*block.quality[measure]) if measure else np.zeros(block.score.size)
        pair = (block.attempt_a.astype(np.int64) << 32) | (block.attempt_b.astype(np.int64) & 0xFFFFFFFF)
        for column, values in zip(columns, (block.score, block.subject_a, lower, pair), strict=True):
            column.append(values[same])
    score, subject, lower, pair = (
        np.concatenate(column) if column else np.empty(0, dtype=np.int64) for column in columns
    )
    return _Mated(score.astype(np.float64), subject.astype(np.int64), lower.astype(np.float64), pair)


def _constant(
    test: Side, *, threshold: float, raw: Side, raw_source: TrialSource, like: _Mated
) -> NDArray[np.float64]:
    """(M,) of the trials `like`: 1.0 where one raw threshold of the same FMR accepts, 0.0 where not, -1 unknown."""
    fmr = float(test.non_mated.fmr([threshold])[0])
    at = raw.non_mated.threshold_at_fmr(fmr)
    plain = _mated(raw_source, raw.among, None)
    order = np.argsort(plain.attempts, kind="stable")
    place = np.minimum(np.searchsorted(plain.attempts[order], like.attempts), max(order.size - 1, 0))
    found = np.full(like.attempts.size, -1.0)
    if order.size:
        same = plain.attempts[order][place] == like.attempts
        found[same] = plain.accepted(at)[order][place[same]]
    return found


def _fewer(test: Side, *, seed: int) -> NDArray[np.bool_]:
    """All subjects of the side; a random part of them if there are too many trials."""
    share = np.sqrt(_MAX_TRIALS / max(test.non_mated.trials, 1))
    if share >= 1:
        return test.among
    inside = np.flatnonzero(test.among)
    kept = np.random.default_rng(seed).permutation(inside)[: max(2, int(share * inside.size))]
    among = np.zeros_like(test.among)
    among[kept] = True
    return among


def _cuts(lower: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.float64]:
    """Where to cut, strictly inside the values."""
    wanted = np.asarray(sorted(edges), dtype=np.float64)
    inside = wanted[(wanted > lower.min()) & (wanted <= lower.max())]
    if not inside.size:
        quartiles = np.unique(np.quantile(lower, _QUARTILES))
        inside = quartiles[quartiles > lower.min()]
    cuts: NDArray[np.float64] = inside
    return cuts


def _fnmr(
    accepted: NDArray[np.float64],
    subject: NDArray[np.int64],
    here: NDArray[np.bool_],
    *,
    confidence: float,
) -> Rate | None:
    """FNMR of the marked trials; None without any."""
    if not here.any():
        return None
    return mated_rate(mated=accepted[here], subject=subject[here], threshold=0.5, confidence=confidence)


def _stratum(
    ends: tuple[float, float], *, fmr: Rate | None, fnmr: Rate | None, constant: Rate | None
) -> Stratum:
    return {
        "low": ends[0],
        "high": ends[1],
        "fmr": rate_facts(fmr),
        "fnmr": rate_facts(fnmr),
        "fnmr_constant": rate_facts(constant),
    }
