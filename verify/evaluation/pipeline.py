"""Raw sources into the score space that is judged: normalise, split, fit on one half, map, take transactions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import UsageError
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.fits import fit_plain, fit_with_quality, terms_of
from verify.evaluation.prepare import SplitSet, pooled_side, split_set
from verify.evaluation.searching import as_searches
from verify.evaluation.spaces import LlrSource, NormalisedSource, TransactionSource
from verify.evaluation.trial_lists import TrialListSource
from verify.metrics.normalisation import CohortStats, cohort_stats
from verify.score_space import ScoreSpace
from verify.types import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.calibrate import Recipe
    from verify.evaluation.cohort import Cohort
    from verify.evaluation.sources import TrialSource
    from verify.score_space import LlrMap


@dataclass(frozen=True, slots=True)
class Spaces:
    """The same data on its way: in the space that it came in, and in the one that is judged.

    Attributes:
        recipe: of the judged space.
        raw: sets before quality and transactions; what `judged` is where there is neither.
        judged: sets in the judged space.
    """

    recipe: Recipe
    raw: tuple[SplitSet, ...] = field(repr=False)
    judged: tuple[SplitSet, ...] = field(repr=False)


def into_space(
    sources: Sequence[TrialSource],
    *,
    recipe: Recipe,
    cohort: Cohort | None = None,
    quality: Sequence[str] | None = None,
    seed: int = 0,
) -> Spaces:
    """Bring sources into the score space asked for.

    Args:
        sources: of raw scores.
        recipe: whose scores they are; its space, norm and llr are filled in here.
        cohort: strangers to normalise by.
        quality: measures that enter the llr, () for the modality's default ones; None for no quality.
        seed: of the split and of the sample that the map is fitted on.

    Raises:
        UsageError: a cohort, quality or several attempts with sources that know no captures.
        InsufficientTrialsError: a side without non-mated trials.
        ScoreError: scores that no map can be fitted to.
    """
    inner = [_normalised(source, cohort) for source in sources]
    if cohort is not None:
        recipe = dataclasses.replace(recipe, space=cohort.norm.method, norm=cohort.norm)
    raw = tuple(split_set(source, seed=seed) for source in inner)
    mapping: LlrMap | None
    if quality is None:
        mapping = fit_plain(pooled_side([one.calibration for one in raw]), norm=recipe.norm, seed=seed)
    else:
        known = [name for name in raw[0].source.measures if all(name in one.source.measures for one in raw)]
        terms = terms_of(quality, modality=recipe.modality, known=known)
        mapping = fit_with_quality(raw, terms=terms, norm=recipe.norm, seed=seed)
        recipe = dataclasses.replace(recipe, space=ScoreSpace.LLR)
    recipe = dataclasses.replace(recipe, llr=mapping)
    if recipe.mode == "1:N":
        if cohort is not None or quality is not None or recipe.attempts > 1:
            msg = "mode 1:N searches raw cosines of single probes: leave --norm, --quality and --attempts out"
            raise UsageError(msg)
        searched = [as_searches(one, gallery_size=recipe.gallery_size, seed=seed) for one in raw]
        return Spaces(recipe, raw, tuple(searched))
    if quality is None and recipe.attempts == 1:
        return Spaces(recipe, raw, raw)
    judged = tuple(
        split_set(
            _judged(source, cohort, mapping if quality is not None else None, recipe.attempts), seed=seed
        )
        for source in sources
    )
    for before, after in zip(raw, judged, strict=True):
        after.source.warnings = (*after.source.warnings, *_trials_left_out(before, after))
    return Spaces(recipe, raw, judged)


def _trials_left_out(before: SplitSet, after: SplitSet) -> Iterator[str]:
    """Scores alone that have no evidence, said aloud: their mated trials are failures, not rejects."""
    for part, raw, side in (
        ("calibration", before.calibration, after.calibration),
        ("test", before.test, after.test),
    ):
        if side.mated_left_out.size:
            others = raw.non_mated.trials - side.non_mated.trials
            yield (
                f"{side.mated_left_out.size:,} of {raw.mated.size:,} mated and {others:,} of {raw.non_mated.trials:,} "
                f"non-mated {part} trials lack a quality measure or lie below the calibrated range: they have no "
                "evidence, the mated ones count as failures to acquire (FTA, FRR), not as rejects (FNMR)"
            )


def _judged(source: TrialSource, cohort: Cohort | None, mapping: LlrMap | None, attempts: int) -> TrialSource:
    """One source in the judged space; captures that the map says nothing about have failed."""
    if mapping is not None and isinstance(source, EmbeddedSource | TrialListSource):
        source = source.without(outside(source, mapping), reason=Reason.OUTSIDE_CALIBRATED_RANGE)
    if attempts > 1:
        if not isinstance(source, EmbeddedSource):
            msg = (
                f"{source.name}: several attempts are measured on media with several samples a subject, not on "
                f"a {source.kind}; leave --attempts out"
            )
            raise UsageError(msg)
        source = dataclasses.replace(source, transaction=attempts)
    made = _normalised(source, cohort)
    if mapping is not None:
        made = LlrSource(made, mapping=mapping)
    return TransactionSource(made, attempts=attempts) if attempts > 1 else made


def _normalised(source: TrialSource, cohort: Cohort | None) -> TrialSource:
    if cohort is None:
        return source
    if not isinstance(source, EmbeddedSource):
        msg = f"{source.name}: a {source.kind} has no templates to hold against a cohort; leave --norm out"
        raise UsageError(msg)
    usable = np.isfinite(source.vectors[:, 0])
    found = cohort_stats(
        source.vectors[usable], cohort.vectors, method=cohort.norm.method, top_k=cohort.norm.top_k
    )
    mean, std = np.full(usable.size, np.nan), np.full(usable.size, np.nan)
    mean[usable], std[usable] = found.mean, found.std
    return NormalisedSource(source, norm=cohort.norm, stats=CohortStats(mean=mean, std=std))


def outside(source: EmbeddedSource | TrialListSource, mapping: LlrMap) -> NDArray[np.bool_]:
    """(n,) bool, which attempts a map says nothing about: a measure is missing or below what was calibrated."""
    wrong = np.zeros(len(source.attempts), dtype=bool)
    for term in mapping.terms:
        wrong |= ~(source.measured(term.measure) >= term.low)  # true for NaN
    return wrong & source.usable()
