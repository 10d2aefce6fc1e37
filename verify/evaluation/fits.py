"""Maps from scores to evidence, fitted on calibration subjects only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError, UsageError
from verify.evaluation.prepare import taken
from verify.metrics.logistic import DEFAULT_TERMS, QUALITY_PRIOR, TermSpec, fit_llr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from verify.evaluation.prepare import SplitSet
    from verify.evaluation.side import Side
    from verify.evaluation.sources import TrialBlock
    from verify.score_space import LlrMap, ScoreNorm
    from verify.types import Modality

    Columns = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]

FIT_TRIALS = 1_000_000  # of a handful of coefficients, more trials change no digit that matters


def terms_of(measures: Sequence[str], *, modality: Modality, known: Sequence[str]) -> tuple[TermSpec, ...]:
    """The terms of a quality-aware map.

    Args:
        measures: names; empty takes the modality's default terms.
        modality: whose defaults.
        known: measures that the captures have.

    Raises:
        UsageError: a measure that no capture has.
    """
    defaults = DEFAULT_TERMS[str(modality)]  # a measure may have several terms
    named = ([term for term in defaults if term.measure == name] or [TermSpec(name)] for name in measures)
    chosen = tuple(term for terms in named for term in terms) or defaults
    for term in chosen:
        if term.measure not in known:
            msg = (
                f"no capture has the quality measure {term.measure!r}; there are {', '.join(known) or 'none'}"
            )
            raise UsageError(msg)
    return chosen


def fit_plain(calibration: Side, *, norm: ScoreNorm | None, seed: int) -> LlrMap | None:
    """The map without quality terms; None where there are no mated calibration trials.

    Raises:
        ScoreError: constant scores, or mated scores that are not the higher ones.
    """
    if not calibration.mated.size:
        return None
    sampled = calibration.non_mated.sample(FIT_TRIALS, seed=seed)
    return fit_llr(mated=calibration.mated, non_mated=sampled, norm=norm)


def fit_with_quality(
    sets: Sequence[SplitSet], *, terms: Sequence[TermSpec], norm: ScoreNorm | None, seed: int
) -> LlrMap:
    """The map with quality terms, fitted on the calibration trials of all sets together.

    Trials of a capture without one of the measures are left out; at most about `FIT_TRIALS` non-mated trials,
    drawn at random, are used.

    Raises:
        ScoreError: no mated calibration trials with all measures, constant scores, a measure that a term
            cannot take.
    """
    measures = [term.measure for term in terms]
    total = sum(one.calibration.non_mated.trials for one in sets)
    rng = np.random.default_rng(seed)
    mated: list[TrialBlock] = []
    non_mated: list[TrialBlock] = []
    for one in sets:
        for block in one.source.blocks(one.calibration.among, measures=measures):
            known = _complete(block)
            mated.append(taken(block, block.mated & known))
            drawn = rng.random(block.score.size, dtype=np.float32) < FIT_TRIALS / max(total, 1)
            non_mated.append(taken(block, ~block.mated & known & drawn))
    if not any(block.score.size for block in mated):
        msg = f"no mated calibration trial has the measures {', '.join(measures)} of both captures"
        raise ScoreError(msg)
    return fit_llr(
        mated=np.concatenate([block.score for block in mated]),
        non_mated=np.concatenate([block.score for block in non_mated]),
        prior=QUALITY_PRIOR,
        terms=terms,
        mated_quality=_columns(mated, measures),
        non_mated_quality=_columns(non_mated, measures),
        norm=norm,
    )


def _complete(block: TrialBlock) -> NDArray[np.bool_]:
    """(n,) bool, whether both captures have all measures."""
    known = np.ones(block.score.size, dtype=bool)
    for sides in block.quality.values():
        for side in sides:
            known &= np.isfinite(side)
    return known


def _columns(blocks: Sequence[TrialBlock], measures: Sequence[str]) -> Columns:
    return {
        name: (
            np.concatenate([block.quality[name][0] for block in blocks]),
            np.concatenate([block.quality[name][1] for block in blocks]),
        )
        for name in measures
    }
